package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "isthmus.test"

var (
	asker  = identity.AgentID(domain, "ot", "plant-7", "gw-1")
	target = identity.AgentID(domain, "it", "it-cloud", "p-1")
)

// authority issues certificates for one deployment.
type authority struct {
	t testing.TB
	*identity.Authority
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a, _, err := identity.NewAuthority(domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, a}
}

func (a *authority) credentials(id identity.ID, ttl time.Duration) *identity.Credentials {
	a.t.Helper()
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		a.t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, id)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := a.IssueIdentity(csr, id, time.Now(), ttl)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := identity.NewCredentials(cert, keyPEM, a.CertificatePEM())
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// house is a relay that runs until the test ends.
type house struct {
	t       testing.TB
	ca      *authority
	relay   *Relay
	address string
}

func serve(t testing.TB, cfg Config, clk clock.Clock) *house {
	t.Helper()
	ca := newAuthority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := New(cfg, ca.credentials(identity.RelayID(domain, "r1"), time.Hour), slog.New(slog.DiscardHandler), clk, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := r.Serve(ctx, l); err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Cleanup(func() { cancel(); served.Wait() })
	return &house{t: t, ca: ca, relay: r, address: l.Addr().String()}
}

func (h *house) dial() *net.TCPConn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// member is an agent's signalling connection, by hand.
type member struct {
	h    *house
	conn *tls.Conn
	in   *bufio.Reader
}

// join connects an agent and waits until the relay knows it.
func (h *house) join(id identity.ID) *member {
	h.t.Helper()
	creds := h.ca.credentials(id, time.Hour)
	c := tls.Client(h.dial(), creds.ClientTLS(identity.Only(identity.RelayID(domain, "r1")), tunnel.ALPNRelay))
	m := &member{h: h, conn: c, in: bufio.NewReader(c)}
	m.send(tunnel.Ping{Token: 7})
	if got := m.next(); got != (tunnel.Pong{Token: 7}) {
		h.t.Fatalf("Ping was answered by %#v", got)
	}
	return m
}

func (m *member) send(s tunnel.Signal) {
	m.h.t.Helper()
	b, err := tunnel.AppendSignal(nil, s)
	if err != nil {
		m.h.t.Fatal(err)
	}
	if _, err := m.conn.Write(b); err != nil {
		m.h.t.Fatal(err)
	}
}

func (m *member) next() tunnel.Signal {
	m.h.t.Helper()
	s, err := tunnel.ReadSignal(m.in)
	if err != nil {
		m.h.t.Fatal(err)
	}
	return s
}

// ticket goes through an Ask and checks both sides' frames.
func (h *house) ticket(a, b *member) tunnel.Ticket {
	h.t.Helper()
	a.send(tunnel.Ask{Request: 42, Target: string(target)})
	issued, ok := a.next().(tunnel.Issued)
	if !ok || issued.Request != 42 {
		h.t.Fatalf("Ask was answered by %#v", issued)
	}
	offer, ok := b.next().(tunnel.Offer)
	if !ok || offer.From != string(asker) || offer.Ticket != issued.Ticket {
		h.t.Fatalf("the target got %#v", offer)
	}
	return issued.Ticket
}

// show makes a data connection with a ticket, without waiting for the status.
func (h *house) show(t tunnel.Ticket) *net.TCPConn {
	h.t.Helper()
	c := h.dial()
	b := tunnel.Preface{Kind: tunnel.Pair, Ticket: t}.Encode()
	if _, err := c.Write(b[:]); err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *house) status(c net.Conn) tunnel.Status {
	h.t.Helper()
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		h.t.Fatalf("no status: %v", err)
	}
	return tunnel.Status(b[0])
}

// pair returns two ends that the relay has joined.
func (h *house) pair() (a, b *net.TCPConn) {
	h.t.Helper()
	t := h.ticket(h.join(asker), h.join(target))
	a, b = h.show(t), h.show(t)
	for _, c := range []net.Conn{a, b} {
		if s := h.status(c); s != tunnel.StatusPaired {
			h.t.Fatalf("status %v", s)
		}
	}
	return a, b
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come to pass within 10 s: %s", what)
		}
	}
}

// closed checks that the relay ends a connection without a byte.
func closed(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); n != 0 || err == nil || (ok && ne.Timeout()) {
		t.Fatalf("the connection is open: %d bytes, %v", n, err)
	}
}
