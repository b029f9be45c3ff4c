package query

import (
	"encoding/json"
	"math"
	"strings"
)

// kind is the type of a value. The zero value is undefined.
type kind uint8

const (
	undefinedKind kind = iota
	nullKind
	boolKind
	numberKind
	stringKind
	arrayKind
	objectKind
)

func (k kind) primitive() bool { return k >= nullKind && k <= stringKind }

// value is what an expression comes to. It is no pointer and no interface, so that judging a message allocates nothing.
type value struct {
	kind   kind
	truth  bool
	number float64
	text   string
}

func truth(b bool) value  { return value{kind: boolKind, truth: b} }
func num(n float64) value { return value{kind: numberKind, number: n} }
func str(s string) value  { return value{kind: stringKind, text: s} }

// valueOf turns what encoding/json gives into a value; what it does not give is undefined.
func valueOf(v any) value {
	switch v := v.(type) {
	case nil:
		return value{kind: nullKind}
	case bool:
		return truth(v)
	case float64:
		return num(v)
	case string:
		return str(v)
	case []any:
		return value{kind: arrayKind}
	case map[string]any:
		return value{kind: objectKind}
	case int:
		return num(float64(v))
	case int64:
		return num(float64(v))
	case json.Number:
		if n, err := v.Float64(); err == nil && !math.IsInf(n, 0) {
			return num(n)
		}
	}
	return value{}
}

// Holds judges the condition. get returns the property at a path, as encoding/json gives it (nil, bool, float64, json.Number, string,
// []any, map[string]any), and false when there is none; it gets at least one key and must not keep or change the slice. Indexes into
// arrays are not its business.
func (c Condition) Holds(get func(path []string) (any, bool)) bool {
	if c.where == nil {
		return true
	}
	v := eval(c.where, get)
	return v.kind == boolKind && v.truth
}

// Document makes a get for Holds from a decoded JSON document. The first key is found in any case, as IoT Hub finds DeviceId.
func Document(doc map[string]any) func(path []string) (any, bool) {
	return func(path []string) (any, bool) {
		v, ok := doc[path[0]]
		if !ok {
			for k, under := range doc {
				if strings.EqualFold(k, path[0]) {
					v, ok = under, true
					break
				}
			}
		}
		for _, k := range path[1:] {
			inner, is := v.(map[string]any)
			if !is {
				return nil, false
			}
			v, ok = inner[k]
			if !ok {
				return nil, false
			}
		}
		return v, ok
	}
}

// Value returns the property at the path, and false when there is none.
func (p Path) Value(get func(path []string) (any, bool)) (any, bool) {
	v, ok := get(p.Keys)
	for _, s := range p.Rest {
		if !ok {
			return nil, false
		}
		if s.Key != "" {
			inner, _ := v.(map[string]any)
			v, ok = inner[s.Key]
		} else if list, _ := v.([]any); s.Index < len(list) {
			v = list[s.Index]
		} else {
			return nil, false
		}
	}
	return v, ok
}

func eval(x Expr, get func([]string) (any, bool)) value {
	switch x := x.(type) {
	case Literal:
		return valueOf(x.Value)
	case Path:
		v, ok := x.Value(get)
		if !ok {
			return value{}
		}
		return valueOf(v)
	case Not:
		v := eval(x.X, get)
		if v.kind != boolKind {
			return value{}
		}
		return truth(!v.truth)
	case And:
		return kleene(x.Parts, get, false)
	case Or:
		return kleene(x.Parts, get, true)
	case Compare:
		return compare(x.Op, eval(x.Left, get), eval(x.Right, get))
	case In:
		return in(eval(x.X, get), x.List, x.Not)
	case Arithmetic:
		return arithmetic(x.Op, eval(x.Left, get), eval(x.Right, get))
	case Negative:
		v := eval(x.X, get)
		return calculate(v, v, func(n, _ float64) float64 { return 0 - n })
	case Call:
		f, known := functionNamed(x.Name)
		if !known || len(x.Args) < f.least || len(x.Args) > f.most {
			return value{}
		}
		var few [3]value
		args := few[:0]
		for _, a := range x.Args {
			args = append(args, eval(a, get))
		}
		return f.apply(args)
	}
	return value{}
}

// kleene is OR when decisive is true, AND when it is false: one part of that value decides; else one that is undefined.
func kleene(parts []Expr, get func([]string) (any, bool), decisive bool) value {
	out := truth(!decisive)
	for _, p := range parts {
		v := eval(p, get)
		if v.kind != boolKind {
			out = value{}
		} else if v.truth == decisive {
			return v
		}
	}
	return out
}

func compare(op Operator, a, b value) value {
	if op == Equal || op == NotEqual {
		e := equal(a, b)
		if e.kind == boolKind && op == NotEqual {
			e.truth = !e.truth
		}
		return e
	}
	var c int
	switch {
	case a.kind == numberKind && b.kind == numberKind:
		if a.number < b.number {
			c = -1
		} else if a.number > b.number {
			c = 1
		}
	case a.kind == stringKind && b.kind == stringKind:
		c = strings.Compare(a.text, b.text)
	default:
		return value{}
	}
	switch op {
	case Less:
		return truth(c < 0)
	case LessOrEqual:
		return truth(c <= 0)
	case Greater:
		return truth(c > 0)
	case GreaterOrEqual:
		return truth(c >= 0)
	}
	return value{}
}

func equal(a, b value) value {
	switch {
	case a.kind == undefinedKind || b.kind == undefinedKind, !a.kind.primitive() && !b.kind.primitive():
		return value{}
	case a.kind != b.kind:
		return truth(false)
	case a.kind == boolKind:
		return truth(a.truth == b.truth)
	case a.kind == numberKind:
		return truth(a.number == b.number)
	case a.kind == stringKind:
		return truth(a.text == b.text)
	}
	return truth(true) // two nulls
}

func in(a value, list []Literal, not bool) value {
	if a.kind == undefinedKind {
		return value{}
	}
	for _, l := range list {
		if e := equal(a, valueOf(l.Value)); e.truth {
			return truth(!not)
		}
	}
	return truth(not)
}

func arithmetic(op Operator, a, b value) value {
	return calculate(a, b, func(a, b float64) float64 {
		switch op {
		case Plus:
			return a + b
		case Minus:
			return a - b
		case Times:
			return a * b
		case Divide:
			return a / b
		case Modulo:
			return math.Mod(a, b)
		}
		return math.NaN()
	})
}
