package hubstore

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
)

// Policy is a named key of a hub with what its holder may do.
type Policy struct {
	Hub          string
	Name         string
	Rights       uint32 // bits, see hub.Right
	PrimaryKey   string // base64
	SecondaryKey string
}

// EnsurePolicies adds those of the policies which the hub does not have yet, and returns all it has, by name.
func (s *Store) EnsurePolicies(ctx context.Context, hub string, wanted []Policy) ([]Policy, error) {
	out, err := s.policies(ctx, hub)
	if err != nil || has(out, wanted) {
		return out, err
	}
	err = s.Write(ctx, func(tx *Tx) error {
		for _, p := range wanted {
			if _, err := tx.sql.Exec("INSERT INTO policies (hub, name, rights, primary_key, secondary_key) VALUES (?, ?, ?, ?, ?) ON CONFLICT (hub, name) DO NOTHING",
				hub, p.Name, int64(p.Rights), p.PrimaryKey, p.SecondaryKey); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.policies(ctx, hub)
}

// SetPolicyKeys replaces both keys of a policy. NotFound when the hub has none of this name.
func (tx *Tx) SetPolicyKeys(hub, name, primary, secondary string) error {
	n, err := tx.sql.Exec("UPDATE policies SET primary_key = ?, secondary_key = ? WHERE hub = ? AND name = ?", primary, secondary, hub, name)
	if err == nil && n == 0 {
		return fault.Newf("hubstore.SetPolicyKeys", fault.NotFound, "the hub has no policy %q", name)
	}
	return err
}

func has(have, wanted []Policy) bool {
	names := map[string]bool{}
	for _, p := range have {
		names[p.Name] = true
	}
	for _, p := range wanted {
		if !names[p.Name] {
			return false
		}
	}
	return true
}

func (s *Store) policies(ctx context.Context, hub string) ([]Policy, error) {
	var out []Policy
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		p := Policy{Hub: hub}
		var rights int64
		err := scan(&p.Name, &rights, &p.PrimaryKey, &p.SecondaryKey)
		p.Rights = uint32(rights)
		out = append(out, p)
		return err
	}, "SELECT name, rights, primary_key, secondary_key FROM policies WHERE hub = ? ORDER BY name", hub)
	return out, err
}
