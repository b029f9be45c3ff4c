package manifest

import (
	"encoding/json"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Encode writes nouns as YAML documents, fields in the order of their structs, absent and empty ones left out. What it writes,
// Parse reads; spec and the metadata people write come back the same.
func Encode(w io.Writer, objects ...resource.Object) error {
	op := "manifest.Encode"
	if len(objects) == 0 {
		return nil
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	for _, o := range objects {
		// JSON is YAML, and encoding/json already knows the order of fields and which are absent.
		b, err := json.Marshal(o)
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(b, &doc); err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		root := doc.Content[0]
		drop(root, "status")
		plain(root)
		if err := enc.Encode(root); err != nil {
			return fault.Wrap(op, fault.Unavailable, err, "the manifest cannot be written")
		}
	}
	if err := enc.Close(); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the manifest cannot be written")
	}
	return nil
}

// drop removes a field of the mapping that holds nothing.
func drop(mapping *yaml.Node, name string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name && len(mapping.Content[i+1].Content) == 0 {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return
		}
	}
}

// plain takes JSON's brackets and quotes away where YAML can do without.
func plain(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() != "!!str" {
			n.Style = 0
			return
		}
		var bare yaml.Node
		bare.SetString(n.Value)
		n.Style = bare.Style
		if n.Style == 0 && needsQuotes(n.Value) {
			n.Style = yaml.DoubleQuotedStyle
		}
	default:
		n.Style = 0
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// needsQuotes tells words that other readers of YAML take for truth values or numbers (YAML 1.1 bool, base 60), and text that a
// person would misread.
func needsQuotes(s string) bool {
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "<<", "=":
		return true
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			return true
		}
	}
	return false
}
