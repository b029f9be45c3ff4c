package hubstore

import (
	"encoding/json"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// compiler turns trees of the query language into SQL. What is true, false and undefined there is TRUE, FALSE and NULL here, whose AND, OR
// and NOT are the same.
type compiler struct {
	dialect
	property func(p query.Path) (operand, error)
	twins    bool // a property is in the table of twins
}

func jsonText(s string) []byte {
	b, _ := json.Marshal(s) // a string always can be
	return b
}

// condition compiles a tree whose outcome is a truth value. Where loose, undefined may become false: there the two lead to the same.
func (c *compiler) condition(x query.Expr, loose bool) (fragment, error) {
	switch x := x.(type) {
	case query.And:
		return c.conditions("AND", x.Parts, loose)
	case query.Or:
		return c.conditions("OR", x.Parts, loose)
	case query.Not:
		inner, err := c.condition(x.X, false)
		return sqlf("NOT @", c.asTruth(inner)), err
	case query.Compare:
		return c.compare(x, loose)
	case query.In:
		return c.in(x, loose && !x.Not)
	case query.Call:
		return c.predicate(x)
	}
	o, err := c.operand(x)
	if err != nil {
		return fragment{}, err
	}
	if o.kind != anyKind && o.kind != aBoolean {
		return sqlNull, nil
	}
	return o.truth, nil
}

func (c *compiler) conditions(by string, list []query.Expr, loose bool) (fragment, error) {
	parts := make([]fragment, len(list))
	for i, x := range list {
		f, err := c.condition(x, loose)
		if err != nil {
			return fragment{}, err
		}
		parts[i] = c.asTruth(f)
	}
	return joined(by, parts), nil
}

// operand compiles what is compared.
func (c *compiler) operand(x query.Expr) (operand, error) {
	switch x := x.(type) {
	case query.Path:
		return c.property(x)
	case query.Literal:
		return c.constant(x.Value), nil
	case query.Undefined:
		return undefined, nil
	case query.Call:
		if x.Name == "LENGTH" {
			return c.length(x)
		}
	case query.Arithmetic, query.Negative:
		return operand{}, refused(x, "calculations").Advise("a property whose name has a minus is written in brackets, as in tags.['my-key']")
	}
	f, err := c.condition(x, false)
	truth := c.asTruth(f)
	return operand{kind: aBoolean, defined: sqlf("@ IS NOT NULL", truth), truth: truth, condition: true}, err
}

// asTruth says that a condition is one, which it does not when it is nothing but NULL.
func (d dialect) asTruth(f fragment) fragment { return sqlf(d.typed("(@)", "boolean"), f) }

func refused(x query.Expr, what string) *fault.Error {
	return fault.Newf("hubstore.Query", fault.Invalid, "%s are not for queries over twins and jobs: %.80s", what, query.String(x))
}

func (c *compiler) compare(x query.Compare, loose bool) (fragment, error) {
	a, err := c.operand(x.Left)
	if err != nil {
		return fragment{}, err
	}
	b, err := c.operand(x.Right)
	if err != nil {
		return fragment{}, err
	}
	switch x.Op {
	case query.Equal:
		return c.equal(a, b, loose), nil
	case query.NotEqual:
		return sqlf("NOT @", c.asTruth(c.equal(a, b, false))), nil
	}
	op := " " + string(x.Op) + " "
	return cases(
		when{and(a.isKind(aNumber), b.isKind(aNumber)), sqlf("@"+op+"@", a.as(aNumber), b.as(aNumber))},
		when{and(a.isKind(aString), b.isKind(aString)), sqlf("@"+op+"@", c.bytewise(a.as(aString)), c.bytewise(b.as(aString)))},
	), nil
}

func (c *compiler) equal(a, b operand, loose bool) fragment {
	if b.kind != anyKind && a.kind == anyKind || b.condition {
		a, b = b, a
	}
	different := when{and(a.defined, b.defined), sqlFalse}
	if loose {
		different.if_ = sqlFalse
	}
	switch {
	case a.kind == noKind || b.kind == noKind:
		return sqlNull
	case a.condition && b.condition:
		return sqlf("@ = @", a.truth, b.truth)
	case a.condition:
		// Each of the two ways needs the condition itself not once more.
		is := func(truth fragment) fragment {
			return cases(when{b.isKind(aBoolean), sqlf("@ = @", b.as(aBoolean), truth)}, when{b.defined, sqlFalse})
		}
		return sqlf("CASE @ WHEN TRUE THEN @ WHEN FALSE THEN @ END", a.truth, is(sqlTrue), is(sqlFalse))
	case a.kind == anObject || a.kind == anArray:
		return cases(when{b.isComposite(), sqlNull}, different)
	case a.kind == anyKind:
		branches := []when{{sqlf("@ AND @", a.isComposite(), b.isComposite()), sqlNull}}
		for _, k := range []kind{aString, aNumber, aBoolean, aNull} {
			branches = append(branches, when{and(a.isKind(k), b.isKind(k)), same(k, a, b)})
		}
		return cases(append(branches, different)...)
	}
	return cases(when{and(a.defined, b.isKind(a.kind)), same(a.kind, a, b)}, different)
}

// same compares two that are of one kind.
func same(k kind, a, b operand) fragment {
	if k == aNull {
		return sqlTrue
	}
	return sqlf("@ = @", a.as(k), b.as(k))
}

func (c *compiler) in(x query.In, loose bool) (fragment, error) {
	o, err := c.operand(x.X)
	if err != nil {
		return fragment{}, err
	}
	var texts, numbers []fragment
	truths := map[bool]bool{}
	isNull := false
	for _, l := range x.List {
		switch v := l.Value.(type) {
		case nil:
			isNull = true
		case bool:
			truths[v] = true
		case float64:
			numbers = append(numbers, c.bound(v))
		case string:
			texts = append(texts, c.bound(v))
		}
	}
	var out fragment
	if o.condition {
		out = sqlf("CASE @ WHEN TRUE THEN @ WHEN FALSE THEN @ END", o.truth, c.bound(truths[true]), c.bound(truths[false]))
	} else {
		var branches []when
		if len(texts) > 0 {
			branches = append(branches, when{o.isKind(aString), sqlf("@ IN (@)", o.as(aString), commas(texts))})
		}
		if len(numbers) > 0 {
			branches = append(branches, when{o.isKind(aNumber), sqlf("@ IN (@)", o.as(aNumber), commas(numbers))})
		}
		if len(truths) == 2 {
			branches = append(branches, when{o.isKind(aBoolean), sqlTrue})
		} else if len(truths) == 1 {
			branches = append(branches, when{o.isKind(aBoolean), sqlf("@ = @", o.as(aBoolean), c.bound(truths[true]))})
		}
		if isNull {
			branches = append(branches, when{o.isKind(aNull), sqlTrue})
		}
		if !loose {
			branches = append(branches, when{o.defined, sqlFalse})
		}
		out = cases(branches...)
	}
	if x.Not {
		out = sqlf("NOT @", c.asTruth(out))
	}
	return out, nil
}

// predicate compiles the functions whose outcome is a truth value.
func (c *compiler) predicate(x query.Call) (fragment, error) {
	args := make([]operand, len(x.Args))
	for i, a := range x.Args {
		if err := simple(x, a, "STARTSWITH", "ENDSWITH", "CONTAINS"); err != nil {
			return fragment{}, err
		}
		o, err := c.operand(a)
		if err != nil {
			return fragment{}, err
		}
		args[i] = o
	}
	is := map[string]kind{"IS_NULL": aNull, "IS_BOOL": aBoolean, "IS_NUMBER": aNumber, "IS_STRING": aString, "IS_ARRAY": anArray, "IS_OBJECT": anObject}
	switch x.Name {
	case "IS_DEFINED":
		return args[0].defined, nil
	case "IS_PRIMITIVE":
		return and(args[0].defined, sqlf("NOT @", args[0].isComposite())), nil
	case "STARTSWITH", "ENDSWITH", "CONTAINS":
		both := and(args[0].isKind(aString), args[1].isKind(aString))
		return cases(when{both, c.textual(x.Name, args[0].as(aString), args[1].as(aString))}), nil
	case "LENGTH":
		return sqlNull, nil // a number is no truth value
	}
	if k, ok := is[x.Name]; ok {
		return args[0].isKind(k), nil
	}
	return fragment{}, refused(x, "functions that calculate").
		Advise("there are IS_DEFINED, the other IS_ functions, STARTSWITH, ENDSWITH, CONTAINS and LENGTH; the rest is for routes")
}

// simple keeps what functions are given short, because it is written more than once.
func simple(call query.Call, arg query.Expr, names ...string) error {
	switch arg.(type) {
	case query.Path, query.Literal, query.Undefined:
		return nil
	}
	for _, n := range names {
		if call.Name == n {
			return refused(call, "functions of anything but properties and values")
		}
	}
	return nil
}

func (c *compiler) textual(name string, s, part fragment) fragment {
	switch {
	case name == "CONTAINS" && c.postgres:
		return sqlf("strpos(@, @) > 0", s, part)
	case name == "CONTAINS":
		return sqlf("instr(@, @) > 0", s, part)
	case name == "STARTSWITH" && c.postgres:
		return sqlf("starts_with(@, @)", s, part)
	case name == "STARTSWITH":
		return sqlf("substr(@, 1, length(@)) = @", s, part, part)
	case c.postgres:
		return sqlf("right(@, length(@)) = @", s, part, part)
	}
	return sqlf("(@ = '' OR substr(@, -length(@)) = @)", part, s, part, part)
}

func (c *compiler) length(x query.Call) (operand, error) {
	if err := simple(x, x.Args[0], "LENGTH"); err != nil {
		return operand{}, err
	}
	o, err := c.operand(x.Args[0])
	if err != nil {
		return operand{}, err
	}
	return column(aNumber, sqlf("length(@)", o.as(aString)), o.isKind(aString)), nil
}
