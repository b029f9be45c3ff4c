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
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return explainable(typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
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

// explainable completes kinds, and after a dot the fields below what is typed.
func explainable(typed string) []string {
	name, path, dotted := strings.Cut(typed, ".")
	if !dotted {
		return pluralNames()
	}
	k, err := findKind(name)
	if err != nil {
		return nil
	}
	f, _ := manifest.SchemaOf(k.kind)
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		at, _, _, ok := f.Find(path[:i])
		if !ok {
			return nil
		}
		f = at
	}
	stem := typed[:strings.LastIndexByte(typed, '.')+1]
	var out []string
	for _, sub := range f.Fields {
		out = append(out, stem+sub.Name)
	}
	return out
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
		w.printf("%s (%s): %s\nNamed %s; apiVersion: %s\n", k.kind, client.Plural(k.kind), sentence(k.words), shape(k.kind), resource.APIVersion)
	} else {
		at, near, known, ok := f.Find(path)
		if !ok {
			if len(known) == 0 {
				return usagef("%s has no fields", at.Name).advise("isthmus explain %s", strings.ToLower(name))
			}
			e := usagef("%s has no field %q", word[:len(name)], path)
			if near != "" {
				return e.advise("did you mean %q?", near)
			}
			return e.advise("fields of %s are %s", at.Name, strings.Join(known, ", "))
		}
		f = at
		w.printf("%s.%s  <%s>\n", k.kind, path, bounds(f))
		if f.Doc != "" {
			w.printf("    %s\n", f.Doc)
		}
		if f.Example != "" {
			w.printf("    e.g. %s: %s\n", f.Name, f.Example)
		}
	}
	if len(f.Fields) > 0 {
		w.printf("\nFields:\n")
	}
	for _, sub := range f.Fields {
		explainField(w, sub, 0)
	}
	return nil
}

// explainField prints a field and, indented, those below it.
func explainField(w *world, f manifest.Field, depth int) {
	paint := w.painter()
	indent := strings.Repeat("    ", depth+1)
	mark := ""
	switch {
	case f.ReadOnly:
		mark = ", written by Isthmus"
	case f.Required:
		mark = ", " + paint(yellow, "required")
	}
	w.printf("%s%s  <%s>%s\n", indent, paint(bold, f.Name), bounds(f), mark)
	if f.Doc != "" {
		w.printf("%s    %s\n", indent, f.Doc)
	}
	if f.Example != "" {
		w.printf("%s    e.g. %s: %s\n", indent, f.Name, f.Example)
	}
	w.printf("\n")
	for _, sub := range f.Fields {
		explainField(w, sub, depth+1)
	}
}

// bounds says what may be written.
func bounds(f manifest.Field) string {
	switch {
	case f.Enum != nil:
		return "one of " + strings.Join(f.Enum, ", ")
	case f.MaxLength > 0:
		return fmt.Sprintf("%s of at most %d bytes", f.Type, f.MaxLength)
	case f.Minimum != 0 && f.Maximum != 0:
		return fmt.Sprintf("%s from %d to %d", f.Type, f.Minimum, f.Maximum)
	}
	return f.Type
}
