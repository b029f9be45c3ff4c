package store

import (
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
)

// PutGrant keeps a grant, new or changed. Plans may depend on it, so it counts as a change of the nouns.
func (tx *Tx) PutGrant(g grant.Grant) error {
	doc, err := json.Marshal(g)
	if err != nil {
		return fault.Wrap("store.PutGrant", fault.Internal, err, "")
	}
	due := g.WaitsUntil
	if g.State == grant.Approved {
		due = g.Until
	}
	tx.nouns = true
	_, err = tx.sql.Exec(`INSERT INTO grants (id, tenant, target_uid, person, home, state, requested, due, grant_doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, due = excluded.due, grant_doc = excluded.grant_doc`,
		g.ID, g.Tenant, g.TargetUID, g.Person.ID, g.Person.Tenant, string(g.State), nanos(g.RequestedAt), nanos(due), string(doc))
	return err
}

// Grant returns a grant; ok is false when there is none.
func (tx *Tx) Grant(id string) (g grant.Grant, ok bool, err error) {
	list, err := tx.grants("id = ?", id)
	if err != nil || len(list) == 0 {
		return grant.Grant{}, false, err
	}
	return list[0], true, nil
}

// GrantFilter narrows a list of grants; empty fields let everything pass.
type GrantFilter struct {
	Tenant    string // the target's
	Either    string // tenant of the target or of the person
	Person    string // uid
	TargetUID string
	Open      bool // requested or approved
	State     grant.State
	Before    time.Time // requested before
	Limit     int       // 100 when 0
}

// Grants returns grants, those requested last first.
func (tx *Tx) Grants(f GrantFilter) ([]grant.Grant, error) {
	where, args := "id <> ''", []any{}
	and := func(w string, a ...any) { where, args = where+" AND "+w, append(args, a...) }
	if f.Tenant != "" {
		and("tenant = ?", f.Tenant)
	}
	if f.Either != "" {
		and("(tenant = ? OR home = ?)", f.Either, f.Either)
	}
	if f.Person != "" {
		and("person = ?", f.Person)
	}
	if f.TargetUID != "" {
		and("target_uid = ?", f.TargetUID)
	}
	if f.Open {
		and("state IN ('Requested', 'Approved')")
	}
	if f.State != "" {
		and("state = ?", string(f.State))
	}
	if !f.Before.IsZero() {
		and("requested < ?", nanos(f.Before))
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	return tx.grants(where+" ORDER BY requested DESC, id LIMIT ?", append(args, f.Limit)...)
}

// OpenGrants returns every grant that is requested or approved.
func (tx *Tx) OpenGrants() ([]grant.Grant, error) {
	return tx.grants("state IN ('Requested', 'Approved') ORDER BY requested, id")
}

func (tx *Tx) grants(where string, args ...any) ([]grant.Grant, error) {
	var out []grant.Grant
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var doc string
		if err := scan(&doc); err != nil {
			return err
		}
		var g grant.Grant
		if err := json.Unmarshal([]byte(doc), &g); err != nil {
			return fault.Wrap("store.grants", fault.Internal, err, "a grant in the database cannot be read")
		}
		out = append(out, g)
		return nil
	}, "SELECT grant_doc FROM grants WHERE "+where, args...)
	return out, err
}
