package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

const (
	firstPause   = 200 * time.Millisecond // at most, before the second attempt to reach a relay; doubles
	longestPause = 15 * time.Second
	stable       = time.Minute // a connection that lasted this long was a success
)

// relayLink keeps the signalling connection to one relay.
type relayLink struct {
	tr     *Transport
	relay  plan.Relay
	cancel context.CancelFunc // ends run
	wake   chan struct{}      // somebody needs the relay: cut the back-off short; room for one

	mu       sync.Mutex // guards the fields below; taken after Transport.mu
	out      chan tunnel.Signal
	since    time.Time // of the connection, or of its loss
	attempts uint64
	lost     error
	rtt      time.Duration
	next     uint32
	asked    map[uint32]chan<- answer
}

// answer is what became of an ask.
type answer struct {
	ticket tunnel.Ticket
	err    error
}

func newRelayLink(tr *Transport, r plan.Relay) *relayLink {
	return &relayLink{
		tr: tr, relay: r, wake: make(chan struct{}, 1), since: tr.clk.Now(), asked: map[uint32]chan<- answer{},
	}
}

// run connects, and connects again, until ctx ends.
func (l *relayLink) run(ctx context.Context) {
	pause := backoff.Backoff{Base: firstPause, Max: longestPause}
	for {
		began := l.tr.clk.Now()
		lasted, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if lasted >= stable {
			pause.Reset()
		}
		d := pause.Next()
		l.tr.metrics.lost.Inc()
		l.tr.log.Warn("no connection to the relay", "relay", l.relay.Address, "err", err, "retry", d.Round(time.Millisecond))
		if !l.rest(ctx, began, d) {
			return
		}
	}
}

// rest waits for d. When a flow needs the relay meanwhile, it waits only until a second or two after the last attempt began.
func (l *relayLink) rest(ctx context.Context, began time.Time, d time.Duration) (goOn bool) {
	end := l.tr.clk.Now().Add(d)
	fired, stop := l.tr.clk.After(d)
	defer func() { stop() }()
	wake := (<-chan struct{})(l.wake)
	for {
		select {
		case <-fired:
			return true
		case <-ctx.Done():
			return false
		case <-wake:
			wake = nil
			now := l.tr.clk.Now()
			soon := began.Add(time.Second + rand.N(time.Second)) //nolint:gosec // jitter, no secret
			if soon.Before(end) {
				stop()
				fired, stop = l.tr.clk.After(max(0, soon.Sub(now)))
			}
		}
	}
}

// once makes one connection and serves it to its end; it returns how long the relay was connected.
func (l *relayLink) once(ctx context.Context) (lasted time.Duration, err error) {
	defer func() {
		l.mu.Lock()
		l.attempts++
		l.lost = err
		l.mu.Unlock()
	}()
	conn, err := l.connect(ctx)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	out := make(chan tunnel.Signal, 64)
	gone := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { l.write(conn, out, gone) })
	began, err := l.read(conn, out) //nolint:contextcheck // tunnels that are offered belong to Run and outlast this connection
	close(gone)
	_ = conn.NetConn().Close()
	writer.Wait()
	if began.IsZero() {
		return 0, err
	}
	l.disconnected(err)
	return l.tr.clk.Now().Sub(began), err
}

// connect dials the relay, through a proxy when there is one, and ends with both sides verified.
func (l *relayLink) connect(ctx context.Context) (*tls.Conn, error) {
	if err := l.tr.ownCertificate(); err != nil {
		return nil, err
	}
	c, err := l.tr.dial(ctx, "tcp", l.relay.Address)
	if err != nil {
		return nil, err
	}
	conf := sessionless(l.tr.creds.ClientTLS(identity.Only(identity.ID(l.relay.ID)), tunnel.ALPNRelay))
	conf.ServerName = serverName(l.relay.Address)
	conn := tls.Client(c, conf)
	hctx, cancel := context.WithTimeout(ctx, l.tr.cfg.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(hctx); err != nil {
		_ = c.Close()
		return nil, l.tr.handshakeFault("transport.connectRelay", err, "the relay "+l.relay.Address)
	}
	return conn, nil
}

// serverName is sent to the relay for the sake of firewalls that want one; it proves nothing.
func serverName(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}

func (l *relayLink) connected(out chan tunnel.Signal) time.Time {
	now := l.tr.clk.Now()
	l.mu.Lock()
	l.out, l.since, l.lost, l.rtt = out, now, nil, 0
	l.mu.Unlock()
	l.tr.mu.Lock()
	l.tr.announce()
	l.tr.mu.Unlock()
	return now
}

func (l *relayLink) disconnected(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out, l.since = nil, l.tr.clk.Now()
	for id, ch := range l.asked {
		delete(l.asked, id)
		ch <- answer{err: fault.New("transport.ask", fault.Unavailable, "the relay "+l.relay.Address+" went away").Because(err)}
	}
}

// wanted reports whether the relay is connected, and asks for a connection soon if it is not.
func (l *relayLink) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		return true
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return false
}

// lastError is why the relay is not connected; nil when it is or was not tried yet.
func (l *relayLink) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// ask gets a ticket for a connection to target.
func (l *relayLink) ask(ctx context.Context, target identity.ID) (tunnel.Ticket, error) {
	const op = "transport.ask"
	ch := make(chan answer, 1)
	l.mu.Lock()
	if l.out == nil {
		l.mu.Unlock()
		return tunnel.Ticket{}, fault.New(op, fault.Unavailable, "the relay "+l.relay.Address+" is not connected")
	}
	l.next++
	id := l.next
	select {
	case l.out <- tunnel.Ask{Request: id, Target: string(target)}:
		l.asked[id] = ch
	default:
		l.mu.Unlock()
		return tunnel.Ticket{}, fault.New(op, fault.Exhausted, "the relay "+l.relay.Address+" takes no more questions now")
	}
	l.mu.Unlock()
	select {
	case a := <-ch:
		return a.ticket, a.err
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.asked, id)
		l.mu.Unlock()
		return tunnel.Ticket{}, fault.Wrap(op, fault.Timeout, context.Cause(ctx), "the relay "+l.relay.Address+" did not answer in time")
	}
}

func (l *relayLink) settle(request uint32, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch, ok := l.asked[request]; ok { // else the asker gave up
		delete(l.asked, request)
		ch <- a
	}
}

// decline tells the relay that an offer will not be taken. Losing it only makes the asker wait.
func (l *relayLink) decline(t tunnel.Ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.out <- tunnel.Decline{Ticket: t}: // a nil channel takes nothing
	default:
	}
}

// write sends what is queued and a Ping each interval.
func (l *relayLink) write(conn *tls.Conn, out <-chan tunnel.Signal, gone <-chan struct{}) {
	ping, stop := l.tr.clk.After(0) // the first one at once: it proves that the relay took our certificate
	defer func() { stop() }()
	var buf []byte
	for {
		var f tunnel.Signal
		select {
		case f = <-out:
		case <-ping:
			stop()
			ping, stop = l.tr.clk.After(l.tr.cfg.PingInterval)
			f = tunnel.Ping{Token: uint64(l.tr.clk.Now().UnixNano())}
		case <-gone:
			return
		}
		var err error
		if buf, err = tunnel.AppendSignal(buf[:0], f); err != nil {
			if a, ok := f.(tunnel.Ask); ok {
				l.settle(a.Request, answer{err: err})
			}
			continue
		}
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(buf); err != nil {
			_ = conn.NetConn().Close()
			return
		}
	}
}

// read takes the relay's frames until the connection ends. The first one shows that the relay took our certificate, which in TLS 1.3
// the end of the handshake does not; began is when it came, or zero.
func (l *relayLink) read(conn *tls.Conn, out chan tunnel.Signal) (began time.Time, err error) {
	const op = "transport.readRelay"
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(l.tr.cfg.SilenceTimeout))
		f, err := tunnel.ReadSignal(in)
		if err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				return began, fault.New(op, fault.Timeout, "the relay "+l.relay.Address+" has fallen silent").Because(err)
			}
			return began, l.tr.handshakeFault(op, err, "the relay "+l.relay.Address)
		}
		if began.IsZero() {
			began = l.connected(out)
			l.tr.log.Info("connected to the relay", "relay", l.relay.Address)
		}
		switch f := f.(type) {
		case tunnel.Issued:
			l.settle(f.Request, answer{ticket: f.Ticket})
		case tunnel.Refuse:
			l.settle(f.Request, answer{err: refusal{f}})
		case tunnel.Offer:
			l.tr.offered(l, f)
		case tunnel.Pong:
			l.mu.Lock()
			l.rtt = max(0, time.Duration(uint64(l.tr.clk.Now().UnixNano())-f.Token))
			l.mu.Unlock()
		case tunnel.Ping:
			l.mu.Lock()
			select {
			case l.out <- tunnel.Pong(f):
			default:
			}
			l.mu.Unlock()
		default:
			return began, fault.Newf(op, fault.Invalid, "the relay %s sent a frame that only agents send (%T)", l.relay.Address, f)
		}
	}
}

// refusal is a relay's no.
type refusal struct{ tunnel.Refuse }

func (r refusal) Error() string { return "refused, " + r.Code.String() + ": " + r.Message }
