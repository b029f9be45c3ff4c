package main

import (
	"fmt"

	"github.com/spf13/cobra"

	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
)

func newAccessSessions(w *world) *cobra.Command {
	var out output
	var filter client.SessionFilter
	c := &cobra.Command{
		Use: "sessions", Short: "List sessions, those opened last first", Args: cobra.NoArgs,
		Long: `List your own sessions; as an owner, approver or auditor everybody's into the targets of your tenant: who, why, approved by whom, from when to when, how many bytes each
way, and why it ended. To cut the sessions of a grant, revoke it.`,
		Example: `  isthmus access sessions --open
  isthmus access sessions --target ot/plant-7/press-4-ssh --refused -o wide`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	f := c.Flags()
	f.BoolVar(&filter.Open, "open", false, "only those that are open")
	f.BoolVar(&filter.Refused, "refused", false, "those that were refused too")
	f.StringVarP(&filter.Tenant, "tenant", "t", "", "only into targets of this `TENANT`")
	f.StringVar(&filter.Target, "target", "", "only into this target, as `TENANT/NETWORK/NAME`")
	f.StringVar(&filter.Person, "person", "", "only of the person with this `NAME`")
	f.StringVar(&filter.Grant, "grant", "", "only of the grant with this `ID`")
	f.IntVar(&filter.Limit, "limit", 100, "`HOW MANY` at most")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.Sessions(c.Context(), filter)
		if err != nil {
			return err
		}
		switch {
		case out.structured():
			if list == nil {
				list = []client.Session{}
			}
			return out.write(w, struct {
				Items []client.Session `json:"items"`
			}{list})
		case out.format == outName:
			for _, x := range list {
				w.printf("%s\n", x.ID)
			}
			return nil
		case len(list) == 0:
			w.note("no sessions")
			return nil
		}
		w.sessionTable(list, out.format == outWide)
		return nil
	})
	return c
}

func (w *world) sessionTable(list []client.Session, wide bool) {
	heads := []string{"SESSION", "WHO", "TARGET", "STATE", "OPENED", "LASTED", "SENT", "RECEIVED", "REASON"}
	if wide {
		heads = append(heads, "APPROVED BY", "LOGIN", "FROM", "TO", "GRANT", "RECORDING", "WORDS")
	}
	var rows [][]cell
	for _, x := range list {
		state := cell{string(x.End), plain}
		lasted := ""
		switch x.Phase {
		case sessions.Opened:
			state, lasted = cell{"open", green}, w.age(x.Opened)
		case sessions.Refused:
			state = cell{"refused: " + string(x.End), red}
		case sessions.Ended:
			lasted = span(x.Ended.Sub(x.Opened))
		}
		r := []cell{{text: x.ID}, {text: x.Person}, {text: x.Target}, state}
		r = append(r, cells(x.Opened.UTC().Format("2006-01-02 15:04:05"), lasted, byteWords(x.Sent), byteWords(x.Received), x.Reason)...)
		if wide {
			recording := ""
			if x.Recording {
				recording = "yes"
			}
			r = append(r, cells(listWords(x.ApprovedBy), x.Login, x.From, x.To, x.Grant, recording, x.Words)...)
		}
		rows = append(rows, r)
	}
	w.table(heads, rows)
}

// byteWords is a number of bytes as people read it: 12 B, 3.4 kB, 100.0 MB.
func byteWords(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
