package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Authority is a certificate authority whose devices a hub lets in once it is verified.
type Authority struct {
	Hub         string
	Name        string
	ETag        string
	Certificate string // PEM
	Thumbprint  string // SHA-256, hex
	Verified    bool
	Code        string // which a certificate of the authority has to name, as proof; empty when none was asked for
	Created     time.Time
	Updated     time.Time
}

// Authorities lists a hub's authorities by name.
func (s *Store) Authorities(ctx context.Context, hub string) ([]Authority, error) {
	out := []Authority{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		a := Authority{Hub: hub}
		var verified int
		var created, updated int64
		err := scan(&a.Name, &a.ETag, &a.Certificate, &a.Thumbprint, &verified, &a.Code, &created, &updated)
		a.Verified, a.Created, a.Updated = verified != 0, at(created), at(updated)
		out = append(out, a)
		return err
	}, "SELECT name, etag, certificate, thumbprint, verified, code, created, updated FROM authorities WHERE hub = ? ORDER BY name", hub)
	return out, err
}

// SetAuthority adds or replaces an authority.
func (tx *Tx) SetAuthority(a Authority) error {
	_, err := tx.sql.Exec("INSERT INTO authorities (hub, name, etag, certificate, thumbprint, verified, code, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (hub, name) DO UPDATE SET etag = excluded.etag, certificate = excluded.certificate, thumbprint = excluded.thumbprint, "+
		"verified = excluded.verified, code = excluded.code, updated = excluded.updated",
		a.Hub, a.Name, a.ETag, a.Certificate, a.Thumbprint, bit(a.Verified), a.Code, ms(a.Created), ms(a.Updated))
	return err
}

// DeleteAuthority removes an authority. NotFound when there is none.
func (tx *Tx) DeleteAuthority(hub, name string) error {
	n, err := tx.sql.Exec("DELETE FROM authorities WHERE hub = ? AND name = ?", hub, name)
	if err == nil && n == 0 {
		return fault.Newf("hubstore.DeleteAuthority", fault.NotFound, "the hub has no certificate authority %q", name)
	}
	return err
}
