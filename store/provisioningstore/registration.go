package provisioningstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Registration is what became of a device that registered. Document is JSON.
type Registration struct {
	Service   string
	ID        string // registration id, lower case
	Group     string // enrollment group it came by; empty for an individual enrollment
	ETag      string
	Operation string // id of the newest registration operation
	Status    string // assigning, assigned, failed
	Document  []byte
	Created   time.Time
	Updated   time.Time
}

const registrationColumns = "service, id, enrollment_group, etag, operation, status, document, created, updated"

func scanRegistration(scan func(...any) error) (Registration, error) {
	var r Registration
	var created, updated int64
	var document string
	err := scan(&r.Service, &r.ID, &r.Group, &r.ETag, &r.Operation, &r.Status, &document, &created, &updated)
	r.Document, r.Created, r.Updated = []byte(document), at(created), at(updated)
	return r, err
}

func registration(sql *database.Session, service, id string) (r Registration, err error) {
	found := false
	err = sql.Rows(func(scan func(...any) error) (err error) {
		found = true
		r, err = scanRegistration(scan)
		return err
	}, "SELECT "+registrationColumns+" FROM dps_registrations WHERE service = ? AND id = ?", service, id)
	if err == nil && !found {
		err = fault.Newf("provisioningstore.Registration", fault.NotFound, "there is no registration %q", id)
	}
	return r, err
}

// Registration reads one. NotFound when the device has never registered.
func (s *Store) Registration(ctx context.Context, service, id string) (Registration, error) {
	return registration(s.db.Reading(ctx), service, id)
}

// Registrations lists those of an enrollment group by id, at most limit of them, those after an id.
func (s *Store) Registrations(ctx context.Context, service, group, after string, limit int) ([]Registration, error) {
	out := []Registration{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		r, err := scanRegistration(scan)
		out = append(out, r)
		return err
	}, "SELECT "+registrationColumns+" FROM dps_registrations WHERE service = ? AND enrollment_group = ? AND id > ? ORDER BY id LIMIT ?", service, group, after, limit)
	return out, err
}

// Registration reads one inside the transaction.
func (tx *Tx) Registration(service, id string) (Registration, error) {
	return registration(tx.sql, service, id)
}

// PutRegistration adds a registration or replaces it.
func (tx *Tx) PutRegistration(r Registration) error {
	_, err := tx.sql.Exec("INSERT INTO dps_registrations ("+registrationColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (service, id) DO UPDATE SET enrollment_group = excluded.enrollment_group, etag = excluded.etag, operation = excluded.operation, "+
		"status = excluded.status, document = excluded.document, created = excluded.created, updated = excluded.updated",
		r.Service, r.ID, r.Group, r.ETag, r.Operation, r.Status, string(r.Document), ms(r.Created), ms(r.Updated))
	return err
}

// DeleteRegistration removes one. NotFound when there is none.
func (tx *Tx) DeleteRegistration(service, id string) error {
	n, err := tx.sql.Exec("DELETE FROM dps_registrations WHERE service = ? AND id = ?", service, id)
	if err == nil && n == 0 {
		err = fault.Newf("provisioningstore.Registration", fault.NotFound, "there is no registration %q", id)
	}
	return err
}
