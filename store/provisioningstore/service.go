package provisioningstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Service is what belongs to a provisioning service itself.
type Service struct {
	ID       string // uid of the service
	Scope    string // id scope; unique in the database
	Secret   string // base64; what the service derives passing secrets from
	Revision int64  // of groups and certificates
	Created  time.Time
}

// Policy is a named key of a service with what its holder may do.
type Policy struct {
	Service      string
	Name         string
	Rights       uint32 // bits, see provisioning.Right
	PrimaryKey   string // base64
	SecondaryKey string
}

// Ensure returns the service of this id, which it makes with the values given when there is none, and with it the policies which it
// does not have yet. Conflict when another service has the scope.
func (s *Store) Ensure(ctx context.Context, wanted Service, policies []Policy) (Service, []Policy, error) {
	var got Service
	var have []Policy
	err := s.db.Write(ctx, func(sql *database.Session) (err error) {
		tx := &Tx{sql}
		n, err := sql.Exec("INSERT INTO dps_services (id, scope, secret, revision, created) VALUES (?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
			wanted.ID, wanted.Scope, wanted.Secret, ms(wanted.Created))
		if err != nil {
			return err
		}
		var found bool
		if got, found, err = service(sql, wanted.ID); err != nil {
			return err
		}
		if n == 0 && !found {
			return fault.Newf("provisioningstore.Ensure", fault.Conflict, "the id scope %s is another service's", wanted.Scope)
		}
		for _, p := range policies {
			if _, err := sql.Exec("INSERT INTO dps_policies (service, name, rights, primary_key, secondary_key) VALUES (?, ?, ?, ?, ?) ON CONFLICT (service, name) DO NOTHING",
				wanted.ID, p.Name, int64(p.Rights), p.PrimaryKey, p.SecondaryKey); err != nil {
				return err
			}
		}
		have, err = tx.policies(wanted.ID)
		return err
	})
	return got, have, err
}

func service(sql *database.Session, id string) (s Service, found bool, err error) {
	var created int64
	found, err = sql.Row([]any{&s.ID, &s.Scope, &s.Secret, &s.Revision, &created}, "SELECT id, scope, secret, revision, created FROM dps_services WHERE id = ?", id)
	s.Created = at(created)
	return s, found, err
}

// Revision returns the count of changes of a service's groups and certificates.
func (s *Store) Revision(ctx context.Context, service string) (n int64, err error) {
	_, err = s.db.Reading(ctx).Row([]any{&n}, "SELECT revision FROM dps_services WHERE id = ?", service)
	return n, err
}

// Touch counts a change of the service's groups or certificates.
func (tx *Tx) Touch(service string) error {
	_, err := tx.sql.Exec("UPDATE dps_services SET revision = revision + 1 WHERE id = ?", service)
	return err
}

func (tx *Tx) policies(service string) ([]Policy, error) {
	var out []Policy
	err := tx.sql.Rows(func(scan func(...any) error) error {
		p := Policy{Service: service}
		var rights int64
		err := scan(&p.Name, &rights, &p.PrimaryKey, &p.SecondaryKey)
		p.Rights = uint32(rights)
		out = append(out, p)
		return err
	}, "SELECT name, rights, primary_key, secondary_key FROM dps_policies WHERE service = ? ORDER BY name", service)
	return out, err
}

// SetPolicyKeys replaces both keys of a policy. NotFound when the service has none of this name.
func (tx *Tx) SetPolicyKeys(service, name, primary, secondary string) error {
	n, err := tx.sql.Exec("UPDATE dps_policies SET primary_key = ?, secondary_key = ? WHERE service = ? AND name = ?", primary, secondary, service, name)
	if err == nil && n == 0 {
		return fault.Newf("provisioningstore.SetPolicyKeys", fault.NotFound, "the service has no policy %q", name)
	}
	return err
}
