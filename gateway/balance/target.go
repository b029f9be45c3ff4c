package balance

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// State is what is known of a target.
type State uint32

const (
	Up        State = iota // connections go there
	Untested               // no check has ended yet
	Down                   // its checks fail
	Ejected                // it refused connections and is left alone for a while
	Returning              // the while is over, nothing checks it, and one connection tries it
)

var stateNames = [...]string{Up: "up", Untested: "untested", Down: "down", Ejected: "ejected", Returning: "returning"}

func (s State) String() string { return stateNames[s] }

// target is one address of a group.
type target struct {
	group *Group
	at    netip.AddrPort
	key   uint64               // the address, hashed
	host  atomic.Pointer[host] // it comes from
	stop  context.CancelFunc   // guarded by the group's mu

	state  atomic.Uint32 // a State, written with mu held
	open   atomic.Int32  // connections
	trying atomic.Bool   // a connection tries it while it is Returning
	fails  atomic.Int32  // connections that failed in a row
	total  atomic.Uint64 // connections that it answered
	failed atomic.Uint64 // connections that it did not
	wake   chan struct{} // has room for one: the times below have changed

	mu      sync.Mutex // guards the fields below
	since   time.Time  // of the state
	good    int        // checks in a row
	bad     int
	last    string        // why the last check or connection failed; "" when it did not
	next    time.Time     // check; zero: none
	until   time.Time     // the end of the pause while Ejected
	pausing time.Duration // the last pause
}

func newTarget(g *Group, h *host, at netip.AddrPort) *target {
	t := &target{group: g, at: at, key: hashTarget(at), wake: make(chan struct{}, 1), since: g.b.clk.Now(), stop: func() {}}
	t.host.Store(h)
	if s := g.set.Load(); s.check != resource.CheckNone {
		t.state.Store(uint32(Untested))
		t.next = t.since.Add(rand.N(min(s.every/5, 500*time.Millisecond))) //nolint:gosec // spreading checks needs no secrecy
	}
	return t
}

func (t *target) now() State { return State(t.state.Load()) }

// become is called with mu held.
func (t *target) become(s State, why string) {
	was := t.now()
	if was == s {
		return
	}
	t.state.Store(uint32(s))
	t.since = t.group.b.clk.Now()
	log := t.group.b.log.With("gateway", t.group.id.gateway, "group", t.group.id.name, "target", t.at, "host", t.host.Load().name)
	switch {
	case s == Up:
		t.fails.Store(0)
		if was != Untested {
			log.Info("a target is back")
		}
	case s == Down:
		log.Warn("a target is down", "because", why)
	case s == Ejected:
		log.Warn("a target takes no connections and is left alone", "for", t.pausing.Round(time.Millisecond), "because", why)
	}
}

// resettle is for new settings.
func (t *target) resettle(s *settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.good, t.bad = time.Time{}, 0, 0
	if s.check != resource.CheckNone {
		t.next = t.group.b.clk.Now()
	} else if now := t.now(); now == Untested || now == Down {
		t.become(Up, "")
	}
	t.hurry()
}

func (t *target) hurry() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// connected notes that a connection was answered.
func (t *target) connected() {
	t.total.Add(1)
	if t.fails.Load() == 0 && t.now() == Up {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails.Store(0)
	switch t.now() {
	case Returning:
		t.become(Up, "")
	case Ejected:
		if t.bad == 0 {
			t.become(Up, "")
		}
	case Up, Untested, Down: // checks know more than the handshake of TCP tells
	}
	t.last = ""
}

// refused notes that a connection was not.
func (t *target) refused(err error) {
	if ours(err) {
		return
	}
	t.failed.Add(1)
	t.host.Load().hurry()
	fails := t.fails.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = words(err)
	switch t.now() {
	case Up, Untested:
		if int(fails) >= t.group.set.Load().fall {
			t.eject()
		}
	case Returning:
		t.eject()
	case Down, Ejected: // nobody expected better
	}
}

// eject is called with mu held.
func (t *target) eject() {
	cfg, now := &t.group.b.cfg, t.group.b.clk.Now()
	if t.pausing > 0 && now.Sub(t.since) > 2*t.pausing && t.now() == Up {
		t.pausing = 0 // it worked for long
	}
	t.pausing = min(max(2*t.pausing, cfg.FirstPause), cfg.MostPause)
	spread := t.pausing/5 + 1
	t.until = now.Add(t.pausing - rand.N(spread)) //nolint:gosec // spreading attempts needs no secrecy
	t.good = 0
	t.become(Ejected, t.last)
	t.hurry()
}

// checked notes what a check found.
func (t *target) checked(s *settings, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.group.b.clk.Now()
	t.next = now.Add(s.every - s.every/8 + rand.N(s.every/4)) //nolint:gosec // spreading checks needs no secrecy
	if err != nil {
		t.good, t.last = 0, words(err)
		t.bad++
		t.host.Load().hurry()
		if at := t.now(); at == Untested || at != Down && t.bad >= s.fall {
			t.become(Down, t.last)
		}
		return
	}
	t.bad = 0
	t.good++
	switch t.now() {
	case Untested, Returning:
		t.become(Up, "")
	case Down:
		if t.good >= s.rise {
			t.become(Up, "")
		}
	case Ejected:
		if t.good >= s.rise && !now.Before(t.until) {
			t.become(Up, "")
		}
	case Up:
	}
	if t.now() == Up {
		t.last = ""
	}
}

// watch checks the target, and ends its pauses, until ctx ends.
func (t *target) watch(ctx context.Context) {
	for {
		wait, ever := t.due()
		var due <-chan time.Time
		stop := func() {}
		if ever {
			due, stop = t.group.b.clk.After(wait)
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-t.wake:
			stop()
		case <-due:
			t.act(ctx)
		}
	}
}

// due returns how long it is until there is something to do.
func (t *target) due() (wait time.Duration, ever bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.next
	if at.IsZero() && t.now() == Ejected {
		at = t.until
	}
	return max(0, at.Sub(t.group.b.clk.Now())), !at.IsZero()
}

func (t *target) act(ctx context.Context) {
	s := t.group.set.Load()
	if s.check != resource.CheckNone {
		err := t.check(ctx, s)
		if ctx.Err() == nil && t.group.set.Load() == s {
			t.checked(s, err)
		}
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now() == Ejected && !t.group.b.clk.Now().Before(t.until) {
		t.trying.Store(false)
		t.become(Returning, "")
	}
}

// ours tells whether a connection failed for want of something of this machine, which says nothing about the target.
func ours(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// words returns what a fault says to people, or the innermost words of another error, without the addresses that stand around it.
func words(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Message
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
