package manifest

import (
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// What messages call items of lists: spec.routes[3], "the rule berlin", and spec.rules has "berlin" twice.
var (
	itemByNumber = regexp.MustCompile(`\bspec\.([a-zA-Z]+)\[(\d{1,9})\]`)
	ruleByName   = regexp.MustCompile(`^the rules? "?([a-z0-9-]+)`)
	itemTwice    = regexp.MustCompile(`^spec\.([a-zA-Z]+) has "([^"]+)" twice`)
)

// item finds the item of a list in the spec that a message names; nil when it names none. One that is there twice is found where it
// is there again.
func item(root *yaml.Node, message string) *yaml.Node {
	if m := itemByNumber.FindStringSubmatch(message); m != nil {
		list := specList(root, m[1])
		if n, err := strconv.Atoi(m[2]); err == nil && n < len(list) {
			return list[n]
		}
		return nil
	}
	var field, name string
	if m := itemTwice.FindStringSubmatch(message); m != nil {
		field, name = m[1], m[2]
	} else if m := ruleByName.FindStringSubmatch(message); m != nil {
		field, name = "rules", m[1]
	} else {
		return nil
	}
	var last *yaml.Node
	for _, n := range specList(root, field) {
		if v := lookup(followed(n), "name"); v != nil && followed(v).Value == name {
			last = n
		}
	}
	return last
}

// specList returns the items of a list in the spec.
func specList(root *yaml.Node, field string) []*yaml.Node {
	spec := lookup(root, "spec")
	if spec == nil {
		return nil
	}
	list := lookup(followed(spec), field)
	if list == nil {
		return nil
	}
	if list = followed(list); list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

// followed is what an alias stands for. Aliases that contain themselves were found before.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
