package hubstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// MaxIndexes is how many properties of a hub can be indexed beside the tags: each makes a report that changes it dearer.
const MaxIndexes = 32

// indexes remembers which properties are declared, by hub, because each report of a device asks for them. Another process may declare
// one in a database that is shared, so there nothing is remembered.
type indexes struct {
	shared bool

	mu    sync.Mutex // guards the field below
	known map[string][]string
}

func (x *indexes) of(tx *Tx, hub string) ([]string, error) {
	if !x.shared {
		x.mu.Lock()
		list, ok := x.known[hub]
		x.mu.Unlock()
		if ok {
			return list, nil
		}
	}
	list, err := declared(tx.sql, hub)
	if err == nil && !x.shared {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.known == nil {
			x.known = map[string][]string{}
		}
		x.known[hub] = list
	}
	return list, err
}

// forget is called before the transaction that changes the list ends: writers come one after the other, and the next one reads it anew.
func (x *indexes) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known = nil
}

func declared(sql reader, hub string) ([]string, error) {
	var out []string
	err := sql.Rows(func(scan func(...any) error) error {
		var path string
		err := scan(&path)
		out = append(out, path)
		return err
	}, "SELECT path FROM twin_indexes WHERE hub = ? ORDER BY path", hub)
	return out, err
}

// reader is a *database.Session that reads.
type reader interface {
	Rows(each func(scan func(...any) error) error, query string, args ...any) error
	Row(dest []any, query string, args ...any) (bool, error)
}

// Indexes lists the desired and reported properties that are indexed, as properties.reported.firmware. Tags always are.
func (s *Store) Indexes(ctx context.Context, hub string) ([]string, error) {
	return declared(s.db.Reading(ctx), hub)
}

// DeclareIndex indexes a property of all twins, now and from now on. It takes a second or two for 100,000 twins, in which nobody else
// writes. Declaring again changes nothing. Faults: Invalid for what is no desired or reported property, Exhausted after MaxIndexes.
func (s *Store) DeclareIndex(ctx context.Context, hub string, p query.Path) error {
	op := "hubstore.DeclareIndex"
	path, err := indexable(op, p)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(tx *Tx) error {
		defer tx.indexes.forget()
		have, err := declared(tx.sql, hub)
		if err != nil || slices.Contains(have, path) {
			return err
		}
		if len(have) >= MaxIndexes {
			return fault.Newf(op, fault.Exhausted, "the hub has %d indexes, and no more are allowed", len(have)).Advise("drop one that no query needs")
		}
		if _, err := tx.sql.Exec("INSERT INTO twin_indexes (hub, path) VALUES (?, ?)", hub, path); err != nil {
			return err
		}
		fill := s.fillIndex(hub, path, p)
		_, err = tx.sql.Exec(fill.text, fill.args...)
		return err
	})
}

// fillIndex makes the same terms as termOf does.
func (s *Store) fillIndex(hub, path string, p query.Path) fragment {
	d := s.dialect()
	o := d.document("t."+p.Keys[1], steps(p, 2))
	kindOf := cases(when{o.is(aString), raw("'string'")}, when{o.is(aNumber), raw("'number'")}, when{o.is(aBoolean), raw("'boolean'")}, when{o.is(aNull), raw("'null'")})
	number := o.number
	if d.postgres { // which refuses to round to zero by itself
		number = sqlf("(CASE WHEN abs(@) < 2.5e-324 THEN 0 ELSE @ END)::double precision", number, number)
	}
	text := cases(when{o.is(aString), sqlf("substr(@, 1, "+strconv.Itoa(maxTerm)+")", o.as(aString))},
		when{o.is(aNumber), sqlf("substr(CAST(@ AS TEXT), 1, "+strconv.Itoa(maxTerm)+")", o.as(aNumber))},
		when{o.is(aBoolean), sqlf("CASE WHEN @ THEN 'true' ELSE 'false' END", o.as(aBoolean))}, when{sqlTrue, raw("'null'")})
	scalar := sqlf("(@ AND NOT @)", o.defined, o.isComposite())
	return sqlf("INSERT INTO twin_terms (hub, path, kind, text, number, device, module) SELECT t.hub, @, @, @, @, t.device, t.module FROM twins t WHERE t.hub = @ AND @",
		d.bound(path), kindOf, text, number, d.bound(hub), scalar)
}

// DropIndex takes an index away; dropping one that is not there changes nothing.
func (s *Store) DropIndex(ctx context.Context, hub string, p query.Path) error {
	path, err := indexable("hubstore.DropIndex", p)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(tx *Tx) error {
		defer tx.indexes.forget()
		n, err := tx.sql.Exec("DELETE FROM twin_indexes WHERE hub = ? AND path = ?", hub, path)
		if err != nil || n == 0 {
			return err
		}
		_, err = tx.sql.Exec("DELETE FROM twin_terms WHERE hub = ? AND path = ?", hub, path)
		return err
	})
}

// indexable returns the path as the index has it.
func indexable(op string, p query.Path) (string, error) {
	err := fault.Newf(op, fault.Invalid, "%.80s cannot be indexed", p)
	path := indexPath(p)
	switch {
	case len(p.Keys) > 0 && strings.EqualFold(p.Keys[0], "tags"):
		return "", fault.New(op, fault.Invalid, "tags are indexed always")
	case path == "" || !strings.HasPrefix(path, "properties."):
		return "", err.Advise("name a property, as in properties.reported.firmware")
	case strings.HasPrefix(p.Keys[2], "$"):
		return "", err.Advise("versions and times are not in the index")
	}
	return path, nil
}

// indexPath returns how the index writes the path of a leaf, empty for what it cannot have.
func indexPath(p query.Path) string {
	if len(p.Rest) > 0 {
		return ""
	}
	for _, k := range p.Keys {
		if strings.Contains(k, ".") {
			return "" // no twin has such a key
		}
	}
	keys := p.Keys
	switch {
	case len(keys) >= 2 && strings.EqualFold(keys[0], "tags"):
		return "tags." + strings.Join(keys[1:], ".")
	case len(keys) >= 3 && strings.EqualFold(keys[0], "properties") && (keys[1] == "desired" || keys[1] == "reported"):
		return "properties." + strings.Join(keys[1:], ".")
	}
	return ""
}
