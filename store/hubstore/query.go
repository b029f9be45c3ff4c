package hubstore

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// Place is where a page of results ended: the key of its last row. It says nothing without the query it belongs to.
type Place []string

// Found is an identity with its twin, which a query found.
type Found struct {
	Device Device
	Twin   Twin
}

// maxPage bounds the documents of one page, in bytes; a page that reaches it is shorter than was asked for.
const maxPage = 4 << 20

func (s *Store) dialect() dialect { return dialect{s.db.Postgres()} }

func (s *Store) compiler(from query.Collection) *compiler {
	d := s.dialect()
	c := &compiler{dialect: d, property: d.jobProperty}
	if from != query.Jobs {
		c.property = func(p query.Path) (operand, error) {
			c.twins = c.twins || ofTwin(p)
			return d.twinProperty(p, from == query.Modules)
		}
	}
	return c
}

// search is a statement without what it selects: FROM and WHERE, and the columns that its rows are ordered and continued by.
type search struct {
	from  string
	where []fragment
	key   []string
}

func (x search) clauses() fragment {
	return sqlf("FROM "+x.from+" WHERE @", joined("AND", x.where))
}

// page is the statement for the rows after a place.
func (x search) page(d dialect, columns fragment, after Place, limit int) (fragment, error) {
	where := x.where
	if len(after) > 0 {
		if len(after) != len(x.key) {
			return fragment{}, fault.New("hubstore.Query", fault.Invalid, "the continuation is of another query")
		}
		last := make([]fragment, len(after))
		for i, k := range after {
			last[i] = d.bound(k)
		}
		where = append(where[:len(where):len(where)], sqlf("("+strings.Join(x.key, ", ")+") > (@)", commas(last)))
	}
	return sqlf("SELECT @ @ ORDER BY "+strings.Join(x.key, ", ")+" LIMIT @", columns, search{x.from, where, nil}.clauses(), d.bound(int64(limit))), nil
}

// search compiles a condition over a collection. twins says that columns of twins are selected, whatever the condition is.
func (s *Store) search(sql reader, hub string, from query.Collection, where query.Expr, twins bool) (search, error) {
	d, conditions := s.dialect(), []fragment(nil)
	if where != nil {
		c := s.compiler(from)
		f, err := c.condition(where, true)
		twins = twins || c.twins
		if err != nil {
			return search{}, err
		}
		conditions = append(conditions, d.asTruth(f))
	}
	if from == query.Jobs {
		return search{"job_devices j", append([]fragment{sqlf("j.hub = @", d.bound(hub))}, conditions...), []string{"j.job", "j.device", "j.module"}}, nil
	}
	looks, err := useful(sql, hub, d, where)
	if err != nil {
		return search{}, err
	}
	out := search{from: "identities i JOIN twins t ON t.hub = i.hub AND t.device = i.device AND t.module = i.module", key: []string{"i.device", "i.module"}}
	if !twins {
		out.from = "identities i"
	}
	lead := "i"
	if len(looks) > 0 {
		// CROSS JOIN keeps SQLite to this order; it knows less of the terms than was counted here. OFFSET keeps PostgreSQL from making
		// joins of the other terms, for which it would have to guess how many there are.
		out.from, lead = "twin_terms x CROSS JOIN identities i CROSS JOIN twins t", "x"
		for i, l := range looks {
			own := sqlf("x.hub = @ AND x.path = @ AND @", d.bound(hub), d.bound(l.path), l.where)
			if i > 0 {
				other := fragment{strings.ReplaceAll(own.text, "x.", "y."), own.args}
				own = sqlf("EXISTS (SELECT 1 FROM twin_terms y WHERE @ AND y.device = x.device AND y.module = x.module LIMIT 1 OFFSET 0)", other)
			}
			out.where = append(out.where, own)
		}
		out.where = append(out.where, raw("i.hub = x.hub AND i.device = x.device AND i.module = x.module AND t.hub = x.hub AND t.device = x.device AND t.module = x.module"))
		out.key = []string{"x.device", "x.module"}
	} else {
		out.where = append(out.where, sqlf("i.hub = @", d.bound(hub)))
	}
	if from == query.Modules {
		out.where = append(out.where, raw(lead+".module > ''"))
	} else {
		out.where = append(out.where, raw(lead+".module = ''"))
		out.key = out.key[:1]
	}
	out.where = append(out.where, conditions...)
	return out, nil
}

// foundColumns are what a Found is scanned from.
func foundColumns() fragment {
	return raw("i." + strings.ReplaceAll(deviceColumns, ", ", ", i.") + ", " + strings.ReplaceAll(twinColumns, "twins.", "t."))
}

// errEnough ends a page before its limit.
var errEnough = fault.New("hubstore.Query", fault.Exhausted, "the page is full")

// QueryTwins returns the twins a query finds, FROM devices or devices.modules, in the order of their names, at most limit of them, and the
// place after the last one; nil when there are no more. What is selected of them is the caller's business. Faults: Invalid when a
// condition cannot be searched for.
func (s *Store) QueryTwins(ctx context.Context, hub string, q *query.Query, after Place, limit int) ([]Found, Place, error) {
	done, err := s.turns.take(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	sql := s.db.Reading(ctx)
	x, err := s.search(sql, hub, q.From, q.Where, true)
	if err != nil {
		return nil, nil, err
	}
	stmt, err := x.page(s.dialect(), foundColumns(), after, limit+1)
	if err != nil {
		return nil, nil, err
	}
	var out []Found
	size, more := 0, false
	err = sql.Rows(func(scan func(...any) error) error {
		if more = len(out) == limit || size > maxPage; more {
			return errEnough
		}
		var f Found
		var changed int64
		d, err := scanDevice(func(to ...any) error { return scan(append(to, f.Twin.into(&changed)...)...) })
		f.Device, f.Twin.Changed = d, at(changed)
		size += len(f.Twin.Tags) + len(f.Twin.Desired.Text) + len(f.Twin.Reported.Text)
		out = append(out, f)
		return err
	}, stmt.text, stmt.args...)
	if err != nil && !more {
		return nil, nil, err
	}
	if !more {
		return out, nil, nil
	}
	last := out[len(out)-1].Device
	return out, Place{last.ID, last.Module}[:len(x.key)], nil
}

// maxNames is how many QueryNames reads at a time.
const maxNames = 1000

// QueryNames calls each with the name of every identity for which the condition holds, in their order, until it fails.
func (s *Store) QueryNames(ctx context.Context, hub string, c query.Condition, modules bool, each func(Name) error) error {
	from := query.Devices
	if modules {
		from = query.Modules
	}
	for after := (Place)(nil); ; {
		page, last, err := s.namesPage(ctx, hub, from, c, after) // read first: each may write, and take its time
		if err != nil {
			return err
		}
		for _, n := range page {
			if err := each(n); err != nil {
				return err
			}
		}
		if after = last; len(page) < maxNames {
			return nil
		}
	}
}

// namesPage reads the names after a place, and where they end.
func (s *Store) namesPage(ctx context.Context, hub string, from query.Collection, c query.Condition, after Place) ([]Name, Place, error) {
	done, err := s.turns.take(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	sql := s.db.Reading(ctx)
	x, err := s.search(sql, hub, from, c.Expr(), false)
	if err != nil {
		return nil, nil, err
	}
	stmt, err := x.page(s.dialect(), raw("i.device, i.module"), after, maxNames)
	if err != nil {
		return nil, nil, err
	}
	var page []Name
	if err := sql.Rows(func(scan func(...any) error) error {
		var n Name
		err := scan(&n.Device, &n.Module)
		page = append(page, n)
		return err
	}, stmt.text, stmt.args...); err != nil || len(page) == 0 {
		return nil, nil, err
	}
	last := page[len(page)-1]
	return page, Place{last.Device, last.Module}[:len(x.key)], nil
}

// QueryPlan returns the SQL of a query's first page, and how the database goes about it.
func (s *Store) QueryPlan(ctx context.Context, hub string, q *query.Query) (statement, plan string, err error) {
	sql := s.db.Reading(ctx)
	x, err := s.search(sql, hub, q.From, q.Where, !q.Aggregates() || groupsTwins(q))
	if err != nil {
		return "", "", err
	}
	var stmt fragment
	switch {
	case q.Aggregates():
		stmt, err = s.groups(q, x, nil, 101)
	case q.From == query.Jobs:
		stmt, err = x.page(s.dialect(), raw(jobRowColumns), nil, 101)
	default:
		stmt, err = x.page(s.dialect(), foundColumns(), nil, 101)
	}
	if err != nil {
		return "", "", err
	}
	explain, columns := "EXPLAIN QUERY PLAN ", 4
	if s.dialect().postgres {
		explain, columns = "EXPLAIN ", 1
	}
	depth := map[int]int{}
	err = sql.Rows(func(scan func(...any) error) error {
		var id, parent, unused int
		var line string
		to := []any{&id, &parent, &unused, &line}
		if err := scan(to[4-columns:]...); err != nil {
			return err
		}
		depth[id] = depth[parent] + 1
		if columns == 1 {
			depth[id] = 1
		}
		plan += strings.Repeat("  ", depth[id]-1) + line + "\n"
		return nil
	}, explain+stmt.text, stmt.args...)
	return stmt.text, plan, err
}
