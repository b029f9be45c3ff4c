package upstream

import (
	"context"
	"crypto/rand"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Pool asks servers. Safe for concurrent use.
type Pool struct {
	cfg     Config
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics
	seed    maphash.Seed
	wake    chan struct{} // the timekeeper has something to do
	spare   sync.Pool     // of *flight
	works   sync.Pool     // of *work
	packets sync.Pool     // of *packet
	batches sync.Pool     // of *batch, where datagrams come in batches

	owned sync.WaitGroup // all goroutines of Run; added to under mu, while running
	began sync.Once
	ready chan struct{} // closed by Run

	mu      sync.Mutex // guards the fields below, and flights, servers, sockets and streams. No network, no callback under it
	running bool
	ctx     context.Context // of Run
	flights map[key]*flight // to be joined
	leaving map[uint64]*flight
	asks    int // waiters in all flights
	seq     uint64
	all     timeline // every flight, by the end of its question
	tries   timeline // every flight, by the end of its try
	late    []ending // for the timekeeper to deliver
	servers map[Server]*server
	sockets int       // open
	closing []*socket // for the timekeeper to close
	streams map[*stream]struct{}
	probeAt time.Time // when a dead server's pause ends; zero: none is dead
	sweepAt time.Time // zero: nothing to look at
	wakeAt  time.Time // until when the timekeeper sleeps
	dice    dice
}

// New returns a pool that asks nobody until Run. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Pool {
	p := &Pool{
		cfg: cfg.withDefaults(), log: log, clk: clk, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1), ready: make(chan struct{}),
		flights: map[key]*flight{}, leaving: map[uint64]*flight{}, servers: map[Server]*server{}, streams: map[*stream]struct{}{},
		all: timeline{which: 0}, tries: timeline{which: 1},
	}
	if p.cfg.Token == [8]byte{} {
		_, _ = rand.Read(p.cfg.Token[:]) // never fails
	}
	p.spare.New = func() any { return new(flight) }
	p.works.New = func() any { return new(work) }
	p.packets.New = func() any { return newPacket() }
	p.metrics = newMetrics(p, reg)
	return p
}

// Token is this resolver in the [LoopOption] of the queries it sends.
func (p *Pool) Token() [8]byte { return p.cfg.Token }

// Ready is closed as soon as Run takes questions.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Run asks until ctx ends; then every question has been answered with fault.Unavailable and all that was started has ended. It fails
// only when the pool runs already.
func (p *Pool) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	if p.running {
		p.mu.Unlock()
		return fault.New("upstream.Run", fault.Conflict, "the pool is running already")
	}
	p.running, p.ctx = true, ctx
	p.mu.Unlock()
	p.began.Do(func() { close(p.ready) })
	p.keepTime(ctx)
	p.shut()
	p.owned.Wait()
	p.hangUp()
	return nil
}

// keepTime ends what has had its time, probes, sweeps and delivers what others may not, until ctx ends.
func (p *Pool) keepTime(ctx context.Context) {
	w := new(work)
	var shut []*socket
	for ctx.Err() == nil {
		p.mu.Lock()
		now := p.clk.Now()
		p.expire(now, w)
		p.probeDead(now, w)
		p.sweep(now)
		w.ends = append(w.ends, p.late...)
		clear(p.late)
		p.late = p.late[:0]
		shut, p.closing = p.closing, shut[:0]
		p.wakeAt = p.nextDue(now)
		next := p.wakeAt
		p.mu.Unlock()
		for i, s := range shut {
			s.close()
			shut[i] = nil
		}
		p.do(w)
		now = p.clk.Now()
		fired, stop := p.clk.After(next.Sub(now))
		if d := p.clk.Now().Sub(now); d > time.Millisecond { // the clock was moved while the timer was made
			stop()
			continue
		}
		select {
		case <-fired:
		case <-p.wake:
		case <-ctx.Done():
		}
		stop()
	}
}

// expire ends questions and tries that have had their time.
func (p *Pool) expire(now time.Time, w *work) {
	for f := p.all.first; f != nil && !f.deadline.After(now); f = p.all.first {
		p.overdue(f, now)
		a := p.outcome(f)
		if f.best == nil {
			a = Answer{Err: fault.New("upstream.Ask", fault.Timeout, "no server answered in time").Because(f.lastly).
				Advise("see which servers are skipped, and whether this machine can reach them")}
		}
		p.finish(f, w, a)
	}
	for f := p.tries.first; f != nil && !f.try.deadline.After(now); f = p.tries.first {
		p.overdue(f, now)
		p.fail(f, errNoAnswer, true, now, w)
	}
}

// overdue tells a connection that it may be dead. The server is blamed by whoever calls, if it had its full time.
func (p *Pool) overdue(f *flight, now time.Time) {
	if s := f.try.strm; s != nil && !f.try.deadline.After(now) {
		p.retire(s)
	}
}

// nextDue is when the timekeeper must look again.
func (p *Pool) nextDue(now time.Time) time.Time {
	at := now.Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	if p.all.first != nil {
		earlier(p.all.first.deadline)
	}
	if p.tries.first != nil {
		earlier(p.tries.first.try.deadline)
	}
	earlier(p.probeAt)
	earlier(p.sweepAt)
	if len(p.late)+len(p.closing) > 0 {
		at = now
	}
	return at
}

func (p *Pool) sweepSoon(now time.Time) {
	if p.sweepAt.IsZero() {
		p.sweepAt = now.Add(sweepEvery)
		p.wakeBefore(p.sweepAt)
	}
}

// sweep gives up ports that were used for long enough, idle connections, and servers that no group names.
func (p *Pool) sweep(now time.Time) {
	if p.sweepAt.IsZero() || now.Before(p.sweepAt) {
		return
	}
	p.sweepAt = time.Time{}
	more := false
	for v, s := range p.servers {
		s.current = p.retireOld(s.current, now)
		more = more || len(s.current) > 0 || s.strm != nil
		if s.groups > 0 {
			continue
		}
		if now.Sub(s.unused) < keepUnused || len(s.current) > 0 || s.strm != nil || s.probing {
			more = true
			continue
		}
		if s.https != nil {
			s.https.close()
		}
		delete(p.servers, v)
	}
	for s := range p.streams {
		if len(s.pending) == 0 && !s.used.Add(p.cfg.IdleClose).After(now) {
			p.retire(s)
		}
	}
	if more || len(p.streams) > 0 {
		p.sweepSoon(now)
	}
}

// shut ends everything: whoever waits is told, sockets and connections are closed.
func (p *Pool) shut() {
	w := new(work)
	p.mu.Lock()
	p.running = false
	for f := p.all.first; f != nil; f = p.all.first {
		p.finish(f, w, Answer{Err: fault.New("upstream.Ask", fault.Unavailable, "the resolver is stopping")})
	}
	w.ends = append(w.ends, p.late...)
	p.late = nil
	closing := p.closing
	p.closing = nil
	for _, s := range p.servers {
		for _, sock := range s.current {
			sock.retired = true
			closing = append(closing, sock)
		}
		s.current = nil
	}
	for s := range p.streams {
		p.retire(s)
	}
	p.mu.Unlock()
	for _, s := range closing {
		s.close()
	}
	p.do(w)
}

// hangUp closes the connections of HTTPS, which are idle now that their requests have ended.
func (p *Pool) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.servers {
		if s.https != nil {
			s.https.close()
		}
	}
}
