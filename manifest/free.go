package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// free reads a value of any shape, such as an event's body, into what encoding/json would make of it.
func (d *decoder) free(n *yaml.Node, path string) any {
	if n.Kind == yaml.AliasNode {
		if d.resolve++; d.resolve > maxAliasDepth {
			d.add(n, "write the value out", "%s: an alias contains itself", path)
			d.resolve--
			return nil
		}
		defer func() { d.resolve-- }()
		return d.free(n.Alias, path)
	}
	if !d.spend(n) {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		seen, out := map[string]int{}, map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if name, ok := d.key(n.Content[i], seen, path); ok {
				out[name] = d.free(n.Content[i+1], join(path, name))
			}
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, 0, min(len(n.Content), 16))
		for i, c := range n.Content {
			out = append(out, d.free(c, fmt.Sprintf("%s[%d]", path, i)))
			if d.budget < 0 {
				break
			}
		}
		return out
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		var f float64
		if n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.add(n, "put it in quotes if it is text", "%s: %s is no number that JSON has", path, short(n.Value))
		}
		return f
	case "!!str", "!!timestamp":
		return n.Value
	}
	d.add(n, "remove the tag", "%s: the tag %s is not read", path, n.Tag)
	return nil
}

// fraction reads a number that need not be whole.
func (d *decoder) fraction(n *yaml.Node, v reflect.Value, f Field, path string) {
	var x float64
	bounded := f.Minimum != 0 || f.Maximum != 0
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float":
		hint := ""
		if json.Unmarshal([]byte(n.Value), new(float64)) == nil && n.Kind == yaml.ScalarNode {
			hint = "remove the quotes"
		}
		d.add(n, hint, "%s: expected a number, found %s", path, found(n))
	case n.Decode(&x) != nil || math.IsNaN(x) || math.IsInf(x, 0):
		d.add(n, "", "%s: expected a number, found %s", path, found(n))
	case bounded && (x < float64(f.Minimum) || x > float64(f.Maximum)):
		d.add(n, "", "%s: expected a number from %d to %d, found %s", path, f.Minimum, f.Maximum, found(n))
	default:
		v.SetFloat(x)
	}
}
