package carry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// tick is how exactly deadlines of connections are kept.
const tick = 100 * time.Millisecond

// Config is how a Carrier works; its zero value does.
type Config struct {
	Workers        int // on Linux, each with its own listening sockets; 0: GOMAXPROCS
	MaxConnections int // open at the same time at all listeners; 0: 100,000
	Backlog        int // of each listening socket, which the kernel bounds by somaxconn; 0: 4096

	// Dropped, when set, is told of connections that ended before their source was known: the reasons are ReasonFull,
	// ReasonBadProxyHeader, ReasonHelloTimeout, ReasonNoHello and ReasonDrain. It must not block, and peer is not valid with ReasonFull
	// when there were no file descriptors.
	Dropped func(at *Entrance, peer netip.AddrPort, reason string)

	portable bool // the engine of goroutines, where there is another
}

// engine is what differs between platforms.
type engine interface {
	// listen opens a listening address, adopt takes sockets that listen already. Connections queue until open.
	listen(l *Listener, at netip.AddrPort, both bool) error
	adopt(l *Listener, files []*os.File) error
	files(l *Listener) ([]*os.File, error)
	// open begins to accept, at the latest when run begins.
	open(l *Listener)
	// close stops accepting for good, after what has queued when queued is set, and returns when the sockets are closed.
	close(l *Listener, queued bool)
	// run serves until ctx ends, then resets every connection.
	run(ctx context.Context) error
	tick(now time.Time)
	review(keep func(Visit) bool)
	stats(s *Stats)
}

// Carrier carries the connections of all listening addresses of a gateway.
type Carrier struct {
	cfg      Config
	gate     Gate
	log      *slog.Logger
	clk      clock.Clock
	epoch    time.Time // what nanoseconds are counted from
	engine   engine
	sessions *sessions

	open  atomic.Int64  // connections
	empty chan struct{} // has room for one: open became 0

	mu        sync.Mutex // guards the fields below; held while the engine opens and closes listeners
	listeners map[*Listener]struct{}
	began     bool
	closed    bool // Drain or Run's end: no listener is taken any more
}

// Listener is one listening address of a Carrier.
type Listener struct {
	addr    netip.AddrPort
	at      atomic.Pointer[Entrance]
	handed  atomic.Bool // another process has the sockets too
	sockets any         // the engine's
}

// Addr returns the address, with the port which the kernel chose where 0 was asked for.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Entrance returns what holds there now.
func (l *Listener) Entrance() *Entrance { return l.at.Load() }

// New returns a Carrier that asks gate. reg may be nil. Nothing starts before Run, but Listen may be called, and connections queue.
func New(cfg Config, gate Gate, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Carrier {
	cfg.Workers = or(cfg.Workers, runtime.GOMAXPROCS(0))
	cfg.MaxConnections = or(cfg.MaxConnections, 100_000)
	cfg.Backlog = or(cfg.Backlog, 4096)
	c := &Carrier{cfg: cfg, gate: gate, log: log, clk: clk, epoch: clk.Now(), empty: make(chan struct{}, 1), listeners: map[*Listener]struct{}{}}
	c.sessions = newSessions(c)
	if cfg.portable {
		c.engine = newPortable(c)
	} else {
		c.engine = newEngine(c)
	}
	register(reg, log, c.Stats)
	return c
}

// Listen opens a listening address: "192.0.2.1:443", "[2001:db8::1]:443", ":443" (both families where the machine has both). Port 0
// lets the kernel choose. On Linux it opens one socket for each worker.
func (c *Carrier) Listen(addr string, e *Entrance) (*Listener, error) {
	const op = "carry.Listen"
	at, both, err := parseListen(addr)
	if err != nil {
		return nil, err
	}
	return c.add(op, e, func(l *Listener) error { return c.engine.listen(l, at, both) })
}

// Adopt takes listening sockets which another process, or systemd, opened: all of one address, at least one. The number of workers may
// differ from theirs. The files are duplicated and stay the caller's.
func (c *Carrier) Adopt(e *Entrance, files []*os.File) (*Listener, error) {
	const op = "carry.Adopt"
	if len(files) == 0 {
		return nil, fault.New(op, fault.Invalid, "there is no socket to adopt").Advise("hand over at least one listening socket for each address")
	}
	return c.add(op, e, func(l *Listener) error { return c.engine.adopt(l, files) })
}

func (c *Carrier) add(op string, e *Entrance, open func(*Listener) error) (*Listener, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.New(op, fault.Unavailable, "the gateway is stopping").Advise("use the process that replaces it")
	}
	l := &Listener{}
	l.at.Store(e)
	if err := open(l); err != nil {
		return nil, fault.New(op, fault.Unavailable, "the gateway cannot listen for "+or(e.Name, "a listener")+": "+cause(err)).Because(err).Advise("%s", remedy(err))
	}
	c.listeners[l] = struct{}{}
	if c.began {
		c.engine.open(l)
	}
	return l, nil
}

func parseListen(addr string) (at netip.AddrPort, both bool, err error) {
	host, port, cut := strings.Cut(addr, ":")
	if cut && host == "" && !strings.Contains(port, ":") {
		addr, both = "[::]:"+port, true
	}
	if at, err = netip.ParseAddrPort(addr); err != nil {
		return at, false, fault.Newf("carry.Listen", fault.Invalid, "%q is no address to listen at", addr).Because(err).
			Advise("write an IP address and a port, such as 192.0.2.1:443, [2001:db8::1]:443, or :443 for all addresses")
	}
	return at, both, nil
}

// cause gives the words of the system, which say more than ours would.
func cause(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	return err.Error()
}

// remedy is what to do about an address that cannot be opened.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "ports below 1024 need root, CAP_NET_BIND_SERVICE, or a socket that systemd holds"
	case errors.Is(err, syscall.EADDRINUSE):
		return "end the program that has the port (ss -ltnp names it); a gateway gives its ports up to one with the same data directory only"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "give this machine the address, or leave it out to listen on every address"
	}
	return ""
}

// Replace lets another Entrance hold at a listening address, for connections accepted from now on. The sockets are not touched.
func (c *Carrier) Replace(l *Listener, e *Entrance) { l.at.Store(e) }

// Close stops accepting at an address, after what has queued there. Its connections go on.
func (c *Carrier) Close(l *Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.listeners[l]; ok {
		delete(c.listeners, l)
		c.engine.close(l, !l.handed.Load())
	}
}

// Files returns duplicates of all listening sockets of an address, for another process to Adopt. From then on closing the listener
// leaves what has queued to that process.
func (c *Carrier) Files(l *Listener) ([]*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const op = "carry.Files"
	if _, ok := c.listeners[l]; !ok {
		return nil, fault.New(op, fault.NotFound, "the listener is closed")
	}
	files, err := c.engine.files(l)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the listening sockets cannot be handed over: "+cause(err))
	}
	l.handed.Store(true)
	return files, nil
}

// Run carries connections until ctx ends, resets those that are left, and returns when everything has ended. It is called once.
func (c *Carrier) Run(ctx context.Context) error {
	c.mu.Lock()
	c.began = true
	for l := range c.listeners {
		c.engine.open(l)
	}
	c.mu.Unlock()
	// Listeners are closed while the engine still runs, so that it accepts what has queued.
	engine, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ctx, fail := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		c.keepTime(ctx)
		c.closeAll()
		cancel()
	})
	err := c.engine.run(engine)
	fail()
	keeping.Wait()
	c.sessions.end()
	return err
}

// nanos is a time in nanoseconds since the Carrier was made. It does not leap when the machine's time is set: deadlines would all be over
// at once, or would not come for hours.
func (c *Carrier) nanos(t time.Time) int64 { return int64(t.Sub(c.epoch)) }

func (c *Carrier) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for l := range c.listeners {
		delete(c.listeners, l)
		c.engine.close(l, !l.handed.Load())
	}
}

func (c *Carrier) keepTime(ctx context.Context) {
	for {
		due, stop := c.clk.After(tick)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-due:
			now := c.clk.Now()
			c.sessions.tick(now)
			c.engine.tick(now)
		}
	}
}

// Review asks about every connection that the gate has let in; those not kept are reset before it returns. Keep is called from
// several goroutines, never for one visit at the same time as its own calls, and must not block.
func (c *Carrier) Review(keep func(v Visit) bool) {
	c.mu.Lock()
	began := c.began
	c.mu.Unlock()
	if !began {
		return
	}
	c.engine.review(keep)
	c.sessions.review(keep)
}

// Drain stops accepting at all addresses, after what has queued, and returns when no connection is left. When ctx ends first, the
// fault is of kind Timeout and the connections go on until Run's context ends.
func (c *Carrier) Drain(ctx context.Context) error {
	c.closeAll()
	for c.open.Load() > 0 {
		select {
		case <-c.empty:
		case <-ctx.Done():
			if n := c.open.Load(); n > 0 {
				return fault.Newf("carry.Drain", fault.Timeout, "%d connections are still open", n).Because(context.Cause(ctx)).
					Advise("give a longer deadline where these must not be reset")
			}
		}
	}
	return nil
}

// Stats returns the numbers of now.
func (c *Carrier) Stats() Stats {
	var s Stats
	c.engine.stats(&s)
	c.sessions.tally.add(&s)
	return s
}

// admit counts a connection in, unless there are too many.
func (c *Carrier) admit() bool {
	if c.open.Add(1) > int64(c.cfg.MaxConnections) {
		c.release()
		return false
	}
	return true
}

func (c *Carrier) release() {
	if c.open.Add(-1) == 0 {
		select {
		case c.empty <- struct{}{}:
		default:
		}
	}
}

// drop tells of a connection whose source stayed unknown.
func (c *Carrier) drop(t *tally, at *Entrance, peer netip.AddrPort, reason string) {
	if reason == ReasonFull {
		t.full.Add(1)
	} else {
		t.dropped.Add(1)
	}
	if c.cfg.Dropped != nil {
		c.cfg.Dropped(at, peer, reason)
	}
}
