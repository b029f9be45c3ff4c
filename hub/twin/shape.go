package twin

import (
	"strconv"
	"strings"
)

// total is the size of a value as the limits count it.
func (n *node) total() int {
	size := n.size
	for i := range n.kids {
		size += len(n.kids[i].key) + n.kids[i].total()
	}
	return size
}

// appendTo writes the value as JSON.
func (n *node) appendTo(out []byte) []byte {
	if !n.isObject() {
		return append(out, n.text...)
	}
	out = append(out, '{')
	out = n.appendKids(out, true)
	return append(out, '}')
}

// appendKids writes the members of an object; first says that nothing stands before them.
func (n *node) appendKids(out []byte, first bool) []byte {
	for i := range n.kids {
		if i > 0 || !first {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, n.kids[i].key), ':')
		out = n.kids[i].appendTo(out)
	}
	return out
}

// slab is where nodes are made many at a time.
type slab struct{ all, free []node }

// take returns n nodes with no room behind them. What they hold is left from before.
func (s *slab) take(n int) []node {
	if len(s.free) < n {
		s.all = make([]node, max(2*len(s.all), n, 16))
		s.free = s.all
	}
	out := s.free[:n:n]
	s.free = s.free[n:]
	return out
}

// reset gives all nodes back.
func (s *slab) reset() { s.free = s.all }

// stamped returns the value as it is when it is written where nothing was: without the nulls of its objects (RFC 7396).
func (n *node) stamped(s *slab, at, version int64) node {
	out := node{key: n.key, text: n.text, size: n.size, at: at, version: version}
	if !n.isObject() {
		return out
	}
	out.kids = s.take(len(n.kids))[:0]
	for i := range n.kids {
		if !n.kids[i].isNull() {
			out.kids = append(out.kids, n.kids[i].stamped(s, at, version))
		}
	}
	return out
}

// merged returns the object old as patch, an object, makes it (RFC 7396). Neither is changed.
func merged(s *slab, old, patch *node, at, version int64) node {
	out := node{key: old.key, at: at, version: version, kids: s.take(len(old.kids) + len(patch.kids))[:0]}
	i := 0
	for j := range patch.kids {
		p := &patch.kids[j]
		for i < len(old.kids) && old.kids[i].key < p.key {
			out.kids = append(out.kids, old.kids[i])
			i++
		}
		var was *node
		if i < len(old.kids) && old.kids[i].key == p.key {
			was = &old.kids[i]
			i++
		}
		switch {
		case p.isNull():
		case was != nil && was.isObject() && p.isObject():
			out.kids = append(out.kids, merged(s, was, p, at, version))
		default:
			out.kids = append(out.kids, p.stamped(s, at, version))
		}
	}
	out.kids = append(out.kids, old.kids[i:]...)
	return out
}

// Metadata is kept without keys, since it has the shape of the text it belongs to, whose keys are sorted: of a value that is no object
// [at,version], of an object [at,version,kid,...], and 0 where a value and all below it are as old as the object around it. Twins are
// mostly written whole and then changed in few places, so this is short.

// uniform tells whether all below an object is as old as it is.
func (n *node) uniform() bool {
	for i := range n.kids {
		if k := &n.kids[i]; k.at != n.at || k.version != n.version || !k.uniform() {
			return false
		}
	}
	return true
}

func (n *node) appendMeta(out []byte, around *node) []byte {
	same := around != nil && n.at == around.at && n.version == around.version
	whole := n.uniform()
	if same && whole {
		return append(out, '0')
	}
	out = strconv.AppendInt(append(out, '['), n.at, 10)
	out = strconv.AppendInt(append(out, ','), n.version, 10)
	if !whole {
		for i := range n.kids {
			out = n.kids[i].appendMeta(append(out, ','), n)
		}
	}
	return append(out, ']')
}

// age gives a value read from its text the times that meta tells, and returns the rest of meta. Metadata of another shape gives what
// the object around it has: someone has edited the database, and times are not worth refusing a twin for.
func (n *node) age(meta string, around *node) string {
	n.at, n.version = around.at, around.version
	if !strings.HasPrefix(meta, "[") {
		for i := range n.kids {
			n.kids[i].age("", n)
		}
		return strings.TrimPrefix(meta, "0")
	}
	n.at, meta = digits(meta[1:])
	n.version, meta = digits(strings.TrimPrefix(meta, ","))
	for i := range n.kids {
		below, ok := strings.CutPrefix(meta, ",")
		if below = n.kids[i].age(below, n); ok {
			meta = below
		}
	}
	return strings.TrimPrefix(meta, "]")
}

func digits(s string) (v int64, rest string) {
	i := 0
	for i < len(s) && i < 19 && s[i] >= '0' && s[i] <= '9' {
		v = v*10 + int64(s[i]-'0')
		i++
	}
	return v, s[i:]
}
