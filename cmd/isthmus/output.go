package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	outTable = "table"
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
	outName  = "name"
)

// output is the -o flag. Its value is checked while flags are read.
type output struct {
	format string
	allow  []string
}

func (o *output) addTo(c *cobra.Command, allow ...string) {
	o.format, o.allow = allow[0], allow
	c.Flags().VarP(o, "output", "o", "how to print: "+strings.Join(allow, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allow, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// String, Set and Type make it a pflag.Value.
func (o *output) String() string { return o.format }

func (o *output) Set(s string) error {
	if !slices.Contains(o.allow, s) {
		return usagef("it is one of %s", strings.Join(o.allow, ", "))
	}
	o.format = s
	return nil
}

func (o *output) Type() string { return "FORMAT" }

// structured tells whether a program will read it.
func (o *output) structured() bool { return o.format == outJSON || o.format == outYAML }

// write prints any value as JSON or as YAML with the same names.
func (o *output) write(w *world, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.Wrap("isthmus.write", fault.Internal, err, "")
	}
	if o.format == outJSON {
		w.printJSON(b)
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(escaped(b), &doc); err != nil {
		return fault.Wrap("isthmus.write", fault.Internal, err, "")
	}
	block(&doc)
	enc := yaml.NewEncoder(w.out)
	enc.SetIndent(2)
	return fault.Wrap("isthmus.write", fault.Internal, enc.Encode(&doc), "")
}

// printJSON prints a document with a new line behind it.
func (w *world) printJSON(b []byte) { w.printf("%s\n", escaped(b)) }

// escaped writes the control characters that JSON lets stand in strings as escapes, which mean the same to a program and nothing to a
// terminal: what devices report is in such documents.
func escaped(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0x7f:
			out = append(out, `\u007f`...)
		case c == 0xc2 && i+1 < len(b) && b[i+1] < 0xa0: // U+0080 to U+009F
			i++
			out = fmt.Appendf(out, `\u%04x`, b[i])
		default:
			out = append(out, c)
		}
	}
	return out
}

// block turns JSON's flow style into block style.
func block(n *yaml.Node) {
	n.Style = 0
	if len(n.Content) == 0 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		block(c)
	}
}
