package hubstore

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/hub/query"
)

const (
	// fewEnough is how many hits of a term are worth more than a walk through all twins in their order, which ends with the page.
	fewEnough = 5000
	maxLooks  = 3   // terms that one search looks up
	maxListed = 200 // values of an IN that the index is asked for
)

// lookup is a condition that the index can narrow down: it finds all twins that meet it, and maybe more.
type lookup struct {
	path    string
	where   fragment // over the columns of x
	ordered bool     // the hits come in the order of names, and one twin's is found at once
	hits    int      // of at most fewEnough
}

// lookups finds what of a condition the index may help with: parts that must all hold.
func (d dialect) lookups(where query.Expr) []lookup {
	parts := []query.Expr{where}
	if and, ok := where.(query.And); ok {
		parts = and.Parts
	}
	var out []lookup
	for _, x := range parts {
		if l, ok := d.lookup(x); ok && l.path != "" {
			out = append(out, l)
		}
	}
	return out
}

func (d dialect) lookup(x query.Expr) (lookup, bool) {
	switch x := x.(type) {
	case query.Compare:
		p, isPath := x.Left.(query.Path)
		l, isLiteral := x.Right.(query.Literal)
		op := x.Op
		if !isPath {
			p, isPath = x.Right.(query.Path)
			l, isLiteral = x.Left.(query.Literal)
			op = map[query.Operator]query.Operator{
				query.Less: query.Greater, query.Greater: query.Less, query.LessOrEqual: query.GreaterOrEqual, query.GreaterOrEqual: query.LessOrEqual,
			}[op]
			if x.Op == query.Equal {
				op = x.Op
			}
		}
		if !isPath || !isLiteral {
			return lookup{}, false
		}
		return d.compared(indexPath(p), op, l.Value)
	case query.In:
		p, ok := x.X.(query.Path)
		if !ok || x.Not || len(x.List) > maxListed {
			return lookup{}, false
		}
		return lookup{path: indexPath(p), where: d.listed(x.List)}, true
	case query.Call:
		p, isPath := x.Args[0].(query.Path)
		if x.Name != "STARTSWITH" || !isPath {
			return lookup{}, false
		}
		l, _ := x.Args[1].(query.Literal)
		prefix, _ := l.Value.(string)
		if prefix == "" {
			return lookup{}, false
		}
		prefix = shortened(prefix, maxTerm)
		where := sqlf("x.text >= @", d.bound(prefix))
		if next := following(prefix); next != "" {
			where = sqlf("(@ AND x.text < @)", where, d.bound(next))
		}
		return lookup{path: indexPath(p), where: where}, true
	}
	return lookup{}, false
}

func (d dialect) compared(path string, op query.Operator, v any) (lookup, bool) {
	l := lookup{path: path}
	switch v := v.(type) {
	case string:
		switch op {
		case query.Equal:
			l.where, l.ordered = sqlf("x.text = @", d.bound(shortened(v, maxTerm))), true
		case query.Greater, query.GreaterOrEqual:
			l.where = sqlf("x.text >= @", d.bound(shortened(v, maxTerm)))
		case query.Less, query.LessOrEqual:
			l.where = sqlf("x.text <= @", d.bound(v)) // what was shortened is not above what it was
		}
	case float64:
		// The index has what a number is as a float64, so what is just beside the bound may be on it.
		switch op {
		case query.Equal:
			l.where = sqlf("x.number = @", d.float(v))
		case query.Greater, query.GreaterOrEqual:
			l.where = sqlf("x.number >= @", d.float(v))
		case query.Less, query.LessOrEqual:
			l.where = sqlf("x.number <= @", d.float(v))
		}
	case bool:
		if op == query.Equal {
			l.where, l.ordered = raw(map[bool]string{true: "x.text = 'true'", false: "x.text = 'false'"}[v]), true
		}
	case nil:
		if op == query.Equal {
			l.where, l.ordered = raw("x.text = 'null'"), true
		}
	}
	return l, l.where.text != ""
}

func (d dialect) float(v float64) fragment {
	return fragment{d.typed("?", "double precision"), []any{v}}
}

func (d dialect) listed(list []query.Literal) fragment {
	var texts, numbers []fragment
	for _, l := range list {
		switch v := l.Value.(type) {
		case float64:
			numbers = append(numbers, d.float(v))
		case string:
			texts = append(texts, d.bound(shortened(v, maxTerm)))
		default:
			texts = append(texts, d.bound(l.String()))
		}
	}
	switch {
	case len(numbers) == 0:
		return sqlf("x.text IN (@)", commas(texts))
	case len(texts) == 0:
		return sqlf("x.number IN (@)", commas(numbers))
	}
	return sqlf("(x.text IN (@) OR x.number IN (@))", commas(texts), commas(numbers))
}

// following returns the first text after all that begin with the prefix, empty when there is none.
func following(prefix string) string {
	for prefix != "" {
		r, n := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-n]
		switch {
		case r == 0xd7ff:
			return prefix + "\ue000"
		case r < utf8.MaxRune:
			return prefix + string(r+1)
		}
	}
	return ""
}

// useful picks the lookups that a search shall go by, the one that leads first. None means to walk through all twins.
func useful(sql reader, hub string, d dialect, where query.Expr) ([]lookup, error) {
	all := d.lookups(where)
	if len(all) == 0 {
		return nil, nil
	}
	list, err := declared(sql, hub)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l lookup) bool { return l.path[:5] != "tags." && !slices.Contains(list, l.path) })
	if len(all) == 1 && all[0].ordered {
		return all, nil
	}
	for i := range all {
		count := sqlf("SELECT COUNT(*) FROM (SELECT 1 FROM twin_terms x WHERE x.hub = @ AND x.path = @ AND @ LIMIT @) few",
			d.bound(hub), d.bound(all[i].path), all[i].where, d.bound(int64(fewEnough)))
		if _, err := sql.Row([]any{&all[i].hits}, count.text, count.args...); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b lookup) int { return cmp.Compare(a.hits, b.hits) })
	all = slices.DeleteFunc(all, func(l lookup) bool { return !l.ordered && l.hits == fewEnough })
	for i := 1; i < len(all); { // the others are looked up twin by twin
		if i < maxLooks && all[i].ordered {
			i++
		} else {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all, nil
}
