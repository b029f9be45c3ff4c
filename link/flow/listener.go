package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// retries spaces attempts on an address that could not be listened on or accepted from.
func retries() backoff.Backoff {
	return backoff.Backoff{Base: 200 * time.Millisecond, Max: 3 * time.Second}
}

// listener is one address and port of one endpoint, with its flows.
type listener struct {
	owner    *Endpoints
	place    place
	endpoint atomic.Pointer[plan.Endpoint] // what the plan says of it now
	problem  atomic.Pointer[string]
	bound    atomic.Bool
	logged   atomic.Int64 // Unix seconds of the last line about trouble
	live     table

	mu      sync.Mutex // guards the fields below
	cancel  context.CancelFunc
	socket  net.Listener
	stopped bool
}

func newListener(owner *Endpoints, at place, p *plan.Endpoint) *listener {
	l := &listener{owner: owner, place: at}
	l.endpoint.Store(p)
	return l
}

func (l *listener) name() string { return l.endpoint.Load().Name }

// stop closes the socket and cuts the flows before it returns; it returns how many there were. The listener never comes back.
func (l *listener) stop(code tunnel.ResetCode, message string) int {
	l.mu.Lock()
	l.stopped = true
	if l.cancel != nil {
		l.cancel()
	}
	if l.socket != nil {
		_ = l.socket.Close()
	}
	l.mu.Unlock()
	l.bound.Store(false)
	return l.live.close(code, message)
}

// run listens and accepts until the listener is stopped or ctx ends.
func (l *listener) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.cancel = cancel
	if l.stopped {
		cancel()
	}
	l.mu.Unlock()
	socket := l.listen(ctx)
	if socket == nil {
		return
	}
	l.owner.log.Info("listening", "endpoint", l.name(), "address", l.place.address)
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	l.accept(ctx, socket)
	_ = socket.Close()
}

// listen tries until it has the address, which may come later than the plan does. It returns nil when it is to stop.
func (l *listener) listen(ctx context.Context) *net.TCPListener {
	cfg := net.ListenConfig{KeepAliveConfig: keepAlive()}
	cfg.SetMultipathTCP(false)
	wait := retries()
	for ctx.Err() == nil {
		s, err := cfg.Listen(ctx, network(l.place.address.Addr()), l.place.address.String())
		if err == nil {
			l.mu.Lock()
			stopped := l.stopped
			l.socket = s
			l.bound.Store(!stopped)
			l.mu.Unlock()
			if stopped {
				_ = s.Close()
				return nil
			}
			l.solved()
			return s.(*net.TCPListener) //nolint:forcetypeassert // what the network asked for is
		}
		l.trouble(fmt.Sprintf("cannot listen on %s: %s", l.place.address, plainWords(err)))
		wait.Wait(ctx, l.owner.opt.clk)
	}
	return nil
}

func network(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// plainWords returns the innermost words of a network error, without the addresses that stand around it already.
func plainWords(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// troubleEvery keeps an address in trouble under load from filling the log, in seconds.
const troubleEvery = 10

// trouble shows a problem, and logs it when it is new.
func (l *listener) trouble(words string) {
	if old := l.problem.Swap(&words); old != nil && *old == words {
		return
	}
	now, last := l.owner.opt.clk.Now().Unix(), l.logged.Load()
	if now-last >= troubleEvery && l.logged.CompareAndSwap(last, now) {
		l.owner.log.Warn("endpoint in trouble", "endpoint", l.name(), "problem", words)
	}
}

// solved is called for each flow that got an answer, so it is quick when there is nothing to take back.
func (l *listener) solved() {
	if l.problem.Load() == nil {
		return
	}
	if old := l.problem.Swap(nil); old != nil {
		l.owner.log.Debug("endpoint works again", "endpoint", l.name(), "was", *old)
	}
}

// acceptor is a *net.TCPListener.
type acceptor interface{ AcceptTCP() (*net.TCPConn, error) }

func (l *listener) accept(ctx context.Context, socket acceptor) {
	wait := retries()
	for {
		c, err := socket.AcceptTCP()
		switch {
		case err == nil:
			wait.Reset()
			l.admit(ctx, c)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors or memory, or a peer gone before it was taken: none is a reason to stop
			l.trouble("cannot accept: " + plainWords(err))
			wait.Wait(ctx, l.owner.opt.clk)
		}
	}
}

func (l *listener) admit(ctx context.Context, c *net.TCPConn) {
	client, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		client = a.AddrPort()
	}
	p := l.endpoint.Load()
	f := &flow{count: l.owner.count, socket: c, onData: l.solved, info: Info{
		Endpoint: p.ID, Name: p.Name, Client: netip.AddrPortFrom(client.Addr().Unmap(), client.Port()),
		Port: l.place.address.Port(), Since: l.owner.opt.clk.Now(),
	}}
	switch l.live.add(f, l.owner.opt.maxFlows) {
	case tableClosed:
		abort(c)
	case tableFull:
		l.owner.count.refused.WithLabelValues("full").Inc()
		l.trouble(fmt.Sprintf("port %d has %d flows open and takes no more", l.place.address.Port(), l.owner.opt.maxFlows))
		abort(c)
	case admitted:
		l.owner.wg.Go(func() { l.carry(ctx, f) })
	}
}

// carry is the life of one flow.
func (l *listener) carry(ctx context.Context, f *flow) {
	defer l.live.remove(f)
	p := l.endpoint.Load()
	stream, err := l.owner.opener.Open(ctx, p.Providers, tunnel.Flow{Endpoint: p.ID, Port: f.info.Port, Client: f.info.Client})
	if err != nil {
		f.sever(tunnel.ResetUnreachable, "")
		if ctx.Err() == nil {
			l.owner.count.refused.WithLabelValues("no-tunnel").Inc()
			l.trouble("no way to its provider: " + fault.Message(err))
			l.owner.log.Debug("flow failed", "endpoint", p.Name, "client", f.info.Client, "error", err)
		}
		return
	}
	if !f.attachStream(stream) {
		return
	}
	l.owner.count.opened.Add(1)
	l.owner.count.open.Add(1)
	reset := f.forward()
	l.owner.count.open.Add(-1)
	i := f.snapshot()
	if reset != nil && reset.Remote && i.Received == 0 && reset.Code != tunnel.ResetPeer {
		l.owner.count.refused.WithLabelValues(reset.Code.String()).Inc()
		l.trouble(refusalWords(reset.Code, reset.Message))
	}
	l.owner.log.Debug("flow ended", "endpoint", p.Name, "client", i.Client, "sent", i.Sent, "received", i.Received, "reset", reset)
}

// refusalWords says for people what the provider's agent answered.
func refusalWords(code tunnel.ResetCode, message string) string {
	words := map[tunnel.ResetCode]string{
		tunnel.ResetRefused:      "the provider's agent refuses: its plan has no such approved connection",
		tunnel.ResetUnreachable:  "the provider's agent cannot reach the service's target",
		tunnel.ResetTargetClosed: "the service's target refuses connections",
		tunnel.ResetRevoked:      "the provider's agent cut the connection: it is no longer approved",
		tunnel.ResetShuttingDown: "the provider's agent is stopping",
		tunnel.ResetOverloaded:   "the provider's agent has too many flows open",
	}[code]
	if words == "" {
		words = "the provider's agent reset the flow (" + code.String() + ")"
	}
	if message != "" {
		words += " (" + message + ")"
	}
	return words
}
