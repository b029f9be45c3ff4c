package main

import (
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newAccessWhy(w *world) *cobra.Command {
	var out output
	var person, id string
	var exit bool
	c := &cobra.Command{
		Use: "why TARGET | why --grant ID", Short: "Say why somebody is let into a target, or is not", Args: cobra.MaximumNArgs(1),
		Long: `Say why you are let into a target or are not: each condition in order, what is missing and what to do about it, and what the process that leads there refused
lately. Owners, approvers and auditors ask about others with --person. The exit code is 0 whatever the answer; with --exit-code it is 1 when nobody would be let in.`,
		Example: `  isthmus access why ot/plant-7/press-4-ssh
  isthmus access why ot/plant-7/press-4-ssh --person alice@example.net
  isthmus access why --grant k3yq7d5nw2vhxa4p`,
	}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&person, "person", "", "`NAME` of who is asked about, or TENANT/NAME; you when absent")
	c.Flags().StringVar(&id, "grant", "", "`ID` of the grant that is asked about")
	c.Flags().BoolVar(&exit, "exit-code", false, "exit with 1 when the person would not be let in")
	c.ValidArgsFunction = completeTarget(n)
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		path := ""
		switch {
		case len(args) == 0 && id == "":
			return usagef("neither a target nor a grant is named").advise("write isthmus access why TARGET, or --grant ID")
		case len(args) == 1 && id != "":
			return usagef("a target and a grant are two questions").advise("leave one of them out")
		case len(args) == 1:
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			key, err := parseName(resource.KindTarget, t.path(), s.tenant)
			if err != nil {
				return err
			}
			path = key.Path()
		}
		x, err := s.WhyAccess(c.Context(), path, person, id)
		if err != nil {
			return err
		}
		if out.structured() {
			err = out.write(w, x)
		} else {
			paint := w.painter()
			for _, st := range x.Steps {
				mark := paint(green, "yes")
				if !st.Holds {
					mark = paint(red, "no ")
				}
				w.printf("%s  %s", mark, harmless(st.What))
				if st.Detail != "" {
					w.printf(" (%s)", harmless(st.Detail))
				}
				w.printf("\n")
			}
			for _, r := range x.Refused {
				w.printf("%s  refused %s: %s\n", paint(yellow, " ! "), w.at(r.Opened), harmless(first(r.Words, string(r.End))))
			}
			w.printf("\n%s\n", harmless(x.Summary))
			if x.Next != "" {
				w.note("next: %s", x.Next)
			}
		}
		if err == nil && exit && !x.Open {
			err = fault.New("isthmus.access", fault.Denied, "the person would not be let in").Advise("%s", x.Next)
		}
		return err
	})
	return c
}
