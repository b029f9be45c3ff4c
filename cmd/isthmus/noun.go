package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
)

// items is how lists are printed for programs.
type items[T any] struct {
	Items []T `json:"items"`
}

func itemsOf[T any](list []T) items[T] {
	if list == nil {
		list = []T{}
	}
	return items[T]{list}
}

// noun is something a service has many of, each with a name. What commands about all such things have in common is written here once.
type noun[C closer, T any] struct {
	w      *world
	word   string // "route"
	path   string // of its commands: "isthmus hub route"
	reach  reach[C]
	flags  func(*cobra.Command)                          // that all its commands have; may be nil
	list   func(C, context.Context) ([]T, error)         // these three are methods of C, and have its order
	get    func(C, context.Context, string) (T, error)   // nil: it is looked for in the list
	remove func(C, context.Context, string) (int, error) // returns how many connections were cut
	name   func(T) string
	view   func(T) any // for programs; nil for T itself
	heads  []string
	row    func(T) []cell
	show   func(T) // for people
}

func (n *noun[C, T]) begin(c *cobra.Command) access[C] {
	a := n.reach(n.w, c)
	if n.flags != nil {
		n.flags(c)
	}
	return a
}

func (n *noun[C, T]) seen(list []T) any {
	if n.view == nil {
		return itemsOf(list)
	}
	out := []any{}
	for _, t := range list {
		out = append(out, n.view(t))
	}
	return items[any]{out}
}

// newList is the command that lists all.
func (n *noun[C, T]) newList(short, long string) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "list", Short: short, Long: long, Args: cobra.NoArgs, Example: "  " + n.path + " list"}
	a := n.begin(c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = a.asking(func(c *cobra.Command, client C, _ []string) error {
		list, err := n.list(client, c.Context())
		if err != nil {
			return err
		}
		return n.printList(list, &out)
	})
	return c
}

func (n *noun[C, T]) printList(list []T, out *output) error {
	switch {
	case out.structured():
		return out.write(n.w, n.seen(list))
	case out.format == outName:
		for _, t := range list {
			n.w.printf("%s\n", harmless(n.name(t)))
		}
		return nil
	}
	var rows [][]cell
	for _, t := range list {
		rows = append(rows, n.row(t))
	}
	n.w.table(n.heads, rows)
	return nil
}

// newShow is the command that shows one.
func (n *noun[C, T]) newShow(short, example string) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show " + strings.ToUpper(n.word), Short: short, Args: cobra.ExactArgs(1), Example: "  " + n.path + " show " + example,
	}
	a := n.begin(c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = a.asking(func(c *cobra.Command, client C, args []string) error {
		t, err := n.find(c.Context(), client, args[0])
		switch {
		case err != nil:
			return err
		case out.structured() && n.view != nil:
			return out.write(n.w, n.view(t))
		case out.structured():
			return out.write(n.w, t)
		}
		n.show(t)
		return nil
	})
	return c
}

func (n *noun[C, T]) find(ctx context.Context, client C, name string) (T, error) {
	if n.get != nil {
		return n.get(client, ctx, name)
	}
	var none T
	list, err := n.list(client, ctx)
	if err != nil {
		return none, err
	}
	var names []string
	for _, t := range list {
		if n.name(t) == name {
			return t, nil
		}
		names = append(names, n.name(t))
	}
	e := fault.Newf("isthmus.show", fault.NotFound, "there is no %s %q", n.word, name)
	if near := manifest.Nearest(name, names); near != "" {
		return none, e.Advise("did you mean %q? See: %s list", near, n.path)
	}
	return none, e.Advise("see: %s list", n.path)
}

// newDelete is the command that takes some away.
func (n *noun[C, T]) newDelete(short, example string) *cobra.Command {
	c := &cobra.Command{
		Use: "delete " + strings.ToUpper(n.word) + "...", Short: short, Args: cobra.MinimumNArgs(1), Example: "  " + n.path + " delete " + example,
	}
	a := n.begin(c)
	c.ValidArgsFunction = n.complete(a, true)
	c.RunE = a.asking(func(c *cobra.Command, client C, args []string) error {
		for _, name := range args {
			cut, err := n.remove(client, c.Context(), name)
			if err != nil {
				return err
			}
			n.w.printf("%s %s deleted%s\n", n.word, harmless(name), wereCut(cut))
		}
		return nil
	})
	return c
}

// complete completes names.
func (n *noun[C, T]) complete(a access[C], several bool) cobra.CompletionFunc {
	return a.completing(several, func(ctx context.Context, client C, _ string) ([]string, error) {
		list, err := n.list(client, ctx)
		var names []string
		for _, t := range list {
			names = append(names, n.name(t))
		}
		return names, err
	})
}

// wereCut says how many connections a change ended.
func wereCut(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "; 1 connection was cut"
	}
	return "; " + itoa(n) + " connections were cut"
}

// uncounted is a removal that does not tell whom it cut.
func uncounted[C closer](remove func(C, context.Context, string) error) func(C, context.Context, string) (int, error) {
	return func(client C, ctx context.Context, name string) (int, error) { return 0, remove(client, ctx, name) }
}
