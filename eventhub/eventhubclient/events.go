package eventhubclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
)

// Message is an event to send.
type Message struct {
	Body        []byte            `json:"BodyBase64"`
	Properties  map[string]string `json:"UserProperties,omitempty"`
	ContentType string            `json:"ContentType,omitempty"`
}

// Sent says where the first of the events sent stands.
type Sent struct {
	Partition int   `json:"partition"`
	Sequence  int64 `json:"sequenceNumber"`
	Offset    int64 `json:"offset"`
	Events    int   `json:"events"`
}

// Send stores events, all or none, in one partition: that of the key, or, when partition is not negative, that one; otherwise one after
// the other in turn. All together they are at most 1 MiB.
func (c *Client) Send(ctx context.Context, eventHub string, partition int, key string, list []Message) (Sent, error) {
	type broker struct {
		PartitionKey string `json:",omitempty"`
	}
	type item struct {
		Message
		BrokerProperties broker
	}
	items := make([]item, len(list))
	for i, m := range list {
		if m.Body == nil {
			m.Body = []byte{}
		}
		items[i] = item{m, broker{key}}
	}
	to := path(eventHub, "messages")
	if partition >= 0 {
		to = path(eventHub, "partitions", strconv.Itoa(partition), "messages")
	}
	var out Sent
	_, err := c.caller.Call(ctx, caller.Request{
		Method: http.MethodPost, Path: to, Header: http.Header{"Content-Type": {"application/vnd.microsoft.servicebus.json"}}, Body: items,
	}, &out)
	return out, err
}

// Event is an event as it is stored.
type Event struct {
	Partition    int               `json:"partition"`
	Sequence     int64             `json:"sequence"`
	Offset       int64             `json:"offset"`
	Enqueued     time.Time         `json:"enqueued"`
	PartitionKey string            `json:"partitionKey,omitempty"`
	Format       uint8             `json:"format,omitempty"` // above 0: the body is as it is stored, and not plain
	Body         []byte            `json:"body"`
	Properties   map[string]string `json:"properties,omitempty"`
	System       map[string]string `json:"system,omitempty"`
}

// Query says which events of an event hub to read. Otherwise its zero value reads every event there is, once.
type Query struct {
	EventHub  string
	Partition int    // only this one, when Only is set
	Only      bool   //
	From      string // start (also when empty, without Group), end, a sequence number, partition:sequence,... or a time (RFC 3339)
	Group     string // a consumer group, at whose checkpoints to begin when From is empty
	Follow    bool   // go on with those that come
	Limit     int    // 0 for no limit
}

// maxLine bounds one event: the largest body as base64, and its properties.
const maxLine = 4 << 20

// Events calls each for every event, until there are no more, the limit is reached, ctx ends, or each returns an error, which comes
// back. With Follow it goes on after the namespace was away, where it was; that ctx ended is then no error.
func (c *Client) Events(ctx context.Context, q Query, each func(Event) error) error {
	var at map[int]int64 // what comes next in each partition
	pause := backoff.Backoff{Base: time.Second, Max: 10 * time.Second}
	seen := 0
	for {
		from := q.From
		if at != nil {
			from = positionsText(at)
		}
		before := seen
		err := c.stream(ctx, q, from, q.Limit-seen, func(start map[int]int64) {
			if at == nil {
				at = start
			}
		}, func(e Event) error {
			at[e.Partition] = e.Sequence + 1
			seen++
			return each(e)
		})
		var own *ownError
		switch kind := fault.KindOf(err); {
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil && q.Follow:
			return nil
		case q.Limit > 0 && seen >= q.Limit, !q.Follow:
			return err
		case at == nil: // never reached it: a wrong address or key does not become right
			return err
		case err != nil && kind != fault.Unavailable && kind != fault.Timeout: // the event hub is gone, or a key was renewed
			return err
		}
		if seen > before {
			pause.Reset()
		}
		if !pause.Wait(ctx, c.clock) {
			return nil
		}
	}
}

// ownError is what the caller's function returned.
type ownError struct{ error }

func (c *Client) stream(ctx context.Context, q Query, from string, left int, opened func(map[int]int64), each func(Event) error) error {
	v := url.Values{}
	if from != "" {
		v.Set("from", from)
	}
	if q.Group != "" {
		v.Set("group", q.Group)
	}
	if q.Only {
		v.Set("partition", strconv.Itoa(q.Partition))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(left))
	}
	r, err := c.caller.Send(ctx, caller.Request{Method: http.MethodGet, Path: path(q.EventHub, "messages"), Query: v})
	if err != nil {
		return err
	}
	defer r.Body.Close()
	opened(readPositions(r.Header.Get("isthmus-positions")))
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fault.Wrap("eventhubclient.Events", fault.Unavailable, err, "the namespace's answer cannot be read")
		}
		if err := each(e); err != nil {
			return &ownError{err}
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap("eventhubclient.Events", fault.Unavailable, err, "the stream of events broke off")
	}
	return nil
}

func readPositions(text string) map[int]int64 {
	out := map[int]int64{}
	for item := range strings.SplitSeq(text, ",") {
		p, s, _ := strings.Cut(item, ":")
		partition, err1 := strconv.Atoi(p)
		next, err2 := strconv.ParseInt(s, 10, 64)
		if err1 == nil && err2 == nil {
			out[partition] = next
		}
	}
	return out
}

func positionsText(at map[int]int64) string {
	var items []string
	for p, next := range at {
		items = append(items, strconv.Itoa(p)+":"+strconv.FormatInt(next, 10))
	}
	return strings.Join(items, ",")
}
