package httpdoor

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// PositionsHeader of a stream says where it begins, as "partition:sequence,..": from a reader who counts on can go on after a break.
const PositionsHeader = "isthmus-positions"

const (
	readAtOnce  = 256
	readBytes   = 1 << 20          // of the bodies that wait for one partition's turn
	slowestRead = 10 * time.Minute // a reader who paused his terminal is not thrown out
)

// EventJSON is one line of the stream of events.
type EventJSON struct {
	Partition    int               `json:"partition"`
	Sequence     int64             `json:"sequence"`
	Offset       int64             `json:"offset"`
	Enqueued     time.Time         `json:"enqueued"`
	PartitionKey string            `json:"partitionKey,omitempty"`
	Format       uint8             `json:"format,omitempty"` // above 0: the body is as it is stored, and not plain
	Body         []byte            `json:"body"`             // base64
	Properties   map[string]string `json:"properties,omitempty"`
	System       map[string]string `json:"system,omitempty"`
}

// reading is one request for events.
type reading struct {
	*exchange
	entity  eventhub.Entity
	cursors []*cursor
	out     *lines
}

// cursor is where a reader stands in one partition.
type cursor struct {
	partition  int
	next, stop int64 // stop: the end when the request came
	batch      []eventlog.Event
}

// streamEvents writes the events there are, in the order of their times, and with follow=1 those which come, until the reader goes, his
// claim ends or the event hub is gone.
func streamEvents(x *exchange) error {
	q := x.URL.Query()
	e, err := x.namespace.Entity(x.Context(), x.args[0])
	if err != nil {
		return err
	}
	from := q.Get("from")
	if group := q.Get("group"); group != "" {
		if from, err = x.startOf(group, from); err != nil {
			return err
		}
	}
	r := &reading{exchange: x, entity: e}
	if err := r.begin(q.Get("partition"), from); err != nil {
		return err
	}
	limit := -1
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return fault.Newf("httpdoor.streamEvents", fault.Invalid, "limit is %.20q", s).Advise("it is a number above 0")
		}
	}
	x.w.Header().Set("Content-Type", "application/x-ndjson")
	x.w.Header().Set(PositionsHeader, positions(r.cursors))
	r.out = &lines{enc: json.NewEncoder(x.w), rc: http.NewResponseController(x.w), left: limit, plain: x.door.cfg.Plain}
	_ = r.out.rc.SetReadDeadline(time.Time{}) // the body was empty; what is read from now on is only whether the reader is still there
	ctx, cancel := context.WithCancel(x.Context())
	defer cancel()
	if r.out.flush() == nil && r.stored(ctx) && (q.Get("follow") == "1" || q.Get("follow") == "true") {
		r.follow(ctx)
	}
	return nil
}

// startOf is where a consumer group goes on, unless from says something; partitions it never came to begin at their start.
func (x *exchange) startOf(group, from string) (string, error) {
	list, err := x.namespace.Checkpoints(x.Context(), x.args[0], group)
	if err != nil || from != "" {
		return from, err
	}
	var out []string
	for _, c := range list {
		out = append(out, strconv.Itoa(c.Partition)+":"+strconv.FormatInt(c.Sequence+1, 10))
	}
	return strings.Join(out, ","), nil
}

func (r *reading) begin(partition, from string) error {
	op := "httpdoor.streamEvents"
	for i := range r.entity.Partitions() {
		if partition != "" && partition != strconv.Itoa(i) {
			continue
		}
		info, err := r.entity.Info(i)
		if err != nil {
			return err
		}
		c := &cursor{partition: i, next: info.First, stop: info.Next}
		if t, err := time.Parse(time.RFC3339, from); err == nil {
			if c.next, err = r.entity.SeekTime(i, t); err != nil {
				return err
			}
		} else if from == "end" {
			c.next = info.Next
		} else if from != "" && from != "start" {
			seq, ok := position(from, i)
			if !ok {
				return fault.Newf(op, fault.Invalid, "from is %.40q", from).Advise("it is start, end, a sequence number, partition:sequence,... or a time such as 2026-11-22T09:00:00Z")
			}
			c.next = max(info.First, seq)
		}
		r.cursors = append(r.cursors, c)
	}
	if len(r.cursors) == 0 {
		return fault.Newf(op, fault.NotFound, "there is no partition %.20q", partition).Advise("partitions are 0 to %d", r.entity.Partitions()-1)
	}
	return nil
}

// position reads a sequence number, or the one of the partition in "partition:sequence,..", 0 when it is not named there.
func position(from string, partition int) (int64, bool) {
	if !strings.Contains(from, ":") {
		seq, err := strconv.ParseInt(from, 10, 64)
		return seq, err == nil && seq >= 0
	}
	found := int64(0)
	for item := range strings.SplitSeq(from, ",") {
		p, s, _ := strings.Cut(item, ":")
		n, err1 := strconv.Atoi(p)
		seq, err2 := strconv.ParseInt(s, 10, 64)
		if err1 != nil || err2 != nil || seq < 0 {
			return 0, false
		}
		if n == partition {
			found = seq
		}
	}
	return found, true
}

func positions(cursors []*cursor) string {
	items := make([]string, len(cursors))
	for i, c := range cursors {
		items[i] = strconv.Itoa(c.partition) + ":" + strconv.FormatInt(c.next, 10)
	}
	return strings.Join(items, ",")
}

// events copies some of a partition, at least one if there is one.
func (r *reading) events(ctx context.Context, partition int, from int64, limit int) ([]eventlog.Event, error) {
	var out []eventlog.Event
	size := 0
	err := r.entity.Scan(ctx, partition, from, limit, func(v *eventlog.View) bool {
		out = append(out, v.Event())
		size += len(v.Body)
		return size < readBytes
	})
	return out, err
}

// stored writes what was there when the request came, merged by time. It tells whether to go on.
func (r *reading) stored(ctx context.Context) bool {
	for {
		var oldest *cursor
		for _, c := range r.cursors {
			if len(c.batch) == 0 && c.next < c.stop {
				if r.out.flush() != nil || !r.mayStay() {
					return false
				}
				batch, err := r.events(ctx, c.partition, c.next, int(min(readAtOnce, c.stop-c.next)))
				if err != nil {
					return r.broken(err)
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
			return r.out.flush() == nil
		}
		if !r.out.write(oldest.batch[0]) {
			return false
		}
		oldest.next = oldest.batch[0].Sequence + 1
		oldest.batch = oldest.batch[1:]
	}
}

// follow writes what comes, one goroutine a partition.
func (r *reading) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan []eventlog.Event)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, c := range r.cursors {
		all.Go(func() {
			defer cancel()
			r.watch(ctx, c, batches)
		})
	}
	over, stop := r.expiry()
	defer stop()
	renewed := r.namespace.Renewed()
	if !r.mayStay() { // what happened before that channel was there
		return
	}
	for {
		select {
		case <-renewed:
			if renewed = r.namespace.Renewed(); !r.mayStay() {
				return
			}
		case batch := <-batches:
			if !r.mayStay() {
				return
			}
			for _, e := range batch {
				if !r.out.write(e) {
					return
				}
			}
			if r.out.flush() != nil {
				return
			}
		case <-over:
			return
		case <-r.entity.Gone():
			return
		case <-ctx.Done():
			return
		}
	}
}

// expiry fires when the reader's claim ends.
func (r *reading) expiry() (over <-chan time.Time, stop func()) {
	if r.claim.Expires.IsZero() {
		return nil, func() {}
	}
	return r.door.clock.After(r.claim.Expires.Sub(r.door.clock.Now()))
}

// watch hands on what comes in one partition.
func (r *reading) watch(ctx context.Context, c *cursor, batches chan<- []eventlog.Event) {
	for {
		if r.entity.Wait(ctx, c.partition, c.next) != nil {
			return
		}
		batch, err := r.events(ctx, c.partition, c.next, readAtOnce)
		if err != nil {
			r.broken(err)
			return
		}
		if len(batch) == 0 { // trimmed before it was read
			info, err := r.entity.Info(c.partition)
			if err != nil {
				return
			}
			c.next = max(c.next, info.First)
			continue
		}
		c.next = batch[len(batch)-1].Sequence + 1
		select {
		case batches <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// mayStay tells whether the reader could come in now: his token may be over, a key renewed, a side closed, or the event hub gone.
func (r *reading) mayStay() bool {
	select {
	case <-r.entity.Gone():
		return false
	default:
		return r.admit() == nil
	}
}

// broken logs why a stream ended early: the status is long sent, so the reader only sees the end.
func (r *reading) broken(err error) bool {
	if r.Context().Err() == nil && fault.KindOf(err) != fault.NotFound { // which is how a deleted event hub ends
		r.door.log.Error("eventhub: a stream of events ended early", "namespace", r.namespace.Name(), "eventHub", r.entity.Name(), "err", err)
	}
	return false
}

type lines struct {
	enc   *json.Encoder
	rc    *http.ResponseController
	left  int // lines allowed; negative for any number
	plain func(eventlog.Event) (eventlog.Event, error)
}

func (l *lines) write(e eventlog.Event) bool {
	if e.Format != 0 && l.plain != nil {
		if p, err := l.plain(e); err == nil {
			e.Body, e.Properties, e.System, e.Format = p.Body, p.Properties, p.System, 0
		}
	}
	err := l.enc.Encode(EventJSON{e.Partition, e.Sequence, e.Offset, e.Enqueued.UTC(), e.PartitionKey, e.Format, e.Body, e.Properties, e.System})
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
