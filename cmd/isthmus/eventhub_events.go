package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
	"github.com/isthmus-io/isthmus/fault"
)

// Lines of standard input are sent so many, or so many bytes, at a time.
const (
	sendLines = 500
	sendBytes = 512 << 10
)

func newEventHubSend(w *world) *cobra.Command {
	var body, key, contentType string
	var partition int
	var properties []string
	var out output
	c := &cobra.Command{
		Use: "send EVENTHUB [TEXT]", Short: "Send an event, or each line of standard input as one", Args: cobra.RangeArgs(1, 2),
		Long: `Send an event with a body given behind the event hub or by --body, or each line of standard input as an event of its own. They are on the disk when the command ends.
Events with the same key are in the same partition and stay in their order; without a key, the partitions take turns.`,
		Example: `  isthmus eventhub send telemetry "hello" --key press-4 --property line=7
  journalctl -o json -f | isthmus eventhub send telemetry --content-type application/json`,
	}
	a := toEventHubs(w, c)
	out.addTo(c, "text", outJSON)
	f := c.Flags()
	f.StringVar(&body, "body", "", "`TEXT` to send instead of lines of standard input")
	f.StringVar(&key, "key", "", "partition `KEY`")
	f.IntVar(&partition, "partition", 0, "this `PARTITION`")
	f.StringArrayVarP(&properties, "property", "p", nil, "`NAME=VALUE` beside the body; may be given several times")
	f.StringVar(&contentType, "content-type", "", "`TYPE` of the body, such as application/json")
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		s := sending{w: w, hub: args[0], partition: -1, key: key, out: &out}
		if f.Changed("partition") {
			s.partition = partition
		}
		if s.partition >= 0 && key != "" {
			return usagef("--partition and --key are both given").advise("the key decides the partition: give one of them")
		}
		var err error
		if s.event.Properties, err = assignments("property", properties); err != nil {
			return err
		}
		s.event.ContentType = contentType
		one := f.Changed("body")
		if len(args) > 1 {
			if one {
				return usagef("the body is given twice: as an argument and by --body").advise("give it once")
			}
			body, one = args[1], true
		}
		return a.asking(func(c *cobra.Command, ns *eventhubclient.Client, _ []string) error {
			s.client = ns
			if one {
				if err := s.add(c.Context(), []byte(body)); err != nil {
					return err
				}
				return s.flush(c.Context())
			}
			return s.lines(c.Context(), w.in)
		})(c, args)
	}
	return c
}

// sending is events on their way.
type sending struct {
	w         *world
	client    *eventhubclient.Client
	hub, key  string
	partition int
	event     eventhubclient.Message // what all have
	out       *output

	waiting []eventhubclient.Message
	size    int
	count   int
}

func (s *sending) add(ctx context.Context, body []byte) error {
	if len(s.waiting) > 0 && s.size+len(body) > sendBytes {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	m := s.event
	m.Body = body
	s.waiting = append(s.waiting, m)
	s.size += len(body)
	return nil
}

func (s *sending) flush(ctx context.Context) error {
	if len(s.waiting) == 0 {
		return nil
	}
	sent, err := s.client.Send(ctx, s.hub, s.partition, s.key, s.waiting)
	if err != nil {
		if s.count > 0 {
			s.w.note("%d events were stored before", s.count)
		}
		return err
	}
	s.count += sent.Events
	s.waiting, s.size = nil, 0
	if s.out.structured() {
		b, err := json.Marshal(sent)
		s.w.printJSON(b)
		return fault.Wrap("isthmus.send", fault.Internal, err, "")
	}
	what := "1 event is"
	if sent.Events != 1 {
		what = itoa(sent.Events) + " events are"
	}
	s.w.printf("%s stored in partition %d from %d on\n", what, sent.Partition, sent.Sequence)
	return nil
}

// lines sends each line that comes. What has come is sent when no more is there at once, so that events of a pipe are not held back.
func (s *sending) lines(ctx context.Context, in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := wholeLine(r)
		if len(line) > 0 || err == nil {
			if err := s.add(ctx, bytes.TrimSuffix(line, []byte("\r"))); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.flush(ctx)
		case err != nil:
			return errors.Join(s.flush(ctx), err)
		case r.Buffered() == 0 || len(s.waiting) >= sendLines:
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// wholeLine reads a line without its end. One that no event could hold is an error.
func wholeLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > eventhub.MaxMessage:
			return nil, fault.Newf("isthmus.send", fault.TooLarge, "a line of standard input has more than %d bytes", eventhub.MaxMessage)
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fault.Wrap("isthmus.send", fault.Unavailable, err, "standard input cannot be read: "+err.Error())
		default:
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

func newEventHubEvents(w *world) *cobra.Command {
	var q eventhubclient.Query
	var out output
	c := &cobra.Command{
		Use: "events EVENTHUB", Short: "Read events", Args: cobra.ExactArgs(1),
		Long: `Read the events an event hub holds, oldest first; with --follow go on with those that come. One line an event: when it was stored, partition and sequence number, partition
key, body, properties. As JSON the body is base64. With --group the reading begins where that consumer group has come to, unless --from says otherwise, and how far it came
is written down when it ends.`,
		Example: `  isthmus eventhub events telemetry --follow
  isthmus eventhub events telemetry --from 2026-11-22T06:00:00Z -o json | jq -r .body
  isthmus eventhub events telemetry --group alerts --limit 10`,
	}
	a := toEventHubs(w, c)
	out.addTo(c, "text", outJSON)
	f := c.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with events that come, until interrupted")
	f.IntVar(&q.Partition, "partition", 0, "only this `PARTITION`")
	f.StringVar(&q.From, "from", "", "`WHERE` to begin: start, end, a sequence number, partition:number,... or a time (default start, or where the group is)")
	f.StringVar(&q.Group, "group", "", "consumer `GROUP` to read as, such as $Default")
	f.IntVar(&q.Limit, "limit", 0, "end after this many `EVENTS`; 0 for no limit")
	c.ValidArgsFunction = completeEventHubs(a, false)
	c.RunE = a.asking(func(c *cobra.Command, ns *eventhubclient.Client, args []string) (err error) {
		q.EventHub, q.Only = args[0], f.Changed("partition")
		last := map[int]eventhubclient.Checkpoint{}
		defer func() {
			// Also after an interruption, which ended the command's own context.
			if kept := keepCheckpoints(context.WithoutCancel(c.Context()), ns, q, last); err == nil {
				err = kept
			}
		}()
		return ns.Events(c.Context(), q, func(e eventhubclient.Event) error {
			defer func() {
				last[e.Partition] = eventhubclient.Checkpoint{Partition: e.Partition, Sequence: e.Sequence, Owner: "isthmus eventhub events"}
			}()
			if out.structured() {
				b, err := json.Marshal(e)
				w.printJSON(b)
				return fault.Wrap("isthmus.events", fault.Internal, err, "")
			}
			w.printf("%s\n", streamLine(e))
			return nil
		})
	})
	return c
}

func keepCheckpoints(ctx context.Context, ns *eventhubclient.Client, q eventhubclient.Query, last map[int]eventhubclient.Checkpoint) error {
	if q.Group == "" {
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(last)) {
		if _, err := ns.SetCheckpoint(ctx, q.EventHub, q.Group, last[p], ""); err != nil {
			return err
		}
	}
	return nil
}

// streamLine renders an event for people.
func streamLine(e eventhubclient.Event) string {
	var b strings.Builder
	b.WriteString(e.Enqueued.UTC().Format("2006-01-02 15:04:05.000"))
	b.WriteString("  " + itoa(e.Partition) + "/" + itoa(int(e.Sequence)))
	b.WriteString("  " + harmless(e.PartitionKey) + "  ")
	if body := string(e.Body); e.Format == 0 && utf8.ValidString(body) && len(body) <= 4096 {
		b.WriteString(harmless(body))
	} else {
		b.WriteString("(" + itoa(len(e.Body)) + " bytes)")
	}
	for _, k := range sortedKeys(e.Properties) {
		b.WriteString("  " + harmless(k) + "=" + harmless(e.Properties[k]))
	}
	return b.String()
}
