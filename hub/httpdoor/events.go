package httpdoor

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// PositionsHeader of a stream says where it begins, as "partition:sequence,..": from a reader who counts on can go on after a break.
const PositionsHeader = "isthmus-positions"

const (
	readAtOnce  = 256
	slowestRead = 10 * time.Minute // a reader who paused his terminal is not thrown out
)

// EventJSON is one line of the stream of events.
type EventJSON struct {
	Partition  int               `json:"partition"`
	Sequence   int64             `json:"sequence"`
	Offset     int64             `json:"offset"`
	Enqueued   time.Time         `json:"enqueued"`
	Body       []byte            `json:"body"` // base64
	Properties map[string]string `json:"properties,omitempty"`
	System     map[string]string `json:"system,omitempty"`
}

// cursor is where a reader stands in one partition.
type cursor struct {
	partition  int
	next, stop int64 // stop: the end when the request came
	batch      []eventlog.Event
}

// streamEvents writes the events there are, in the order of their times, and with follow=1 those which come, until the reader goes
// or its token ends.
func streamEvents(x *exchange) error {
	ctx, q := x.Context(), x.URL.Query()
	if !x.expires.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, x.expires)
		defer cancel()
	}
	if name := q.Get("hub"); name != "" {
		if h, ok := x.door.server.ByName(name); !ok || h != x.hub {
			return fault.Newf("httpdoor.streamEvents", fault.Denied, "this is not hub %.100q", name)
		}
	}
	stream, err := x.hub.Stream(q.Get("endpoint"))
	if err != nil {
		return elsewhere(err)
	}
	from := q.Get("from")
	if group := q.Get("group"); group != "" && from == "" {
		if from, err = x.checkpoint(ctx, group); err != nil {
			return err
		}
	}
	cursors, err := openCursors(ctx, stream, q.Get("partition"), from)
	if err != nil {
		return err
	}
	limit := -1
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return fault.Newf("httpdoor.streamEvents", fault.Invalid, "limit is %.20q", s).Advise("it is a number above 0")
		}
	}
	x.w.Header().Set("Content-Type", "application/x-ndjson")
	x.w.Header().Set(PositionsHeader, positions(cursors))
	out := &lines{enc: json.NewEncoder(x.w), rc: http.NewResponseController(x.w), left: limit}
	_ = out.rc.SetReadDeadline(time.Time{}) // the body was empty; what is read from now on is only whether the reader is still there
	if out.flush() != nil {
		return nil
	}
	if !x.stored(ctx, stream, cursors, out) {
		return nil
	}
	if q.Get("follow") == "1" || q.Get("follow") == "true" {
		x.follow(ctx, stream, cursors, out)
	}
	return nil
}

// checkpoint is where a consumer group goes on, as from says it; partitions it never came to begin at their start.
func (x *exchange) checkpoint(ctx context.Context, group string) (string, error) {
	list, err := x.hub.Checkpoints(ctx, x.endpoint(), group)
	if err != nil {
		return "", elsewhere(err)
	}
	var out []string
	for _, c := range list {
		out = append(out, strconv.Itoa(c.Partition)+":"+strconv.FormatInt(c.Next, 10))
	}
	return strings.Join(out, ","), nil
}

func openCursors(ctx context.Context, h hub.Stream, partition, from string) ([]*cursor, error) {
	op := "httpdoor.openCursors"
	n, err := h.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var out []*cursor
	for i := range n {
		if partition != "" && partition != strconv.Itoa(i) {
			continue
		}
		first, next := h.Bounds(i)
		c := &cursor{partition: i, next: first, stop: next}
		switch from {
		case "", "start":
		case "end":
			c.next = next
		default:
			seq, ok := position(from, i)
			if !ok {
				return nil, fault.Newf(op, fault.Invalid, "from is %.40q", from).Advise("it is start, end, a sequence number, or partition:sequence,...")
			}
			c.next = max(first, seq)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, elsewhere(fault.Newf(op, fault.NotFound, "there is no partition %.20q", partition).Advise("partitions are 0 to %d", n-1))
	}
	return out, nil
}

// position reads a sequence number, or the one of the partition in "partition:sequence,..", 0 when it is not named there.
func position(from string, partition int) (int64, bool) {
	if !strings.Contains(from, ":") {
		seq, err := strconv.ParseInt(from, 10, 64)
		return seq, err == nil && seq >= 0
	}
	for item := range strings.SplitSeq(from, ",") {
		p, s, _ := strings.Cut(item, ":")
		seq, err := strconv.ParseInt(s, 10, 64)
		if err != nil || seq < 0 {
			return 0, false
		}
		if p == strconv.Itoa(partition) {
			return seq, true
		}
	}
	return 0, true
}

func positions(cursors []*cursor) string {
	var b strings.Builder
	for i, c := range cursors {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(c.partition) + ":" + strconv.FormatInt(c.next, 10))
	}
	return b.String()
}

// stored writes what was there when the request came, merged by time. It tells whether to go on.
func (x *exchange) stored(ctx context.Context, stream hub.Stream, cursors []*cursor, out *lines) bool {
	for {
		var oldest *cursor
		for _, c := range cursors {
			if len(c.batch) == 0 && c.next < c.stop {
				if out.flush() != nil {
					return false
				}
				if !x.mayStay() {
					return false
				}
				batch, err := stream.Events(ctx, c.partition, c.next, int(min(readAtOnce, c.stop-c.next)))
				if err != nil {
					return x.broken(err)
				}
				if len(batch) == 0 { // trimmed meanwhile
					c.next = c.stop
				}
				c.batch = batch
			}
			if len(c.batch) > 0 && (oldest == nil || c.batch[0].Enqueued.Before(oldest.batch[0].Enqueued)) {
				oldest = c
			}
		}
		if oldest == nil {
			return out.flush() == nil
		}
		if !out.write(oldest.batch[0]) {
			return false
		}
		oldest.next = oldest.batch[0].Sequence + 1
		oldest.batch = oldest.batch[1:]
	}
}

// follow writes what comes, one goroutine a partition.
func (x *exchange) follow(ctx context.Context, stream hub.Stream, cursors []*cursor, out *lines) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []eventlog.Event)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, c := range cursors {
		all.Go(func() {
			defer cancel()
			for {
				if stream.Wait(ctx, c.partition, c.next) != nil {
					return
				}
				batch, err := stream.Events(ctx, c.partition, c.next, readAtOnce)
				if err != nil || len(batch) == 0 {
					x.broken(err)
					return
				}
				c.next = batch[len(batch)-1].Sequence + 1
				select {
				case batches <- batch:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	renewed := x.hub.Renewed()
	if !x.mayStay() { // what happened before that channel was there
		return
	}
	for {
		select {
		case <-renewed:
			renewed = x.hub.Renewed()
			if !x.mayStay() {
				return
			}
		case batch := <-batches:
			if !x.mayStay() {
				return
			}
			for _, e := range batch {
				if !out.write(e) {
					return
				}
			}
			if out.flush() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// mayStay tells whether the reader could come in now: the hub may have closed its public side since, or the key may have been renewed.
func (x *exchange) mayStay() bool {
	if x.conn == nil {
		return true
	}
	_, err := x.door.server.Enter(x.conn.Side, x.Host)
	if err == nil {
		err = x.mayStill()
	}
	return err == nil
}

// broken logs why a stream ended early: the status is long sent, so the reader only sees the end.
func (x *exchange) broken(err error) bool {
	if err != nil && x.Context().Err() == nil {
		x.door.log.Error("hub: a stream of events ended early", "hub", x.hub.Name(), "err", err)
	}
	return false
}

type lines struct {
	enc  *json.Encoder
	rc   *http.ResponseController
	left int // lines allowed; negative for any number
}

func (l *lines) write(e eventlog.Event) bool {
	err := l.enc.Encode(EventJSON{e.Partition, e.Sequence, e.Offset, e.Enqueued.UTC(), e.Body, e.Properties, e.System})
	l.left--
	if l.left == 0 {
		_ = l.flush() // it is the last one anyway
	}
	return err == nil && l.left != 0
}

func (l *lines) flush() error {
	_ = l.rc.SetWriteDeadline(time.Now().Add(slowestRead)) // a closed connection tells it when written
	return l.rc.Flush()
}
