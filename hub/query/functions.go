package query

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// function is what the language can call. apply gets as many arguments as least and most allow.
type function struct {
	name        string
	least, most int
	apply       func(args []value) value
}

func (f function) takes() string {
	switch {
	case f.least == 1 && f.most == 1:
		return "one argument"
	case f.least == f.most:
		return strconv.Itoa(f.least) + " arguments"
	}
	return strconv.Itoa(f.least) + " to " + strconv.Itoa(f.most) + " arguments"
}

// functions is every function by name. IoT Hub: query language, functions.
var functions = []function{
	{"IS_DEFINED", 1, 1, is(func(k kind) bool { return k != undefinedKind })},
	{"IS_NULL", 1, 1, is(func(k kind) bool { return k == nullKind })},
	{"IS_BOOL", 1, 1, is(func(k kind) bool { return k == boolKind })},
	{"IS_NUMBER", 1, 1, is(func(k kind) bool { return k == numberKind })},
	{"IS_STRING", 1, 1, is(func(k kind) bool { return k == stringKind })},
	{"IS_ARRAY", 1, 1, is(func(k kind) bool { return k == arrayKind })},
	{"IS_OBJECT", 1, 1, is(func(k kind) bool { return k == objectKind })},
	{"IS_PRIMITIVE", 1, 1, is(kind.primitive)},

	{"STARTSWITH", 2, 2, strings2(func(a, b string) value { return truth(strings.HasPrefix(a, b)) })},
	{"ENDSWITH", 2, 2, strings2(func(a, b string) value { return truth(strings.HasSuffix(a, b)) })},
	{"CONTAINS", 2, 2, strings2(func(a, b string) value { return truth(strings.Contains(a, b)) })},
	{"INDEX_OF", 2, 2, strings2(indexOf)},
	{"LENGTH", 1, 1, string1(func(s string) value { return num(float64(utf8.RuneCountInString(s))) })},
	{"LOWER", 1, 1, string1(func(s string) value { return str(strings.ToLower(s)) })},
	{"UPPER", 1, 1, string1(func(s string) value { return str(strings.ToUpper(s)) })},
	{"CONCAT", 2, 32, concat},
	{"SUBSTRING", 2, 3, substring},
	{"AS_NUMBER", 1, 1, asNumber},

	{"ABS", 1, 1, number1(math.Abs)},
	{"CEILING", 1, 1, number1(math.Ceil)},
	{"FLOOR", 1, 1, number1(math.Floor)},
	{"SIGN", 1, 1, number1(sign)},
	{"SQUARE", 1, 1, number1(func(x float64) float64 { return x * x })},
	{"SQRT", 1, 1, number1(math.Sqrt)},
	{"EXP", 1, 1, number1(math.Exp)},
	{"POWER", 2, 2, func(a []value) value { return calculate(a[0], a[1], math.Pow) }},
}

// Functions returns the names of all functions. Those of tree's nodes are the same.
func Functions() []string {
	out := make([]string, len(functions))
	for i, f := range functions {
		out[i] = f.name
	}
	return out
}

// functionNamed finds a function; the documentation writes STARTS_WITH and STARTSWITH.
func functionNamed(name string) (function, bool) {
	switch name = strings.ToUpper(name); name {
	case "STARTS_WITH", "ENDS_WITH":
		name = strings.Replace(name, "_", "", 1)
	case "IS_BOOLEAN":
		name = "IS_BOOL"
	}
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
	if i < 0 {
		return function{}, false
	}
	return functions[i], true
}

func is(of func(kind) bool) func([]value) value {
	return func(a []value) value { return truth(of(a[0].kind)) }
}

func string1(f func(string) value) func([]value) value {
	return func(a []value) value {
		if a[0].kind != stringKind {
			return value{}
		}
		return f(a[0].text)
	}
}

func strings2(f func(a, b string) value) func([]value) value {
	return func(a []value) value {
		if a[0].kind != stringKind || a[1].kind != stringKind {
			return value{}
		}
		return f(a[0].text, a[1].text)
	}
}

func number1(f func(float64) float64) func([]value) value {
	return func(a []value) value { return calculate(a[0], a[0], func(x, _ float64) float64 { return f(x) }) }
}

// calculate is undefined for what is no number, and when JSON could not write the outcome.
func calculate(a, b value, f func(a, b float64) float64) value {
	if a.kind != numberKind || b.kind != numberKind {
		return value{}
	}
	n := f(a.number, b.number)
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return value{}
	}
	return num(n)
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

func indexOf(s, part string) value {
	i := strings.Index(s, part)
	if i > 0 {
		i = utf8.RuneCountInString(s[:i])
	}
	return num(float64(i))
}

// maxMade bounds a string that functions make.
const maxMade = 64 << 10

func concat(args []value) value {
	var b strings.Builder
	for _, a := range args {
		if a.kind != stringKind || b.Len()+len(a.text) > maxMade {
			return value{}
		}
		b.WriteString(a.text)
	}
	return str(b.String())
}

// substring takes a start counted from 0 and a length, both in characters.
func substring(args []value) value {
	if args[0].kind != stringKind || args[1].kind != numberKind || len(args) == 3 && args[2].kind != numberKind {
		return value{}
	}
	length := math.MaxFloat64
	if len(args) == 3 {
		length = math.Max(args[2].number, 0)
	}
	from := math.Max(args[1].number, 0)
	s, at := args[0].text, 0.0
	first, last := len(s), len(s)
	for i := range s {
		if at == math.Trunc(from) {
			first = i
		}
		if at >= math.Trunc(from)+math.Trunc(length) {
			last = i
			break
		}
		at++
	}
	return str(s[min(first, last):last])
}

// asNumber reads a string as a query's or JSON's number; properties of messages are strings.
func asNumber(args []value) value {
	switch a := args[0]; a.kind {
	case numberKind:
		return a
	case stringKind:
		n, err := strconv.ParseFloat(strings.TrimSpace(a.text), 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return value{}
		}
		return num(n)
	}
	return value{}
}
