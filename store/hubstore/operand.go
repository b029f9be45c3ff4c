package hubstore

import (
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/hub/query"
)

// kind is the type of a value as JSON calls it. The names are those of PostgreSQL's json_typeof.
type kind string

const (
	aNull    kind = "null"
	aBoolean kind = "boolean"
	aNumber  kind = "number"
	aString  kind = "string"
	anArray  kind = "array"
	anObject kind = "object"
	anyKind  kind = "" // the row decides
	noKind   kind = "undefined"
)

// operand is a value in SQL. Fragments that stand for a value are NULL in a row in which the operand is undefined or of another kind.
type operand struct {
	kind    kind     // what it is where it is defined
	defined fragment // TRUE or FALSE in every row
	is      func(kind) fragment
	text    fragment // of a string
	number  fragment // of a number
	truth   fragment // of a truth value

	// bare are the same without looking whether it is of that kind, where the row decides; as says when they are right.
	bareText, bareNumber, bareTruth fragment

	// condition says that truth is the whole of it and may be long, so that it may be written once only.
	condition bool
}

// isKind is TRUE in the rows in which the operand is of the kind, FALSE in others.
func (o operand) isKind(k kind) fragment {
	switch o.kind {
	case anyKind:
		return o.is(k)
	case k:
		return o.defined
	}
	return sqlFalse
}

// as is the value in those rows in which the operand is of the kind; in others nobody may look at it.
func (o operand) as(k kind) fragment {
	switch {
	case k == aString && o.kind == anyKind:
		return o.bareText
	case k == aString:
		return o.text
	case k == aNumber && o.kind == anyKind:
		return o.bareNumber
	case k == aNumber:
		return o.number
	case k == aBoolean && o.kind == anyKind:
		return o.bareTruth
	case k == aBoolean:
		return o.truth
	}
	return sqlTrue // one null is like the other
}

// guarded fills in the values that look first.
func (o operand) guarded() operand {
	o.text = cases(when{o.is(aString), o.bareText})
	o.number = cases(when{o.is(aNumber), o.bareNumber})
	o.truth = cases(when{o.is(aBoolean), o.bareTruth})
	return o
}

// isComposite is TRUE for arrays and objects.
func (o operand) isComposite() fragment {
	switch o.kind {
	case anyKind:
		return sqlf("(@ OR @)", o.is(anArray), o.is(anObject))
	case anArray, anObject:
		return o.defined
	}
	return sqlFalse
}

var undefined = operand{kind: noKind, defined: sqlFalse}

// dialect writes what SQLite and PostgreSQL write differently.
type dialect struct{ postgres bool }

// bound is a parameter with its type, which PostgreSQL must know.
func (d dialect) bound(v any) fragment {
	switch v := v.(type) {
	case string:
		return fragment{d.typed("?", "text"), []any{v}}
	case float64:
		if d.postgres {
			// numeric, because that is what the digits of a document become without loss and without a range to be left.
			return fragment{"?::numeric", []any{strconv.FormatFloat(v, 'g', -1, 64)}}
		}
		return fragment{"?", []any{v}}
	case bool:
		if v {
			return sqlTrue
		}
		return sqlFalse
	case int64:
		return fragment{d.typed("?", "bigint"), []any{v}}
	}
	return sqlNull
}

func (d dialect) typed(x, is string) string {
	if d.postgres {
		return x + "::" + is
	}
	return x
}

// constant is a literal.
func (d dialect) constant(v any) operand {
	o := operand{defined: sqlTrue}
	switch v.(type) {
	case nil:
		o.kind = aNull
	case bool:
		o.kind, o.truth = aBoolean, d.bound(v)
	case float64:
		o.kind, o.number = aNumber, d.bound(v)
	case string:
		o.kind, o.text = aString, d.bound(v)
	}
	return o
}

// column is a column, or a subquery, of one kind. It is undefined where sometimes is not TRUE.
func column(k kind, value, sometimes fragment) operand {
	o := operand{kind: k, defined: sometimes}
	if sometimes.text != "TRUE" {
		value = cases(when{sometimes, value})
	}
	switch k {
	case aString:
		o.text = value
	case aNumber:
		o.number = value
	case aBoolean:
		o.truth = value
	}
	return o
}

// document is a property of a column of JSON, or the whole of it.
func (d dialect) document(of string, steps []query.Step) operand {
	if d.postgres {
		return d.postgresDocument(of, steps)
	}
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range steps {
		if s.Key == "" {
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		} else {
			// SQLite reads a key in quotes as JSON reads a string.
			b.WriteString("." + string(jsonText(s.Key)))
		}
	}
	path := fragment{"?", []any{b.String()}}
	typeOf := sqlf("json_type("+of+", @)", path)
	value := sqlf("json_extract("+of+", @)", path)
	return operand{
		kind:    anyKind,
		defined: sqlf("@ IS NOT NULL", typeOf),
		is: func(k kind) fragment {
			switch k {
			case aString:
				return sqlf("@ IS 'text'", typeOf)
			case aNumber:
				return sqlf("COALESCE(@ IN ('integer', 'real'), FALSE)", typeOf)
			case aBoolean:
				return sqlf("COALESCE(@ IN ('true', 'false'), FALSE)", typeOf)
			}
			return sqlf("@ IS '"+string(k)+"'", typeOf)
		},
		bareText: value, bareNumber: value, bareTruth: sqlf("(@ = 1)", value),
	}.guarded()
}

func (d dialect) postgresDocument(of string, steps []query.Step) operand {
	value, text := raw(of), raw("")
	for i, s := range steps {
		step := raw(strconv.Itoa(s.Index))
		if s.Key != "" {
			step = fragment{"?::text", []any{s.Key}}
		}
		if i == len(steps)-1 {
			text = sqlf("@ ->> @", value, step)
		}
		value = sqlf("@ -> @", value, step)
	}
	if len(steps) == 0 {
		text = sqlNull // the whole document is an object
	}
	value, text = sqlf("(@)", value), sqlf("(@)", text)
	typeOf := sqlf("json_typeof@", value)
	return operand{
		kind:     anyKind,
		defined:  sqlf("@ IS NOT NULL", value),
		is:       func(k kind) fragment { return sqlf("COALESCE(@ = '"+string(k)+"', FALSE)", typeOf) },
		bareText: text, bareNumber: sqlf("@::numeric", text), bareTruth: sqlf("@::boolean", text),
	}.guarded()
}

// time is a column of milliseconds, shown as the hub shows times.
func (d dialect) time(of string) operand {
	moment := "strftime('%Y-%m-%dT%H:%M:%f', " + of + " / 1000.0, 'unixepoch')"
	if d.postgres {
		moment = "to_char(to_timestamp(" + of + " / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS')"
	}
	return column(aString, raw("CASE WHEN "+of+" = 0 THEN '0001-01-01T00:00:00' ELSE "+moment+" || '0000Z' END"), sqlTrue)
}

// bytewise makes PostgreSQL compare texts as SQLite does, and as the language says.
func (d dialect) bytewise(x fragment) fragment {
	if d.postgres {
		return sqlf(`(@) COLLATE "C"`, x)
	}
	return x
}
