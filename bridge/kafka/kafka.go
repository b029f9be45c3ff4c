package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/bridge/partway"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	mostEvents = 5000
	mostBytes  = 900_000 // of records sent together, so that they are one batch for each partition: brokers take 1 MiB unless told otherwise
	overhead   = 64      // of a record beside what it holds
)

type destination struct {
	bridge   string
	end      *end.End
	spec     resource.KafkaDestination
	key      *message.Expression // nil: the device
	options  []kgo.Opt
	clk      clock.Clock
	accounts partway.Accounts

	mu    sync.Mutex // guards the map
	lanes map[string]*kgo.Client
}

// New returns the topic that args.Destination.Kafka describes. It opens no connection yet. Invalid: the key is no expression, or the secret is
// not user:password where SASL needs it.
//
// Faults of Write pass by themselves or when somebody mends them: Unavailable, Timeout, Exhausted, Unauthenticated, Denied, NotFound; Invalid
// when the cluster says that the topic's name cannot be. Records that the topic will never take are *event.Refused.
func New(args bridge.DestinationArgs) (bridge.Destination, error) {
	spec, e := args.Destination.Kafka, args.End
	if spec == nil || e == nil {
		return nil, fault.New("kafka.New", fault.Invalid, "the destination is no Kafka behind an endpoint")
	}
	d := &destination{bridge: args.Bridge, end: e, spec: *spec, clk: args.Clock, lanes: map[string]*kgo.Client{}}
	if d.clk == nil {
		d.clk = clock.System{}
	}
	var err error
	if spec.Key != "" {
		if d.key, err = message.Compile(spec.Key); err != nil {
			return nil, err
		}
	}
	if d.options, err = options(e, spec); err != nil {
		return nil, err
	}
	return d, nil
}

// Close implements bridge.Destination. No Write is under way.
func (d *destination) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for lane, c := range d.lanes {
		c.Close()
		delete(d.lanes, lane)
	}
	return nil
}

// Write implements bridge.Destination.
func (d *destination) Write(ctx context.Context, lane string, batch []*event.Event) error {
	w := &writing{d: d, batch: batch, account: d.accounts.Begin(lane, batch)}
	err := w.all(ctx, lane)
	if err != nil {
		d.drop(lane)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return d.accounts.End(lane, batch, w.account, err)
}

// open returns the lane's client.
func (d *destination) open(ctx context.Context, lane string) (*kgo.Client, error) {
	d.mu.Lock()
	c := d.lanes[lane]
	d.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := kgo.NewClient(append(d.options[:len(d.options):len(d.options)], kgo.RecordPartitioner(newPartitioner(lane)))...)
	if err != nil {
		return nil, fault.New("kafka.Connect", fault.Invalid, "the client cannot be made of the bridge's destination").Because(err)
	}
	short, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := c.Ping(short); err != nil { // says at once what a producer would try again in silence
		c.Close()
		return nil, d.explain(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes[lane] = c
	return c, nil
}

// drop ends what a lane has open: its producer knows no more what the cluster has.
func (d *destination) drop(lane string) {
	d.mu.Lock()
	c := d.lanes[lane]
	delete(d.lanes, lane)
	d.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// writing is one Write.
type writing struct {
	d       *destination
	c       *kgo.Client
	batch   []*event.Event
	account *partway.Account
}

// all sends what is left of the batch, in chunks whose records are one batch for each partition.
func (w *writing) all(ctx context.Context, lane string) (err error) {
	if w.c, err = w.d.open(ctx, lane); err != nil {
		return err
	}
	var records []*kgo.Record
	var events []int
	size := 0
	for i, e := range w.batch {
		if w.account.Done(i) {
			continue
		}
		r, n, err := w.d.record(e)
		if err != nil {
			w.account.Refuse(i, err)
			continue
		}
		if len(events) == mostEvents || size > 0 && size+n > mostBytes {
			if err := w.deliver(ctx, records, events); err != nil {
				return err
			}
			records, events, size = records[:0], events[:0], 0
		}
		records, events, size = append(records, r), append(events, i), size+n
	}
	return w.deliver(ctx, records, events)
}

// deliver sends records and waits for what becomes of all. Those of one partition are taken or refused together, so that of refused ones the
// halves are tried, one behind the other.
func (w *writing) deliver(ctx context.Context, records []*kgo.Record, events []int) error {
	if len(records) == 0 {
		return nil
	}
	outcomes := w.produce(ctx, records)
	var wait error
	refused := map[int32][]int{} // by partition, places in records
	for i, err := range outcomes {
		switch {
		case err == nil:
			w.account.Take(events[i])
		case ctx.Err() == nil && forGood(err):
			refused[records[i].Partition] = append(refused[records[i].Partition], i)
		case wait == nil:
			wait = w.d.explain(err)
		}
	}
	if wait != nil {
		return wait
	}
	for _, places := range refused {
		if len(places) == 1 {
			w.account.Refuse(events[places[0]], w.d.explain(outcomes[places[0]]))
			continue
		}
		half := len(places) / 2
		for _, part := range [][]int{places[:half], places[half:]} {
			again, of := make([]*kgo.Record, len(part)), make([]int, len(part))
			for i, p := range part {
				r := *records[p]
				again[i], of[i] = &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp, Topic: r.Topic}, events[p]
			}
			if err := w.deliver(ctx, again, of); err != nil {
				return err
			}
		}
	}
	return nil
}

// produce sends records in one go and returns what became of each. The records are the caller's again.
func (w *writing) produce(ctx context.Context, records []*kgo.Record) []error {
	outcomes := make([]error, len(records))
	var all sync.WaitGroup
	all.Add(len(records))
	for i, r := range records {
		w.c.Produce(context.Background(), r, func(_ *kgo.Record, err error) { // ends with the client: see below
			outcomes[i] = err
			all.Done()
		})
	}
	if err := w.c.Flush(ctx); err != nil {
		w.c.Close() // so that nothing of the batch is held, or sent later
	}
	all.Wait()
	return outcomes
}

// record makes a record of an event, and tells about how large it is.
func (d *destination) record(e *event.Event) (*kgo.Record, int, error) {
	r := &kgo.Record{Topic: d.spec.Topic, Value: e.Body, Timestamp: d.clk.Now()}
	if at := e.Origin.Enqueued; !at.IsZero() && at.Before(r.Timestamp) {
		r.Timestamp = at
	}
	r.Timestamp = r.Timestamp.Truncate(time.Millisecond)
	key := e.Device()
	if d.key != nil {
		text, ok, err := message.Look(e).Text(d.key)
		if err != nil {
			return nil, 0, fault.New("kafka.Write", fault.Invalid, "the expression of the record's key fails for the event").Because(err)
		}
		if key = text; !ok {
			key = ""
		}
	}
	if key != "" {
		r.Key = []byte(key)
	}
	size := overhead + len(r.Key) + len(r.Value)
	headers := e.Headers(make([]event.Property, 0, len(e.System)+len(e.Properties)+2), d.bridge)
	r.Headers = make([]kgo.RecordHeader, len(headers))
	for i := range headers {
		value, ok := headers[i].Value.([]byte)
		if !ok && headers[i].Value != nil {
			value = event.AppendText([]byte{}, headers[i].Value)
		}
		r.Headers[i] = kgo.RecordHeader{Key: headers[i].Name, Value: value}
		size += len(headers[i].Name) + len(value) + 8
	}
	return r, size, nil
}
