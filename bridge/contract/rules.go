package contract

import (
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const star = "*"

// rule is one listed field.
type rule struct {
	index    int
	said     string // its path as the contract has it, for words
	path, to []string
	target   []step
	identity bool   // it keeps its path
	local    []byte // the name it gets, as JSON with a colon, when only the last name of its path changes
	drop     bool
	hash     bool
	required bool
	checks
}

// step is one name of a target path.
type step struct {
	name []byte // as JSON with a colon; nil for a *
	at   int    // of a *: which part of the source path it takes over
}

// node is a place in the tree of listed paths.
type node struct {
	names map[string]*node
	few   []branch // the same, while they are few
	star  *node
	rule  *rule
	each  []int // required rules for which this node is the last * before their end: each value here must have them
}

type branch struct {
	name string
	node *node
}

// maxFew is up to how many names a look from one to the next is quicker than a map.
const maxFew = 8

func (n *node) child(name []byte) *node {
	if n.names != nil {
		return n.names[string(name)]
	}
	for i := range n.few {
		if n.few[i].name == string(name) {
			return n.few[i].node
		}
	}
	return nil
}

func (n *node) grow(name string) *node {
	if name == star {
		if n.star == nil {
			n.star = &node{}
		}
		return n.star
	}
	if c := n.child([]byte(name)); c != nil {
		return c
	}
	c := &node{}
	n.few = append(n.few, branch{name, c})
	if len(n.few) > maxFew {
		if n.names == nil {
			n.names = map[string]*node{}
		}
		for _, b := range n.few {
			n.names[b.name] = b.node
		}
	}
	return c
}

// compileFields makes the tree of a message's fields.
func (m *messageType) compileFields(list []resource.ContractField) error {
	stars, moved, local := false, false, false
	for i := range list {
		f := &list[i]
		r := &rule{index: i, said: f.Path, path: strings.Split(f.Path, "."), drop: f.Drop, hash: f.Hash, required: f.Required}
		if err := r.compile(f); err != nil {
			return at(m.name+": ", err)
		}
		to := f.Path
		if f.Rename != "" {
			to = f.Rename
		}
		if err := r.aim(strings.Split(to, ".")); err != nil {
			return at(m.name+": ", err)
		}
		stars = stars || slices.Contains(r.path, star)
		local = local || r.local != nil
		moved = moved || !r.identity && r.local == nil
		m.rules = append(m.rules, r)
		if m.root == nil {
			m.root = &node{}
		}
		n, last := m.root, (*node)(nil)
		for j, name := range r.path {
			n = n.grow(name)
			if name == star && j < len(r.path)-1 {
				last = n
			}
		}
		if n.rule != nil {
			return fault.Newf("contract.Compile", fault.Invalid, "%s lists %s twice", m.name, r.said).Advise("a field has one rule")
		}
		n.rule = r
		if r.required && last != nil {
			last.each = append(last.each, i)
		}
	}
	m.stream = !moved && !(local && stars)
	return m.contradictions()
}

// inside tells whether a path is one, or begins with it.
func inside(path, of []string) bool { return len(path) >= len(of) && slices.Equal(path[:len(of)], of) }

// contradictions refuses texts of which no event could keep both halves. resource.Contract refuses most when a contract is made; a plan
// may be older than that.
func (m *messageType) contradictions() error {
	for _, r := range m.rules {
		for _, o := range m.rules {
			switch {
			case r == o || r.drop:
			case inside(o.path, r.path) && (r.hash || r.scalar()):
				return fault.Newf("contract.Compile", fault.Invalid, "%s contradicts itself: %s is one value, and %s is inside it", m.name, r.said, o.said).
					Advise("take one of the two out")
			case !o.drop && inside(o.to, r.to) && !(r.identity && o.identity && len(o.to) > len(r.to)):
				return fault.Newf("contract.Compile", fault.Invalid, "%s contradicts itself: %s comes to stand where %s does", m.name, o.said, r.said).
					Advise("give it a path of its own")
			case inside(o.path, r.path) && r.local != nil:
				m.stream = false // what is inside it does not move with it
			}
		}
	}
	return nil
}

// aim says where the field goes.
func (r *rule) aim(to []string) error {
	r.to = to
	var stars []int
	for i, name := range r.path {
		if name == star {
			stars = append(stars, i)
		}
	}
	for _, name := range to {
		if name != star {
			r.target = append(r.target, step{name: append(appendText(nil, name), ':')})
			continue
		}
		if len(stars) == 0 {
			break
		}
		r.target = append(r.target, step{at: stars[0]})
		stars = stars[1:]
	}
	if len(stars) > 0 || len(r.target) != len(to) {
		return fault.Newf("contract.Compile", fault.Invalid, "%s cannot become %s", r.said, strings.Join(to, ".")).
			Advise("a new path has as many * as the old one")
	}
	r.identity = slices.Equal(r.path, to)
	last := len(to) - 1
	if !r.identity && len(to) == len(r.path) && slices.Equal(r.path[:last], to[:last]) && to[last] != star && r.path[last] != star {
		r.local = r.target[last].name
	}
	return nil
}

// pick returns the rule for a value at which several places of the tree have arrived, the most particular first.
func pick(at []*node) *rule {
	var best *rule
	for _, n := range at {
		switch r := n.rule; {
		case r == nil:
		case best == nil:
			best = r
		case best.drop || !r.drop && (best.hash || !r.hash):
		case !covers(best, r): // neither is the more particular one: the stricter holds
			best = r
		}
	}
	return best
}

// covers tells whether a is the more particular of two rules that fit one value: wherever b has a name, a has it too.
func covers(a, b *rule) bool {
	for i, name := range b.path {
		if name != star && a.path[i] == star {
			return false
		}
	}
	return true
}
