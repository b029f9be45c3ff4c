package transport

import (
	"context"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func person(number string) identity.ID { return identity.PersonID(domain, "ot", "p-1", number) }

// A person's program dials as agents do; the agent is told who comes.
func TestAPersonDials(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	came := make(chan identity.ID, 1)
	agent, _ := w.agent(provider, Config{}, clock.System{}, r.plan(), func(who identity.ID, s *mux.Stream) {
		came <- who
		echo(who, s)
	})
	me, _ := w.agent(person("1"), Config{}, clock.System{}, r.plan(), nil)
	eventually(t, "both are connected", func() bool { return connected(me) && connected(agent) })
	if err := roundTrip(context.Background(), me, peers(provider, ""), "hello"); err != nil {
		t.Fatal(err)
	}
	if who := <-came; who != person("1") {
		t.Errorf("%s came", who)
	}
}

// Even one that would take streams is out of reach.
func TestAPersonIsNotReached(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	me, _ := w.agent(person("1"), Config{}, clock.System{}, r.plan(), nil)
	agent, _ := w.agent(provider, Config{}, clock.System{}, r.plan(), nil)
	eventually(t, "both are connected", func() bool { return connected(me) && connected(agent) })
	_, err := agent.Open(context.Background(), peers(person("1"), ""), flow)
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// Without SetAllowed and Handle, as a person's program has it, whatever a relay offers is declined.
func TestWhoProvidesNothingTakesNoTunnel(t *testing.T) {
	w := newWorld(t)
	me := New(Config{}, w.credentials(person("1"), 0), logger(t), clock.System{}, nil)
	l := newRelayLink(me, w.relay(relay.Config{}).plan()[0])
	l.out = make(chan tunnel.Signal, 1)
	offer := tunnel.Offer{Ticket: tunnel.Ticket{1}, From: string(provider)}
	me.offered(l, offer)
	if got := <-l.out; got != (tunnel.Decline{Ticket: offer.Ticket}) {
		t.Errorf("got %#v", got)
	}
}

// All passes of a person count together, and have more room than one agent, because every program makes a tunnel of its own.
func TestTunnelsOfAPersonAreBoundedTogether(t *testing.T) {
	w := newWorld(t)
	tr := New(Config{MaxInboundPerPeer: 1, MaxInboundPerPerson: 3}, w.credentials(provider, 0), logger(t), clock.System{}, nil)
	for _, number := range []string{"1", "1", "2"} {
		if !tr.enter(person(number)) {
			t.Fatalf("pass %s was refused", number)
		}
	}
	if tr.enter(person("3")) {
		t.Error("a fourth tunnel was let in")
	}
	if !tr.enter(identity.PersonID(domain, "ot", "p-2", "1")) || !tr.enter(consumer) || tr.enter(consumer) {
		t.Error("others have places of their own")
	}
	tr.leave(person("1"))
	if !tr.enter(person("3")) {
		t.Error("a place given back is none")
	}
}

// What stands in the way is told in a person's words.
func TestAPersonsWords(t *testing.T) {
	w := newWorld(t)
	me := New(Config{}, w.credentials(person("1"), -1), logger(t), clock.System{}, nil)
	if err := me.ownCertificate(); fault.KindOf(err) != fault.Expired || fault.Message(err)[:17] != "your pass lapsed " {
		t.Errorf("got %v", err)
	}
}
