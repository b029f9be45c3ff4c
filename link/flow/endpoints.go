package flow

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Opener opens a stream to the first of the peers that can be reached. It bounds its own waiting.
type Opener interface {
	Open(ctx context.Context, peers []plan.Peer, f tunnel.Flow) (*mux.Stream, error)
}

// Endpoints is the consumer's side: it listens on the addresses of the private endpoints whose connection is approved.
type Endpoints struct {
	opener Opener
	log    *slog.Logger
	opt    options
	count  *counters

	setting sync.Mutex // held by Set, so that plans take effect one after the other; taken before mu

	mu        sync.Mutex // guards the fields below
	listeners map[place]*listener
	running   context.Context //nolint:containedctx // that of Run, for listeners which Set adds; nil before and after it
	wg        sync.WaitGroup  // listeners and flows
}

// place is what makes a listener the same one through all plans.
type place struct {
	endpoint string
	address  netip.AddrPort
}

// NewEndpoints returns Endpoints that listen nowhere until Set and Run. reg may be nil.
func NewEndpoints(opener Opener, log *slog.Logger, reg prometheus.Registerer, opts ...Option) *Endpoints {
	e := &Endpoints{opener: opener, log: log, opt: apply(opts), listeners: map[place]*listener{}}
	e.count = newCounters("endpoint", reg, log, e.flows)
	return e
}

// Run listens until ctx ends, then closes listeners, cuts flows, and returns nil when all its goroutines are gone. It runs once.
func (e *Endpoints) Run(ctx context.Context) error {
	e.mu.Lock()
	e.running = ctx
	for _, l := range e.listeners {
		e.start(l)
	}
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.running = nil
	gone := e.listeners
	e.listeners = map[place]*listener{}
	e.mu.Unlock()
	for _, l := range gone {
		l.stop(tunnel.ResetShuttingDown, "the consumer's agent is stopping")
	}
	e.wg.Wait()
	return nil
}

// Set makes the endpoints given, and no others, the ones that are listened for. Listeners of endpoints that are no longer Open, are
// gone or have another address or other ports are closed and their flows cut when it returns; those that stay are not touched, but
// their next flow goes to the providers named now. Addresses that cannot be listened on yet are tried again and again; Problems
// tells.
func (e *Endpoints) Set(endpoints []plan.Endpoint) {
	want := map[place]*plan.Endpoint{}
	for i := range endpoints {
		p := &endpoints[i]
		if !p.Open || !p.Address.IsValid() {
			continue
		}
		c := *p
		c.Providers = slices.Clone(p.Providers)
		for _, port := range p.Ports {
			want[place{p.ID, netip.AddrPortFrom(p.Address, port)}] = &c
		}
	}
	e.setting.Lock()
	defer e.setting.Unlock()
	// Old listeners let go of their addresses first: another endpoint may have been given one.
	for _, l := range e.replace(want) {
		if n := l.stop(tunnel.ResetRevoked, "the endpoint is no longer open"); n > 0 {
			e.log.Info("flows cut, the endpoint is no longer open", "endpoint", l.name(), "address", l.place.address, "flows", n)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, p := range want {
		if l, ok := e.listeners[at]; ok {
			l.endpoint.Store(p)
			continue
		}
		l := newListener(e, at, p)
		e.listeners[at] = l
		e.start(l)
	}
}

// replace takes the listeners that are not wanted out of the map and returns them.
func (e *Endpoints) replace(want map[place]*plan.Endpoint) []*listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	var gone []*listener
	for at, l := range e.listeners {
		if want[at] == nil {
			gone = append(gone, l)
			delete(e.listeners, at)
		}
	}
	return gone
}

// start is called with mu held.
func (e *Endpoints) start(l *listener) {
	if e.running == nil {
		return
	}
	ctx := e.running
	e.wg.Go(func() { l.run(ctx) })
}

func (e *Endpoints) all() []*listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]*listener, 0, len(e.listeners))
	for _, l := range e.listeners {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *listener) int { return a.place.address.Compare(b.place.address) })
	return list
}

func (e *Endpoints) flows() []*flow {
	var flows []*flow
	for _, l := range e.all() {
		flows = append(flows, l.live.list()...)
	}
	return flows
}

// Flows returns the open flows, oldest first.
func (e *Endpoints) Flows() []Info { return infos(e.flows()) }

func infos(flows []*flow) []Info {
	list := make([]Info, len(flows))
	for i, f := range flows {
		list[i] = f.snapshot()
	}
	slices.SortFunc(list, func(a, b Info) int { return a.Since.Compare(b.Since) })
	return list
}

// Problems says in words what does not work now, one sentence for each listener that has something to say.
func (e *Endpoints) Problems() []string {
	var words []string
	for _, l := range e.all() {
		if p := l.problem.Load(); p != nil {
			words = append(words, l.name()+": "+*p)
		}
	}
	return words
}

// Listening returns the addresses that are listened on now.
func (e *Endpoints) Listening() []netip.AddrPort {
	var list []netip.AddrPort
	for _, l := range e.all() {
		if l.bound.Load() {
			list = append(list, l.place.address)
		}
	}
	return list
}
