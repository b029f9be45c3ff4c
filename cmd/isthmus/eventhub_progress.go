package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
)

func newEventHubGroup(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "consumer-group", Aliases: []string{"consumer-groups"}, Short: "Give readers names under which they go on",
		Long: "A consumer group is a name under which readers of an event hub keep how far they have come; each group sees every event. $Default is always there.",
		Example: `  isthmus eventhub consumer-group create telemetry alerts
  isthmus eventhub consumer-group list telemetry`,
	}
	c.AddCommand(newEventHubGroupCreate(w), newEventHubGroupList(w), newEventHubGroupDelete(w))
	return c
}

func newEventHubGroupCreate(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "create EVENTHUB GROUP...", Short: "Create consumer groups", Args: cobra.MinimumNArgs(2), Example: "  isthmus eventhub consumer-group create telemetry alerts",
	}
	a := toEventHubs(w, c)
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
		for _, name := range args[1:] {
			if _, err := ns.CreateGroup(c.Context(), args[0], name); err != nil {
				return err
			}
			w.printf("group %s created\n", harmless(name))
		}
		return nil
	})
	return c
}

func newEventHubGroupList(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "list EVENTHUB", Short: "List the consumer groups of an event hub", Args: cobra.ExactArgs(1), Example: "  isthmus eventhub consumer-group list telemetry",
	}
	a := toEventHubs(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
		list, err := ns.Groups(c.Context(), args[0])
		if err != nil || out.structured() {
			return w.orWrite(&out, itemsOf(list), err)
		}
		var rows [][]cell
		for _, g := range list {
			if out.format == outName {
				w.printf("%s\n", harmless(g.Name))
			}
			rows = append(rows, cells(g.Name, yesNo(g.Declared), w.at(g.Created)))
		}
		if out.format == outTable {
			w.table([]string{"GROUP", "DECLARED", "CREATED"}, rows)
		}
		return nil
	})
	return c
}

func newEventHubGroupDelete(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "delete EVENTHUB GROUP...", Short: "Delete consumer groups with their checkpoints", Args: cobra.MinimumNArgs(2), Example: "  isthmus eventhub consumer-group delete telemetry alerts",
	}
	a := toEventHubs(w, c)
	c.ValidArgsFunction = completeGroups(a, true)
	c.RunE = a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
		for _, name := range args[1:] {
			if err := ns.DeleteGroup(c.Context(), args[0], name); err != nil {
				return err
			}
			w.printf("group %s deleted\n", harmless(name))
		}
		return nil
	})
	return c
}

func newEventHubCheckpoint(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "checkpoint", Aliases: []string{"checkpoints"}, Short: "See how far readers have come, and send them elsewhere",
		Long: `A checkpoint says which event of a partition a consumer group wants next. Processors of the Event Hubs SDKs write them here when they are given the checkpoint store of
Isthmus, and "isthmus eventhub events --group" does.`,
		Example: `  isthmus eventhub checkpoint list telemetry
  isthmus eventhub checkpoint set telemetry alerts 0=120 1=98`,
	}
	c.AddCommand(newCheckpointList(w), newCheckpointSet(w))
	return c
}

// checkpointView is a checkpoint with what else is known of its partition.
type checkpointView struct {
	Group string `json:"group"`
	eventhubclient.Checkpoint
	Reader string `json:"reader,omitempty"` // who owns the partition now
}

func newCheckpointList(w *world) *cobra.Command {
	var group string
	var out output
	c := &cobra.Command{
		Use: "list EVENTHUB", Short: "List how far consumer groups have come, and which processors read for them", Args: cobra.ExactArgs(1),
		Long: `List how far consumer groups of an event hub have come, by partition: which event is wanted next, how many wait, and which processor owns the partition. Partitions
a group never came to are not there.`,
		Example: "  isthmus eventhub checkpoint list telemetry --group alerts",
	}
	a := toEventHubs(w, c)
	c.Flags().StringVar(&group, "group", "", "only this consumer `GROUP`")
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
		groups := []eventhubclient.Group{{Name: group}}
		var err error
		if group == "" {
			if groups, err = ns.Groups(c.Context(), args[0]); err != nil {
				return err
			}
		}
		var list []checkpointView
		for _, g := range groups {
			checkpoints, err := ns.Checkpoints(c.Context(), args[0], g.Name)
			if err != nil {
				return err
			}
			owners, err := ns.Ownerships(c.Context(), args[0], g.Name)
			if err != nil {
				return err
			}
			for _, p := range checkpoints {
				v := checkpointView{Group: g.Name, Checkpoint: p}
				if i := slices.IndexFunc(owners, func(o eventhubclient.Ownership) bool { return o.Partition == p.Partition }); i >= 0 {
					v.Reader = owners[i].Owner
				}
				list = append(list, v)
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		var rows [][]cell
		for _, v := range list {
			rows = append(rows, cells(v.Group, itoa(v.Partition), strconv.FormatInt(v.Sequence+1, 10), strconv.FormatInt(v.Waiting, 10), first(v.Reader, v.Owner), w.ago(v.Updated)))
		}
		w.table([]string{"GROUP", "PARTITION", "NEXT", "WAITING", "READER", "UPDATED"}, rows)
		return nil
	})
	return c
}

func newCheckpointSet(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "set EVENTHUB GROUP PARTITION=NUMBER...", Short: "Say which event a consumer group wants next", Args: cobra.MinimumNArgs(3),
		Long: `Say which sequence number a consumer group wants next, by partition: forth to pass over events, back to read them again. A processor that runs goes on where it is, and
begins there when it starts again.`,
		Example: "  isthmus eventhub checkpoint set telemetry alerts 0=120 1=98",
	}
	a := toEventHubs(w, c)
	c.ValidArgsFunction = completeGroups(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		next, err := partitionNumbers(args[2:])
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			for _, p := range next {
				p.Owner = "isthmus eventhub checkpoint"
				if _, err := ns.SetCheckpoint(c.Context(), args[0], args[1], p, ""); err != nil {
					return err
				}
				w.printf("group %s wants event %d of partition %d next\n", harmless(args[1]), p.Sequence+1, p.Partition)
			}
			return nil
		})(c, args)
	}
	return c
}

// partitionNumbers reads PARTITION=NUMBER, the number being that of the event wanted next.
func partitionNumbers(args []string) ([]eventhubclient.Checkpoint, error) {
	var out []eventhubclient.Checkpoint
	for _, arg := range args {
		p, s, _ := strings.Cut(arg, "=")
		partition, err1 := strconv.Atoi(p)
		number, err2 := strconv.ParseInt(s, 10, 64)
		if err1 != nil || err2 != nil || number < 0 {
			return nil, usagef("%q is no PARTITION=NUMBER", arg).advise("write it as 0=120")
		}
		out = append(out, eventhubclient.Checkpoint{Partition: partition, Sequence: number - 1})
	}
	return out, nil
}
