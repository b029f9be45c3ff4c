package resolver

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Resolver is a DNS server for one network. Safe for concurrent use.
type Resolver struct {
	cfg     Config
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics

	view     atomic.Pointer[view]
	forwards chan struct{} // a slot for each forward in flight
	running  atomic.Bool
	ready    chan struct{} // closed when every address was listened on at the same time
	allBound sync.Once
	bound    atomic.Pointer[[]netip.AddrPort] // what is listened on now, in the order of Config.Listen

	mu        sync.Mutex // guards the fields below; setting a view and changes of listeners are rare
	upstreams map[netip.AddrPort]*upstream
	listeners []listenerState
}

// New returns a resolver which knows nothing and refuses everything until Set. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Resolver {
	cfg = cfg.withDefaults()
	r := &Resolver{
		cfg: cfg, log: log, clk: clk, metrics: newMetrics(reg), forwards: make(chan struct{}, cfg.MaxForwards),
		upstreams: map[netip.AddrPort]*upstream{}, listeners: make([]listenerState, len(cfg.Listen)),
		ready: make(chan struct{}),
	}
	for i, a := range cfg.Listen {
		r.listeners[i].wanted = a
	}
	if len(cfg.Listen) == 0 {
		close(r.ready)
	}
	r.bound.Store(&[]netip.AddrPort{})
	r.view.Store(newView(View{}, 0))
	return r
}

// Set replaces the view. Queries which are being decided finish with the old one. Names that cannot be served are left out and
// stand in Status.
func (r *Resolver) Set(v View) {
	next := newView(v, uint32(r.clk.Now().Unix()))
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := make(map[netip.AddrPort]*upstream, len(v.Upstreams))
	for _, a := range v.Upstreams {
		if !a.IsValid() || a.Port() == 0 {
			next.problem("upstream %v is left out: it is no address with port", a)
			continue
		}
		u := r.upstreams[a]
		if u == nil {
			u = &upstream{addr: a}
		}
		if kept[a] == nil {
			kept[a] = u
			next.upstream = append(next.upstream, u)
		}
	}
	r.upstreams = kept
	for _, p := range next.problems {
		r.log.Warn("resolver: " + p)
	}
	r.view.Store(next)
}

// Run listens and answers until ctx ends; then everything it started has ended. It fails only for an address that can never be
// listened on, or when it runs already.
func (r *Resolver) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return fault.New("resolver.Run", fault.Conflict, "the resolver is running already")
	}
	defer r.running.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	for i := range r.cfg.Listen {
		addr, err := netip.ParseAddrPort(r.cfg.Listen[i])
		if err != nil {
			err := fault.Newf("resolver.Run", fault.Invalid, "%q is no address to listen on", r.cfg.Listen[i]).
				Advise("write address:port, e.g. 10.7.0.2:53 or [::1]:53")
			g.Go(func() error { return err })
			continue
		}
		g.Go(func() error { return r.serve(ctx, i, addr) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// Addr is the first address listened on now, with its real port; invalid while there is none. See Config.Listen for port 0.
func (r *Resolver) Addr() netip.AddrPort {
	if b := *r.bound.Load(); len(b) > 0 {
		return b[0]
	}
	return netip.AddrPort{}
}

// Ready is closed as soon as all of Config.Listen is listened on.
func (r *Resolver) Ready() <-chan struct{} { return r.ready }

// isSelf tells whether asking addr would be asking ourselves.
func (r *Resolver) isSelf(addr netip.AddrPort) bool {
	return slices.ContainsFunc(*r.bound.Load(), func(b netip.AddrPort) bool {
		return b == addr || b.Port() == addr.Port() && b.Addr().IsUnspecified() && addr.Addr().IsLoopback()
	})
}
