package amqpdoor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub process with the door.
type world struct {
	*hubtest.World
	t    testing.TB
	AMQP string // address
	door *amqpdoor.Door
}

// start makes a world and runs it until the test ends.
func start(t testing.TB, o hubtest.Options, cfg amqpdoor.Config) *world {
	t.Helper()
	w := &world{World: hubtest.Start(t, o), t: t}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Logger == nil {
		o.Logger = hubtest.Silent()
	}
	w.door = amqpdoor.New(cfg, w.Server, o.Logger, o.Clock)
	e := engine.New(engine.Config{}, o.Logger, clock.System{}, nil) // a test that moves the clock means tokens, and no silence
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.AMQP = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		err := w.Front.Serve(ctx, ln, "amqp", func(ctx context.Context, c *front.Conn) {
			_ = c.SetDeadline(time.Time{}) // the engine keeps the time from here
			_ = e.Serve(ctx, c, &acceptor{w, c})
		})
		if err != nil {
			t.Errorf("amqp: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// acceptor brings connections to the door, as a hub process does.
type acceptor struct {
	world *world
	conn  *front.Conn
}

func (a *acceptor) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"ANONYMOUS", "PLAIN", "EXTERNAL"} }

func (a *acceptor) Authenticate(ctx context.Context, x *engine.SASL) (any, error) {
	if x.Mechanism != "PLAIN" {
		return nil, nil //nolint:nilnil // nobody in particular
	}
	parts := strings.Split(string(x.Initial), "\x00")
	if len(parts) != 3 {
		return nil, fault.New("test", fault.Unauthenticated, "no password")
	}
	return a.world.door.AuthenticatePlain(ctx, a.conn, parts[1], parts[2])
}

func (a *acceptor) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	h, err := a.world.Server.Enter(a.conn.Side, c.PeerOpen().Hostname)
	if err != nil {
		return nil, err
	}
	return a.world.door.Converse(c, a.conn, h), nil
}

// client is a connection to Contoso.
type client struct {
	*amqptest.Client
	*amqptest.Session
	t     testing.TB
	ctx   context.Context //nolint:containedctx // of the test, with a deadline
	cbs   *amqptest.Requester
	world *world
}

// dial opens a connection without SASL, as SDKs for Node do.
func (w *world) dial() *client {
	w.t.Helper()
	c, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
	w.must(err)
	return w.over(c, amqptest.Options{Hostname: hubtest.Contoso})
}

func (w *world) dialWith(cert tls.Certificate) *client {
	w.t.Helper()
	c, err := w.DialWith(w.AMQP, hubtest.Contoso, cert)
	w.must(err)
	return w.over(c, amqptest.Options{Hostname: hubtest.Contoso + ":5671", SASL: amqptest.External()})
}

func (w *world) over(conn net.Conn, o amqptest.Options) *client {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	one, err := amqptest.Connect(ctx, conn, o)
	w.must(err)
	w.t.Cleanup(func() {
		cancel()
		one.Abort()
	})
	s, err := one.Session(ctx)
	w.must(err)
	return &client{Client: one, Session: s, t: w.t, ctx: ctx, world: w}
}

// device opens a connection, claims a new device and returns both.
func (w *world) device(id string) (*client, hub.Device) {
	w.t.Helper()
	d := w.Device(hubtest.Contoso, id)
	c := w.dial()
	c.claims("devices/"+id, w.Token(hubtest.Contoso, d))
	return c, d
}

// signed is a token for a part of Contoso, made with a policy's connection string.
func (w *world) signed(connectionString, path string) string {
	w.t.Helper()
	c, err := sas.ParseConnectionString(connectionString)
	w.must(err)
	token, err := sas.Sign(hubtest.Contoso+"/"+path, c.Key, c.Policy, time.Now().Add(time.Hour))
	w.must(err)
	return token
}

// put puts a token.
func (c *client) put(audience, token string) (code int32, words string) {
	c.t.Helper()
	if c.cbs == nil {
		var err error
		c.cbs, err = c.Requester(c.ctx, "$cbs")
		c.must(err)
	}
	code, words, err := c.cbs.PutToken(c.ctx, "servicebus.windows.net:sastoken", audience, token)
	c.must(err)
	return code, words
}

func (c *client) claims(audience, token string) {
	c.t.Helper()
	if code, words := c.put(hubtest.Contoso+"/"+audience, token); code != 200 {
		c.t.Fatalf("the token for %s: %d %s", audience, code, words)
	}
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// sends attaches a link for messages.
func (c *client) sends(address string) *amqptest.Sender {
	c.t.Helper()
	s, err := c.Sender(c.ctx, address, nil)
	c.must(err)
	return s
}

func (c *client) receives(address string, credit uint32) *amqptest.Receiver {
	c.t.Helper()
	r, err := c.Receiver(c.ctx, address, credit, nil)
	c.must(err)
	return r
}

// pair attaches two links as SDKs do for twins, methods and streams.
func (c *client) pair(address, name string, credit uint32) (*amqptest.Sender, *amqptest.Receiver) {
	c.t.Helper()
	edit := func(a *amqp.Attach) {
		a.Name += " " + name
		a.Properties = amqp.Map{
			{Key: amqp.Symbol("com.microsoft:channel-correlation-id"), Value: name}, {Key: amqp.Symbol("com.microsoft:api-version"), Value: "2021-04-12"},
		}
		a.SndSettleMode = amqp.Some(amqp.SenderSettled)
	}
	s, err := c.Sender(c.ctx, address, edit)
	c.must(err)
	r, err := c.Receiver(c.ctx, address, credit, edit)
	c.must(err)
	return s, r
}

func encode(t testing.TB, m amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(t testing.TB, body string) []byte {
	t.Helper()
	return encode(t, amqp.Message{Data: [][]byte{[]byte(body)}})
}

// next takes a delivery and reads it.
func (c *client) next(r *amqptest.Receiver) (*amqptest.Delivery, *amqp.Message) {
	c.t.Helper()
	d, err := r.Next(c.ctx)
	c.must(err)
	m, err := d.Decode()
	c.must(err)
	return d, m
}

// condition is that of an error a peer sent.
func condition(err error) amqp.Symbol {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return e.Condition
	}
	return ""
}

// eventually waits for a condition that another goroutine brings about at once, and has no event to wait on.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not after 10 s: %s", what)
		}
	}
}

// movedClock is a clock that a test moves when somebody waits for it.
type movedClock struct{ *clock.Fake }

func newMovedClock() movedClock { return movedClock{clock.NewFake(time.Now())} }

// await lets time pass until something comes.
func (c movedClock) await(t testing.TB, from <-chan error) error {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-from:
			return err
		case <-tick.C:
			c.Advance(20 * time.Millisecond)
		case <-deadline.C:
			t.Fatal("nothing comes, whatever the time")
		}
	}
}
