package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubConsumerGroup(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "consumer-group", Aliases: []string{"consumer-groups"}, Short: "Keep how far readers of events have come",
		Long: `A consumer group is a name under which readers of an endpoint keep how far they have come; each group sees every event. $Default is always there. "isthmus hub events
--group" reads as one.`,
		Example: `  isthmus hub consumer-group create alerts
  isthmus hub consumer-group list --endpoint hot`,
	}
	var endpoint string
	n := &noun[*hubclient.Client, hubclient.ConsumerGroup]{
		w: w, word: "group", path: "isthmus hub consumer-group", reach: toHub,
		flags: func(c *cobra.Command) {
			c.Flags().StringVar(&endpoint, "endpoint", "", "`ENDPOINT` whose events are read; the built-in one when empty")
		},
		list: func(hub *hubclient.Client, ctx context.Context) ([]hubclient.ConsumerGroup, error) {
			return hub.ConsumerGroups(ctx, endpoint)
		},
		remove: func(hub *hubclient.Client, ctx context.Context, name string) (int, error) {
			return 0, hub.DeleteConsumerGroup(ctx, endpoint, name)
		},
		name: func(g hubclient.ConsumerGroup) string { return g.Name }, heads: []string{"GROUP", "ENDPOINT", "WAITING", "READER", "UPDATED"}, row: w.groupRow, show: w.printGroup,
	}
	c.AddCommand(newGroupCreate(w, &endpoint, n), n.newList("List consumer groups, with how much waits for each", ""), n.newShow("Show where a consumer group is in each partition", "alerts"),
		newGroupMove(w, &endpoint, n), n.newDelete("Forget consumer groups and where they were", "alerts"))
	return c
}

func (w *world) groupRow(g hubclient.ConsumerGroup) []cell {
	r := cells(g.Name, first(g.Endpoint, "events"), "", "", "")
	waiting, newest := int64(0), hubclient.Checkpoint{}
	for _, p := range g.Checkpoints {
		waiting += p.Waiting
		if p.Updated.After(newest.Updated) {
			newest = p
		}
	}
	r[2].text, r[3].text, r[4].text = strconv.FormatInt(waiting, 10), newest.Owner, w.ago(newest.Updated)
	return r
}

func (w *world) printGroup(g hubclient.ConsumerGroup) {
	w.pairs([2]string{"Group", g.Name}, [2]string{"Endpoint", first(g.Endpoint, "events")}, [2]string{"Created", w.at(g.Created)})
	var rows [][]cell
	for _, p := range g.Checkpoints {
		rows = append(rows, cells(itoa(p.Partition), strconv.FormatInt(p.Next, 10), strconv.FormatInt(p.Waiting, 10), p.Owner, w.ago(p.Updated)))
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.table([]string{"PARTITION", "NEXT", "WAITING", "READER", "UPDATED"}, rows)
	}
}

func newGroupCreate(w *world, endpoint *string, n *noun[*hubclient.Client, hubclient.ConsumerGroup]) *cobra.Command {
	c := &cobra.Command{
		Use: "create GROUP...", Short: "Create consumer groups", Args: cobra.MinimumNArgs(1), Example: "  isthmus hub consumer-group create alerts --endpoint hot",
	}
	a := n.begin(c)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, name := range args {
			if _, err := hub.CreateConsumerGroup(c.Context(), *endpoint, name); err != nil {
				return err
			}
			w.printf("group %s created\n", harmless(name))
		}
		return nil
	})
	return c
}

func newGroupMove(w *world, endpoint *string, n *noun[*hubclient.Client, hubclient.ConsumerGroup]) *cobra.Command {
	c := &cobra.Command{
		Use: "move GROUP PARTITION=NUMBER...", Short: "Say which event a consumer group wants next", Args: cobra.MinimumNArgs(2),
		Long:    `Say which sequence number a consumer group wants next, by partition: forth to pass over events, back to read them again.`,
		Example: "  isthmus hub consumer-group move alerts 0=120 1=98",
	}
	a := n.begin(c)
	c.ValidArgsFunction = n.complete(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		next := map[int]int64{}
		for _, arg := range args[1:] {
			p, s, _ := strings.Cut(arg, "=")
			partition, err1 := strconv.Atoi(p)
			number, err2 := strconv.ParseInt(s, 10, 64)
			if err1 != nil || err2 != nil {
				return usagef("%q is no PARTITION=NUMBER", arg).advise("write it as 0=120")
			}
			next[partition] = number
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			if err := hub.SetCheckpoints(c.Context(), *endpoint, args[0], "isthmus hub consumer-group", next); err != nil {
				return err
			}
			w.printf("group %s moved\n", harmless(args[0]))
			return nil
		})(c, args)
	}
	return c
}
