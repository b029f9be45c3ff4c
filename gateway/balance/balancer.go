package balance

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

// Limits of what a configuration and the names in it can make us hold.
const (
	MostAddresses = 64   // of one name
	MostTargets   = 1024 // of one group
)

// Times when Config leaves a field at 0.
const (
	DefaultResolveEvery = 30 * time.Second
	DefaultFirstPause   = time.Second
	DefaultMostPause    = time.Minute
)

// Config is how a Balancer works; its zero value does.
type Config struct {
	ResolveEvery time.Duration // how often names are resolved again; sooner when a target fails
	FirstPause   time.Duration // how long a target that refused connections is left alone for the first time; doubled each time
	MostPause    time.Duration // the longest of these pauses

	// Lookup returns the addresses of a host name; those of the system's resolver when nil.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a target for a check; a plain TCP connection when nil.
	Dial func(ctx context.Context, target netip.AddrPort) (net.Conn, error)
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		at        *time.Duration
		otherwise time.Duration
	}{{&c.ResolveEvery, DefaultResolveEvery}, {&c.FirstPause, DefaultFirstPause}, {&c.MostPause, DefaultMostPause}} {
		if *d.at <= 0 {
			*d.at = d.otherwise
		}
	}
	if c.Lookup == nil {
		c.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", target.String())
		}
	}
	return c
}

// firstLookup bounds how long Set waits for names it did not know.
const firstLookup = 3 * time.Second

// Use is one group as a gateway uses it.
type Use struct {
	Gateway string // ot/ot-cloud/front
	Group   resource.TargetGroup
	Ports   []uint16 // of routes and listeners that lead to it, for targets which name no port
}

// id is what makes a group the same one through all configurations.
type id struct{ gateway, name string }

// Balancer keeps the groups of all gateways of a process.
type Balancer struct {
	cfg Config
	log *slog.Logger
	clk clock.Clock

	setting sync.Mutex // held by Set, so that configurations take effect one after the other; taken before mu

	mu      sync.Mutex // guards the fields below; taken before the mu of a group
	groups  map[id]*Group
	running context.Context //nolint:containedctx // that of Run, for what Set adds; nil before and after it
	wg      sync.WaitGroup  // everything Run owns
}

// New returns a Balancer without groups. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Balancer {
	b := &Balancer{cfg: cfg.withDefaults(), log: log, clk: clk, groups: map[id]*Group{}}
	if reg != nil {
		if err := reg.Register(collector{b}); err != nil {
			log.Warn("the metrics of targets are not shown", "error", err)
		}
	}
	return b
}

// Run checks targets and resolves names until ctx ends and all its goroutines are gone. It runs once.
func (b *Balancer) Run(ctx context.Context) error {
	b.mu.Lock()
	b.running = ctx
	for _, g := range b.groups {
		g.begin()
	}
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock()
	b.running = nil
	b.mu.Unlock()
	b.wg.Wait()
	return nil
}

// Set makes the groups given, and no others, the ones that are kept. What stays, by gateway, name and target, keeps its health and its
// counts. New names are resolved before their targets are shown, for which Set may wait some seconds; a group that is gone is no longer
// checked, and whoever still has it goes by what was known last.
func (b *Balancer) Set(uses []Use) {
	b.setting.Lock()
	defer b.setting.Unlock()
	want := map[id]*Group{}
	var changes []*change
	b.mu.Lock()
	for i := range uses {
		u := &uses[i]
		at := id{u.Gateway, u.Group.Name}
		if want[at] != nil {
			continue
		}
		g := b.groups[at]
		if g == nil {
			g = &Group{b: b, id: at, targets: map[netip.AddrPort]*target{}}
			g.show.Store(&tables{fixed: &table{}})
		}
		want[at] = g
		changes = append(changes, g.prepare(u))
	}
	b.mu.Unlock()

	b.firstLookups(changes)

	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.groups
	b.groups = want
	for _, c := range changes {
		c.group.apply(c)
	}
	for at, g := range gone {
		if want[at] != g {
			g.end()
		}
	}
}

// Waits tells whether Set would have to resolve names first.
func (b *Balancer) Waits(uses []Use) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range uses {
		g := b.groups[id{uses[i].Gateway, uses[i].Group.Name}]
		if g == nil {
			g = &Group{}
		}
		if len(g.prepare(&uses[i]).unknown) > 0 {
			return true
		}
	}
	return false
}

// firstLookups resolves the names that are new, all at the same time.
func (b *Balancer) firstLookups(changes []*change) {
	ctx, cancel := context.WithTimeout(context.Background(), firstLookup)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range changes {
		for _, h := range c.unknown {
			wg.Go(func() { h.found, h.err = b.lookup(ctx, h.name) })
		}
	}
	wg.Wait()
}

// Group returns a group, or nil. It stays the same one through every Set which has it.
func (b *Balancer) Group(gateway, name string) *Group {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.groups[id{gateway, name}]
}

// start runs f on a goroutine of Run until stop is called. Before and after Run it does nothing. It is called with mu held.
func (b *Balancer) start(f func(context.Context)) (stop context.CancelFunc) {
	if b.running == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(b.running)
	b.wg.Go(func() {
		defer cancel()
		f(ctx)
	})
	return cancel
}
