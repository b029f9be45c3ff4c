package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHub(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "hub", Short: "Serve hubs, manage their devices, read what devices send",
		Long: `A hub takes what devices send, as an Azure IoT hub does. Its devices and events are reached in one of two ways: on the machine of the hub through its
data directory, or from anywhere with the connection string of one of its policies. A connection string is a secret: it is read from a file or from
ISTHMUS_HUB_CONNECTION_STRING, never from the command line.`,
		Example: `  isthmus hub device create sensor-1
  isthmus hub twin show sensor-1
  isthmus hub query "SELECT * FROM devices WHERE connectionState = 'Disconnected'"
  isthmus hub events --follow`,
	}
	const devices, messages, admin = "devices", "messages", "admin"
	c.AddGroup(&cobra.Group{ID: devices, Title: "Devices"}, &cobra.Group{ID: messages, Title: "Messages"}, &cobra.Group{ID: admin, Title: "The hub itself"})
	for group, list := range map[string][]*cobra.Command{
		devices:  {newHubDevice(w), newHubModule(w), newHubTwin(w), newHubMethod(w), newHubQuery(w), newHubJob(w), newHubConfiguration(w), newHubWhy(w)},
		messages: {newHubEvents(w), newHubC2D(w), newHubFiles(w), newHubRoute(w), newHubEndpoint(w), newHubEnrichment(w), newHubConsumerGroup(w)},
		admin:    {newHubList(w), newHubConnectionString(w), newHubPolicy(w), newHubAuthority(w), newHubLimits(w), newHubConnections(w), newHubStatistics(w), newHubExport(w), newHubImport(w), newHubParity(w)},
	} {
		for _, sub := range list {
			sub.GroupID = group
		}
		c.AddCommand(list...)
	}
	return c
}

func newHubConnectionString(w *world) *cobra.Command {
	var policy, key string
	var eventHubs bool
	c := &cobra.Command{
		Use: "connection-string", Short: "Print the connection string of a policy, for services and programs", Args: cobra.NoArgs,
		Long: `Print the connection string of one of the hub's policies, on the machine of the hub only. It is a secret. Policies: iothubowner may do everything,
registryRead and registryReadWrite manage devices, service reads events, device may be any device. With --event-hubs it is in the form that SDKs of
Event Hubs read, for the hub's built-in endpoint; with the name of an endpoint of kind stream behind EntityPath= instead, for that one.`,
		Example: `  isthmus hub connection-string --policy service > service.connection
  isthmus hub connection-string --event-hubs > events.connection`,
	}
	a := addHubAccess(w, c)
	c.Flags().StringVar(&policy, "policy", "service", "`POLICY`: iothubowner, service, device, registryRead, registryReadWrite")
	c.Flags().BoolVar(&eventHubs, "event-hubs", false, "for SDKs of Event Hubs, which read the events of devices with it")
	addKeyChoice(c, &key)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkKeyChoice(key); err != nil {
			return err
		}
		hub, err := a.openSocket()
		if err != nil {
			return err
		}
		defer hub.Close()
		read := hub.PolicyConnectionString
		if eventHubs {
			read = hub.EventHubsConnectionString
		}
		text, err := read(c.Context(), policy, key)
		if err != nil {
			return err
		}
		w.printf("%s\n", text)
		return nil
	}
	return c
}

func newHubEvents(w *world) *cobra.Command {
	var q hubclient.Query
	var out output
	c := &cobra.Command{
		Use: "events", Short: "Read what devices sent", Args: cobra.NoArgs,
		Long: `Read the events a hub holds, oldest first; with --follow go on with those that come. One line an event: when it was stored, partition and sequence number,
device, body, properties. As JSON the body is base64. With --group the reading begins where that consumer group has come to, unless --from says otherwise, and
how far it came is written down when it ends.`,
		Example: `  isthmus hub events --follow
  isthmus hub events --from end --follow -o json | jq -r .body`,
	}
	a := addHubAccess(w, c)
	out.addTo(c, "text", outJSON)
	f := c.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with events that come, until interrupted")
	f.IntVar(&q.Partition, "partition", 0, "only this `PARTITION`")
	f.StringVar(&q.From, "from", "", "`WHERE` to begin: start, end, or a sequence number (default start, or where the group is)")
	f.StringVar(&q.Endpoint, "endpoint", "", "`ENDPOINT` whose events to read, or ENDPOINT/deadletter for what it refused; the built-in one when empty")
	f.StringVar(&q.Group, "group", "", "consumer `GROUP` to read as, such as $Default")
	f.IntVar(&q.Limit, "limit", 0, "end after this many `EVENTS`; 0 for no limit")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		q.Only = f.Changed("partition")
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		next := map[int]int64{}
		defer func() {
			if q.Group == "" || len(next) == 0 {
				return
			}
			// Also after an interruption, which ended the command's own context.
			if kept := hub.SetCheckpoints(context.WithoutCancel(c.Context()), q.Endpoint, q.Group, "isthmus hub events", next); err == nil {
				err = kept
			}
		}()
		return hub.Events(c.Context(), q, func(e hubclient.Event) error {
			defer func() { next[e.Partition] = e.Sequence + 1 }()
			if out.structured() {
				b, err := json.Marshal(e)
				w.printJSON(b)
				return fault.Wrap("isthmus.events", fault.Internal, err, "")
			}
			w.printf("%s\n", eventLine(e))
			return nil
		})
	}
	return c
}

// eventLine renders an event for people.
func eventLine(e hubclient.Event) string {
	var b strings.Builder
	b.WriteString(e.Enqueued.UTC().Format("2006-01-02 15:04:05.000"))
	b.WriteString("  " + itoa(e.Partition) + "/" + itoa(int(e.Sequence)))
	b.WriteString("  " + harmless(e.System["iothub-connection-device-id"]) + "  ")
	if body := string(e.Body); utf8.ValidString(body) && len(body) <= 4096 {
		b.WriteString(harmless(body))
	} else {
		b.WriteString("(" + itoa(len(e.Body)) + " bytes)")
	}
	for _, k := range sortedKeys(e.Properties) {
		b.WriteString("  " + harmless(k) + "=" + harmless(e.Properties[k]))
	}
	return b.String()
}

// hubTime renders a time as the registry writes it, which for never is the year 1.
func (w *world) hubTime(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 {
		return "never"
	}
	return w.ago(t)
}
