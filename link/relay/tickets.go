package relay

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// ticketKey is the half of a ticket by which it is found; the other half is compared in constant time.
type ticketKey [tunnel.TicketLen / 2]byte

// parties are the two agents a ticket was made for. The relay does not learn which connection is whose.
type parties struct{ asker, target identity.ID }

// ticket is one permission to pair two connections once.
type ticket struct {
	secret ticketKey
	parties
	expires  time.Time
	first    *half // the connection that waits, nil before it came
	declined bool  // the target will not come
}

// half is a data connection that waits for its other half.
type half struct {
	conn    *net.TCPConn
	parties parties
	ticket  tunnel.Ticket
	expires time.Time
	spent   bool       // its ticket is gone: met has or will have a value
	met     chan *pair // receives the pair, or nil when there will be none; room for one
}

// tickets are all tickets issued and not yet used up.
type tickets struct {
	clk             clock.Clock
	life            time.Duration
	max, maxWaiting int
	idle            time.Duration
	mu              sync.Mutex // guards the fields below
	byKey           map[ticketKey]*ticket
	order           []ticketKey // in order of issue, hence of expiry; may name tickets that are gone
	waiting         int
}

func newTickets(clk clock.Clock, cfg Config) *tickets {
	return &tickets{
		clk: clk, life: cfg.TicketLife, max: cfg.MaxTickets, maxWaiting: cfg.MaxWaiting, idle: cfg.PairIdle,
		byKey: map[ticketKey]*ticket{},
	}
}

func split(t tunnel.Ticket) (k, secret ticketKey) {
	copy(k[:], t[:])
	copy(secret[:], t[len(k):])
	return k, secret
}

// issue makes a ticket, or returns false when there are too many.
func (ts *tickets) issue(asker, target identity.ID) (t tunnel.Ticket, ok bool) {
	_, _ = rand.Read(t[:]) // never fails, see crypto/rand
	k, secret := split(t)
	now := ts.clk.Now()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.sweep(now)
	if len(ts.byKey) >= ts.max {
		return t, false
	}
	ts.byKey[k] = &ticket{secret: secret, parties: parties{asker, target}, expires: now.Add(ts.life)}
	ts.order = append(ts.order, k)
	return t, true
}

// sweep forgets tickets that expired. A half that waits has its own timer and leaves by itself.
func (ts *tickets) sweep(now time.Time) {
	for len(ts.order) > 0 {
		k := ts.order[0]
		if t, ok := ts.byKey[k]; ok {
			if now.Before(t.expires) {
				return
			}
			delete(ts.byKey, k)
		}
		ts.order = ts.order[1:]
	}
}

// find returns a ticket that is good now.
func (ts *tickets) find(raw tunnel.Ticket) (ticketKey, *ticket) {
	k, secret := split(raw)
	t, ok := ts.byKey[k]
	if !ok || subtle.ConstantTimeCompare(t.secret[:], secret[:]) != 1 || !ts.clk.Now().Before(t.expires) {
		return k, nil
	}
	return k, t
}

// present shows a ticket. The first to do so gets a half of its own to await. The second gets the first's half and the ticket is
// spent: the caller must send the first its pair, or nil. Otherwise status says why not.
func (ts *tickets) present(raw tunnel.Ticket, c *net.TCPConn) (mine, other *half, status tunnel.Status) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	k, t := ts.find(raw)
	switch {
	case t == nil:
		return nil, nil, tunnel.StatusUnknown
	case t.declined:
		delete(ts.byKey, k)
		return nil, nil, tunnel.StatusDeclined
	case t.first != nil:
		delete(ts.byKey, k)
		t.first.spent = true
		return nil, t.first, tunnel.StatusPaired
	case ts.waiting >= ts.maxWaiting:
		return nil, nil, tunnel.StatusOverloaded
	}
	ts.waiting++
	t.first = &half{conn: c, parties: t.parties, ticket: raw, expires: t.expires, met: make(chan *pair, 1)}
	return t.first, nil, tunnel.StatusPaired
}

// await waits for the other half until the ticket expires or done is closed. With a nil pair, status says why there is none.
func (ts *tickets) await(done <-chan struct{}, h *half) (p *pair, status tunnel.Status) {
	defer func() {
		ts.mu.Lock()
		ts.waiting--
		ts.mu.Unlock()
	}()
	fired, stop := ts.clk.After(h.expires.Sub(ts.clk.Now()))
	defer stop()
	select {
	case p := <-h.met:
		return p, tunnel.StatusDeclined
	case <-fired:
		status = tunnel.StatusTimeout
	case <-done:
		status = tunnel.StatusShuttingDown
	}
	if ts.spend(h) {
		return nil, status
	}
	return <-h.met, tunnel.StatusDeclined // somebody was quicker and is about to tell
}

// spend takes the ticket of a half that stops waiting; false when the ticket is spent already.
func (ts *tickets) spend(h *half) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if h.spent {
		return false
	}
	h.spent = true
	k, _ := split(h.ticket)
	if t, ok := ts.byKey[k]; ok && t.first == h {
		delete(ts.byKey, k)
	}
	return true
}

// decline spends a ticket whose target will not come. A half that waits is told.
func (ts *tickets) decline(raw tunnel.Ticket, target identity.ID) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	k, t := ts.find(raw)
	if t == nil || t.target != target {
		return
	}
	if t.first == nil {
		t.declined = true // told to the first who shows it
		return
	}
	delete(ts.byKey, k)
	t.first.spent = true
	t.first.met <- nil
}

// counts returns how many tickets are out and how many halves wait.
func (ts *tickets) counts() (out, waiting int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.sweep(ts.clk.Now())
	return len(ts.byKey), ts.waiting
}
