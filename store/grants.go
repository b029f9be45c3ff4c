package store

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

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
	unreviewed := 0
	if g.Unreviewed() {
		unreviewed = 1
	}
	tx.nouns = true
	_, err = tx.sql.Exec(`INSERT INTO grants (id, tenant, target, target_uid, person, person_name, home, asker, state, unreviewed, requested, due, grant_doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, unreviewed = excluded.unreviewed, due = excluded.due, grant_doc = excluded.grant_doc`,
		g.ID, g.Tenant, g.Target, g.TargetUID, g.Person.ID, g.Person.Name, g.Person.Tenant, g.RequestedBy.ID, string(g.State), unreviewed,
		nanos(g.RequestedAt), nanos(due), string(doc))
	return err
}

// CountGrants returns how many requests of a person wait, and how many grants are requested or approved.
func (tx *Tx) CountGrants(person string) (requested, open int, err error) {
	_, err = tx.sql.Row([]any{&requested, &open}, `SELECT COALESCE(SUM(CASE state WHEN 'Requested' THEN 1 ELSE 0 END), 0), COUNT(*)
		FROM grants WHERE person = ? AND state IN ('Requested', 'Approved')`, person)
	return requested, open, err
}

// NextDue returns when the next grant or request ends by itself; ok is false when none does.
func (tx *Tx) NextDue() (due time.Time, ok bool, err error) {
	var at int64
	ok, err = tx.sql.Row([]any{&at}, "SELECT due FROM grants WHERE state IN ('Requested', 'Approved') ORDER BY due LIMIT 1")
	return moment(at), ok, err
}

// DueGrants returns grants and requests that have ended by itself, the earliest first.
func (tx *Tx) DueGrants(now time.Time, limit int) ([]grant.Grant, error) {
	return tx.grants("state IN ('Requested', 'Approved') AND due <= ? ORDER BY due LIMIT ?", nanos(now), limit)
}

// Grant returns a grant; ok is false when there is none.
func (tx *Tx) Grant(id string) (g grant.Grant, ok bool, err error) {
	if !isText(id) {
		return grant.Grant{}, false, nil
	}
	list, err := tx.grants("id = ?", id)
	if err != nil || len(list) == 0 {
		return grant.Grant{}, false, err
	}
	return list[0], true, nil
}

// isText tells whether every database can look for it; one that cannot has nothing of that name.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

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

	Side, OrTenant string // uid of who is let in or who asked; grants of this target's tenant beside them
	Target         string // TENANT/NETWORK/NAME
	PersonName     string
	Unreviewed     bool // emergencies nobody has looked at
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
	switch {
	case f.OrTenant != "" && f.Side != "":
		and("(person = ? OR asker = ? OR tenant = ?)", f.Side, f.Side, f.OrTenant)
	case f.OrTenant != "":
		and("tenant = ?", f.OrTenant)
	case f.Side != "":
		and("(person = ? OR asker = ?)", f.Side, f.Side)
	}
	if f.Target != "" {
		and("target = ?", f.Target)
	}
	if f.PersonName != "" {
		and("person_name = ?", f.PersonName)
	}
	if f.Unreviewed {
		and("unreviewed = 1")
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
