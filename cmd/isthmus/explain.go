package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

func newExplain(w *world) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [KIND[.FIELD...]]",
		Short: "Say what a kind or a field is for",
		Long:  "Say what a kind or one of its fields is for, what may be written there and what is required. Without a kind, list the kinds. Needs no server.",
		Example: `  isthmus explain
  isthmus explain endpoint
  isthmus explain service.spec.ports`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pluralNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				explainAll(w)
				return nil
			}
			return explain(w, args[0])
		},
	}
}

func pluralNames() []string {
	var out []string
	for _, k := range kindTable() {
		out = append(out, client.Plural(k.kind))
	}
	return out
}

func explainAll(w *world) {
	var rows [][]cell
	for _, k := range kindTable() {
		rows = append(rows, cells(client.Plural(k.kind), strings.Join(k.short, ","), string(k.kind), shape(k.kind), k.words))
	}
	w.table([]string{"NAME", "SHORT", "KIND", "WRITTEN AS", "WHAT IT IS"}, rows)
}

func explain(w *world, word string) error {
	name, path, _ := strings.Cut(word, ".")
	k, err := findKind(name)
	if err != nil {
		return err
	}
	f, _ := manifest.SchemaOf(k.kind)
	if path == "" {
		w.printf("%s (%s): %s.\n\n", k.kind, client.Plural(k.kind), k.words)
		w.printf("Named %s. apiVersion: %s\n", shape(k.kind), resource.APIVersion)
	} else {
		at, near, known, ok := f.Find(path)
		if !ok {
			if known == nil || len(known) == 0 {
				return usagef("%s has no fields", at.Name).advise("isthmus explain %s", strings.ToLower(name))
			}
			e := usagef("%s has no field %q", word[:len(name)], path)
			if near != "" {
				return e.advise("did you mean %q?", near)
			}
			return e.advise("fields of %s are %s", at.Name, strings.Join(known, ", "))
		}
		f = at
		w.printf("%s.%s: %s\n\n", k.kind, path, describeField(f))
	}
	for _, sub := range f.Fields {
		explainField(w, sub, 0)
	}
	return nil
}

// explainField prints a field and, indented, those below it.
func explainField(w *world, f manifest.Field, depth int) {
	indent := strings.Repeat("  ", depth)
	mark := ""
	switch {
	case f.ReadOnly:
		mark = " (written by Isthmus)"
	case f.Required:
		mark = " (required)"
	}
	w.printf("\n%s%s%s: %s\n", indent, f.Name, mark, describeField(f))
	for _, sub := range f.Fields {
		explainField(w, sub, depth+1)
	}
}

// describeField says type, bounds, purpose and example in one line.
func describeField(f manifest.Field) string {
	s := f.Type
	switch {
	case f.Enum != nil:
		s = "one of " + strings.Join(f.Enum, ", ")
	case f.MaxLength > 0:
		s += fmt.Sprintf(" of at most %d bytes", f.MaxLength)
	case f.Minimum != 0 && f.Maximum != 0:
		s += fmt.Sprintf(" from %d to %d", f.Minimum, f.Maximum)
	}
	if f.Doc != "" {
		s += "; " + f.Doc
	}
	if f.Example != "" {
		s += "; for example " + f.Example
	}
	return s
}
