package query

import (
	"fmt"
	"strconv"
	"strings"
)

// String writes the query so that Parse reads the same tree again.
func (q *Query) String() string {
	q, b := new(q.withPrefix()), &strings.Builder{}
	b.WriteString("SELECT ")
	if q.Top > 0 {
		fmt.Fprintf(b, "TOP %d ", q.Top)
	}
	if len(q.Items) == 0 {
		b.WriteString("*")
	}
	for i, item := range q.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "%s AS %s", String(item.Value), quote(item.Name))
	}
	b.WriteString(" FROM " + string(q.From))
	if q.Where != nil {
		b.WriteString(" WHERE " + String(q.Where))
	}
	for i, g := range q.GroupBy {
		if i == 0 {
			b.WriteString(" GROUP BY ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(g.String())
	}
	return b.String()
}

// String writes the condition, "*" when it holds always.
func (c Condition) String() string {
	if c.where == nil {
		return "*"
	}
	return String(c.where)
}

// String writes a tree as text.
func String(x Expr) string {
	b := &strings.Builder{}
	write(b, x, rankOr)
	return b.String()
}

// String writes the path as it stands in a query.
func (p Path) String() string {
	b := &strings.Builder{}
	for i, k := range p.Keys {
		switch {
		case !plain(k) || i == 0 && reserved(k):
			b.WriteString("[" + quote(k) + "]")
		case i > 0:
			b.WriteString("." + k)
		default:
			b.WriteString(k)
		}
	}
	for _, s := range p.Rest {
		if s.Key == "" {
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		} else {
			b.WriteString("[" + quote(s.Key) + "]")
		}
	}
	return b.String()
}

// Ranks of what stands in an expression, from what binds least.
const (
	rankOr = iota
	rankAnd
	rankNot
	rankCompare
	rankSum
	rankProduct
	rankUnary
)

// write writes x, in parentheses when it binds less than its place needs.
func write(b *strings.Builder, x Expr, place int) {
	rank := rankOf(x)
	if rank < place {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch x := x.(type) {
	case Path:
		b.WriteString(x.String())
	case Literal:
		b.WriteString(x.String())
	case Undefined:
		b.WriteString("undefined")
	case Not:
		b.WriteString("NOT ")
		write(b, x.X, rankNot)
	case And:
		list(b, x.Parts, " AND ", rankNot)
	case Or:
		list(b, x.Parts, " OR ", rankAnd)
	case Compare:
		write(b, x.Left, rankSum)
		b.WriteString(" " + string(x.Op) + " ")
		write(b, x.Right, rankSum)
	case In:
		write(b, x.X, rankSum)
		b.WriteString(map[bool]string{false: " IN [", true: " NIN ["}[x.Not])
		for i, l := range x.List {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(l.String())
		}
		b.WriteByte(']')
	case Arithmetic:
		write(b, x.Left, rank)
		b.WriteString(" " + string(x.Op) + " ")
		write(b, x.Right, rank+1)
	case Negative:
		b.WriteByte('-')
		write(b, x.X, rankUnary)
	case Call:
		b.WriteString(x.Name + "(")
		list(b, x.Args, ", ", rankOr)
		b.WriteByte(')')
	case Aggregate:
		b.WriteString(x.Name + "(")
		if x.Of != nil {
			b.WriteString(x.Of.String())
		}
		b.WriteByte(')')
	}
}

func list(b *strings.Builder, of []Expr, between string, place int) {
	for i, x := range of {
		if i > 0 {
			b.WriteString(between)
		}
		write(b, x, place)
	}
}

func rankOf(x Expr) int {
	switch x := x.(type) {
	case Or:
		return rankOr
	case And:
		return rankAnd
	case Not:
		return rankNot
	case Compare, In:
		return rankCompare
	case Arithmetic:
		if x.Op == Plus || x.Op == Minus {
			return rankSum
		}
		return rankProduct
	}
	return rankUnary
}

// String writes the value as it stands in a query.
func (l Literal) String() string {
	switch v := l.Value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return quote(v)
	}
	return "null"
}

// quote writes a string literal. Control characters are escaped so that a query stays one line.
func quote(s string) string {
	b := &strings.Builder{}
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20:
			fmt.Fprintf(b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
