package query

import (
	"slices"
	"strings"
)

// nested runs a part of the grammar one level deeper.
func nested[T any](p *parser, part func() (T, error)) (T, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		var none T
		return none, p.fail(p.at.at, "it is nested more than %d levels deep", MaxDepth)
	}
	return part()
}

// expression reads parts joined by OR, which binds least.
func (p *parser) expression() (Expr, error) {
	return p.joined("OR", p.conjunction, func(parts []Expr) Expr {
		return Or{flat(parts, func(x Expr) []Expr { o, _ := x.(Or); return o.Parts })}
	})
}

func (p *parser) conjunction() (Expr, error) {
	return p.joined("AND", p.negation, func(parts []Expr) Expr {
		return And{flat(parts, func(x Expr) []Expr { a, _ := x.(And); return a.Parts })}
	})
}

func (p *parser) joined(by string, part func() (Expr, error), join func([]Expr) Expr) (Expr, error) {
	var parts []Expr
	for {
		x, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, x)
		more, err := p.skip(by)
		if err != nil {
			return nil, err
		}
		if !more && len(parts) == 1 {
			return x, nil
		}
		if !more {
			return join(parts), nil
		}
	}
}

// flat takes parts of the same kind apart: (a OR b) OR c has three parts. So trees stay low however long a list of conditions is.
func flat(parts []Expr, inner func(Expr) []Expr) (out []Expr) {
	for _, x := range parts {
		if of := inner(x); of != nil {
			out = append(out, of...)
		} else {
			out = append(out, x)
		}
	}
	return out
}

func (p *parser) negation() (Expr, error) {
	not, err := p.skip("NOT")
	if err != nil {
		return nil, err
	}
	if not {
		x, err := nested(p, p.negation)
		if err != nil {
			return nil, err
		}
		return Not{x}, nil
	}
	return p.comparison()
}

var comparisons = map[string]Operator{"=": Equal, "!=": NotEqual, "<>": NotEqual, "<": Less, "<=": LessOrEqual, ">": Greater, ">=": GreaterOrEqual}

func (p *parser) comparison() (Expr, error) {
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	if op, ok := comparisons[p.at.text]; ok && p.at.sort == symbol {
		if err := p.take(); err != nil {
			return nil, err
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		if _, again := comparisons[p.at.text]; again && p.at.sort == symbol {
			return nil, p.fail(p.at.at, "a comparison cannot be compared").Advise("put it in parentheses, or join two with AND")
		}
		return Compare{op, left, right}, nil
	}
	not, err := p.skip("NOT")
	if err != nil {
		return nil, err
	}
	nin, in := p.keyword("NIN"), p.keyword("IN")
	switch {
	case nin && !not, in:
		if err := p.take(); err != nil {
			return nil, err
		}
		list, err := p.list()
		return In{left, list, nin || not}, err
	case not:
		return nil, p.expected("IN after NOT")
	}
	return left, nil
}

// list reads the array after IN. Parentheses do as well as brackets, since that is how SQL writes it.
func (p *parser) list() ([]Literal, error) {
	shut := "]"
	if p.is("(") {
		shut = ")"
	} else if p.at.sort == bracket || !p.is("[") {
		return nil, p.fail(p.at.at, "a list of values in brackets is expected after IN").Advise("write x IN ['a', 'b']; a property cannot stand there")
	}
	if err := p.take(); err != nil {
		return nil, err
	}
	var out []Literal
	for {
		x, err := p.unary()
		if err != nil {
			return nil, err
		}
		l, ok := x.(Literal)
		if !ok {
			return nil, p.fail(p.at.at, "the values of a list are strings, numbers, true, false and null").Advise("compare with a property by = and join with OR")
		}
		out = append(out, l)
		more, err := p.skip(",")
		if err != nil {
			return nil, err
		}
		if more {
			continue
		}
		return out, p.need(shut)
	}
}

func (p *parser) sum() (Expr, error) { return p.chain(p.product, Plus, Minus) }

func (p *parser) product() (Expr, error) { return p.chain(p.unary, Times, Divide, Modulo) }

// chain reads operators of one rank, which bind to the left; each makes the tree a level deeper.
func (p *parser) chain(part func() (Expr, error), ops ...Operator) (Expr, error) {
	x, err := part()
	for before := p.depth; err == nil; {
		op := Operator(p.at.text)
		if p.at.sort != symbol || !slices.Contains(ops, op) {
			p.depth = before
			return x, nil
		}
		if p.depth++; p.depth > MaxDepth {
			return nil, p.fail(p.at.at, "there are more than %d calculations in a row", MaxDepth)
		}
		if err := p.take(); err != nil {
			return nil, err
		}
		var right Expr
		if right, err = part(); err == nil {
			x = Arithmetic{op, x, right}
		}
	}
	return nil, err
}

func (p *parser) unary() (Expr, error) {
	minus, err := p.skip("-")
	if err != nil {
		return nil, err
	}
	if !minus {
		return p.operand()
	}
	x, err := nested(p, p.unary)
	if err != nil {
		return nil, err
	}
	if l, ok := x.(Literal); ok {
		if n, ok := l.Value.(float64); ok {
			return Literal{0 - n}, nil
		}
	}
	return Negative{x}, nil
}

func (p *parser) operand() (Expr, error) {
	t := p.at
	switch {
	case t.sort == text:
		return Literal{t.text}, p.take()
	case t.sort == number:
		return Literal{t.number}, p.take()
	case p.is("("):
		if err := p.take(); err != nil {
			return nil, err
		}
		x, err := nested(p, p.expression)
		if err != nil {
			return nil, err
		}
		return x, p.need(")")
	case t.sort == name && p.opensCall() && !reserved(t.text):
		return p.call()
	case p.keyword("true"), p.keyword("false"):
		return Literal{strings.EqualFold(t.text, "true")}, p.take()
	case p.keyword("null"):
		return Literal{}, p.take()
	case p.keyword("undefined"):
		return Undefined{}, p.take()
	}
	return p.path("a property, a value or a function")
}

// reserved are the words which are no names of properties where a path begins.
func reserved(word string) bool {
	return slices.ContainsFunc([]string{"AND", "OR", "NOT", "IN", "NIN", "TRUE", "FALSE", "NULL", "UNDEFINED"}, func(k string) bool { return strings.EqualFold(k, word) })
}

func (p *parser) call() (Expr, error) {
	at := p.at
	f, known := functionNamed(at.text)
	if !known {
		return nil, p.fail(at.at, "there is no function %.40s", at.text).Advise("there are %s", strings.Join(Functions(), ", "))
	}
	if err := p.take(); err != nil {
		return nil, err
	}
	if err := p.need("("); err != nil {
		return nil, err
	}
	c := Call{Name: f.name}
	for !p.is(")") {
		if len(c.Args) > 0 {
			if err := p.need(","); err != nil {
				return nil, err
			}
		}
		x, err := nested(p, p.expression)
		if err != nil {
			return nil, err
		}
		c.Args = append(c.Args, x)
	}
	if n := len(c.Args); n < f.least || n > f.most {
		return nil, p.fail(at.at, "%s takes %s, not %d", f.name, f.takes(), n)
	}
	return c, p.take()
}
