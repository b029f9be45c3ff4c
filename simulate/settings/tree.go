package settings

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/simulate/loosejson"
	"github.com/isthmus-io/isthmus/simulate/template"
)

// node is a setting, or a group of them, by name without regard to case. Elements of an array are named 0, 1, ..
type node struct {
	key      string // as written
	text     string
	set      bool   // has a text of its own
	from     string // who set it: "the environment", "--ramp", a file's name
	children map[string]*node
}

// at finds a descendant by "a:b:c"; it returns an empty node when there is none.
func (n *node) at(path string) *node {
	for key := range strings.SplitSeq(path, ":") {
		child := n.children[strings.ToLower(key)]
		if child == nil {
			return &node{key: key}
		}
		n = child
	}
	return n
}

// make finds a descendant by path and makes what is missing on the way.
func (n *node) make(path string) *node {
	for key := range strings.SplitSeq(path, ":") {
		child := n.children[strings.ToLower(key)]
		if child == nil {
			child = &node{key: key}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[strings.ToLower(key)] = child
		}
		n = child
	}
	return n
}

func (n *node) put(text, from string) { n.text, n.set, n.from = text, true, from }

// exists tells whether the setting was made in any form.
func (n *node) exists() bool { return n.set || len(n.children) > 0 }

// origin is who set the node or the first of its children.
func (n *node) origin() string {
	if n.from != "" {
		return n.from
	}
	for _, c := range n.sorted() {
		if from := c.origin(); from != "" {
			return from
		}
	}
	return ""
}

// sorted lists the children, numbers first and by size, then names.
func (n *node) sorted() []*node {
	out := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *node) int {
		x, err1 := strconv.Atoi(a.key)
		y, err2 := strconv.Atoi(b.key)
		switch {
		case err1 == nil && err2 == nil:
			return cmp.Compare(x, y)
		case err1 == nil:
			return -1
		case err2 == nil:
			return 1
		}
		return cmp.Compare(strings.ToLower(a.key), strings.ToLower(b.key))
	})
	return out
}

// take lays a JSON value over the node: what both have is the value's, the rest stays.
func (n *node) take(v loosejson.Value, from string, number func(string) string) {
	switch v.Kind {
	case loosejson.Array, loosejson.Object:
		for i, m := range v.Members {
			name := m.Name
			if v.Kind == loosejson.Array {
				name = strconv.Itoa(i)
			}
			n.make(name).take(m.Value, from, number)
		}
	case loosejson.Bool: // as .NET writes them, which a template shows
		n.put(strings.ToUpper(v.Text[:1])+v.Text[1:], from)
	case loosejson.Number:
		n.put(number(v.Text), from)
	default:
		n.put(v.Text, from)
	}
}

// asWritten keeps numbers of a file.
func asWritten(text string) string { return text }

// asDotNet rewrites fractions of a JSON text in the environment, which are read as numbers before they are shown.
func asDotNet(text string) string {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return string(template.AppendFloat(nil, f))
}

// flat turns a group into one JSON object of texts; what stands deeper has its parent's name before its own. That is what the telemetry
// simulator makes of a payload written as JSON in its file.
func (n *node) flat() string {
	v := loosejson.Value{Kind: loosejson.Object}
	var walk func(n *node, prefix string)
	walk = func(n *node, prefix string) {
		for _, c := range n.sorted() {
			if !c.set {
				walk(c, c.key+":")
				continue
			}
			v.Members = append(v.Members, loosejson.Member{Name: prefix + c.key, Value: loosejson.Value{Kind: loosejson.String, Text: c.text}})
		}
	}
	walk(n, "")
	return string(v.Append(nil))
}
