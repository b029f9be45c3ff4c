package contract

import "slices"

// tree is an outgoing body whose fields do not stand where they stood.
type tree struct {
	nodes []placed
	far   map[edge]int32 // children of nodes that have many
}

// placed is a node of it: an object, an array, or a value in a buffer.
type placed struct {
	form     kind // anything: nothing yet; container: an object; number: an array; text: a value
	name     []byte
	index    int
	buf      int
	from, to int
	children []int32
}

const (
	empty  = anything
	object = container
	array  = number
	leaf   = text
)

type edge struct {
	parent int32
	name   string
	index  int
}

func (t *tree) begin() {
	if len(t.nodes) == 0 {
		t.nodes = append(t.nodes, placed{})
	}
	t.nodes[0] = placed{form: object, children: t.nodes[0].children[:0]}
	t.nodes = t.nodes[:1]
	clear(t.far)
}

func (t *tree) end() {
	if cap(t.nodes) > maxKept/128 {
		t.nodes = nil
	}
	if len(t.far) > maxKept/64 {
		t.far = nil
	}
}

const clash = " comes to stand where another field of the message is"

// place puts what stands behind from in the buffer at the rule's target.
func (t *tree) place(s *scratch, r *rule, from int) error {
	at := int32(0)
	for i := range r.target {
		name, index, form := r.target[i].name, 0, object
		if name == nil {
			p := &s.path[r.target[i].at]
			switch {
			case p.name == nil:
				index, form = p.index, array
			case p.escaped:
				name = append(appendText(nil, unescape(nil, p.name)), ':')
			default:
				name = append(append(append(make([]byte, 0, len(p.name)+3), '"'), p.name...), '"', ':')
			}
		}
		if n := &t.nodes[at]; n.form == empty {
			n.form = form
		} else if n.form != form {
			return broken(r.said + clash)
		}
		at = t.child(at, name, index)
	}
	n := &t.nodes[at]
	if n.form != empty {
		return broken(r.said + clash)
	}
	n.form, n.buf, n.from, n.to = leaf, s.nest, from, len(s.bufs[s.nest])
	return nil
}

// child finds or makes a child.
func (t *tree) child(parent int32, name []byte, index int) int32 {
	children := t.nodes[parent].children
	if len(children) <= maxLook {
		for _, c := range children {
			if n := &t.nodes[c]; n.index == index && string(n.name) == string(name) {
				return c
			}
		}
	} else if c, there := t.far[edge{parent, string(name), index}]; there {
		return c
	}
	c := int32(len(t.nodes)) // a body has fewer values than bytes
	if len(t.nodes) < cap(t.nodes) {
		t.nodes = t.nodes[:c+1]
		t.nodes[c] = placed{name: name, index: index, children: t.nodes[c].children[:0]}
	} else {
		t.nodes = append(t.nodes, placed{name: name, index: index})
	}
	children = append(children, c)
	t.nodes[parent].children = children
	switch {
	case len(children) == maxLook+1:
		if t.far == nil {
			t.far = map[edge]int32{}
		}
		for _, c := range children {
			t.far[edge{parent, string(t.nodes[c].name), t.nodes[c].index}] = c
		}
	case len(children) > maxLook:
		t.far[edge{parent, string(name), index}] = c
	}
	return c
}

// write returns the body.
func (t *tree) write(s *scratch) []byte {
	size := 2
	for i := range t.nodes {
		size += len(t.nodes[i].name) + 3 + t.nodes[i].to - t.nodes[i].from
	}
	return t.append(make([]byte, 0, size), s, 0)
}

func (t *tree) append(to []byte, s *scratch, at int32) []byte {
	n := &t.nodes[at]
	if n.form == leaf {
		return append(to, s.bufs[n.buf][n.from:n.to]...)
	}
	open, end := byte('{'), byte('}')
	if n.form == array {
		open, end = '[', ']'
		byIndex := func(a, b int32) int { return t.nodes[a].index - t.nodes[b].index }
		if !slices.IsSortedFunc(n.children, byIndex) {
			slices.SortFunc(n.children, byIndex)
		}
	}
	to = append(to, open)
	for i, c := range n.children {
		if i > 0 {
			to = append(to, ',')
		}
		to = t.append(append(to, t.nodes[c].name...), s, c)
	}
	return append(to, end)
}
