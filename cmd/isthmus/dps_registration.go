package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newRegistrations(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "registration", Aliases: []string{"registrations"}, Short: "Show what became of devices, and forget it",
		Example: `  isthmus dps registration show press-7
  isthmus dps registration list --group line-7`,
	}
	n := &noun[*provisioningclient.Client, provisioningclient.Registration]{
		w: w, word: "registration", path: "isthmus dps registration", reach: toDPS, get: (*provisioningclient.Client).Registration,
		list: func(*provisioningclient.Client, context.Context) ([]provisioningclient.Registration, error) {
			return nil, nil
		}, // only those of a group can be listed
		remove: func(dps *provisioningclient.Client, ctx context.Context, id string) (int, error) {
			return 0, dps.DeleteRegistration(ctx, id, provisioningclient.Any)
		},
		name: func(r provisioningclient.Registration) string { return r.ID }, show: w.printRegistration,
	}
	c.AddCommand(n.newShow("Show what became of a device", "press-7"), newRegistrationList(w), n.newDelete("Forget registrations: devices are as if they never registered, and stay at their hubs", "press-7"))
	return c
}

func (w *world) printRegistration(r provisioningclient.Registration) {
	status := r.Status
	if r.Substatus != "" {
		status += ", " + r.Substatus
	}
	wrong := ""
	if r.ErrorCode != 0 {
		wrong = itoa(r.ErrorCode) + " " + r.ErrorMessage
	}
	group := ""
	for _, p := range []*provisioningclient.Proof{r.X509, r.SymmetricKey} {
		if p != nil && p.GroupID != "" {
			group = p.GroupID
		}
	}
	w.pairs([2]string{"Registration", r.ID}, [2]string{"Group", group}, [2]string{"Outcome", status}, [2]string{"Hub", r.Hub}, [2]string{"Device", r.DeviceID}, [2]string{"Wrong", wrong},
		[2]string{"First", w.when(r.Created)}, [2]string{"Last", w.when(r.Updated)}, [2]string{"Payload", plainText(r.Payload)})
}

func newRegistrationList(w *world) *cobra.Command {
	var group string
	var out output
	c := &cobra.Command{
		Use: "list --group GROUP", Short: "List the devices that registered with a group", Args: cobra.NoArgs, Example: "  isthmus dps registration list --group line-7",
	}
	a := toDPS(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.Flags().StringVar(&group, "group", "", "enrollment `GROUP` (required)")
	completingFlag(c, "group", completeEnrollments(a, true))
	c.RunE = func(c *cobra.Command, args []string) error {
		if group == "" {
			return usagef("--group is missing").advise("name one of isthmus dps group list; a device with an enrollment of its own is shown by isthmus dps enrollment show")
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
			var list []provisioningclient.Registration
			var rows [][]cell
			for r, err := range dps.Registrations(c.Context(), group) {
				if err != nil {
					return err
				}
				list = append(list, r)
				if out.format == outName {
					w.printf("%s\n", harmless(r.ID))
				}
				row := cells(r.ID, r.Status, r.Hub, r.DeviceID, strings.TrimSpace(r.ErrorMessage), w.when(r.Updated))
				row[1].colour = map[string]colour{"assigned": green, "failed": red}[r.Status]
				rows = append(rows, row)
			}
			switch {
			case out.structured():
				return out.write(w, itemsOf(list))
			case out.format == outTable:
				w.table([]string{"REGISTRATION", "STATUS", "HUB", "DEVICE", "WRONG", "LAST"}, rows)
			}
			return nil
		})(c, args)
	}
	return c
}
