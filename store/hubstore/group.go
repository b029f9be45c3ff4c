package hubstore

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// groups is the statement that counts and groups. Inside, each property it groups by becomes three columns, none ever NULL: its kind, its
// text and its number; and each aggregate two, of which the one that does not fit is NULL.
func (s *Store) groups(q *query.Query, x search, after Place, limit int) (fragment, error) {
	d, c := s.dialect(), s.compiler(q.From)
	inner, outer, key := []fragment{raw("1 AS one")}, []fragment(nil), []string(nil)
	for i, p := range q.GroupBy {
		o, err := c.property(p)
		if err != nil {
			return fragment{}, err
		}
		k := fmt.Sprintf("k%d, t%d, n%d", i, i, i)
		key = append(key, strings.Split(k, ", ")...)
		inner = append(inner, d.groupColumns(o, i))
		if d.postgres {
			k = fmt.Sprintf("k%d, t%d, n%d::text", i, i, i)
		}
		outer = append(outer, raw(k))
	}
	for i, item := range q.Items {
		a, ok := item.Value.(query.Aggregate)
		if !ok {
			continue
		}
		if a.Of == nil {
			outer = append(outer, raw("COUNT(*), ''"))
			continue
		}
		o, err := c.property(*a.Of)
		if err != nil {
			return fragment{}, err
		}
		number, text := sqlNull, sqlNull
		if n := o.isKind(aNumber); n.text != "FALSE" {
			number = o.number
		}
		if t := o.isKind(aString); t.text != "FALSE" {
			text = o.text
		}
		if d.postgres {
			inner = append(inner, sqlf(fmt.Sprintf("(@)::numeric AS an%d, (@)::text COLLATE \"C\" AS at%d", i, i), number, text))
		} else {
			inner = append(inner, sqlf(fmt.Sprintf("CAST(@ AS REAL) AS an%d, @ AS at%d", i, i), number, text))
		}
		column := fmt.Sprintf("%s(an%d)", a.Name, i)
		if d.postgres {
			column += "::text"
		}
		if a.Name == "MIN" || a.Name == "MAX" {
			column += fmt.Sprintf(", %s(at%d)", a.Name, i)
		} else {
			column += ", ''"
		}
		outer = append(outer, raw(column))
	}
	out := sqlf("SELECT @ FROM (SELECT @ @) g", commas(outer), commas(inner), x.clauses())
	if len(key) == 0 {
		return out, nil
	}
	if len(after) > 0 {
		last, err := d.groupPlace(after, len(key))
		if err != nil {
			return fragment{}, err
		}
		out = sqlf("@ WHERE ("+strings.Join(key, ", ")+") > (@)", out, last)
	}
	by := strings.Join(key, ", ")
	return sqlf("@ GROUP BY "+by+" ORDER BY "+by+" LIMIT @", out, d.bound(int64(limit))), nil
}

// groupsTwins tells whether a query groups by, or calculates with, what is in the table of twins.
func groupsTwins(q *query.Query) bool {
	for _, item := range q.Items {
		if a, ok := item.Value.(query.Aggregate); ok && a.Of != nil && ofTwin(*a.Of) {
			return true
		}
	}
	return slices.ContainsFunc(q.GroupBy, ofTwin)
}

func (d dialect) groupColumns(o operand, i int) fragment {
	kinds := []when{}
	for _, k := range []kind{aString, aNumber, aBoolean, aNull} {
		kinds = append(kinds, when{o.isKind(k), raw("'" + string(k) + "'")})
	}
	name := cases(append(kinds, when{sqlTrue, raw("'undefined'")})...)
	text := cases(when{o.isKind(aString), o.as(aString)}, when{o.isKind(aBoolean), sqlf("CASE WHEN @ THEN 'true' ELSE 'false' END", o.as(aBoolean))}, when{sqlTrue, raw("''")})
	number := cases(when{o.isKind(aNumber), o.as(aNumber)}, when{sqlTrue, raw("0")})
	if d.postgres {
		return sqlf(fmt.Sprintf("(@)::text COLLATE \"C\" AS k%d, (@)::text COLLATE \"C\" AS t%d, (@)::numeric AS n%d", i, i, i), name, text, number)
	}
	return sqlf(fmt.Sprintf("@ AS k%d, @ AS t%d, CAST(@ AS REAL) AS n%d", i, i, i), name, text, number)
}

// groupPlace binds the place after a group; every third text is a number.
func (d dialect) groupPlace(after Place, columns int) (fragment, error) {
	if len(after) != columns {
		return fragment{}, fault.New("hubstore.Query", fault.Invalid, "the continuation is of another query")
	}
	parts := make([]fragment, len(after))
	for i, k := range after {
		if parts[i] = d.bound(k); i%3 != 2 {
			continue
		}
		n, err := strconv.ParseFloat(k, 64)
		if err != nil {
			return fragment{}, fault.New("hubstore.Query", fault.Invalid, "the continuation is damaged")
		}
		parts[i] = d.bound(n)
		if d.postgres {
			parts[i].args = []any{k}
		}
	}
	return commas(parts), nil
}

// QueryGroups returns the rows of a query that counts or groups, as JSON objects, at most limit of them, and the place after the last one;
// nil when there are no more. What is undefined is left out; so is an array or an object that was grouped by.
func (s *Store) QueryGroups(ctx context.Context, hub string, q *query.Query, after Place, limit int) ([]json.RawMessage, Place, error) {
	done, err := s.turns.take(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	sql := s.db.Reading(ctx)
	x, err := s.search(sql, hub, q.From, q.Where, groupsTwins(q))
	if err != nil {
		return nil, nil, err
	}
	stmt, err := s.groups(q, x, after, limit+1)
	if err != nil {
		return nil, nil, err
	}
	aggregates := 0
	for _, item := range q.Items {
		if _, ok := item.Value.(query.Aggregate); ok {
			aggregates++
		}
	}
	var out []json.RawMessage
	var last Place
	more := false
	err = sql.Rows(func(scan func(...any) error) error {
		if more = len(out) == limit; more {
			return errEnough
		}
		columns := make([]any, 3*len(q.GroupBy)+2*aggregates)
		to := make([]any, len(columns))
		for i := range columns {
			to[i] = &columns[i]
		}
		if err := scan(to...); err != nil {
			return err
		}
		last = nil
		for _, v := range columns[:3*len(q.GroupBy)] {
			last = append(last, columnText(v))
		}
		row, err := groupRow(q, columns)
		out = append(out, row)
		return err
	}, stmt.text, stmt.args...)
	if err != nil && !more {
		return nil, nil, err
	}
	if !more {
		last = nil
	}
	return out, last, nil
}

// groupRow writes the columns of groups as the query names them.
func groupRow(q *query.Query, columns []any) (json.RawMessage, error) {
	row := []byte{'{'}
	aggregate := 3 * len(q.GroupBy)
	for _, item := range q.Items {
		var value []byte
		switch v := item.Value.(type) {
		case query.Path:
			for i, g := range q.GroupBy {
				if g.String() == v.String() {
					value = groupValue(columns[3*i : 3*i+3])
				}
			}
		case query.Aggregate:
			value = aggregateValue(v.Name, columns[aggregate:aggregate+2])
			aggregate += 2
		}
		if value == nil {
			continue
		}
		if len(row) > 1 {
			row = append(row, ',')
		}
		row = append(append(append(row, jsonText(item.Name)...), ':'), value...)
	}
	return append(row, '}'), nil
}

func groupValue(columns []any) []byte {
	switch kind(columnText(columns[0])) {
	case aString:
		return jsonText(columnText(columns[1]))
	case aNumber:
		return jsonNumber(columns[2])
	case aBoolean:
		return []byte(columnText(columns[1]))
	case aNull:
		return []byte("null")
	}
	return nil
}

func aggregateValue(name string, columns []any) []byte {
	switch {
	case columns[0] != nil:
		return jsonNumber(columns[0])
	case columns[1] != nil && (name == "MIN" || name == "MAX"):
		return jsonText(columnText(columns[1]))
	}
	return nil
}

// jsonNumber writes a number of either database; nil for what JSON cannot write.
func jsonNumber(v any) []byte {
	if n, ok := v.(int64); ok {
		return strconv.AppendInt(nil, n, 10)
	}
	n, err := strconv.ParseFloat(columnText(v), 64)
	if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
		return nil
	}
	b, _ := json.Marshal(n + 0) // which writes no minus before a zero
	return b
}

func columnText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}
