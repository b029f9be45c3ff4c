package amqpdoor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "ns.example"

// world is a door over a real log, and a directory that is a table.
type world struct {
	t      testing.TB
	clock  clock.Clock
	log    *eventlog.Log
	dir    *directory
	door   *amqpdoor.Door
	engine *engine.Engine
	ctx    context.Context
	trust  eventhub.Claim // given to each connection when it has a path
	served sync.WaitGroup
	refuse func(string, error)
	join   bool
}

func newWorld(t testing.TB, cfg amqpdoor.Config, clk clock.Clock) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	l, err := eventlog.Open(eventlog.Config{Dir: t.TempDir(), Reserve: 1, Retention: eventlog.Retention{}, RetentionEvery: time.Hour}, quiet, clk, nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	w := &world{
		t: t, clock: clk, log: l, ctx: ctx, dir: &directory{clock: clk, log: l, entities: map[string]*entity{}},
		door: amqpdoor.New(cfg, quiet, clk, nil), engine: engine.New(engine.Config{}, quiet, clk, nil),
	}
	t.Cleanup(func() {
		w.served.Wait()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	w.dir.add(t, "telemetry", 4)
	return w
}

// Mechanisms and the others make the world the acceptor of its connections.
func (w *world) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"ANONYMOUS", "PLAIN"} }

func (w *world) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, nil }

func (w *world) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	if w.join {
		return w.door.Join(c, w.dir, w.refuse), nil
	}
	v := w.door.Converse(c, w.dir, w.refuse)
	if w.trust.Rights != 0 {
		v.Trust(w.trust)
	}
	return v, nil
}

// client is one connection.
type client struct {
	*amqptest.Client
	w       *world
	session *amqptest.Session
}

func (w *world) connect() *client {
	w.t.Helper()
	a, b := net.Pipe()
	return w.over(a, b)
}

func (w *world) over(a, b net.Conn) *client {
	w.t.Helper()
	w.served.Go(func() { _ = w.engine.Serve(w.ctx, b, w) })
	c, err := amqptest.Connect(w.ctx, a, amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: host})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Abort)
	s, err := c.Session(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{Client: c, w: w, session: s}
}

// all connects somebody who may do everything.
func (w *world) all() *client {
	w.t.Helper()
	c := w.connect()
	c.put("Manage||")
	return c
}

func (c *client) cbs() *amqptest.Requester {
	c.w.t.Helper()
	r, err := c.session.Requester(c.w.ctx, "$cbs")
	if err != nil {
		c.w.t.Fatal(err)
	}
	return r
}

// put puts a token (see directory.Prove) for what its path says.
func (c *client) put(token string) {
	c.w.t.Helper()
	s, err := c.Session(c.w.ctx)
	if err != nil {
		c.w.t.Fatal(err)
	}
	r, err := s.Requester(c.w.ctx, "$cbs")
	if err != nil {
		c.w.t.Fatal(err)
	}
	code, words, err := r.PutToken(c.w.ctx, eventhub.TokenSAS, "sb://"+host+"/"+strings.Split(token, "|")[1], token)
	if err != nil || code != 202 {
		c.w.t.Fatalf("put-token: %d %s %v", code, words, err)
	}
	if err := s.End(c.w.ctx); err != nil {
		c.w.t.Fatal(err)
	}
}

func (c *client) sender(address string, edit func(*amqp.Attach)) *amqptest.Sender {
	c.w.t.Helper()
	s, err := c.session.Sender(c.w.ctx, address, edit)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return s
}

func (c *client) receiver(address, filter string, credit uint32, edit func(*amqp.Attach)) *amqptest.Receiver {
	c.w.t.Helper()
	r, err := c.session.Receiver(c.w.ctx, address, credit, with(filter, edit))
	if err != nil {
		c.w.t.Fatal(err)
	}
	return r
}

// refused attaches a receiver and wants it not to be.
func (c *client) refused(address, filter string, edit func(*amqp.Attach)) *amqp.Error {
	c.w.t.Helper()
	r, err := c.session.Receiver(c.w.ctx, address, 1, with(filter, edit))
	if err == nil {
		err = r.WaitEnd(c.w.ctx)
	}
	return c.asError(err)
}

func (c *client) refusedSender(address string, edit func(*amqp.Attach)) *amqp.Error {
	c.w.t.Helper()
	s, err := c.session.Sender(c.w.ctx, address, edit)
	if err == nil {
		err = s.WaitEnd(c.w.ctx)
	}
	return c.asError(err)
}

func (c *client) asError(err error) *amqp.Error {
	c.w.t.Helper()
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		c.w.t.Fatalf("refused with %v", err)
	}
	return e
}

func with(filter string, edit func(*amqp.Attach)) func(*amqp.Attach) {
	return func(a *amqp.Attach) {
		if filter != "" {
			a.Source.Filter = amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: amqp.Described{Descriptor: uint64(0x468C00000004), Value: "amqp.annotation." + filter}}}
		}
		if edit != nil {
			edit(a)
		}
	}
}

func epoch(n int64, name string) func(*amqp.Attach) {
	return func(a *amqp.Attach) {
		a.Properties = amqp.Map{{Key: amqp.Symbol("com.microsoft:receiver-name"), Value: name}}
		if n >= 0 {
			a.Properties = append(a.Properties, amqp.Pair{Key: amqp.Symbol("com.microsoft:epoch"), Value: n})
		}
	}
}

const first = "telemetry/ConsumerGroups/$Default/Partitions/"

// encoded is one event as a client encodes it.
func encoded(t testing.TB, body string, annotations ...amqp.Pair) []byte {
	t.Helper()
	b, err := (&amqp.Message{MessageAnnotations: annotations, Data: [][]byte{[]byte(body)}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const batchFormat = 0x80013700

func batch(t testing.TB, envelope amqp.Map, events ...[]byte) []byte {
	t.Helper()
	b, err := (&amqp.Message{MessageAnnotations: envelope, Data: events}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) send(s *amqptest.Sender, events ...[]byte) {
	w.t.Helper()
	if err := s.SendAccepted(w.ctx, batch(w.t, nil, events...), batchFormat); err != nil {
		w.t.Fatal(err)
	}
}

// fill sends n events to a partition.
func (w *world) fill(partition, n int) {
	w.t.Helper()
	c := w.all()
	s := c.sender("telemetry/Partitions/"+strconv.Itoa(partition), nil)
	for i := range n {
		w.send(s, encoded(w.t, "e"+strconv.Itoa(i)))
	}
	if err := c.Close(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) next(r *amqptest.Receiver) (*amqptest.Delivery, *amqp.Message) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	d, err := r.Next(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := d.Decode()
	if err != nil {
		w.t.Fatal(err)
	}
	return d, m
}

func sequence(m *amqp.Message) int64 {
	n, _ := m.MessageAnnotations.Get("x-opt-sequence-number").(int64)
	return n
}

// directory is a namespace as a table. A token reads "{rights}|{path}|{end in ms since 1970, or nothing}".
type directory struct {
	clock clock.Clock
	log   *eventlog.Log

	mu       sync.Mutex // guards the fields below
	entities map[string]*entity
	revoked  atomic.Bool
}

func (d *directory) add(t testing.TB, name string, partitions int) *entity {
	t.Helper()
	if err := d.log.CreateStream(context.Background(), "s/"+name, eventlog.StreamOptions{Partitions: partitions, Hash: "lookup3"}); err != nil {
		t.Fatal(err)
	}
	e := &entity{name: name, log: d.log, partitions: partitions, created: d.clock.Now(), gone: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entities[strings.ToLower(name)] = e
	return e
}

// remove deletes an event hub; disabled keeps its name.
func (d *directory) remove(name string, disabled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entities[name]
	if delete(d.entities, name); disabled {
		d.entities[name] = nil
	}
	close(e.gone)
}

func (d *directory) HostNames() []string { return []string{host} }

func (d *directory) Prove(_ context.Context, kind, token string) (eventhub.Claim, error) {
	parts := strings.Split(token, "|")
	if len(parts) != 3 || kind != eventhub.TokenSAS && kind != eventhub.TokenJWT {
		return eventhub.Claim{}, fault.New("test", fault.Unauthenticated, "InvalidSignature: The token has an invalid signature.")
	}
	c := eventhub.Claim{Path: parts[1], Who: "test", Valid: func() bool { return !d.revoked.Load() }}
	for i, r := range []string{"Send", "Listen", "Manage"} {
		if strings.Contains(parts[0], r) {
			c.Rights |= 1 << i
		}
	}
	if ms, err := strconv.ParseInt(parts[2], 10, 64); err == nil {
		c.Expires = time.UnixMilli(ms)
		if !d.clock.Now().Before(c.Expires) {
			return c, fault.Newf("test", fault.Expired, "ExpiredToken: The token is expired. Expiration time: %s.", c.Expires.UTC())
		}
	}
	return c, nil
}

func (d *directory) ProveKey(context.Context, string, string) (eventhub.Claim, error) {
	return eventhub.Claim{}, fault.New("test", fault.Unauthenticated, "no")
}

func (d *directory) Entity(_ context.Context, name string) (eventhub.Entity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.entities[strings.ToLower(name)]
	switch {
	case !ok:
		return nil, fault.Newf("test", fault.NotFound, "The messaging entity '%s' could not be found.", name)
	case e == nil:
		return nil, fault.New("test", fault.Conflict, "the event hub is disabled").Because(eventhub.ErrDisabled)
	}
	return e, nil
}

type entity struct {
	name       string
	log        *eventlog.Log
	partitions int
	created    time.Time
	gone       chan struct{}
	devices    bool
	fails      atomic.Pointer[error] // of Append
}

func (e *entity) stream() string                             { return "s/" + strings.ToLower(e.name) }
func (e *entity) Name() string                               { return e.name }
func (e *entity) Created() time.Time                         { return e.created }
func (e *entity) Partitions() int                            { return e.partitions }
func (e *entity) Info(p int) (eventlog.Info, error)          { return e.log.Info(e.stream(), p) }
func (e *entity) MaxMessage() int                            { return eventhub.MaxMessage }
func (e *entity) Gone() <-chan struct{}                      { return e.gone }
func (e *entity) Devices() bool                              { return e.devices }
func (e *entity) SeekTime(p int, t time.Time) (int64, error) { return e.log.SeekTime(e.stream(), p, t) }
func (e *entity) SeekOffset(p int, o int64) (int64, error)   { return e.log.SeekOffset(e.stream(), p, o) }

func (e *entity) Append(b eventlog.Batch, done func(eventlog.Position, error)) {
	if err := e.fails.Load(); err != nil {
		done(eventlog.Position{}, *err)
		return
	}
	b.Stream = e.stream()
	e.log.AppendBatch(b, done)
}

func (e *entity) RegisterProducer(ctx context.Context, p int, known eventlog.Producer) (eventlog.Producer, error) {
	return e.log.RegisterProducer(ctx, e.stream(), p, known)
}

func (e *entity) Scan(ctx context.Context, p int, from int64, limit int, f func(*eventlog.View) bool) error {
	return e.log.Scan(ctx, e.stream(), p, from, limit, f)
}

func (e *entity) Wait(ctx context.Context, p int, from int64) error {
	return e.log.Wait(ctx, e.stream(), p, from)
}

func (e *entity) Group(_ context.Context, name string) (string, error) {
	for _, g := range []string{"$Default", "analytics"} {
		if strings.EqualFold(g, name) {
			return g, nil
		}
	}
	return "", fault.New("test", fault.NotFound, fmt.Sprintf("there is no consumer group %q", name))
}
