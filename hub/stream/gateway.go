package stream

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/throttle"
)

// Journal is told what becomes of streams. It must not wait long.
type Journal interface{ Note(session.Record) }

// Config bounds a gateway. The zero value works. What streams by grants may take beside it is said by their targets' policies.
type Config struct {
	Open       int           // bridges of one hub that were asked for by keys; 50 (IoT Hub: quotas, device streams)
	EachSecond int           // new ones of one hub; 5
	Bytes      int64         // that these of one hub carry in a day; 300 MB
	Meet       time.Duration // how long the ends have to find each other; 60 s

	GrantedOpen       int // bridges of one hub by grants; 1000
	GrantedEachSecond int // new ones of one hub; 50

	Journal Journal // nil: nobody is told
}

func (c Config) withDefaults() Config {
	for _, n := range []struct {
		at      *int
		instead int
	}{{&c.Open, 50}, {&c.EachSecond, 5}, {&c.GrantedOpen, 1000}, {&c.GrantedEachSecond, 50}} {
		if *n.at <= 0 {
			*n.at = n.instead
		}
	}
	if c.Bytes <= 0 {
		c.Bytes = 300 << 20
	}
	if c.Meet <= 0 {
		c.Meet = time.Minute
	}
	return c
}

// sort tells apart what has bounds of its own.
type sort struct {
	hub     string
	granted bool
}

// Gateway carries the streams of all hubs of a process.
type Gateway struct {
	cfg    Config
	log    *slog.Logger
	clock  clock.Clock
	key    [32]byte // signs tokens; of this process only, as bridges are
	offset atomic.Int64
	keys   *throttle.Throttle[string]
	grants *throttle.Throttle[string]
	one    *throttle.Throttle[string] // half of that, by grant, or by stream for those in this process

	mu       sync.Mutex // guards the fields below
	bridges  map[string]*bridge
	open     map[sort]int
	using    map[string]int // open bridges, by grant
	carried  map[string]*day
	admitted map[string]admission // by grant
}

// day is what a hub carried on one day.
type day struct {
	of    int64 // days since 1970, UTC
	bytes atomic.Int64
}

// New returns a gateway.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Gateway {
	cfg = cfg.withDefaults()
	each := func(n int) *throttle.Throttle[string] {
		return throttle.New[string](throttle.Config{Burst: n, Every: time.Second / time.Duration(n)}, clk)
	}
	g := &Gateway{
		cfg: cfg, log: log, clock: clk, keys: each(cfg.EachSecond), grants: each(cfg.GrantedEachSecond), one: each(max(cfg.GrantedEachSecond/2, 1)),
		bridges: map[string]*bridge{}, open: map[sort]int{}, using: map[string]int{}, carried: map[string]*day{},
	}
	_, _ = rand.Read(g.key[:]) // never fails
	return g
}

const (
	standsEvery = time.Second // looks into the registry
	timesEvery  = 250 * time.Millisecond
)

// Run ends the bridges whose ends do not find each other in time, and those that may not be any more, until ctx ends; then it ends those
// that wait. Streams that are carried end with their connections.
func (g *Gateway) Run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error {
		g.every(ctx, standsEvery, func(time.Time) { g.sweep(func(b *bridge) { b.checkStands(ctx) }) })
		return nil
	})
	g.every(ctx, timesEvery, func(now time.Time) { g.sweep(func(b *bridge) { g.checkTimes(b, now) }) })
	_ = all.Wait() // it has no error
	g.sweep(func(b *bridge) {
		if !b.isMet() {
			b.finish(session.EndStopping, "the hub's process stopped")
		}
	})
	return nil
}

// every calls f again and again until ctx ends. A registry that answers slowly must not hold up what only needs the clock, so each has
// its own.
func (g *Gateway) every(ctx context.Context, pause time.Duration, f func(now time.Time)) {
	for {
		tick, stop := g.clock.After(pause)
		select {
		case now := <-tick:
			f(now)
		case <-ctx.Done():
			stop()
			return
		}
	}
}

// sweep looks at every bridge.
func (g *Gateway) sweep(look func(b *bridge)) {
	g.mu.Lock()
	list := slices.Collect(maps.Values(g.bridges))
	g.mu.Unlock()
	for _, b := range list {
		look(b)
	}
}

// SetOffset says by how much the control plane's clock is ahead of ours: grants begin and end by its clock. Small ones do not count.
func (g *Gateway) SetOffset(d time.Duration) {
	if d.Abs() <= smallOffset {
		d = 0
	}
	g.offset.Store(int64(d))
}

const smallOffset = 2 * time.Second

// correct turns a moment of our clock into one of the control plane's.
func (g *Gateway) correct(at time.Time) time.Time { return at.Add(time.Duration(g.offset.Load())) }

// Count returns how many bridges a hub has, of which somebody in this process has some.
func (g *Gateway) Count(hub string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[sort{hub, false}] + g.open[sort{hub, true}]
}
