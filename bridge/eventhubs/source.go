package eventhubs

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

const (
	prefetchEvents = 4000
	prefetchBytes  = 2 << 20
	lookEvery      = 5 * time.Second // where partitions end
)

type source struct {
	access  *access
	group   string
	log     *slog.Logger
	clk     clock.Clock
	manager *manager
	life    context.Context //nolint:containedctx // it is the source's life
	stop    context.CancelFunc
	busy    sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	readers map[*reader]struct{}
	looking bool
	closed  bool
}

// NewSource returns the event hub, or the hub's endpoint for events, that a bridge reads. It connects when it is first asked for something.
// Invalid: there is no credential, or it cannot be read, or no event hub is named.
//
// Faults of the source: Unavailable, Timeout and Exhausted pass by themselves; Denied, Unauthenticated and NotFound when somebody mends
// them; Conflict is a reader with a higher epoch; Invalid a position behind the end.
func NewSource(e *end.End, s resource.BridgeSource, log *slog.Logger, clk clock.Clock) (bridge.Source, error) {
	a, err := newAccess(e, s.EventHub, log, clk)
	if err != nil {
		return nil, err
	}
	group := s.ConsumerGroup
	if group == "" {
		group = "$Default"
	}
	life, stop := context.WithCancel(context.Background())
	return &source{
		access: a, group: group, log: log, clk: clk, manager: newManager(a), life: life, stop: stop, readers: map[*reader]struct{}{},
	}, nil
}

// Partitions implements bridge.Source.
func (s *source) Partitions(ctx context.Context) ([]string, error) { return s.manager.partitions(ctx) }

// Close implements bridge.Source. Readers end too.
func (s *source) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	all := slices.Collect(maps.Keys(s.readers))
	s.mu.Unlock()
	s.stop()
	var readers sync.WaitGroup
	for _, r := range all {
		readers.Go(func() { _ = r.Close() })
	}
	readers.Wait()
	s.busy.Wait()
	s.manager.close()
	return nil
}

// Read implements bridge.Source.
func (s *source) Read(ctx context.Context, partition string, from bridge.Position, epoch int64) (bridge.Reader, error) {
	at, err := s.manager.bounds(ctx, partition)
	if err != nil {
		return nil, err
	}
	if from.Sequence > at.next {
		return nil, fault.Newf("eventhubs.Read", fault.Invalid, "partition %s of %s ends before event %d: its next one is %d", partition, s.access.end.Name, from.Sequence, at.next).
			Advise("it was deleted and made anew; forget what the bridge has sent, or read it from another consumer group with a new bridge")
	}
	r, err := s.attach(ctx, partition, from, epoch)
	if e, ok := errors.AsType[*amqp.Error](err); ok && e.Condition == amqp.ConditionLinkRedirect { // the hub has another name for it since
		s.access.forget()
		r, err = s.attach(ctx, partition, from, epoch)
	}
	if err != nil {
		return nil, ended(ctx, err)
	}
	r.next, r.last = at.next, at.last
	if !s.add(r) {
		r.conn.close()
		return nil, fault.Newf("eventhubs.Read", fault.Unavailable, "the source %s is closed", s.access.end.Name)
	}
	return r, nil
}

// add notes a reader; false when the source is closed.
func (s *source) add(r *reader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.readers[r] = struct{}{}
	if !s.looking {
		s.looking = true
		s.busy.Go(s.look)
	}
	return true
}

func (s *source) attach(ctx context.Context, partition string, from bridge.Position, epoch int64) (*reader, error) {
	c, err := s.access.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	link, err := c.session.Receiver(ctx, client.ReceiverConfig{
		Source: c.place.entity + "/ConsumerGroups/" + s.group + "/Partitions/" + partition,
		Filter: amqp.Map{{Key: amqp.Symbol(filterName), Value: amqp.Described{Descriptor: filterCode, Value: selector(from)}}},
		Properties: amqp.Map{
			{Key: amqp.Symbol("com.microsoft:epoch"), Value: epoch},
			{Key: amqp.Symbol("com.microsoft:receiver-name"), Value: "isthmus-bridge"},
		},
		Prefetch: prefetchEvents, PrefetchBytes: prefetchBytes,
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return &reader{source: s, conn: c, link: link, partition: partition, decoder: newDecoder(partition), next: -1}, nil
}

// The filter by which a reader says where to begin (Event Hubs: AMQP protocol guide).
const filterName = "apache.org:selector-filter:string"

var filterCode any = uint64(0x468C00000004)

// selector is the expression for a position.
func selector(p bridge.Position) string {
	annotation, value := "x-opt-offset", "-1"
	switch {
	case p.Sequence > 0:
		annotation, value = sequenceNumber, strconv.FormatInt(p.Sequence-1, 10)
	case p.Sequence == 0:
	case !p.Time.IsZero():
		annotation, value = enqueuedTime, strconv.FormatInt(instant(p.Time)-1, 10)
	case p.Latest:
		value = "@latest"
	}
	return "amqp.annotation." + annotation + " > '" + value + "'"
}

// look asks now and then where the partitions end that are read.
func (s *source) look() {
	for {
		fired, stop := s.clk.After(lookEvery)
		select {
		case <-fired:
		case <-s.life.Done():
			stop()
			return
		}
		s.mu.Lock()
		all := slices.Collect(maps.Keys(s.readers))
		s.mu.Unlock()
		for _, r := range all {
			b, err := s.manager.bounds(s.life, r.partition)
			if err != nil {
				if s.life.Err() == nil {
					s.log.Debug("bridge: the end of a partition is not known", "endpoint", s.access.end.Name, "partition", r.partition, "err", err)
				}
				break
			}
			r.told(b.next, b.last)
		}
	}
}

// reader implements bridge.Reader.
type reader struct {
	source    *source
	conn      *connection
	link      *client.Receiver
	partition string
	decoder   *decoder
	raw       [][]byte
	once      sync.Once

	mu   sync.Mutex // guards the fields below
	next int64
	last time.Time
}

// Next implements bridge.Reader. maxBytes counts what events take on the wire.
func (r *reader) Next(ctx context.Context, maxEvents, maxBytes int) ([]*event.Event, error) {
	raw, err := r.link.Next(ctx, r.raw[:0], maxEvents, maxBytes)
	if err != nil {
		return nil, ended(ctx, err)
	}
	list, err := r.decoder.events(raw)
	clear(raw)
	r.raw = raw
	if err != nil {
		return nil, err
	}
	newest := &list[len(list)-1].Origin
	r.told(newest.Sequence+1, newest.Enqueued)
	return list, nil
}

// told notes where the partition ends at least.
func (r *reader) told(next int64, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if next > r.next {
		r.next, r.last = next, last
	}
}

// End implements bridge.Reader.
func (r *reader) End() (int64, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next, r.last
}

// Close implements bridge.Reader.
func (r *reader) Close() error {
	r.once.Do(func() {
		r.source.mu.Lock()
		delete(r.source.readers, r)
		r.source.mu.Unlock()
		r.conn.close()
	})
	return nil
}
