package simulate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/schedule"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
	"github.com/isthmus-io/isthmus/simulate/verify"
)

// Fleet is the devices of one simulation.
type Fleet struct {
	settings *settings.Settings
	method   signin.Method
	events   verify.Events
	way      *connection.Way
	others   *ways // to hubs that a provisioning service names
	log      *slog.Logger
	clock    clock.Clock
	run      string

	members  []*member
	schedule *schedule.Schedule[*member]
	sends    chan *member // each member is in it at most once
	dials    chan *member // as well
	packets  sync.Pool    // *packet
	stats    stats

	left     atomic.Int64 // members that are not done
	done     chan struct{}
	stopping atomic.Bool // no new messages
	closing  atomic.Bool // no new connections
	began    atomic.Int64
}

// NewFleet returns a fleet at rest. events is read when the settings ask for verification, and may be nil otherwise.
func NewFleet(s *settings.Settings, method signin.Method, events verify.Events, log *slog.Logger, clk clock.Clock) (*Fleet, error) {
	op := "simulate.NewFleet"
	if len(s.Devices) == 0 || s.Recipe == nil || len(s.Intervals.All) == 0 {
		return nil, fault.New(op, fault.Invalid, "the settings name no device, or nothing to send")
	}
	if s.Verify && events == nil {
		return nil, fault.New(op, fault.Invalid, "Verify: nobody can read the events back")
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails (crypto/rand)
	to := connection.Config{
		Host: s.Hub, Address: s.Address, Protocol: connection.Protocol(s.Protocol), Roots: s.Roots, Sources: s.Sources, Now: clk.Now,
	}
	f := &Fleet{
		settings: s, method: method, events: events, log: log, clock: clk, run: hex.EncodeToString(id[:]), way: connection.New(to), others: newWays(to),
		sends: make(chan *member, len(s.Devices)), dials: make(chan *member, len(s.Devices)), done: make(chan struct{}),
	}
	f.packets.New = func() any { return new(packet) }
	f.schedule = schedule.New(runtime.GOMAXPROCS(0), clk, f.wake)
	f.members = make([]*member, len(s.Devices))
	f.left.Store(int64(len(s.Devices)))
	for i, id := range s.Devices {
		m := &member{index: i, id: id, source: s.Recipe.For(id), pauses: s.Intervals.For(id), fleet: f, backoff: newBackoff()}
		f.members[i] = m
		f.schedule.Add(&m.Entry, m)
	}
	return f, nil
}

// RunID is what the fleet's messages carry when they are to be verified.
func (f *Fleet) RunID() string { return f.run }

// wake hands a member to a worker.
func (f *Fleet) wake(m *member) {
	if m.queued.CompareAndSwap(false, true) {
		f.sends <- m // never full
	}
}

const (
	// workersPerCore write messages: one that waits for a peer which does not read keeps no other.
	workersPerCore = 8
	// drainTimeout is how long acknowledgements are awaited when a run ends.
	drainTimeout = 5 * time.Second
	closers      = 64
	// spareFiles are those beside the connections.
	spareFiles = 64
)

// Run simulates until every device is done, the settings' duration is over, or ctx ends; then it waits a little for acknowledgements,
// closes all connections, and verifies. The error is about what kept it from running; how it went is in the result, which is there when
// verification alone failed, too.
func (f *Fleet) Run(ctx context.Context) (*Result, error) {
	s := f.settings
	if err := raiseFileLimit(len(f.members) + spareFiles); err != nil {
		return nil, err
	}
	if err := f.method.Prepare(ctx); err != nil {
		return nil, err
	}
	from := ""
	if s.Verify {
		var err error
		if from, err = f.events.End(ctx); err != nil {
			return nil, err
		}
	}
	began := f.clock.Now()
	f.began.Store(began.UnixNano())
	whole := ctx
	if s.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Duration)
		defer cancel()
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	dialling, stopDialling := context.WithCancel(ctx)
	defer stopDialling()
	var all sync.WaitGroup
	all.Go(func() { f.schedule.Run(work) })
	for range workersPerCore * runtime.GOMAXPROCS(0) {
		all.Go(func() { f.serve(work, f.sends, func(m *member) { m.queued.Store(false); m.step() }) })
	}
	for range min(s.Connecting, len(f.members)) {
		all.Go(func() { f.serve(work, f.dials, func(m *member) { m.connect(dialling) }) })
	}
	f.ramp(began)
	if s.Storm.Every > 0 {
		all.Go(func() { f.storm(dialling) })
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	ended := f.clock.Now()
	f.stopping.Store(true)
	stopDialling()
	f.drain()
	f.closing.Store(true)
	f.close()
	stopWork()
	all.Wait()
	f.close() // those that came online meanwhile
	r := f.result(began, ended)
	if !s.Verify {
		return r, nil
	}
	verifying, cancel := context.WithTimeout(context.WithoutCancel(whole), verifyTimeout)
	defer cancel()
	var err error
	r.Verified, err = verify.Run(verifying, f.events, from, f.run, f.sent(), func(read int) { f.log.Info("simulate: reading events back", "read", read) })
	return r, fault.Wrap("simulate.Run", fault.Internal, err, "")
}

// verifyTimeout bounds reading back.
const verifyTimeout = 30 * time.Minute

func (f *Fleet) serve(ctx context.Context, from <-chan *member, do func(*member)) {
	for {
		select {
		case m := <-from:
			do(m)
		case <-ctx.Done():
			return
		}
	}
}

// ramp says when each member begins.
func (f *Fleet) ramp(began time.Time) {
	for i, m := range f.members {
		at := began
		if f.settings.Ramp > 0 {
			at = began.Add(time.Duration(float64(i) / f.settings.Ramp * float64(time.Second)))
		}
		m.mu.Lock()
		m.retry = at
		m.mu.Unlock()
		f.schedule.Set(&m.Entry, at)
	}
}

// storm cuts its share of the connections, again and again.
func (f *Fleet) storm(ctx context.Context) {
	for {
		fired, stop := f.clock.After(f.settings.Storm.Every)
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return
		}
		cut := 0
		for _, m := range f.members {
			if (chance{}).Float64() >= f.settings.Storm.Share || !m.mu.TryLock() { // one that is writing is let be
				continue
			}
			if m.state == online && m.ending == notOurs {
				m.ending = byStorm
				m.conn.Cut()
				cut++
			}
			m.mu.Unlock()
		}
		f.log.Info("simulate: a storm", "cut", cut)
	}
}

// concluded is called once for each member that is done.
func (f *Fleet) concluded() {
	if f.left.Add(-1) == 0 {
		close(f.done)
	}
}

func (f *Fleet) trouble(m *member, err error) { f.stats.troubles.note(f.log, m.id, err) }

// drain waits until nothing is on its way, for a while.
func (f *Fleet) drain() {
	over, stop := f.clock.After(drainTimeout)
	defer stop()
	for made := 0; ; {
		for made < len(f.members) && f.members[made].made() {
			made++
		}
		if made == len(f.members) && (f.stats.inFlight.Load() == 0 || f.stats.online.Load() == 0) {
			return
		}
		soon, stop := f.clock.After(10 * time.Millisecond)
		select {
		case <-soon:
		case <-over:
			stop()
			return
		}
		stop()
	}
}

// close ends every connection and waits for them.
func (f *Fleet) close() {
	next := make(chan *member)
	var all sync.WaitGroup
	for range min(closers, len(f.members)) {
		all.Go(func() {
			for m := range next {
				m.mu.Lock()
				c := m.conn
				m.ending = atEnd
				m.mu.Unlock()
				if c != nil {
					c.Close()
					<-c.Done()
				}
			}
		})
	}
	for _, m := range f.members {
		next <- m
	}
	close(next)
	all.Wait()
}

// sent lists what members know of their messages; after Run only.
func (f *Fleet) sent() []verify.Sent {
	out := make([]verify.Sent, len(f.members))
	for i, m := range f.members {
		out[i] = verify.Sent{Device: m.id, Acknowledged: m.acked, Attempted: m.number, Repeated: m.repeated}
	}
	return out
}
