package dialer

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// gated puts the gate that agents have in the place of the test's own.
func gated(t *testing.T) (*world, *gate.Gate) {
	t.Helper()
	w := newWorld(t)
	w.stopAgent()
	g := gate.New(gate.Config{}, logger(t), clock.System{}, nil)
	t.Cleanup(running(t, g.Run))
	w.agent = transport.New(transport.Config{}, w.credentials(press), logger(t), clock.System{}, nil)
	w.agent.Handle(g.Handle)
	w.agent.SetRelays(w.relays())
	w.agent.SetAllowed(g.Allowed)
	w.stopAgent = running(t, w.agent.Run)
	eventually(t, "the agent is connected", func() bool {
		s := w.agent.Status()
		return len(s.Relays) == 1 && s.Relays[0].Connected
	})
	return w, g
}

// targets is the plan of an agent with one target that a grant leads to.
func (w *world) targets(id string, limits resource.SessionLimits) []plan.Target {
	g := w.grants[id]
	return []plan.Target{{
		ID: "t-1", Name: g.Target, Protocol: g.Protocol, Address: w.inForce[id], Limits: limits,
		Grants: []plan.Grant{{ID: id, Person: identity.PersonPrefix(domain, "ot", "p-alice"), Name: "alice of ot", From: g.From, Until: g.Until}},
	}}
}

func TestTheGateLetsIn(t *testing.T) {
	w, g := gated(t)
	w.grant("g-1", machine(t, echo))
	g.Set(w.targets("g-1", resource.SessionLimits{}))
	d := w.dialer(Config{})
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 1<<20)
			c, err := d.Dial(t.Context(), "g-1")
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := talk(c, text); err != nil || got != text {
				t.Errorf("session %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
}

// The grant's own end cuts what is open, in words, with nobody but the agent to say so.
func TestTheGateCutsAtTheEnd(t *testing.T) {
	w, g := gated(t)
	w.grant("g-1", machine(t, echo))
	w.change("g-1", func(g *PassGrant) { g.Until = time.Now().Add(700 * time.Millisecond) })
	g.Set(w.targets("g-1", resource.SessionLimits{}))
	d := w.dialer(Config{})
	address, tell, done, _ := forward(t, d, "g-1")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.away = errAway })
	if _, err := io.ReadAll(c); err == nil {
		t.Error("it ended as if all had been said")
	}
	if err := <-done; fault.KindOf(err) != fault.Expired {
		t.Errorf("got %v", err)
	}
	if n := tell.words(); len(n) > 1 {
		t.Errorf("told %q", n)
	}
	if _, err := d.Dial(t.Context(), "g-1"); fault.KindOf(err) != fault.Expired {
		t.Errorf("got %v", err)
	}
}

func TestTheGateRefuses(t *testing.T) {
	w, g := gated(t)
	w.grant("g-1", machine(t, echo))
	g.Set(w.targets("g-1", resource.SessionLimits{Each: 1}))
	d := w.dialer(Config{})
	c, err := d.Dial(t.Context(), "g-1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), "g-1")
	if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "as many sessions of the grant are open") {
		t.Errorf("got %v", err)
	}
	g.Set(nil)
	if _, err := io.ReadAll(c); err == nil || errors.Is(err, io.EOF) {
		t.Error("it was not cut")
	}
	_, err = d.Dial(t.Context(), "g-1")
	if fault.KindOf(err) != fault.Denied || fault.Next(err) == "" && !strings.Contains(fault.Message(err), "no grant of yours") {
		t.Errorf("got %v", err)
	}
}
