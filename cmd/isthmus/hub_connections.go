package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubConnections(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "connections", Aliases: []string{"connection"}, Short: "List devices and modules that are connected", Args: cobra.NoArgs,
		Long:    "List devices and modules that are connected: over what, from where, since when, and when they were last heard of. LINK is that of the private endpoint they came through.",
		Example: "  isthmus hub connections",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		list, err := hub.Connections(c.Context())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		var rows [][]cell
		for _, x := range list {
			if out.format == outName {
				w.printf("%s\n", harmless(x.Device))
			}
			side := "public"
			if x.Link != 0 {
				side = strconv.FormatUint(uint64(x.Link), 10)
			}
			rows = append(rows, cells(x.Device, x.Door, x.Peer, side, w.ago(x.Since), w.ago(x.Active)))
		}
		if out.format == outTable {
			w.table([]string{"DEVICE", "OVER", "FROM", "LINK", "SINCE", "LAST ACTIVITY"}, rows)
		}
		return nil
	})
	return c
}

func newHubStatistics(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "statistics", Aliases: []string{"stats"}, Short: "Count devices", Args: cobra.NoArgs, Example: "  isthmus hub statistics",
	}
	a := toHub(w, c)
	out.addTo(c, "bars", outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		s, err := hub.Statistics(c.Context())
		switch {
		case err != nil:
			return err
		case out.structured():
			return out.write(w, s)
		}
		var list []bar
		for _, b := range []struct {
			label string
			n     int
		}{{"devices", s.Total}, {enabled, s.Enabled}, {disabled, s.Disabled}, {"connected", s.Connected}} {
			list = append(list, bar{b.label, float64(b.n), itoa(b.n)})
		}
		return w.bars(list, nil)
	})
	return c
}

func newHubList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list", Short: "List the hubs, provisioning services and namespaces of event hubs a process on this machine serves", Args: cobra.NoArgs, Example: "  isthmus hub list",
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = access[*hubclient.Client]{a.openSocket}.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		list, err := hub.Hubs(c.Context())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		var rows [][]cell
		for _, h := range list {
			if out.format == outName {
				w.printf("%s\n", harmless(h.Name))
			}
			kind, side := "hub", "closed"
			if h.Provisioning {
				kind = "provisioning"
			}
			if h.EventHubs {
				kind = "event hubs"
			}
			if h.Public {
				side = "open"
			}
			rows = append(rows, cells(h.Name, kind, strings.Join(h.HostNames, ", "), side, itoa(h.Connected), strconv.FormatInt(h.Messages, 10), strconv.FormatFloat(h.PerSecond, 'f', 1, 64)))
		}
		if out.format == outTable {
			w.table([]string{"NAME", "WHAT", "HOST NAMES", "PUBLIC SIDE", "CONNECTED", "MESSAGES", "A SECOND"}, rows)
		}
		return nil
	})
	return c
}
