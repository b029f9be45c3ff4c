package engine

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is an Acceptor and Handler that tests fill in.
type house struct {
	mechanisms   []amqp.Symbol
	authenticate func(context.Context, *SASL) (any, error)
	open         func(context.Context, *Conn) error
	attach       func(*Link)

	mu    sync.Mutex
	conn  *Conn
	links []*Link
	ended chan error // what Ended was told
	serve chan error // what Serve returned
	came  chan *Link
}

func (h *house) Mechanisms() []amqp.Symbol { return h.mechanisms }

func (h *house) Authenticate(ctx context.Context, x *SASL) (any, error) {
	if h.authenticate == nil {
		return string(x.Initial), nil
	}
	return h.authenticate(ctx, x)
}

func (h *house) Open(ctx context.Context, c *Conn) (Handler, error) {
	h.mu.Lock()
	h.conn = c
	h.mu.Unlock()
	if h.open != nil {
		if err := h.open(ctx, c); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *house) Attach(l *Link) {
	h.mu.Lock()
	h.links = append(h.links, l)
	h.mu.Unlock()
	if h.attach != nil {
		h.attach(l)
	} else {
		l.Accept(Accept{Receive: func(d *Delivery) { d.Accept() }})
	}
	select {
	case h.came <- l:
	default:
	}
}

func (h *house) Ended(err error) { h.ended <- err }

// link waits for the next link that came.
func (h *house) link(t testing.TB) *Link {
	t.Helper()
	select {
	case l := <-h.came:
		return l
	case <-time.After(10 * time.Second):
		t.Fatal("no link came")
		return nil
	}
}

// serving serves one end of a loopback connection and returns the other.
func (h *house) serving(t testing.TB, e *Engine) net.Conn {
	t.Helper()
	near, far := pair(t)
	h.serveOn(t, e, far)
	t.Cleanup(func() { _ = near.Close() }) // before Serve's context ends, which would wait for the peer's close
	return near
}

func (h *house) serveOn(t testing.TB, e *Engine, far net.Conn) {
	h.ended, h.serve, h.came = make(chan error, 1), make(chan error, 1), make(chan *Link, 64)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.serve <- e.Serve(ctx, far, h)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// pair is a loopback connection.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func newEngine(cfg Config) *Engine {
	return New(cfg, slog.New(slog.DiscardHandler), clock.System{}, nil)
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// raw opens a connection whose frames the test writes and reads.
func (h *house) raw(t testing.TB, e *Engine, o amqptest.Options) *amqptest.Conn {
	t.Helper()
	c, err := amqptest.Dial(soon(t), h.serving(t, e), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client opens a connection.
func (h *house) client(t testing.TB, e *Engine, o amqptest.Options) *amqptest.Client {
	t.Helper()
	c, err := amqptest.Connect(soon(t), h.serving(t, e), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
