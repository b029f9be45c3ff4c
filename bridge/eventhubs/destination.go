package eventhubs

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	writeTime  = time.Minute // until a batch has an outcome
	usualBatch = 1 << 20     // bytes, where an event hub tells no limit
	mostEvents = 5000        // of one message: some event hubs take no more than 10,000
)

type destination struct {
	access  *access
	bridge  string
	buffers sync.Pool // *[]byte

	turn chan struct{} // holds one: who has it may use the field below
	out  *outlet       // nil when there is no connection

	mu  sync.Mutex       // guards the field below
	ids map[string]int64 // by partition: as whom it knows this bridge
}

// outlet is a connection with the links to the partitions.
type outlet struct {
	conn       *connection
	partitions []string

	turn  chan struct{} // holds one: who has it may use the field below
	pipes []*pipe
}

// NewDestination returns the event hub that a bridge, given by its uid, writes to. It connects when there is something to write. Invalid:
// there is no credential, or it cannot be read.
//
// Faults of Write pass by themselves or when somebody mends them: Unavailable, Timeout, Exhausted (throttled, full), Denied,
// Unauthenticated, NotFound. Events that can never be taken, being too large or having what no event hub takes, are *event.Refused.
func NewDestination(e *end.End, bridgeUID string, spec resource.EventHubDestination, log *slog.Logger, clk clock.Clock) (bridge.Destination, error) {
	a, err := newAccess(e, spec.Name, log, clk)
	if err != nil {
		return nil, err
	}
	return &destination{access: a, bridge: bridgeUID, turn: make(chan struct{}, 1), ids: map[string]int64{}}, nil
}

// Close implements bridge.Destination. No Write is under way.
func (d *destination) Close() error {
	d.turn <- struct{}{}
	if d.out != nil {
		d.out.conn.close()
		d.out = nil
	}
	<-d.turn
	return nil
}

// Write implements bridge.Destination.
func (d *destination) Write(ctx context.Context, lane string, batch []*event.Event) error {
	o, err := d.open(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	w := &writing{d: d, o: o, batch: batch}
	shares := w.share(lane)
	if len(shares) == 1 {
		w.send(ctx, &shares[0])
	} else {
		var all sync.WaitGroup
		for i := range shares {
			all.Go(func() { w.send(ctx, &shares[i]) })
		}
		all.Wait()
	}
	switch {
	case w.err != nil:
		if w.broken {
			d.drop(o)
		}
		return ended(ctx, w.err)
	case len(w.refused) > 0:
		return &event.Refused{At: w.refused}
	}
	return nil
}

// open returns the connection that there is, or a new one.
func (d *destination) open(ctx context.Context) (*outlet, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if d.out != nil && d.out.conn.Err() == nil {
		return d.out, nil
	}
	if d.out != nil {
		d.out.conn.close()
		d.out = nil
	}
	c, err := d.access.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	partitions, err := partitionsOn(ctx, d.access, c)
	if err != nil {
		c.close()
		return nil, err
	}
	d.out = &outlet{conn: c, partitions: partitions, turn: make(chan struct{}, 1), pipes: make([]*pipe, len(partitions))}
	return d.out, nil
}

// drop ends a connection that something is wrong with: what others have under way on it comes again.
func (d *destination) drop(o *outlet) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.out == o {
		d.out = nil
		o.conn.close()
	}
}

// pipe returns the link to a partition.
func (d *destination) pipe(ctx context.Context, o *outlet, partition int) (*pipe, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if p := o.pipes[partition]; p != nil && p.link.Err() == nil { // links that are not used for half an hour are detached
		return p, nil
	}
	name := o.partitions[partition]
	d.mu.Lock()
	known := d.ids[name]
	d.mu.Unlock()
	p, err := attach(ctx, o.conn, name, d.access.end.Served, known)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.ids[name] = p.id
	d.mu.Unlock()
	o.pipes[partition] = p
	return p, nil
}

// share is the events of a batch for one partition, by index.
type share struct {
	partition int
	events    []int
}

// writing is one Write.
type writing struct {
	d     *destination
	o     *outlet
	batch []*event.Event

	mu      sync.Mutex // guards the fields below
	refused map[int]error
	err     error // the first
	broken  bool  // the connection, or a link
}

// share tells which partition each event belongs to.
func (w *writing) share(lane string) []share {
	n := uint32(len(w.o.partitions))
	keyless, err := strconv.ParseUint(lane, 10, 31)
	if err != nil {
		keyless = uint64(eventlog.Lookup3(lane))
	}
	at := make([]int, n) // index in list, plus 1
	var list []share
	for i, e := range w.batch {
		p := uint32(keyless) % n
		if e.Key != "" {
			p = eventlog.Lookup3(e.Key) % n
		}
		if at[p] == 0 {
			list = append(list, share{partition: int(p), events: make([]int, 0, 2*len(w.batch)/int(n)+1)})
			at[p] = len(list)
		}
		s := &list[at[p]-1]
		s.events = append(s.events, i)
	}
	return list
}

// parcel is events encoded one behind the other.
type parcel struct {
	b      []byte
	events []int // by index in the batch
	ends   []int // where each ends in b
}

// send writes the events of one partition, message by message.
func (w *writing) send(ctx context.Context, s *share) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	to, ok := w.pipe(ctx, s.partition)
	if !ok {
		return
	}
	numbered, limit := to.id != 0, to.link.MaxMessage()
	if limit == 0 {
		limit = usualBatch
	}
	most := min(limit, usualBatch)
	buf, ok := w.d.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	p := parcel{b: (*buf)[:0], events: make([]int, 0, len(s.events)), ends: make([]int, 0, len(s.events))}
	defer func() {
		*buf = p.b[:0]
		w.d.buffers.Put(buf)
	}()
	for _, i := range s.events {
		before := len(p.b)
		b, err := appendEvent(p.b, w.batch[i], w.d.bridge, numbered)
		p.b = b
		switch size := len(b) - before; {
		case err != nil:
			w.refuse(i, err)
			continue
		case size > limit:
			p.b = b[:before]
			w.refuse(i, fault.Newf("eventhubs.Write", fault.TooLarge, "the event takes %d bytes, and the event hub takes at most %d", size, limit))
			continue
		case before > 0 && (len(b) > most || len(p.events) == mostEvents):
			if !w.deliver(ctx, s.partition, numbered, p.b[:before], p.events, p.ends, 0) {
				return
			}
			n := copy(p.b, p.b[before:])
			p.b, p.events, p.ends = p.b[:n], p.events[:0], p.ends[:0]
		}
		p.events, p.ends = append(p.events, i), append(p.ends, len(p.b))
	}
	if len(p.events) > 0 {
		w.deliver(ctx, s.partition, numbered, p.b, p.events, p.ends, 0)
	}
}

// pipe returns the link to a partition; false when there is none, which is noted.
func (w *writing) pipe(ctx context.Context, partition int) (*pipe, bool) {
	p, err := w.d.pipe(ctx, w.o, partition)
	if err == nil {
		return p, true
	}
	switch fault.KindOf(explain(err)) {
	case fault.Denied, fault.NotFound, fault.Exhausted: // the connection is not to blame
		w.fail(err, w.o.conn.Err() != nil)
	default:
		w.fail(err, true)
	}
	return nil, false
}

// deliver sends encoded events in one message and waits for its outcome. When they are refused for what they are, the halves are tried, so
// that one of them spoils nothing for the others. ends counts from base. It tells whether to go on.
func (w *writing) deliver(ctx context.Context, partition int, numbered bool, b []byte, events, ends []int, base int) bool {
	to, ok := w.pipe(ctx, partition)
	if !ok {
		return false
	}
	if (to.id != 0) != numbered { // it is another service by now
		w.fail(fault.Newf("eventhubs.Write", fault.Unavailable, "the event hub behind %s has changed", w.d.access.end.Name), true)
		return false
	}
	err := to.send(ctx, b, ends, base, amqpevent.BatchFormat)
	if err == nil {
		return true
	}
	err = explain(err)
	if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.TooLarge || !told(err) {
		w.fail(err, !told(err) || w.o.conn.Err() != nil)
		return false
	}
	if len(events) == 1 {
		w.refuse(events[0], err)
		return true
	}
	half := len(events) / 2
	cut := ends[half-1] - base
	return w.deliver(ctx, partition, numbered, b[:cut], events[:half], ends[:half], base) &&
		w.deliver(ctx, partition, numbered, b[cut:], events[half:], ends[half:], base+cut)
}

func (w *writing) refuse(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused == nil {
		w.refused = map[int]error{}
	}
	w.refused[i] = err
}

func (w *writing) fail(err error, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.broken = w.broken || broken
}
