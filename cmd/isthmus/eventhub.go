package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newEventHub(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "eventhub", Aliases: []string{"eventhubs"}, Short: "Keep event hubs: their policies, readers and events",
		Long: `A namespace has event hubs, which programs send events to and read them from with the SDKs of Azure Event Hubs. It is reached in one of two ways: on the machine of the
hub process that serves it through its data directory, or from anywhere with the connection string of one of its policies. A connection string is a secret: it is read
from a file or from ISTHMUS_EVENTHUB_CONNECTION_STRING, never from the command line.`,
		Example: `  isthmus eventhub create telemetry --partitions 8 --retention 7d
  isthmus eventhub policy connection-string machines --eventhub telemetry > machines.connection
  isthmus eventhub send telemetry "hello"
  isthmus eventhub events telemetry --follow`,
	}
	c.AddCommand(newEventHubNamespaces(w), newEventHubCreate(w), newEventHubSet(w), newEventHubPolicy(w), newEventHubGroup(w), newEventHubCheckpoint(w), newEventHubSend(w), newEventHubEvents(w))
	n := &noun[*eventhubclient.Client, eventhubclient.EventHub]{
		w: w, word: "eventhub", path: "isthmus eventhub", reach: toEventHubs, list: (*eventhubclient.Client).EventHubs, get: (*eventhubclient.Client).EventHub,
		remove: uncounted((*eventhubclient.Client).DeleteEventHub), name: func(h eventhubclient.EventHub) string { return h.Name },
		heads: []string{"EVENT HUB", "PARTITIONS", "KEPT", "STATUS", "GROUPS", "POLICIES", "DECLARED"}, row: eventHubRow, show: w.printEventHub,
	}
	c.AddCommand(n.newList("List event hubs", ""), n.newShow("Show an event hub and where its partitions stand", "telemetry"),
		n.newDelete("Delete event hubs with all their events; what the resource declares cannot be", "telemetry"))
	return c
}

func eventHubRow(h eventhubclient.EventHub) []cell {
	return cells(h.Name, itoa(h.Partitions), keptWords(h), h.Status, itoa(h.ConsumerGroups), itoa(h.Policies), yesNo(h.Declared))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// keptWords says what an event hub keeps.
func keptWords(h eventhubclient.EventHub) string {
	s := itoa(h.RetentionHours) + "h"
	if h.RetentionHours >= 48 && h.RetentionHours%24 == 0 {
		s = itoa(h.RetentionHours/24) + "d"
	}
	if h.RetentionBytes > 0 {
		s += ", " + strconv.FormatInt(h.RetentionBytes, 10) + " bytes a partition"
	}
	return s
}

func (w *world) printEventHub(h eventhubclient.EventHub) {
	w.pairs([2]string{"Event hub", h.Name}, [2]string{"Status", h.Status}, [2]string{"Keeps events for", keptWords(h)}, [2]string{"Declared", yesNo(h.Declared)},
		[2]string{"Consumer groups", itoa(h.ConsumerGroups)}, [2]string{"Policies of its own", itoa(h.Policies)}, [2]string{"Created", w.at(h.Created)})
	var rows [][]cell
	for _, p := range h.Ends {
		last := ""
		if !p.LastEnqueued.IsZero() {
			last = w.ago(p.LastEnqueued)
		}
		rows = append(rows, cells(itoa(p.Partition), strconv.FormatInt(p.Next-p.First, 10), strconv.FormatInt(p.First, 10), strconv.FormatInt(p.Next, 10), last))
	}
	w.printf("\n")
	w.table([]string{"PARTITION", "EVENTS", "FIRST", "NEXT", "LAST EVENT"}, rows)
}

func newEventHubNamespaces(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "namespaces", Short: "List the namespaces a process on this machine serves", Args: cobra.NoArgs, Example: "  isthmus eventhub namespaces",
	}
	a := addEventHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML, outName)
	c.RunE = access[*hubclient.Client]{a.openProcess}.asking(func(c *cobra.Command, process *hubclient.Client, _ []string) error {
		all, err := process.Hubs(c.Context())
		if err != nil {
			return err
		}
		type view struct {
			Name      string   `json:"name"`
			HostNames []string `json:"hostNames"`
			Public    bool     `json:"public"`
		}
		var list []view
		var rows [][]cell
		for _, h := range all {
			if !h.EventHubs {
				continue
			}
			side := "closed"
			if h.Public {
				side = "open"
			}
			list = append(list, view{h.Name, h.HostNames, h.Public})
			rows = append(rows, cells(h.Name, strings.Join(h.HostNames, ", "), side))
			if out.format == outName {
				w.printf("%s\n", harmless(h.Name))
			}
		}
		if out.structured() {
			return out.write(w, itemsOf(list))
		}
		if out.format == outTable {
			w.table([]string{"NAMESPACE", "HOST NAMES", "PUBLIC SIDE"}, rows)
		}
		return nil
	})
	return c
}

// retention is the flags that say what an event hub keeps.
type retention struct {
	c     *cobra.Command
	age   string
	bytes int64
}

func addRetention(c *cobra.Command) *retention {
	r := &retention{c: c}
	c.Flags().StringVar(&r.age, "retention", "", "`DURATION` events are kept, 1h to 90d, as 36h or 7d; 24h when it is made")
	c.Flags().Int64Var(&r.bytes, "retention-bytes", 0, "`BYTES` one partition may hold at most, 1048576 or more; 0 for no such limit")
	return r
}

// addTo says what the command line says.
func (r *retention) addTo(s *eventhubclient.Settings) error {
	if r.c.Flags().Changed("retention-bytes") {
		s.RetentionBytes = &r.bytes
	}
	if r.age == "" {
		return nil
	}
	age, err := time.ParseDuration(r.age)
	if days, ok := strings.CutSuffix(r.age, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		age = time.Duration(min(n, 10000)) * 24 * time.Hour
	}
	if err != nil || age%time.Hour != 0 {
		return usagef("--retention %q is no number of hours or days", r.age).advise("write it as 36h or 7d")
	}
	hours := int(age / time.Hour)
	s.RetentionHours = &hours
	return nil
}

func newEventHubCreate(w *world) *cobra.Command {
	var partitions int
	var out output
	c := &cobra.Command{
		Use: "create EVENTHUB", Short: "Create an event hub", Args: cobra.ExactArgs(1),
		Long: `Create an event hub beside those that the namespace's resource declares. How many partitions it has cannot change later, since that of every key would.`,
		Example: `  isthmus eventhub create telemetry
  isthmus eventhub create telemetry --partitions 32 --retention 7d --retention-bytes 1073741824`,
	}
	a := toEventHubs(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().IntVar(&partitions, "partitions", 4, "how `MANY` partitions, 1 to 1024")
	r := addRetention(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		s := eventhubclient.Settings{Partitions: &partitions}
		if err := r.addTo(&s); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			h, err := ns.CreateEventHub(c.Context(), args[0], s)
			if err != nil || out.structured() {
				return w.orWrite(&out, h, err)
			}
			w.printf("eventhub %s created, with %d partitions\n", harmless(h.Name), h.Partitions)
			w.note("what a program is given: isthmus eventhub policy connection-string --eventhub %s", h.Name)
			return nil
		})(c, args)
	}
	return c
}

// orWrite writes a value unless there is an error.
func (w *world) orWrite(out *output, v any, err error) error {
	if err != nil {
		return err
	}
	return out.write(w, v)
}

func newEventHubSet(w *world) *cobra.Command {
	var status string
	var out output
	c := &cobra.Command{
		Use: "set EVENTHUB", Short: "Change what an event hub keeps, or disable it", Args: cobra.ExactArgs(1),
		Long: `Change what an event hub keeps, or disable it: nobody sends to it or reads it until it is active again, and connections to it end. What the resource declares is
changed there; disabled it can be here.`,
		Example: `  isthmus eventhub set telemetry --retention 7d
  isthmus eventhub set telemetry --status disabled`,
	}
	a := toEventHubs(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	r := addRetention(c)
	c.Flags().StringVar(&status, "status", "", "`STATUS`: active or disabled")
	completingValues(c, "status", eventhubclient.Active, eventhubclient.Disabled)
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		var s eventhubclient.Settings
		if err := r.addTo(&s); err != nil {
			return err
		}
		if status != "" {
			s.Status = &status
		}
		if s == (eventhubclient.Settings{}) {
			return usagef("nothing is said to change").advise("give --retention, --retention-bytes or --status")
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) error {
			h, err := ns.ChangeEventHub(c.Context(), args[0], s)
			if err != nil || out.structured() {
				return w.orWrite(&out, h, err)
			}
			w.printf("eventhub %s is %s and keeps events for %s\n", harmless(h.Name), h.Status, keptWords(h))
			return nil
		})(c, args)
	}
	return c
}
