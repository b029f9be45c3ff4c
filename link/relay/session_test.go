package relay

import (
	"crypto/tls"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// refusedAgent checks that a certificate gets nowhere. In TLS 1.3 the client learns of it at its first read.
func refusedAgent(t *testing.T, h *house, creds *identity.Credentials) {
	t.Helper()
	conn := tls.Client(h.dial(), creds.ClientTLS(func(identity.ID) error { return nil }, tunnel.ALPNRelay))
	err := conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil {
		t.Fatal("the relay took it")
	}
	if n := h.relay.agents.count(); n != 0 {
		t.Fatalf("%d agents are connected", n)
	}
}

func TestWhoMayConnect(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	t.Run("an agent of another authority", func(t *testing.T) {
		other := newAuthority(t).credentials(asker, time.Hour)
		// It must trust our relay, or it would hang up itself.
		if err := other.SetRoots(h.ca.CertificatePEM()); err != nil {
			t.Fatal(err)
		}
		refusedAgent(t, h, other)
	})
	t.Run("a lapsed certificate", func(t *testing.T) {
		refusedAgent(t, h, h.ca.credentials(asker, -time.Minute))
	})
	t.Run("no agent", func(t *testing.T) {
		refusedAgent(t, h, h.ca.credentials(identity.RelayID(domain, "r2"), time.Hour))
	})
	t.Run("an agent of another trust domain", func(t *testing.T) {
		refusedAgent(t, h, h.ca.credentials(identity.AgentID("elsewhere.test", "ot", "plant-7", "gw-1"), time.Hour))
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		conf := h.ca.credentials(asker, time.Hour).ClientTLS(func(identity.ID) error { return nil }, tunnel.ALPNRelay)
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if err := tls.Client(h.dial(), conf).Handshake(); err == nil {
			t.Fatal("the relay took it")
		}
	})
}

func TestAskForAbsentAgent(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a := h.join(asker)
	a.send(tunnel.Ask{Request: 3, Target: string(target)})
	if r, ok := a.next().(tunnel.Refuse); !ok || r.Request != 3 || r.Code != tunnel.RefuseAbsent {
		t.Fatalf("got %#v", r)
	}
}

// An asker who is not allowed learns nothing: the answer is the same as for an agent that is not there.
func TestAskThatIsNotAllowed(t *testing.T) {
	h := serve(t, Config{Allow: func(a, b identity.ID) bool { return a == target && b == asker }}, clock.System{})
	a, b := h.join(asker), h.join(target)
	a.send(tunnel.Ask{Request: 1, Target: string(target)})
	denied := a.next()
	a.send(tunnel.Ask{Request: 1, Target: "spiffe://isthmus.test/tenant/x/network/y/agent/z"})
	if absent := a.next(); absent != denied {
		t.Fatalf("%#v is not %#v", denied, absent)
	}
	b.send(tunnel.Ask{Request: 1, Target: string(asker)})
	if _, ok := b.next().(tunnel.Issued); !ok {
		t.Fatal("the other way is allowed")
	}
}

func TestNewestConnectionWins(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, old := h.join(asker), h.join(target)
	b := h.join(target)
	if _, err := old.in.ReadByte(); err == nil {
		t.Fatal("the old connection lives")
	}
	h.ticket(a, b)
	s := h.relay.Status()
	if len(s.Agents) != 2 || s.AgentsReplaced != 1 || !slices.ContainsFunc(s.Agents, func(a AgentStatus) bool { return a.ID == target }) {
		t.Fatalf("status %+v", s)
	}
}

func TestAsksAreBounded(t *testing.T) {
	clk := clock.NewFake(time.Now())
	h := serve(t, Config{AsksPerSecond: 1, AskBurst: 3}, clk)
	a, b := h.join(asker), h.join(target)
	for range 3 {
		h.ticket(a, b)
	}
	a.send(tunnel.Ask{Request: 9, Target: string(target)})
	if r, ok := a.next().(tunnel.Refuse); !ok || r.Code != tunnel.RefuseOverloaded {
		t.Fatalf("got %#v", r)
	}
	clk.Advance(time.Second)
	h.ticket(a, b)
}

func TestAgentsThatMisbehave(t *testing.T) {
	for name, raw := range map[string][]byte{
		"unknown frame":      {0, 1, 99},
		"a frame of a relay": append([]byte{0, 37, 3}, make([]byte, 36)...),
		"too long":           {0xff, 0xff},
		"ask for nobody":     {0, 5, 1, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, Config{}, clock.System{})
			a := h.join(asker)
			_, _ = a.conn.Write(raw)
			if _, err := a.in.ReadByte(); err == nil {
				t.Fatal("the relay goes on")
			}
			eventually(t, "it is forgotten", func() bool { return h.relay.agents.count() == 0 })
		})
	}
}

func TestSilentAgentIsForgotten(t *testing.T) {
	h := serve(t, Config{SilenceTimeout: 30 * time.Millisecond}, clock.System{})
	a := h.join(asker)
	if _, err := a.in.ReadByte(); err == nil {
		t.Fatal("the relay keeps it")
	}
}

func TestLapsingCertificateEndsTheSession(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	creds := h.ca.credentials(asker, 2*time.Second) // whole seconds only, X.509 has no others
	c := tls.Client(h.dial(), creds.ClientTLS(func(identity.ID) error { return nil }, tunnel.ALPNRelay))
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		if ne, ok := err.(interface{ Timeout() bool }); ok && ne.Timeout() {
			t.Fatal("the relay keeps it")
		}
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBucket(2, 4, now)
	take := func(n int) (got int) {
		for range n {
			if b.take(now) {
				got++
			}
		}
		return got
	}
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 4}, {0, 0}, {500 * time.Millisecond, 1}, {-time.Hour, 0}, {2 * time.Hour, 4}} {
		now = now.Add(step.pass)
		if got := take(10); got != step.want {
			t.Errorf("after %v: %d events, want %d", step.pass, got, step.want)
		}
	}
}
