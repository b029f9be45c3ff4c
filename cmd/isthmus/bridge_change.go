package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

func newBridgeList(w *world) *cobra.Command {
	var (
		out    output
		filter client.Filter
	)
	c := &cobra.Command{
		Use: "list", Short: "List bridges: what they move where, what they wait for, and how far they are behind", Args: cobra.NoArgs,
		Example: "  isthmus bridge list\n  isthmus bridge list -o wide",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	c.Flags().StringVarP(&filter.Tenant, "tenant", "t", "", "only bridges of this `TENANT`")
	c.Flags().StringVarP(&filter.Scope, "network", "n", "", "only bridges in this `NETWORK`")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.List(c.Context(), resource.KindBridge, filter)
		if err != nil {
			return err
		}
		g := &getting{w: w, out: out}
		return g.print(list, false, false)
	})
	return c
}

func newBridgeShow(w *world) *cobra.Command {
	var (
		out    output
		tenant string
	)
	c := &cobra.Command{
		Use: "show TENANT/NETWORK/NAME", Short: "Show a bridge: what it is told to do, how it does it, and its history", Args: cobra.ExactArgs(1),
		Example: "  isthmus bridge show ot/ot-cloud/telemetry\n  isthmus bridge show ot/ot-cloud/telemetry -o yaml",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.ValidArgsFunction = completeBridges(n)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		b, err := getBridge(c.Context(), s, args[0], tenant)
		if err != nil {
			return err
		}
		if out.structured() {
			g := &getting{w: w, out: out}
			return g.print([]resource.Object{b}, true, false)
		}
		return describe(c.Context(), w, s, b)
	})
	return c
}

func newBridgePause(w *world, pause bool) *cobra.Command {
	var reason, tenant string
	word, done, short := "resume", "goes on", "Let a paused bridge go on where it stopped"
	if pause {
		word, done, short = "pause", "is paused", "Let a bridge read nothing; what it has not sent stays in its source"
	}
	c := &cobra.Command{
		Use: word + " TENANT/NETWORK/NAME", Short: short, Args: cobra.ExactArgs(1),
		Long:    sentence(short) + " It sets spec.paused; a manifest that says otherwise changes it back when it is applied.",
		Example: "  isthmus bridge " + word + ` ot/ot-cloud/telemetry --reason "maintenance of the lake"`,
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit records")
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.ValidArgsFunction = completeBridges(n)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		b, err := getBridge(c.Context(), s, args[0], tenant)
		if err != nil {
			return err
		}
		path := b.Key().Path()
		if b.Spec.Paused == pause {
			w.note("bridge %s %s already", path, map[bool]string{true: "is paused", false: "is not paused, and goes on"}[pause])
			return nil
		}
		b.Spec.Paused = pause
		changes, err := s.Apply(c.Context(), []resource.Object{b}, client.ApplyOptions{Reason: reason})
		if err != nil {
			return err
		}
		w.printf("bridge %s %s\n", path, done)
		for _, ch := range changes {
			for _, words := range ch.Warnings {
				w.note("%s", words)
			}
		}
		return nil
	})
	return c
}
