package provisioningstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Kind tells what an enrollment is for.
type Kind string

const (
	Individual Kind = "individual" // one device; its id is the registration id
	Group      Kind = "group"
)

// Enrollment is an enrollment or an enrollment group. Document is JSON, with the keys in it.
type Enrollment struct {
	Service  string
	Kind     Kind
	ID       string
	ETag     string
	Document []byte
	Created  time.Time
	Updated  time.Time
}

const enrollmentColumns = "service, kind, id, etag, document, created, updated"

func scanEnrollment(scan func(...any) error) (Enrollment, error) {
	var e Enrollment
	var created, updated int64
	var document string
	err := scan(&e.Service, &e.Kind, &e.ID, &e.ETag, &document, &created, &updated)
	e.Document, e.Created, e.Updated = []byte(document), at(created), at(updated)
	return e, err
}

func enrollment(sql *database.Session, service string, kind Kind, id string) (e Enrollment, err error) {
	found := false
	err = sql.Rows(func(scan func(...any) error) (err error) {
		found = true
		e, err = scanEnrollment(scan)
		return err
	}, "SELECT "+enrollmentColumns+" FROM dps_enrollments WHERE service = ? AND kind = ? AND id = ?", service, string(kind), id)
	if err == nil && !found {
		err = missing(kind, id)
	}
	return e, err
}

func missing(kind Kind, id string) error {
	what := "enrollment"
	if kind == Group {
		what = "enrollment group"
	}
	return fault.Newf("provisioningstore.Enrollment", fault.NotFound, "there is no %s %q", what, id)
}

// Enrollment reads one. NotFound when there is none of this kind and id.
func (s *Store) Enrollment(ctx context.Context, service string, kind Kind, id string) (Enrollment, error) {
	return enrollment(s.db.Reading(ctx), service, kind, id)
}

// Enrollments lists those of a kind by id, at most limit of them, those after an id.
func (s *Store) Enrollments(ctx context.Context, service string, kind Kind, after string, limit int) ([]Enrollment, error) {
	out := []Enrollment{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		e, err := scanEnrollment(scan)
		out = append(out, e)
		return err
	}, "SELECT "+enrollmentColumns+" FROM dps_enrollments WHERE service = ? AND kind = ? AND id > ? ORDER BY id LIMIT ?", service, string(kind), after, limit)
	return out, err
}

// Enrollment reads one inside the transaction.
func (tx *Tx) Enrollment(service string, kind Kind, id string) (Enrollment, error) {
	return enrollment(tx.sql, service, kind, id)
}

// CountEnrollments returns how many there are of a kind.
func (tx *Tx) CountEnrollments(service string, kind Kind) (n int, err error) {
	_, err = tx.sql.Row([]any{&n}, "SELECT COUNT(*) FROM dps_enrollments WHERE service = ? AND kind = ?", service, string(kind))
	return n, err
}

// PutEnrollment adds an enrollment or replaces it.
func (tx *Tx) PutEnrollment(e Enrollment) error {
	_, err := tx.sql.Exec("INSERT INTO dps_enrollments ("+enrollmentColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (service, kind, id) DO UPDATE SET etag = excluded.etag, document = excluded.document, updated = excluded.updated",
		e.Service, string(e.Kind), e.ID, e.ETag, string(e.Document), ms(e.Created), ms(e.Updated))
	return err
}

// DeleteEnrollment removes one. NotFound when there is none.
func (tx *Tx) DeleteEnrollment(service string, kind Kind, id string) error {
	n, err := tx.sql.Exec("DELETE FROM dps_enrollments WHERE service = ? AND kind = ? AND id = ?", service, string(kind), id)
	if err == nil && n == 0 {
		err = missing(kind, id)
	}
	return err
}

// EachGroup calls each for every enrollment group of a service, by id, until it fails.
func (tx *Tx) EachGroup(service string, each func(Enrollment) error) error {
	return tx.sql.Rows(func(scan func(...any) error) error {
		e, err := scanEnrollment(scan)
		if err != nil {
			return err
		}
		return each(e)
	}, "SELECT "+enrollmentColumns+" FROM dps_enrollments WHERE service = ? AND kind = 'group' ORDER BY id", service)
}
