package relay

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestTicketPairsOnce(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	tk := h.ticket(h.join(asker), h.join(target))
	a, b := h.show(tk), h.show(tk)
	if s := h.status(a); s != tunnel.StatusPaired {
		t.Fatal(s)
	}
	if s := h.status(b); s != tunnel.StatusPaired {
		t.Fatal(s)
	}
	third := h.show(tk)
	if s := h.status(third); s != tunnel.StatusUnknown {
		t.Fatalf("the third got %v", s)
	}
	closed(t, third)
}

func TestWrongTicket(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	tk := h.ticket(h.join(asker), h.join(target))
	for _, at := range []int{0, tunnel.TicketLen - 1} { // found by the first half, proved by the second
		wrong := tk
		wrong[at] ^= 1
		if s := h.status(h.show(wrong)); s != tunnel.StatusUnknown {
			t.Fatalf("byte %d changed: got %v", at, s)
		}
	}
	a, b := h.show(tk), h.show(tk) // still good
	if s := h.status(a); s != tunnel.StatusPaired {
		t.Fatal(s)
	}
	if s := h.status(b); s != tunnel.StatusPaired {
		t.Fatal(s)
	}
}

func TestTicketLives10Seconds(t *testing.T) {
	clk := clock.NewFake(time.Now())
	h := serve(t, Config{}, clk)
	a, b := h.join(asker), h.join(target)

	late := h.ticket(a, b)
	clk.Advance(10 * time.Second)
	if s := h.status(h.show(late)); s != tunnel.StatusUnknown {
		t.Fatalf("a ticket 10 s old got %v", s)
	}

	alone := h.ticket(a, b)
	clk.Advance(9 * time.Second)
	c := h.show(alone)
	eventually(t, "one half waits", func() bool { _, n := h.relay.tickets.counts(); return n == 1 })
	clk.Advance(time.Second) // also right when the half has not set its timer yet: it then finds itself late
	if s := h.status(c); s != tunnel.StatusTimeout {
		t.Fatalf("the half that waited in vain got %v", s)
	}
	if s := h.status(h.show(alone)); s != tunnel.StatusUnknown {
		t.Fatalf("its ticket is still good: %v", s)
	}
}

func TestDeclinedOffer(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.join(asker), h.join(target)

	t.Run("while the asker waits", func(t *testing.T) {
		tk := h.ticket(a, b)
		c := h.show(tk)
		eventually(t, "one half waits", func() bool { _, n := h.relay.tickets.counts(); return n == 1 })
		a.send(tunnel.Decline{Ticket: tk}) // not its to decline
		b.send(tunnel.Decline{Ticket: tk})
		if s := h.status(c); s != tunnel.StatusDeclined {
			t.Fatal(s)
		}
	})
	t.Run("before the asker came", func(t *testing.T) {
		tk := h.ticket(a, b)
		b.send(tunnel.Decline{Ticket: tk})
		b.send(tunnel.Ping{Token: 1})
		b.next() // the relay has read the Decline
		if s := h.status(h.show(tk)); s != tunnel.StatusDeclined {
			t.Fatal(s)
		}
	})
}

func TestTicketsAreBounded(t *testing.T) {
	clk := clock.NewFake(time.Now())
	ts := newTickets(clk, Config{MaxTickets: 2, MaxWaiting: 1}.withDefaults())
	first, ok := ts.issue(asker, target)
	second, ok2 := ts.issue(asker, target)
	if _, ok3 := ts.issue(asker, target); !ok || !ok2 || ok3 {
		t.Fatal("two tickets may be out, no more and no fewer")
	}
	if mine, _, s := ts.present(first, nil); mine == nil || s != tunnel.StatusPaired {
		t.Fatal(s)
	}
	if _, _, s := ts.present(second, nil); s != tunnel.StatusOverloaded {
		t.Fatalf("two halves wait where one may: %v", s)
	}
	clk.Advance(10 * time.Second)
	if _, ok := ts.issue(asker, target); !ok {
		t.Fatal("expired tickets take up room")
	}
	if out, _ := ts.counts(); out != 1 || len(ts.order) != 1 {
		t.Fatalf("%d tickets, %d in order", out, len(ts.order))
	}
}
