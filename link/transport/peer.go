package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// peer is one agent we dial: its tunnels, the attempt under way, and what we remember of failures.
type peer struct {
	tr *Transport
	id identity.ID

	used atomic.Int64 // when it was last wanted, in unix nanoseconds

	mu           sync.Mutex // guards the fields below; taken before Transport.mu
	direct       string     // its address without a relay, as the plan last said
	directFailed time.Time
	directPause  time.Duration // after it; doubles with each failure
	passages     []*passage
	attempt      *attempt // nil when none is under way
	failed       error    // why the last attempt failed, nil after one that did not
	failedAt     time.Time
	silentAt     time.Time // when a tunnel to it was given up because it fell silent; zero since it was reached again
}

// attempt is one try to reach a peer, shared by all who wait for it.
type attempt struct {
	only bool // for a direct tunnel beside those there are: its failure says nothing of the relays
	done chan struct{}
	got  *passage
	err  error
}

// ready returns a usable tunnel, or nil. In the background it starts another when the best one is busy or in doubt, or goes through a
// relay to a peer that can be reached without, as its plan has come to say or as was not so before.
func (p *peer) ready(direct string) *passage {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.direct = direct
	best, usable := p.pick()
	if best == nil {
		return nil
	}
	if p.attempt == nil && best.via != viaDirect && direct != "" && !p.avoidsDirect() {
		p.begin(true)
		return best
	}
	if p.attempt == nil && usable < p.tr.cfg.MaxTunnelsPerPeer && (best.session.Streams() >= p.tr.cfg.SpreadStreams || best.session.InDoubt()) &&
		!p.remembers(p.tr.clk.Now(), spreadMemory) {
		p.begin(false)
	}
	return best
}

// spreadMemory is how long a further tunnel that could not be made is not tried again: nobody waits for it.
const spreadMemory = 10 * time.Second

// pick returns the best usable tunnel, and how many there are of its sort: rather one that is not in doubt, then rather a direct one, then
// the one with the fewest streams. The caller holds mu.
func (p *peer) pick() (best *passage, usable int) {
	least, sort := 0, 0
	for _, t := range p.passages {
		if !t.usable() {
			continue
		}
		n, s := t.session.Streams(), 0
		if t.session.InDoubt() {
			s += 2
		}
		if t.via != viaDirect {
			s++
		}
		if best == nil || s < sort {
			usable = 0
		} else if s > sort {
			continue
		}
		usable++
		if usable == 1 || n < least {
			best, least, sort = t, n, s
		}
	}
	return best, usable
}

// remembers reports whether an attempt failed less than d ago. The caller holds mu.
func (p *peer) remembers(now time.Time, d time.Duration) bool {
	return p.failed != nil && now.Sub(p.failedAt) < d
}

// reach returns a tunnel: one there is, or the outcome of an attempt, begun if there is none. It does not wait longer than ctx; the
// attempt goes on without the caller.
func (p *peer) reach(ctx context.Context, direct string) (*passage, error) {
	if t := p.ready(direct); t != nil { //nolint:contextcheck // attempts and tunnels belong to Run, not to the caller who happens to start them
		return t, nil
	}
	p.mu.Lock()
	if p.attempt == nil {
		if p.remembers(p.tr.clk.Now(), p.tr.cfg.FailureMemory) {
			defer p.mu.Unlock()
			return nil, p.failed
		}
		if t, _ := p.pick(); t != nil { // made since we looked
			p.mu.Unlock()
			return t, nil
		}
		if !p.begin(false) { //nolint:contextcheck // attempts and tunnels belong to Run, not to the caller who happens to start them
			p.mu.Unlock()
			return nil, fault.New("transport.Open", fault.Unavailable, "this agent is stopping or has not started")
		}
	}
	a := p.attempt
	p.mu.Unlock()
	select {
	case <-a.done:
		if a.only && a.err != nil { // and the others have ended meanwhile
			return p.reach(ctx, direct)
		}
		return a.got, a.err
	case <-ctx.Done():
		return nil, fault.Wrap("transport.Open", fault.Timeout, context.Cause(ctx), "no tunnel to "+short(p.id)+" in the time given")
	}
}

// avoidsDirect tells whether the peer's direct address failed lately. The caller holds mu.
func (p *peer) avoidsDirect() bool {
	return !p.directFailed.IsZero() && p.tr.clk.Now().Sub(p.directFailed) < p.directPause
}

// begin starts an attempt, to make a direct tunnel beside those through relays if only says so; false when the transport is not running.
// The caller holds mu.
func (p *peer) begin(only bool) bool {
	a := &attempt{only: only, done: make(chan struct{})}
	direct, doubt := p.direct, p.avoidsDirect()
	ok := p.tr.start(func(ctx context.Context) {
		var t *passage
		var err error
		if only {
			if t, err = p.tr.dialDirect(ctx, p.id, direct); err != nil {
				p.directDidFail()
			}
		} else {
			t, err = p.tr.makeTunnel(ctx, p, direct, doubt)
		}
		p.mu.Lock()
		p.attempt = nil
		if err == nil {
			p.passages = append(p.passages, t)
			p.failed, p.silentAt = nil, time.Time{}
			if t.via == viaDirect {
				p.directPause = 0
			}
		} else if !only {
			p.failed, p.failedAt = err, p.tr.clk.Now()
		}
		a.got, a.err = t, err
		p.mu.Unlock()
		close(a.done)
		if err != nil {
			p.tr.metrics.attempts.WithLabelValues("failed").Inc()
			p.tr.log.Info("cannot reach an agent", "agent", p.id, "err", err)
			return
		}
		p.tr.carry(ctx, t)
		p.drop(t)
	})
	if ok {
		p.attempt = a
	}
	return ok
}

// drop forgets a tunnel that ended. One that ended at once and never answered a ping was refused, and counts as a failure to reach
// the peer, or every new flow would dial again.
func (p *peer) drop(t *passage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.passages {
		if o == t {
			p.passages = append(p.passages[:i], p.passages[i+1:]...)
			break
		}
	}
	now := p.tr.clk.Now()
	if fault.KindOf(t.session.Err()) == fault.Timeout {
		p.silentAt = now
	}
	if err := t.session.Err(); err != nil && t.session.RTT() == 0 && now.Sub(t.since) < time.Second {
		p.failed, p.failedAt = p.tr.handshakeFault("transport.Open", err, short(p.id)), now
	}
}

func (p *peer) directDidFail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.directFailed = p.tr.clk.Now()
	p.directPause = min(max(2*p.directPause, time.Second), p.tr.cfg.DirectRetry)
}

// forgettable reports whether nothing is lost by forgetting the peer.
func (p *peer) forgettable(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.passages) == 0 && p.attempt == nil && now.UnixNano()-p.used.Load() > int64(time.Minute) && !p.remembers(now, spreadMemory)
}
