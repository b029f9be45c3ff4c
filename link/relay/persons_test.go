package relay

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func pass(person, number string) identity.ID { return identity.PersonID(domain, "ot", person, number) }

// A person asks for agents as they do for each other.
func TestAPersonReachesAnAgent(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.join(pass("p-1", "1")), h.join(target)
	a.send(tunnel.Ask{Request: 42, Target: string(target)})
	issued, ok := a.next().(tunnel.Issued)
	if !ok {
		t.Fatalf("Ask was answered by %#v", issued)
	}
	if offer, ok := b.next().(tunnel.Offer); !ok || offer.From != string(pass("p-1", "1")) || offer.Ticket != issued.Ticket {
		t.Fatalf("the agent got %#v", offer)
	}
	if s := h.relay.Status(); s.Persons != 1 || len(s.Agents) != 1 {
		t.Fatalf("status %+v", s)
	}
}

// Nobody is told of a person, neither agents nor people: the answer is that for somebody who is not there.
func TestAPersonIsNeverDialled(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	agent, other, person := h.join(asker), h.join(pass("p-2", "1")), h.join(pass("p-1", "1"))
	for _, m := range []*member{agent, other, person} {
		m.send(tunnel.Ask{Request: 1, Target: string(pass("p-1", "1"))})
		if r, ok := m.next().(tunnel.Refuse); !ok || r.Code != tunnel.RefuseAbsent {
			t.Fatalf("got %#v", r)
		}
	}
	// What the person is sent next is the answer to this, and no offer.
	person.send(tunnel.Ping{Token: 11})
	if got := person.next(); got != (tunnel.Pong{Token: 11}) {
		t.Fatalf("got %#v", got)
	}
}

// Programs of one person use one pass at once, and none ends the others; together they are bounded.
func TestOnePassInSeveralPrograms(t *testing.T) {
	h := serve(t, Config{MaxPerPerson: 3}, clock.System{})
	all := []*member{h.join(pass("p-1", "1")), h.join(pass("p-1", "1")), h.join(pass("p-1", "2"))}
	for _, m := range all {
		m.send(tunnel.Ping{Token: 8})
		if got := m.next(); got != (tunnel.Pong{Token: 8}) {
			t.Fatalf("got %#v", got)
		}
	}
	conn := tls.Client(h.dial(), h.ca.credentials(pass("p-1", "3"), time.Hour).ClientTLS(func(identity.ID) error { return nil }, tunnel.ALPNRelay))
	if err := conn.Handshake(); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatal("a fourth connection was taken")
		}
	}
	h.join(pass("p-2", "1")) // another person has places of his own
	_ = all[0].conn.Close()
	eventually(t, "the place is free", func() bool { return h.relay.persons.count() == 3 })
	h.join(pass("p-1", "3"))
	for _, m := range all[1:] {
		_ = m.conn.Close()
	}
	eventually(t, "they are forgotten", func() bool { return h.relay.persons.count() == 2 })
}

// What all programs of a person ask is counted together.
func TestAPersonsAsksAreBounded(t *testing.T) {
	h := serve(t, Config{AsksPerSecond: 1, AskBurst: 3}, clock.NewFake(time.Now()))
	h.join(target)
	var refused int
	for _, number := range []string{"1", "2"} {
		m := h.join(pass("p-1", number))
		for range 3 {
			m.send(tunnel.Ask{Request: 9, Target: string(target)})
			if r, ok := m.next().(tunnel.Refuse); ok && r.Code == tunnel.RefuseOverloaded {
				refused++
			}
		}
	}
	if refused != 3 {
		t.Fatalf("%d of 6 were refused", refused)
	}
}

func TestARevokedPass(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	gone, stays := h.join(pass("p-1", "1")), h.join(pass("p-1", "2"))
	h.relay.SetRevoked([]identity.ID{pass("p-1", "1")})
	if _, err := gone.in.ReadByte(); err == nil {
		t.Fatal("it lives")
	}
	stays.send(tunnel.Ping{Token: 8})
	if got := stays.next(); got != (tunnel.Pong{Token: 8}) {
		t.Fatalf("got %#v", got)
	}
	conn := tls.Client(h.dial(), h.ca.credentials(pass("p-1", "1"), time.Hour).ClientTLS(func(identity.ID) error { return nil }, tunnel.ALPNRelay))
	if err := conn.Handshake(); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatal("it came back")
		}
	}
}
