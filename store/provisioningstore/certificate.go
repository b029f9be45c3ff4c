package provisioningstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Certificate is an authority that enrollment groups may refer to by name.
type Certificate struct {
	Service  string
	Name     string
	ETag     string
	DER      []byte
	Verified bool   // somebody proved to hold its key, or an owner vouched for it
	Code     string // what a certificate signed by it must name to prove that; empty until asked for
	Created  time.Time
	Updated  time.Time
}

const certificateColumns = "service, name, etag, der, verified, code, created, updated"

func scanCertificate(scan func(...any) error) (Certificate, error) {
	var c Certificate
	var verified int
	var created, updated int64
	err := scan(&c.Service, &c.Name, &c.ETag, &c.DER, &verified, &c.Code, &created, &updated)
	c.Verified, c.Created, c.Updated = verified != 0, at(created), at(updated)
	return c, err
}

func certificates(sql *database.Session, where string, args ...any) ([]Certificate, error) {
	out := []Certificate{}
	err := sql.Rows(func(scan func(...any) error) error {
		c, err := scanCertificate(scan)
		out = append(out, c)
		return err
	}, "SELECT "+certificateColumns+" FROM dps_certificates WHERE "+where+" ORDER BY name", args...)
	return out, err
}

// Certificates lists a service's authorities by name.
func (s *Store) Certificates(ctx context.Context, service string) ([]Certificate, error) {
	return certificates(s.db.Reading(ctx), "service = ?", service)
}

// Certificate reads one. NotFound when there is none of this name.
func (tx *Tx) Certificate(service, name string) (Certificate, error) {
	list, err := certificates(tx.sql, "service = ? AND name = ?", service, name)
	if err != nil {
		return Certificate{}, err
	}
	if len(list) == 0 {
		return Certificate{}, fault.Newf("provisioningstore.Certificate", fault.NotFound, "there is no certificate %q", name)
	}
	return list[0], nil
}

// PutCertificate adds an authority or replaces it.
func (tx *Tx) PutCertificate(c Certificate) error {
	_, err := tx.sql.Exec("INSERT INTO dps_certificates ("+certificateColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (service, name) DO UPDATE SET etag = excluded.etag, der = excluded.der, verified = excluded.verified, code = excluded.code, updated = excluded.updated",
		c.Service, c.Name, c.ETag, c.DER, bit(c.Verified), c.Code, ms(c.Created), ms(c.Updated))
	return err
}

// DeleteCertificate removes one. NotFound when there is none.
func (tx *Tx) DeleteCertificate(service, name string) error {
	n, err := tx.sql.Exec("DELETE FROM dps_certificates WHERE service = ? AND name = ?", service, name)
	if err == nil && n == 0 {
		err = fault.Newf("provisioningstore.DeleteCertificate", fault.NotFound, "there is no certificate %q", name)
	}
	return err
}

// CountCertificates returns how many a service has.
func (tx *Tx) CountCertificates(service string) (n int, err error) {
	_, err = tx.sql.Row([]any{&n}, "SELECT COUNT(*) FROM dps_certificates WHERE service = ?", service)
	return n, err
}
