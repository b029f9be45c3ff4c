package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

var errAway = fault.New("fake", fault.Unavailable, "it is away").Advise("wait")

// hub is a source whose partitions live as long as the test.
type hub struct {
	mu     sync.Mutex
	parts  [][]*event.Event
	first  []int64 // the sequence number of parts[i][0]
	epoch  map[string]int64
	taken  map[string]chan struct{} // closed when a reader is pushed out, by partition
	more   chan struct{}            // closed when something came in
	fail   func() error             // of each Next, if set
	reads  int                      // readers that were opened
	open   int                      // and not closed
	secret string
}

func newHub(partitions int) *hub {
	return &hub{parts: make([][]*event.Event, partitions), first: make([]int64, partitions), epoch: map[string]int64{}, taken: map[string]chan struct{}{}, more: make(chan struct{})}
}

// add puts an event with a body in and returns its sequence number.
func (h *hub) add(partition int, body string, properties ...event.Property) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	seq := h.first[partition] + int64(len(h.parts[partition]))
	h.parts[partition] = append(h.parts[partition], &event.Event{
		Origin: event.Origin{Partition: strconv.Itoa(partition), Sequence: seq, Enqueued: time.Now()}, Body: []byte(body), Properties: properties,
		System: []event.Property{{Name: event.DeviceID, Value: "press-" + strconv.Itoa(partition)}},
	})
	close(h.more)
	h.more = make(chan struct{})
	return seq
}

func (h *hub) expire(partition, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[partition], h.first[partition] = h.parts[partition][n:], h.first[partition]+int64(n)
}

func (h *hub) source(e *end.End, _ resource.BridgeSource, _ *slog.Logger, _ clock.Clock) (bridge.Source, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = e.Secret
	return &hubSource{h, e}, nil
}

type hubSource struct {
	h *hub
	e *end.End
}

func (s *hubSource) Close() error { return nil }

func (s *hubSource) Partitions(context.Context) ([]string, error) {
	var out []string
	for i := range s.h.parts {
		out = append(out, strconv.Itoa(i))
	}
	return out, nil
}

func (s *hubSource) Read(ctx context.Context, partition string, from bridge.Position, epoch int64) (bridge.Reader, error) {
	c, err := s.e.To(ctx, 5671)
	if err != nil {
		return nil, err
	}
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch < h.epoch[partition] {
		return nil, fault.New("fake", fault.Conflict, "somebody else reads")
	}
	h.epoch[partition] = epoch
	if old := h.taken[partition]; old != nil {
		close(old)
	}
	r := &hubReader{h: h, c: c, taken: make(chan struct{}), closed: make(chan struct{})}
	r.p, _ = strconv.Atoi(partition)
	h.taken[partition] = r.taken
	end := h.first[r.p] + int64(len(h.parts[r.p]))
	switch {
	case from.Sequence >= 0:
		r.next = from.Sequence
	case from.Latest:
		r.next = end
	case !from.Time.IsZero():
		i := slices.IndexFunc(h.parts[r.p], func(e *event.Event) bool { return !e.Origin.Enqueued.Before(from.Time) })
		if r.next = h.first[r.p] + int64(i); i < 0 {
			r.next = end
		}
	}
	h.reads++
	h.open++
	go func() { // a connection that breaks ends the reader
		_, _ = c.Read(make([]byte, 1))
		r.once.Do(func() { close(r.closed) })
	}()
	return r, nil
}

type hubReader struct {
	h      *hub
	p      int
	c      net.Conn
	next   int64
	taken  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (r *hubReader) Next(ctx context.Context, maxEvents, maxBytes int) ([]*event.Event, error) {
	for {
		r.h.mu.Lock()
		more, fail := r.h.more, r.h.fail
		var out []*event.Event
		bytes := 0
		r.next = max(r.next, r.h.first[r.p])
		for i := r.next - r.h.first[r.p]; i < int64(len(r.h.parts[r.p])) && len(out) < maxEvents && (bytes == 0 || bytes < maxBytes); i++ {
			e := *r.h.parts[r.p][i]
			bytes += len(e.Body)
			out = append(out, &e)
		}
		r.h.mu.Unlock()
		if fail != nil {
			if err := fail(); err != nil {
				return nil, err
			}
		}
		select {
		case <-r.taken:
			return nil, fault.New("fake", fault.Conflict, "somebody else reads")
		case <-r.closed:
			return nil, errAway
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		if len(out) > 0 {
			r.next += int64(len(out))
			return out, nil
		}
		select {
		case <-more:
		case <-r.taken:
		case <-r.closed:
		case <-ctx.Done():
		}
	}
}

func (r *hubReader) End() (int64, time.Time) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	return r.h.first[r.p] + int64(len(r.h.parts[r.p])), time.Time{}
}

func (r *hubReader) Close() error {
	r.h.mu.Lock()
	r.h.open--
	r.h.mu.Unlock()
	return r.c.Close()
}

// lake is a destination that lives as long as the test.
type lake struct {
	mu    sync.Mutex
	got   []*event.Event
	names []string // ids of got
	write func(ctx context.Context, batch []*event.Event) (keep int, err error)
	more  chan struct{}
	args  bridge.DestinationArgs
	dead  bool // it was sent to by a process that was killed
}

func newLake() *lake { return &lake{more: make(chan struct{})} }

func (l *lake) destination(_ context.Context, args bridge.DestinationArgs) (bridge.Destination, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.args = args
	return &lakeEnd{l, args}, nil
}

type lakeEnd struct {
	l    *lake
	args bridge.DestinationArgs
}

func (e *lakeEnd) Close() error { return nil }

func (e *lakeEnd) Write(ctx context.Context, _ string, batch []*event.Event) error {
	if e.args.End != nil {
		c, err := e.args.End.To(ctx, 443)
		if err != nil {
			return err
		}
		defer c.Close()
	}
	e.l.mu.Lock()
	write := e.l.write
	e.l.mu.Unlock()
	keep, err := len(batch), error(nil)
	if write != nil {
		keep, err = write(ctx, batch)
	}
	var refused *event.Refused
	errors.As(err, &refused)
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	if e.l.dead {
		return errAway
	}
	for i, x := range batch[:keep] {
		if refused != nil && refused.At[i] != nil {
			continue
		}
		c := *x
		c.Body = slices.Clone(x.Body)
		e.l.got, e.l.names = append(e.l.got, &c), append(e.l.names, x.ID(e.args.Bridge))
	}
	close(e.l.more)
	e.l.more = make(chan struct{})
	return err
}

func (l *lake) bodies() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, e := range l.got {
		out = append(out, string(e.Body))
	}
	return out
}

// letters keeps dead letters in memory for as long as the test lives.
type letters struct {
	mu   sync.Mutex
	got  []bridge.Dead
	full bool
	dead bool
}

func (l *letters) open(bridge.LettersArgs) (bridge.Letters, error) { return l, nil }
func (l *letters) Close() error                                    { return nil }

func (l *letters) Kept() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.got))
}

func (l *letters) Put(_ context.Context, _, step string, e *event.Event, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full || l.dead {
		return fault.New("fake", fault.Exhausted, "dead letters are full").Advise("delete some")
	}
	c := *e
	l.got = append(l.got, bridge.Dead{Event: &c, Step: step, Reason: reason})
	return nil
}

func (l *letters) list() []bridge.Dead {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// world is one process with bridges, its ends and what outlives it.
type world struct {
	t       testing.TB
	cfg     bridge.Config
	hub     *hub
	lake    *lake
	letters *letters
	clk     clock.Clock
	log     *slog.Logger

	mu   sync.Mutex
	open int // connections

	*bridge.Bridges
	stop func() // ends the process
}

func newWorld(t testing.TB, partitions int) *world {
	w := &world{t: t, hub: newHub(partitions), lake: newLake(), letters: &letters{}, clk: clock.System{}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	w.cfg = bridge.Config{Dir: t.TempDir(), Source: w.hub.source, Destination: w.lake.destination, Letters: w.letters.open}
	return w
}

type countedConn struct {
	net.Conn
	close func()
}

func (c *countedConn) Close() error { c.close(); return c.Conn.Close() }

func (w *world) dial(_ context.Context, e plan.BridgeEnd, _ uint16) (net.Conn, error) {
	a, b := net.Pipe()
	w.mu.Lock()
	w.open++
	w.mu.Unlock()
	go func() { _, _ = io.Copy(io.Discard, b); _ = b.Close() }()
	var once sync.Once
	return &countedConn{a, func() {
		once.Do(func() {
			w.mu.Lock()
			w.open--
			w.mu.Unlock()
		})
	}}, nil
}

func (w *world) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

// start begins a process on the same disk. The one before has to have stopped.
func (w *world) start(list ...plan.Bridge) {
	w.t.Helper()
	b, err := bridge.New(w.cfg, bridge.Outside{Dial: w.dial}, w.log, w.clk, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	w.Bridges = b
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	b.Set(list)
}

// telemetry is a plan: from the hub to the lake, with steps.
func telemetry(steps ...resource.BridgeStep) plan.Bridge {
	p := plan.Bridge{ID: "b1", Name: "ot/plant/telemetry", Assignment: 1, Identity: "spiffe://example/bridge/b1"}
	p.Spec.Source.Endpoint, p.Spec.Destination.Endpoint = "hub", "lake"
	p.Spec.Destination.EventHub = &resource.EventHubDestination{Name: "telemetry"}
	p.Spec.Steps = steps
	p.Ends = map[string]plan.BridgeEnd{
		"hub":  {ID: "e1", Name: "ot/plant/hub", Open: true, Ports: []uint16{5671}},
		"lake": {ID: "e2", Name: "ot/plant/lake", Open: true, Ports: []uint16{443}},
	}
	return p
}

func mapping(name, text string) resource.BridgeStep {
	return resource.BridgeStep{Name: name, Mapping: text}
}

// until waits for the truth, and fails the test when it does not come.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for i := 0; !ok(); i++ {
		if i > 100_000 {
			w.t.Fatalf("never: %s; status %+v", what, w.Status())
		}
		pass(20 * time.Millisecond)
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	fired, _ := clock.System{}.After(d)
	<-fired
}

// kill ends the process as a power cut does: what it does from now on never happened.
func (w *world) kill() {
	w.t.Helper()
	w.lake.mu.Lock()
	w.letters.mu.Lock()
	w.lake.dead, w.letters.dead = true, true
	w.letters.mu.Unlock()
	w.lake.mu.Unlock()
	path := filepath.Join(w.cfg.Dir, "bridges", "b1", "checkpoint")
	kept, err := os.ReadFile(path)
	w.stop()
	if err == nil {
		err = os.WriteFile(path, kept, 0o600)
	} else if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.lake.dead, w.letters.dead = false, false
}

func (w *world) status() bridge.Status {
	w.t.Helper()
	list := w.Status()
	if len(list) != 1 {
		w.t.Fatalf("%d bridges", len(list))
	}
	return list[0]
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(`{"n":%d}`, i)
	}
	return out
}

func (l *lake) events() []*event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *lake) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.names)
}

func (h *hub) opened() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads
}
