package flow_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestProviderCutsExactlyWhatIsRevoked(t *testing.T) {
	for name, revoke := range map[string]func(w *world) []plan.Service{
		"the link is gone": func(w *world) []plan.Service { return []plan.Service{w.service("svc", []plan.Link{w.link("ep-b", 8)})} },
		"the link is another one": func(w *world) []plan.Service {
			return []plan.Service{w.service("svc", []plan.Link{w.link("ep-a", 9), w.link("ep-b", 8)})}
		},
		"the link is another service's": func(w *world) []plan.Service {
			return []plan.Service{w.service("other", []plan.Link{w.link("ep-a", 7)}), w.service("svc", []plan.Link{w.link("ep-b", 8)})}
		},
		"the consumer is another network": func(w *world) []plan.Service {
			a := w.link("ep-a", 7)
			a.Consumer = identity.NetworkPrefix(trust, "ot", "plant-8")
			return []plan.Service{w.service("svc", []plan.Link{a, w.link("ep-b", 8)})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			a, targetA := w.dial("127.0.0.1")
			b, targetB := w.dial("127.0.0.2")
			send(t, a, "hello") // the target has a connection before the provider has heard that it was dialled
			expect(t, targetA, "hello")
			watch := clocktest.Start(t)
			w.services.Set(revoke(w))
			expectReset(t, a)
			expectReset(t, targetA)
			if d := watch.Took(); d > time.Second {
				t.Errorf("cutting took %s", d)
			}
			send(t, b, "alive")
			expect(t, targetB, "alive")
		})
	}
}

func TestProviderCutsFlowsOfAPortThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.start()
	a, _ := w.dial("127.0.0.1")
	s := w.service("svc", []plan.Link{w.link("ep-a", 7), w.link("ep-b", 8)})
	s.Ports[0].Port++
	w.services.Set([]plan.Service{s})
	expectReset(t, a)
}

func TestProviderCutsADeletedAgent(t *testing.T) {
	w := newWorld(t)
	w.start()
	a, target := w.dial("127.0.0.1")
	w.services.SetRevoked([]identity.ID{cloud})
	send(t, a, "alive")
	expect(t, target, "alive")
	w.services.SetRevoked([]identity.ID{plant})
	expectReset(t, a)
	expectReset(t, target)
	w.expectNo("127.0.0.1")
	if w.services.Allowed(plant) {
		t.Error("a deleted agent may make tunnels")
	}
}

func TestConsumerCutsExactlyWhatIsNoLongerOpen(t *testing.T) {
	w := newWorld(t)
	moved := w.endpoint("ep-a", "ot/plant-7/a", "127.0.0.3")
	shut := w.endpoint("ep-a", "ot/plant-7/a", "127.0.0.1")
	shut.Open = false
	for name, next := range map[string][]plan.Endpoint{"gone": nil, "not open": {shut}, "moved": {moved}} {
		t.Run(name, func(t *testing.T) {
			w.start()
			a, targetA := w.dial("127.0.0.1")
			b, targetB := w.dial("127.0.0.2")
			watch := clocktest.Start(t)
			w.endpoints.Set(append(next, w.plan[1]))
			expectReset(t, a)
			expectReset(t, targetA)
			if d := watch.Took(); d > time.Second {
				t.Errorf("cutting took %s", d)
			}
			if c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), w.port).String()); err == nil {
				_ = c.Close()
				t.Error("the old address still answers")
			}
			send(t, b, "alive")
			expect(t, targetB, "alive")
			if name == "moved" {
				w.await("the new address", func() bool { return len(w.endpoints.Listening()) == 2 })
				c, targetC := w.dial("127.0.0.3")
				send(t, c, "hello")
				expect(t, targetC, "hello")
			}
		})
	}
}

func TestSetLeavesUnchangedEndpointsAlone(t *testing.T) {
	w := newWorld(t)
	w.start()
	a, target := w.dial("127.0.0.1")
	for range 3 {
		w.services.Set(w.serves)
		w.endpoints.Set(w.plan)
	}
	renamed := w.service("svc", []plan.Link{w.link("ep-a", 7)})
	renamed.Name = "ot/ot-cloud/renamed"
	renamed.Ports = append(renamed.Ports, renamed.Ports[0])
	renamed.Ports[1].Port++
	w.services.Set([]plan.Service{renamed})
	send(t, a, "alive")
	expect(t, target, "alive")
}

func TestPendingNeverListens(t *testing.T) {
	w := newWorld(t)
	w.plan[0].Open = false
	w.services.Set(w.serves)
	w.endpoints.Set(w.plan)
	w.await("the other endpoint", func() bool { return len(w.endpoints.Listening()) == 1 })
	if c, err := net.Dial("tcp", netip.AddrPortFrom(w.plan[0].Address, w.port).String()); err == nil {
		_ = c.Close()
		t.Error("a pending endpoint answers")
	}
}

func TestProviderDecidesByItsOwnPlan(t *testing.T) {
	w := newWorld(t)
	w.start()
	neighbour := w.link("ep-n", 9)
	neighbour.Consumer = identity.NetworkPrefix(trust, "it", "office")
	broken := w.link("ep-x", 10)
	broken.Consumer = "spiffe://" + trust + "/tenant/ot/network/plant" // as a prefix it would fit plant-7
	w.services.Set([]plan.Service{w.service("svc", []plan.Link{w.link("ep-a", 7), neighbour, broken})})
	for _, c := range []struct {
		name, reason string
		flow         tunnel.Flow
	}{
		{"unknown endpoint", "no-approved-connection", tunnel.Flow{Endpoint: "ep-b", Port: w.port}},
		{"another network's endpoint", "another-network", tunnel.Flow{Endpoint: "ep-n", Port: w.port}},
		{"a prefix that is no network", "another-network", tunnel.Flow{Endpoint: "ep-x", Port: w.port}},
		{"another port", "no-such-port", tunnel.Flow{Endpoint: "ep-a", Port: w.port + 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.refused("service", c.reason)
			s, err := w.consumer.Open(t.Context(), c.flow)
			must(t, err)
			defer s.Close()
			_, err = s.Read(make([]byte, 1))
			r, ok := errors.AsType[*mux.ResetError](err)
			if !ok || r.Code != tunnel.ResetRefused || r.Message != "" || !r.Remote {
				t.Errorf("got %v", err)
			}
			if got := w.refused("service", c.reason) - before; got != 1 {
				t.Errorf("counted %v", got)
			}
			if len(w.accepted) != 0 {
				t.Error("the target was dialled")
			}
		})
	}
	for peer, want := range map[identity.ID]bool{
		plant: true, identity.AgentID(trust, "it", "office", "x"): true, cloud: false, identity.AgentID(trust, "ot", "plant-77", "x"): false,
		identity.RelayID(trust, "r"): false, "": false,
	} {
		if w.services.Allowed(peer) != want {
			t.Errorf("Allowed(%q) = %v", peer, !want)
		}
	}
}

func TestManyFlowsAreCutAtOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	var clients []*net.TCPConn
	for range 300 {
		c, _ := w.dial("127.0.0.1")
		clients = append(clients, c)
	}
	watch := clocktest.Start(t)
	w.endpoints.Set(w.plan[1:])
	for _, c := range clients {
		expectReset(t, c)
	}
	if d := watch.Took(); d > time.Second {
		t.Errorf("cutting took %s", d)
	}
	w.await("the other agent", func() bool { return len(w.services.Flows()) == 0 })
}
