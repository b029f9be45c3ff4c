package query

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// path reads a property: names after dots, ['key'] and [[key]] with or without one, [0], and {key.key} for a whole path whose keys
// have any other characters. what is expected is for the error when there is none.
func (p *parser) path(expected string) (Path, error) {
	var steps []Step
	t := p.at
	switch {
	case t.sort == name && !reserved(t.text), t.sort == bracket:
		steps = append(steps, Step{Key: t.text})
	case t.sort == brace:
		inside := strings.TrimPrefix(strings.TrimSpace(t.text), "$.")
		for key := range strings.SplitSeq(inside, ".") {
			steps = append(steps, Step{Key: key})
		}
		if slices.Contains(steps, Step{}) {
			return Path{}, p.fail(t.at, "a name between the dots is empty")
		}
	case p.is("["):
		s, err := p.inBrackets(false)
		if err != nil {
			return Path{}, err
		}
		steps = append(steps, s)
	default:
		return Path{}, p.expected(expected)
	}
	if err := p.take(); err != nil {
		return Path{}, err
	}
	for len(steps) <= MaxSteps {
		s, more, err := p.step()
		if err != nil {
			return Path{}, err
		}
		if !more {
			return pathOf(steps), nil
		}
		steps = append(steps, s)
	}
	return Path{}, p.fail(t.at, "the path has more than %d steps", MaxSteps)
}

// step reads what follows the beginning of a path, if anything does.
func (p *parser) step() (s Step, more bool, err error) {
	if p.is("(") {
		return s, false, p.fail(p.at.at, "a property cannot be called")
	}
	dot, err := p.skip(".")
	if err != nil {
		return s, false, err
	}
	switch {
	case p.is("["):
		if s, err = p.inBrackets(!dot); err != nil {
			return s, false, err
		}
	case p.at.sort == bracket, dot && p.at.sort == name:
		s.Key = p.at.text
	case dot:
		return s, false, p.expected("a name after the dot")
	default:
		return s, false, nil
	}
	return s, true, p.take()
}

// inBrackets reads up to the closing bracket, which is next when it returns.
func (p *parser) inBrackets(index bool) (s Step, err error) {
	if err := p.take(); err != nil {
		return s, err
	}
	switch n := p.at.number; {
	case p.at.sort == text && p.at.text != "":
		s.Key = p.at.text
	case p.at.sort == number && index && n == float64(int32(n)):
		s.Index = int(n)
	case index:
		return s, p.expected("a name in quotes or a whole number")
	default:
		return s, p.expected("the name of a property in quotes")
	}
	if err := p.take(); err != nil {
		return s, err
	}
	if !p.is("]") {
		return s, p.expected("]")
	}
	return s, nil
}

func pathOf(steps []Step) Path {
	var out Path
	for i, s := range steps {
		if s.Key == "" {
			out.Rest = steps[i:]
			break
		}
		out.Keys = append(out.Keys, s.Key)
	}
	return out
}

func (p Path) equal(o Path) bool { return slices.Equal(p.Keys, o.Keys) && slices.Equal(p.Rest, o.Rest) }

// withoutPrefix takes the collection's name, or the one given to it, off the beginning of every path.
func (q *Query) withoutPrefix(alias string) {
	prefixes := [][]string{strings.Split(string(q.From), "."), {"devices"}}
	if alias != "" {
		prefixes = append(prefixes, []string{alias})
	}
	*q = q.renamed(func(p Path) Path {
		for _, prefix := range prefixes {
			if n := len(prefix); len(p.Keys) > n && slices.EqualFunc(p.Keys[:n], prefix, strings.EqualFold) {
				p.Keys = p.Keys[n:]
				return p
			}
		}
		return p
	})
}

// withPrefix puts the prefix where parsing would take a key away.
func (q *Query) withPrefix() Query {
	return q.renamed(func(p Path) Path {
		if strings.EqualFold(p.Keys[0], "devices") {
			p.Keys = append([]string{"devices"}, p.Keys...)
		}
		return p
	})
}

func (q *Query) renamed(by func(Path) Path) Query {
	out := *q
	out.Items, out.GroupBy = slices.Clone(q.Items), slices.Clone(q.GroupBy)
	for i, item := range out.Items {
		switch v := item.Value.(type) {
		case Path:
			out.Items[i].Value = by(v)
		case Aggregate:
			if v.Of != nil {
				of := by(*v.Of)
				out.Items[i].Value = Aggregate{v.Name, &of}
			}
		}
	}
	for i, g := range out.GroupBy {
		out.GroupBy[i] = by(g)
	}
	if q.Where != nil {
		out.Where = rename(q.Where, by)
	}
	return out
}

// rename makes a tree with other paths.
func rename(x Expr, by func(Path) Path) Expr {
	each := func(list []Expr) []Expr {
		out := make([]Expr, len(list))
		for i, x := range list {
			out[i] = rename(x, by)
		}
		return out
	}
	switch x := x.(type) {
	case Path:
		return by(x)
	case Not:
		return Not{rename(x.X, by)}
	case And:
		return And{each(x.Parts)}
	case Or:
		return Or{each(x.Parts)}
	case Compare:
		return Compare{x.Op, rename(x.Left, by), rename(x.Right, by)}
	case In:
		return In{rename(x.X, by), x.List, x.Not}
	case Arithmetic:
		return Arithmetic{x.Op, rename(x.Left, by), rename(x.Right, by)}
	case Negative:
		return Negative{rename(x.X, by)}
	case Call:
		return Call{x.Name, each(x.Args)}
	default:
		return x
	}
}

// plain tells whether a key can stand after a dot as it is.
func plain(key string) bool {
	r, _ := utf8.DecodeRuneInString(key)
	return key != "" && begins(r) && nameLength(key, false) == len(key)
}

// ParsePath reads a property as it stands in a query.
func ParsePath(text string) (Path, error) {
	p, err := start("query.ParsePath", text)
	if err != nil {
		return Path{}, err
	}
	path, err := p.path("a property")
	if err == nil && p.at.sort != end {
		err = p.expected("the end")
	}
	return path, err
}
