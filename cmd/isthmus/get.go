package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

// getting is what get was asked.
type getting struct {
	w      *world
	n      *connection
	out    output
	filter client.Filter
	zone   string
	watch  bool
	every  time.Duration
}

func newGet(w *world) *cobra.Command {
	g := &getting{w: w}
	c := &cobra.Command{
		Use:   "get KIND [NAME...]",
		Short: "List resources, or show some",
		Long: `List the resources of a kind, or show those named. The tenant of a name may be left out when --tenant or the context's token says it.
What -o yaml prints can be applied again; "get all -o yaml" leaves agents, relays and the records of endpoints out, which no manifest makes.`,
		Example: `  isthmus get endpoints
  isthmus get service ot/ot-cloud/contoso -o yaml
  isthmus get agents --network plant-7 --watch
  isthmus get all --tenant ot -o name`,
		Args: cobra.MinimumNArgs(1),
	}
	g.n = addConnection(w, c)
	g.out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	c.Flags().StringVarP(&g.filter.Tenant, "tenant", "t", "", "only of this `TENANT`")
	c.Flags().StringVarP(&g.filter.Scope, "network", "n", "", "only in this `NETWORK`")
	c.Flags().StringVar(&g.zone, "zone", "", "only record sets of this `ZONE`")
	c.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on printing what changes")
	c.Flags().DurationVar(&g.every, "interval", 2*time.Second, "how often --watch looks, as a `DURATION`")
	c.ValidArgsFunction = completeNames(g.n, "all")
	c.RunE = func(c *cobra.Command, args []string) error { return g.run(c.Context(), args) }
	return c
}

func (g *getting) run(ctx context.Context, args []string) error {
	word, names := splitKind(args)
	kinds := resource.Kinds()
	if word != "all" {
		k, err := findKind(word)
		if err != nil {
			return err
		}
		kinds = []resource.Kind{k.kind}
		if err := g.checkScope(k.kind); err != nil {
			return err
		}
	} else if len(names) > 0 {
		return usagef("all takes no names").advise("isthmus get KIND NAME")
	}
	if g.watch && g.every < 100*time.Millisecond {
		return usagef("--interval %s is too short", g.every).advise("the shortest is 100ms")
	}
	s, err := g.n.open()
	if err != nil {
		return err
	}
	defer s.Close()
	objects, err := g.fetch(ctx, s, kinds, names)
	if err != nil {
		return err
	}
	if err := g.print(objects, len(names) == 1, word == "all"); err != nil || !g.watch {
		return err
	}
	return g.follow(ctx, s, kinds, names, objects)
}

// checkScope refuses a filter which means nothing for the kind, instead of listing everything.
func (g *getting) checkScope(k resource.Kind) error {
	scope, _ := resource.ScopeOf(k)
	switch {
	case g.zone != "" && scope != resource.ScopeZone:
		return usagef("a %s belongs to no zone", singular(k)).advise("leave --zone out")
	case g.filter.Scope != "" && scope != resource.ScopeNetwork:
		return usagef("a %s belongs to no network", singular(k)).advise("leave --network out")
	case g.filter.Tenant != "" && scope == resource.ScopeDeployment && k != resource.KindTenant:
		return usagef("a %s belongs to no tenant", singular(k)).advise("leave --tenant out")
	}
	return nil
}

func (g *getting) fetch(ctx context.Context, s *session, kinds []resource.Kind, names []string) ([]resource.Object, error) {
	defer s.wait()()
	var out []resource.Object
	for _, name := range names {
		key, err := parseName(kinds[0], name, first(g.filter.Tenant, s.tenant))
		if err != nil {
			return nil, err
		}
		o, err := s.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	if len(names) > 0 {
		return out, nil
	}
	for _, k := range kinds {
		f := g.filter
		scope, _ := resource.ScopeOf(k)
		switch scope {
		case resource.ScopeDeployment:
			f = client.Filter{Tenant: g.filter.Tenant}
		case resource.ScopeTenant:
			f.Scope = ""
		case resource.ScopeZone:
			f.Scope = g.zone
		case resource.ScopeNetwork:
		}
		list, err := s.List(ctx, k, f)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(list, func(a, b resource.Object) int {
			return strings.Compare(a.Head().Key().Path(), b.Head().Key().Path())
		})
		out = append(out, list...)
	}
	return out, nil
}

func (g *getting) print(objects []resource.Object, one, several bool) error {
	w := g.w
	switch {
	case g.watch && g.out.structured(): // a stream from the first line on
		for _, o := range objects {
			if err := g.event("added", o); err != nil {
				return err
			}
		}
		return nil
	case g.out.format == outYAML:
		if several {
			objects = g.written(objects)
		}
		return manifest.Encode(w.out, objects...)
	case g.out.format == outJSON && one:
		return g.out.write(w, objects[0])
	case g.out.format == outJSON:
		if objects == nil {
			objects = []resource.Object{}
		}
		return g.out.write(w, struct {
			Items []resource.Object `json:"items"`
		}{objects})
	case g.out.format == outName:
		for _, o := range objects {
			k := o.Head().Key()
			w.printf("%s/%s\n", client.Plural(k.Kind), k.Path())
		}
		return nil
	}
	if len(objects) == 0 {
		w.note("nothing found")
		return nil
	}
	for i := 0; i < len(objects); {
		kind, end := objects[i].Head().Kind, i
		for end < len(objects) && objects[end].Head().Kind == kind {
			end++
		}
		if several {
			if i > 0 {
				w.printf("\n")
			}
			w.printf("%s\n", w.painter()(dim, client.Plural(kind)))
		}
		heads, rows := w.columns(kind, objects[i:end], g.out.format == outWide)
		w.table(heads, rows)
		i = end
	}
	return nil
}

// written leaves out what no manifest makes, so that the rest can be applied elsewhere.
func (g *getting) written(objects []resource.Object) []resource.Object {
	before := len(objects)
	objects = slices.DeleteFunc(slices.Clone(objects), func(o resource.Object) bool {
		r, isRecord := o.(*resource.RecordSet)
		kind := o.Head().Kind
		return kind == resource.KindAgent || kind == resource.KindRelay || isRecord && r.Status.Endpoint != ""
	})
	if n := before - len(objects); n > 0 {
		g.w.note("left out %d that joining or an endpoint made; see them with: isthmus get all", n)
	}
	return objects
}

// splitKind reads KIND NAME... and KIND/NAME.
func splitKind(args []string) (kind string, names []string) {
	if kind, name, ok := strings.Cut(args[0], "/"); ok {
		return kind, append([]string{name}, args[1:]...)
	}
	return args[0], args[1:]
}

// completeNames completes a kind, then names of that kind.
func completeNames(n *connection, extra ...string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return append(pluralNames(), extra...), cobra.ShellCompDirectiveNoFileComp
		}
		k, err := findKind(args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string { return paths(ctx, s, k.kind) })
	}
}

func paths(ctx context.Context, s *session, k resource.Kind) []string {
	list, err := s.List(ctx, k, client.Filter{})
	if err != nil {
		return nil
	}
	var out []string
	for _, o := range list {
		out = append(out, o.Head().Key().Path())
	}
	return out
}
