package gate

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/access/gate/share"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/throttle"
)

// What one person may begin: bursts, as of a program that opens many connections, and so many in the long run.
const (
	beginBurst = 1024
	beginEvery = time.Second / 64
)

// tick is the longest for which open sessions are not looked at: a clock that is set forward tells nobody.
const tick = time.Second

// Gate lets people in.
type Gate struct {
	cfg     Config
	log     *slog.Logger
	clk     clock.Clock
	elapsed func() time.Duration // since the gate was made, by a clock that is never set
	allow   *allowlist
	wrong   []string // with Config, in words
	dialer  net.Dialer
	room    *share.Room
	begun   *throttle.Throttle[string]
	count   *counters

	refusals refusals
	problems problems
	offset   atomic.Int64
	wake     chan struct{}

	setting sync.Mutex // held by Set and SetOffset, so that they take effect one after the other; taken before mu

	mu      sync.Mutex // guards the fields below
	rules   *rules
	visits  map[*visit]struct{}
	open    map[string]int // visits by grant id
	next    time.Duration  // when visits are looked at next, in the gate's time
	stopped bool
	wg      sync.WaitGroup // visits
}

// New returns a Gate that refuses everybody until Set. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Gate {
	began := clk.Now()
	g := &Gate{
		cfg: cfg, log: log, clk: clk,
		elapsed: func() time.Duration { return clk.Now().Sub(began) },
		dialer:  net.Dialer{Timeout: flow.DialTimeout, KeepAliveConfig: flow.KeepAlive()},
		room:    share.New(cfg.BytesPerSecond),
		begun:   throttle.New[string](throttle.Config{Burst: beginBurst, Every: beginEvery}, clk),
		wake:    make(chan struct{}, 1),
		rules:   compile(nil), visits: map[*visit]struct{}{}, open: map[string]int{},
	}
	g.dialer.SetMultipathTCP(false)
	var bad []error
	g.allow, bad = newAllowlist(cfg.Allow)
	for _, err := range bad {
		g.wrong = append(g.wrong, "the setting of what people may be let into: "+words(err))
		log.Error("a pattern of what people may be let into is wrong and allows nothing", "error", err)
	}
	g.count = newCounters(g, reg)
	return g
}

// now is read without a lock.
func (g *Gate) now() instant {
	// Without the monotonic reading, which would make times of this process compare by it.
	return instant{g.clk.Now().Round(0).Add(time.Duration(g.offset.Load())), g.elapsed()}
}

// Run looks after the sessions until ctx ends, then refuses new ones, cuts those there are and returns nil when they are gone. It runs
// once. The Journal must outlive it.
func (g *Gate) Run(ctx context.Context) error {
	for {
		due, stop := g.clk.After(g.lookAround())
		select {
		case <-due:
		case <-g.wake:
			stop()
		case <-ctx.Done():
			stop()
			g.end()
			return nil
		}
	}
}

func (g *Gate) end() {
	g.mu.Lock()
	g.stopped = true
	g.rules = compile(nil)
	g.mu.Unlock()
	for _, v := range g.list() {
		v.cut(session.EndStopping, "the process that leads there is stopping")
	}
	g.wg.Wait()
	records, _, _ := g.refusals.due(g.elapsed(), true)
	g.tell(records)
}

// rest is how long Run sleeps when there is nothing to look after.
const rest = time.Hour

// lookAround cuts what must end now and writes what was counted; it returns how long it is until that has to be done again.
func (g *Gate) lookAround() time.Duration {
	now := g.now()
	records, wait, ok := g.refusals.due(now.mono, false)
	defer g.tell(records)
	if !ok {
		wait = rest
	}
	g.mu.Lock()
	visits := g.listLocked()
	if len(visits) > 0 {
		wait = min(wait, tick)
	}
	g.next = now.mono + wait // whoever comes meanwhile and has less time wakes us
	g.mu.Unlock()
	for _, v := range visits {
		end, words, again := v.due(now)
		if end != "" {
			g.cut(v, end, words)
			continue
		}
		wait = min(wait, again)
	}
	return max(wait, time.Millisecond)
}

func (g *Gate) cut(v *visit, end session.End, words string) {
	if v.cut(end, words) {
		g.log.Info("session cut", "session", v.id, "end", end, "why", words)
	}
}

func (g *Gate) rouse() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Set makes the targets given, and no others, the ones that may be reached. Sessions of a grant that is gone or has ended, or whose target
// has another address or device or must now be recorded, are cut when it returns. Others are not touched, and go on with the limits and
// ends given now.
func (g *Gate) Set(targets []plan.Target) {
	g.setting.Lock()
	defer g.setting.Unlock()
	next := compile(targets)
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return
	}
	g.rules = next
	visits := g.listLocked()
	g.mu.Unlock()
	g.problems.keep(next)
	now := g.now()
	for _, v := range visits {
		if end, words := v.adopt(next, now); end != "" {
			g.cut(v, end, words)
		}
	}
	g.rouse()
}

// SetOffset says by how much the control plane's clock is ahead of ours. Up to two seconds either way are taken for none, and less than one
// more or less than before for no change. Sessions that are over by the corrected clock are cut when it returns.
func (g *Gate) SetOffset(d time.Duration) {
	if d.Abs() <= leastOffset {
		d = 0
	}
	g.setting.Lock()
	defer g.setting.Unlock()
	if was := time.Duration(g.offset.Load()); (d - was).Abs() < leastOffset/2 {
		return
	}
	g.mu.Lock() // a session that is admitted meanwhile counts by the one or is found for the other
	g.offset.Store(int64(d))
	visits := g.listLocked()
	g.mu.Unlock()
	g.log.Info("the control plane's clock differs from this machine's", "by", d)
	now := g.now()
	for _, v := range visits {
		if end, words := v.correct(now); end != "" {
			g.cut(v, end, words)
		}
	}
	g.rouse()
}

func (g *Gate) list() []*visit {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked()
}

func (g *Gate) listLocked() []*visit {
	list := make([]*visit, 0, len(g.visits))
	for v := range g.visits {
		list = append(list, v)
	}
	return list
}

// Allowed says whether any grant of the plan is the peer's: whoever has none may be turned away before it costs a tunnel. The decision
// proper is Handle's.
func (g *Gate) Allowed(peer identity.ID) bool {
	if _, ok := peer.Person(); !ok {
		return false
	}
	g.mu.Lock()
	r := g.rules
	g.mu.Unlock()
	_, ok := r.people[person(peer)]
	return ok
}

// person is what the ids of all passes of a person begin with.
func person(peer identity.ID) string {
	return string(peer[:strings.LastIndexByte(string(peer), '/')+1])
}

// Info is what a screen shows of one open session.
type Info struct {
	Session  string
	Grant    string
	Target   string // ot/plant-7/press-4-ssh
	Person   string // alice of ot
	From     netip.AddrPort
	Since    time.Time
	Until    time.Time // when the grant ends, or its working hours do
	Recorded bool
	Sent     uint64 // bytes from the person to the machine
	Received uint64 // bytes from the machine to the person
}

// Sessions returns the open sessions, oldest first.
func (g *Gate) Sessions() []Info {
	var list []Info
	for _, v := range g.list() {
		if i, ok := v.info(); ok {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	return list
}

// Problems says in words what does not work now, one sentence for each target that could not be reached lately.
func (g *Gate) Problems() []string {
	return append(slices.Clone(g.wrong), g.problems.list(g.elapsed())...)
}
