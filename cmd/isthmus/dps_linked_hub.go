package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func newLinkedHubs(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "linked-hub", Aliases: []string{"linked-hubs"}, Short: "Say to which hubs devices are assigned",
		Long: `Hubs of the same process and tenant are linked by themselves. One elsewhere, of another process or Azure's, is linked by the connection string of one of its policies,
which is kept and never shown again.`,
		Example: `  isthmus dps linked-hub list
  isthmus dps linked-hub add --hub-connection-file fabrikam.connection`,
	}
	n := &noun[*provisioningclient.Client, provisioningclient.LinkedHub]{
		w: w, word: "hub", path: "isthmus dps linked-hub", reach: toDPS,
		list: func(dps *provisioningclient.Client, ctx context.Context) ([]provisioningclient.LinkedHub, error) {
			s, err := dps.Service(ctx)
			return s.Hubs, err
		},
		remove: uncounted((*provisioningclient.Client).UnlinkHub), name: func(h provisioningclient.LinkedHub) string { return h.HostName },
		heads: linkedHubHeads(), row: linkedHubRow,
	}
	c.AddCommand(n.newList("List linked hubs", ""), newLinkedHubAdd(w), newLinkedHubWeight(w, n), n.newDelete("Unlink hubs; devices stay where they are", "fabrikam.azure-devices.net"))
	return c
}

func linkedHubHeads() []string { return []string{"HUB", "WEIGHT", "LINKED"} }

func linkedHubRow(h provisioningclient.LinkedHub) []cell {
	how := "by connection string"
	if h.Here {
		how = "by itself"
	}
	return cells(h.HostName, itoa(h.Weight), how)
}

func linkedHubRows(list []provisioningclient.LinkedHub) [][]cell {
	var rows [][]cell
	for _, h := range list {
		rows = append(rows, linkedHubRow(h))
	}
	return rows
}

func newLinkedHubAdd(w *world) *cobra.Command {
	var file string
	var weight int
	c := &cobra.Command{
		Use: "add --hub-connection-file FILE", Short: "Link a hub by the connection string of one of its policies", Args: cobra.NoArgs,
		Long: `Link a hub by the connection string of a policy that may read and write its registry and twins, such as iothubowner. The string comes from a file or from standard
input.`,
		Example: `  isthmus dps linked-hub add --hub-connection-file fabrikam.connection --weight 2
  isthmus hub connection-string --policy iothubowner | isthmus dps linked-hub add --hub-connection-file -`,
	}
	a := toDPS(w, c)
	c.Flags().StringVar(&file, "hub-connection-file", "", "`FILE` with the hub's connection string; - for standard input (required)")
	c.Flags().IntVar(&weight, "weight", 1, "its `SHARE` in hashed allocation, 0 to 1000; with 0 it gets only devices that name it")
	c.RunE = func(c *cobra.Command, args []string) error {
		if file == "" {
			return usagef("--hub-connection-file is missing").advise("name a file with the hub's connection string, or - for standard input")
		}
		text, err := w.secret("hub's connection string", file)
		if err != nil {
			return err
		}
		cs, err := sas.ParseConnectionString(text)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, _ []string) error {
			if err := dps.LinkHub(c.Context(), cs.HostName, text, weight); err != nil {
				return err
			}
			w.printf("hub %s linked\n", harmless(cs.HostName))
			return nil
		})(c, args)
	}
	return c
}

func newLinkedHubWeight(w *world, n *noun[*provisioningclient.Client, provisioningclient.LinkedHub]) *cobra.Command {
	c := &cobra.Command{
		Use: "weight HUB SHARE", Short: "Change a hub's share in hashed allocation", Args: cobra.ExactArgs(2), Example: "  isthmus dps linked-hub weight contoso.azure-devices.net 3",
		Long: "Change a hub's share in hashed allocation, 0 to 1000. With 0 it gets only devices whose enrollment or webhook names it. Devices that are assigned stay.",
	}
	a := toDPS(w, c)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		weight, err := strconv.Atoi(args[1])
		if err != nil {
			return usagef("%q is no number", args[1]).advise("write a number from 0 to 1000")
		}
		return a.asking(func(c *cobra.Command, dps *provisioningclient.Client, args []string) error {
			if err := dps.LinkHub(c.Context(), args[0], "", weight); err != nil {
				return err
			}
			w.printf("hub %s has weight %d\n", harmless(args[0]), weight)
			return nil
		})(c, args)
	}
	return c
}
