package resolver

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/admission"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/cookie"
	"github.com/isthmus-io/isthmus/resolver/upstream"
	"github.com/isthmus-io/isthmus/resolver/view"
)

// Resolver is a DNS server for one network. Safe for concurrent use.
type Resolver struct {
	cfg     Config
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics

	pool    *upstream.Pool
	cache   *cache.Cache
	cookies *cookie.Jar
	rates   *admission.Rates // of who may ask
	refuses *admission.Rates // of refusals to those who may not
	limited admission.Report
	strange admission.Report
	looping admission.Report
	crowded admission.Report

	state    atomic.Pointer[state]
	inFlight atomic.Int64      // forwards
	shares   *admission.Shares // of them
	asking   asking
	spare    sync.Pool // of *exchange
	desks    sync.Pool // of *desk, for requests over HTTPS

	running  atomic.Bool
	patient  sync.WaitGroup // who waits until a stale answer is due
	ready    chan struct{}  // closed when every address was listened on at the same time
	allBound sync.Once
	bound    atomic.Pointer[[]netip.AddrPort] // what is listened on now over UDP, in the order of Config.Listen

	mu         sync.Mutex // guards the fields below; setting a view and changes of listeners are rare
	table      *view.Table
	clients    *admission.Sources
	numbers    map[string]uint32 // of the servers of the present view
	lastNumber uint32
	listeners  []*listener
	broken     error // of Config, told by Run
}

// New returns a resolver which knows nothing and refuses everything until Set. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Resolver {
	cfg = cfg.withDefaults()
	r := &Resolver{cfg: cfg, log: log, clk: clk, ready: make(chan struct{}), asking: asking{counts: map[asked]int{}}}
	r.pool = upstream.New(upstream.Config{
		Timeout: cfg.UpstreamTimeout, QueryTimeout: cfg.QueryTimeout, DeadFor: cfg.DeadFor, MaxInFlight: 2 * cfg.MaxForwards,
		Roots: cfg.UpstreamRoots, SourceAddresses: cfg.UpstreamSources,
	}, log, clk, reg)
	r.cache = cache.New(cfg.Cache, clk)
	r.rates = admission.NewRates(admission.Config{PerSecond: cfg.RatePerSource})
	r.shares = admission.NewShares(cfg.MaxForwards - cfg.MaxForwards/4)
	r.refuses = admission.NewRates(admission.Config{PerSecond: 10, Burst: 20, Sources: 8192})
	r.metrics = newMetrics(r, reg)
	r.spare.New = func() any { return newExchange(r) }
	r.desks.New = func() any { return r.newDesk() }
	for _, l := range []struct {
		kind   transport
		wanted []string
	}{{overUDP, cfg.Listen}, {overTLS, cfg.TLSListen}, {overHTTPS, cfg.HTTPSListen}} {
		for _, w := range l.wanted {
			r.listeners = append(r.listeners, &listener{kind: l.kind, wanted: w})
		}
	}
	if len(r.listeners) == 0 {
		close(r.ready)
	}
	r.cookies, r.broken = cookie.New(cfg.CookieSecret)
	if r.broken == nil && cfg.Certificate == nil && len(cfg.TLSListen)+len(cfg.HTTPSListen) > 0 {
		r.broken = fault.New("resolver.New", fault.Invalid, "DNS over TLS and over HTTPS need a certificate").
			Advise("give one, or take the addresses for TLS and HTTPS away")
	}
	r.bound.Store(&[]netip.AddrPort{})
	r.Set(View{})
	return r
}

// Set replaces the view. Queries which are being decided finish with the old one; nothing is dropped. Names that cannot be served are
// left out and stand in Status.
func (r *Resolver) Set(v View) {
	t := view.New(view.View{Names: v.Names, Zones: v.Zones, Redirect: v.Redirect, Forward: v.Forward, Upstreams: v.Upstreams}, uint32(r.clk.Now().Unix()))
	clients := v.Clients
	if len(clients) == 0 {
		clients = admission.Private()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table, r.clients = t, admission.NewSources(clients)
	s := r.newState(r.table, r.clients)
	for _, p := range s.problems {
		r.log.Warn("resolver: " + p)
	}
	r.state.Store(s)
}

// Run listens and answers until ctx ends; then everything it started has ended. It fails only for an address that can never be
// listened on, for settings that cannot work, or when it runs already.
func (r *Resolver) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return fault.New("resolver.Run", fault.Conflict, "the resolver is running already")
	}
	defer r.running.Store(false)
	if r.broken != nil {
		return r.broken
	}
	// Upstreams can be asked for as long as anybody listens.
	asking, stop := context.WithCancel(context.WithoutCancel(ctx))
	var pool errgroup.Group
	pool.Go(func() error { return r.pool.Run(asking) })
	<-r.pool.Ready()
	err := r.listen(ctx)
	stop()
	if failed := pool.Wait(); err == nil {
		err = failed
	}
	r.patient.Wait()
	return err
}

func (r *Resolver) listen(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range r.listeners {
		addr, err := netip.ParseAddrPort(l.wanted)
		if err != nil {
			err := fault.Newf("resolver.Run", fault.Invalid, "%q is no address to listen on", l.wanted).
				Advise("write address:port, e.g. 10.7.0.2:53 or [::1]:53")
			g.Go(func() error { return err })
			continue
		}
		g.Go(func() error { return r.serve(ctx, l, addr) })
	}
	g.Go(func() error {
		r.rollCookies(ctx)
		return nil
	})
	return g.Wait()
}

// rollCookies changes the secret of cookies every day (RFC 7873 section 7.1: at most 36 days, a day is better).
func (r *Resolver) rollCookies(ctx context.Context) {
	for {
		fired, stop := r.clk.After(24 * time.Hour)
		select {
		case <-fired:
			r.cookies.Roll()
		case <-ctx.Done():
			stop()
			return
		}
	}
}

// Addr is the first address of Config.Listen that is listened on now, with its real port; invalid while there is none.
func (r *Resolver) Addr() netip.AddrPort {
	if b := *r.bound.Load(); len(b) > 0 {
		return b[0]
	}
	return netip.AddrPort{}
}

// TLSAddr is Addr for Config.TLSListen.
func (r *Resolver) TLSAddr() netip.AddrPort { return r.addrOf(overTLS) }

// HTTPSAddr is Addr for Config.HTTPSListen.
func (r *Resolver) HTTPSAddr() netip.AddrPort { return r.addrOf(overHTTPS) }

func (r *Resolver) addrOf(kind transport) netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		if l.kind == kind && l.bound.IsValid() {
			return l.bound
		}
	}
	return netip.AddrPort{}
}

// Ready is closed as soon as all addresses of the Config are listened on.
func (r *Resolver) Ready() <-chan struct{} { return r.ready }
