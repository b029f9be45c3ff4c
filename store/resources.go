package store

import (
	"encoding/json"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Filter narrows a list; empty fields let everything pass.
type Filter struct{ Tenant, Scope string }

const columns = "kind, tenant, scope, name, uid, generation, meta, spec, status, created, updated"

type notes struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Insert keeps a new noun. Its metadata is stored as it is, uid, generation and times included. refersTo is the uid of the noun it
// stands on, or empty. Conflict when the identity or the uid is taken.
func (tx *Tx) Insert(o resource.Object, refersTo string) error {
	meta, spec, status, err := encode(o)
	if err != nil {
		return err
	}
	k, m := o.Head().Key(), o.Head().Metadata
	tx.nouns = true
	_, err = tx.sql.Exec("INSERT INTO resources ("+columns+", refers_to) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		string(k.Kind), k.Tenant, k.Scope, k.Name, m.UID, m.Generation, meta, spec, status, nanos(m.CreatedAt), nanos(m.UpdatedAt), refersTo)
	if fault.KindOf(err) == fault.Conflict {
		return fault.Newf("store.Insert", fault.Conflict, "%s exists already", k).Because(err)
	}
	return err
}

// Put replaces what is kept of a noun, found by its uid. Identity, creation time and reference stay. NotFound when it is gone.
func (tx *Tx) Put(o resource.Object) error {
	meta, spec, status, err := encode(o)
	if err != nil {
		return err
	}
	m := o.Head().Metadata
	tx.nouns = true
	n, err := tx.sql.Exec("UPDATE resources SET generation = ?, meta = ?, spec = ?, status = ?, updated = ? WHERE uid = ?",
		m.Generation, meta, spec, status, nanos(m.UpdatedAt), m.UID)
	if err == nil && n == 0 {
		return noSuch("store.Put", o.Head().Key())
	}
	return err
}

// PutStatus replaces only the status, without a new revision: for what no plan depends on. A noun that is gone is passed over.
func (tx *Tx) PutStatus(o resource.Object) error {
	_, _, status, err := encode(o)
	if err != nil {
		return err
	}
	_, err = tx.sql.Exec("UPDATE resources SET status = ? WHERE uid = ?", status, o.Head().Metadata.UID)
	return err
}

// Remove deletes a noun with its address, link id and key. NotFound when it is gone, Conflict when addresses stand on it.
func (tx *Tx) Remove(key resource.Key) error {
	tx.nouns = true
	n, err := tx.sql.Exec("DELETE FROM resources WHERE kind = ? AND tenant = ? AND scope = ? AND name = ?", string(key.Kind), key.Tenant, key.Scope, key.Name)
	if err == nil && n == 0 {
		return noSuch("store.Remove", key)
	}
	return err
}

// Get returns a noun, or NotFound.
func (tx *Tx) Get(key resource.Key) (resource.Object, error) {
	list, err := tx.query("kind = ? AND tenant = ? AND scope = ? AND name = ?", string(key.Kind), key.Tenant, key.Scope, key.Name)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, noSuch("store.Get", key)
	}
	return list[0], nil
}

// ByUID returns a noun, or NotFound.
func (tx *Tx) ByUID(uid string) (resource.Object, error) {
	list, err := tx.query("uid = ?", uid)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New("store.ByUID", fault.NotFound, "it was deleted")
	}
	return list[0], nil
}

// List returns the nouns of a kind by tenant, scope and name.
func (tx *Tx) List(kind resource.Kind, f Filter) ([]resource.Object, error) {
	where, args := "kind = ?", []any{string(kind)}
	if f.Tenant != "" {
		where, args = where+" AND tenant = ?", append(args, f.Tenant)
	}
	if f.Scope != "" {
		where, args = where+" AND scope = ?", append(args, f.Scope)
	}
	return tx.query(where, args...)
}

// AllBut returns every noun of every kind but one.
func (tx *Tx) AllBut(kind resource.Kind) ([]resource.Object, error) {
	return tx.query("kind <> ?", string(kind))
}

// Version names a noun and when it last changed.
type Version struct {
	Key        resource.Key
	UID        string
	Generation int64
	UpdatedAt  time.Time
}

// Versions returns the versions of the nouns of a kind, by tenant, scope and name, without reading the nouns.
func (tx *Tx) Versions(kind resource.Kind) ([]Version, error) {
	var out []Version
	err := tx.sql.Rows(func(scan func(...any) error) error {
		v := Version{Key: resource.Key{Kind: kind}}
		var updated int64
		if err := scan(&v.Key.Tenant, &v.Key.Scope, &v.Key.Name, &v.UID, &v.Generation, &updated); err != nil {
			return err
		}
		v.UpdatedAt = moment(updated)
		out = append(out, v)
		return nil
	}, "SELECT tenant, scope, name, uid, generation, updated FROM resources WHERE kind = ? ORDER BY tenant, scope, name", string(kind))
	return out, err
}

// Referring returns the nouns inserted with this uid as their reference.
func (tx *Tx) Referring(uid string) ([]resource.Object, error) {
	// The second condition is what lets SQLite use the partial index.
	return tx.query("refers_to = ? AND refers_to <> ''", uid)
}

// References returns what nouns stand on: uid to uid of what it was inserted with.
func (tx *Tx) References() (map[string]string, error) {
	out := map[string]string{}
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var uid, to string
		if err := scan(&uid, &to); err != nil {
			return err
		}
		out[uid] = to
		return nil
	}, "SELECT uid, refers_to FROM resources WHERE refers_to <> ''")
	return out, err
}

// Reference returns the uid of what a noun stands on, empty when there is none.
func (tx *Tx) Reference(uid string) (string, error) {
	var to string
	_, err := tx.sql.Row([]any{&to}, "SELECT refers_to FROM resources WHERE uid = ?", uid)
	return to, err
}

// Revision rises with each Update that wrote a noun.
func (tx *Tx) Revision() (int64, error) {
	var n int64
	_, err := tx.sql.Row([]any{&n}, "SELECT number FROM revision")
	return n, err
}

func (tx *Tx) query(where string, args ...any) ([]resource.Object, error) {
	var out []resource.Object
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var (
			key                resource.Key
			kind               string
			m                  resource.Meta
			meta, spec, status []byte
			created, updated   int64
		)
		if err := scan(&kind, &key.Tenant, &key.Scope, &key.Name, &m.UID, &m.Generation, &meta, &spec, &status, &created, &updated); err != nil {
			return err
		}
		key.Kind, m.CreatedAt, m.UpdatedAt = resource.Kind(kind), moment(created), moment(updated)
		o, err := decode(key, m, meta, spec, status)
		if err != nil {
			return err
		}
		out = append(out, o)
		return nil
	}, "SELECT "+columns+" FROM resources WHERE "+where+" ORDER BY tenant, scope, name, kind", args...)
	return out, err
}

func encode(o resource.Object) (meta, spec, status string, err error) {
	m := o.Head().Metadata
	sp, st := o.SpecAndStatus()
	var b [3][]byte
	for i, v := range []any{notes{m.Labels, m.Annotations}, sp, st} {
		if b[i], err = json.Marshal(v); err != nil {
			return "", "", "", fault.Wrap("store.encode", fault.Internal, err, "")
		}
	}
	return string(b[0]), string(b[1]), string(b[2]), nil
}

func decode(key resource.Key, m resource.Meta, meta, spec, status []byte) (resource.Object, error) {
	op := "store.decode"
	o, ok := resource.New(key.Kind)
	if !ok {
		return nil, fault.Newf(op, fault.Internal, "unknown kind %s", key.Kind)
	}
	var n notes
	sp, st := o.SpecAndStatus()
	for _, p := range []struct {
		text []byte
		into any
	}{{meta, &n}, {spec, sp}, {status, st}} {
		if err := json.Unmarshal(p.text, p.into); err != nil {
			return nil, fault.Wrap(op, fault.Internal, err, "")
		}
	}
	m.Tenant, m.Name, m.Labels, m.Annotations = key.Tenant, key.Name, n.Labels, n.Annotations
	switch s, _ := resource.ScopeOf(key.Kind); s {
	case resource.ScopeNetwork:
		m.Network = key.Scope
	case resource.ScopeZone:
		m.Zone = key.Scope
	case resource.ScopeDeployment, resource.ScopeTenant:
	}
	o.Head().Metadata = m
	return o, nil
}

func noSuch(op string, key resource.Key) error {
	return fault.Newf(op, fault.NotFound, "there is no %s", key)
}

// nanos and moment keep a time with its nanoseconds; 0 is no time. What is outside the years 1678 to 2262 becomes their end, so that
// "after" stays after.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Year() < 1678:
		return math.MinInt64
	case t.Year() >= 2262:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
