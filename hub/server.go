package hub

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/throttle"
)

// Server is all hubs of one process.
type Server struct {
	cfg     Config
	events  EventLog
	store   *hubstore.Store
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics

	refusals  refusals
	limiter   *limit.Limiter
	emits     chan emitted
	emitBytes atomic.Int64 // of bodies in emits

	mu       sync.RWMutex // guards the fields below
	hubs     map[string]*Hub
	held     map[*hold]struct{}
	stopping bool
}

// New opens the store of devices. There are no hubs until SetHubs. reg may be nil.
func New(ctx context.Context, cfg Config, events EventLog, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Database == "" {
		return nil, fault.New("hub.New", fault.Invalid, "the hub has no data directory").Advise("set one with --data-dir")
	}
	st, err := hubstore.Open(ctx, hubstore.Config{DSN: cfg.Database, MaxPages: cfg.MaxPages}, log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, events: events, store: st, log: log, clock: clk, hubs: map[string]*Hub{}, held: map[*hold]struct{}{}}
	s.limiter, s.emits = limit.New(cfg.Tenant, clk.Now()), make(chan emitted, maxEmitted)
	s.refusals.lines = throttle.New[string](throttle.Config{Burst: lineBurst, Every: lineEvery}, clk)
	s.refusals.all = throttle.New[struct{}](throttle.Config{Burst: allBurst, Every: allEvery}, clk)
	s.metrics = newMetrics(reg, s)
	return s, nil
}

// Store is where everything is kept, for the rooms above this one: those of jobs, configurations and files.
func (s *Server) Store() *hubstore.Store { return s.store }

// Close closes the store. Call it after Run and the doors have returned.
func (s *Server) Close() error { return s.store.Close() }

// Run measures rates and writes down who was seen until ctx ends; then it cuts every session and returns nil.
func (s *Server) Run(ctx context.Context) error {
	last := s.clock.Now()
	var emitting sync.WaitGroup
	emitting.Go(func() { s.emit(ctx) })
	defer emitting.Wait()
	for {
		tick, stop := s.clock.After(time.Second)
		select {
		case <-tick:
			for _, h := range s.Hubs() {
				h.measure()
			}
			s.sweep(ctx)
			if now := s.clock.Now(); now.Sub(last) >= s.cfg.SeenEach {
				last = now
				s.writeSeen(ctx)
			}
		case <-ctx.Done():
			stop()
			s.mu.Lock()
			s.stopping = true
			s.mu.Unlock()
			for _, h := range s.Hubs() {
				h.cutAll(Stopping)
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.writeSeen(last)
			return nil
		}
	}
}

// SetHubs makes the server serve exactly these hubs. Sessions which the new plan does not allow are cut before it returns: those of a
// hub that is gone, of a link that is no longer approved, and those from the public side of a hub that closed it. A hub whose
// policies cannot be stored is not served and its error is returned; the others are.
func (s *Server) SetHubs(wanted []plan.Hub) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	next := map[string]*Hub{}
	hosts := map[string]string{} // which hub answers to it
	var errs []error
	for _, p := range wanted {
		if err := claim(hosts, p); err != nil {
			errs = append(errs, err)
			continue
		}
		h, known := s.byID(p.ID)
		if !known {
			var err error
			if h, err = s.open(ctx, p); err != nil {
				errs = append(errs, err)
				continue
			}
			s.log.Info("hub: serving", "hub", p.Name, "hosts", p.HostNames, "public", string(p.Public))
		}
		h.setPlan(p)
		next[p.ID] = h
	}
	s.mu.Lock()
	old := s.hubs
	s.hubs = next
	held := slices.Collect(maps.Keys(s.held))
	s.mu.Unlock()
	for id, h := range old {
		if next[id] == nil {
			s.log.Info("hub: no longer serving", "hub", h.Name())
			h.leave()
			h.cutAll(HubGone)
		}
	}
	for _, h := range next {
		h.cutPublic()
	}
	for _, l := range held {
		if !s.approved(l.side) {
			l.cut(LinkClosed)
		}
	}
	return errors.Join(errs...)
}

// claim notes the hub's names. A name leads to one hub, or nobody could say where a peer is let in.
func claim(hosts map[string]string, p plan.Hub) error {
	for _, h := range p.HostNames {
		if owner, taken := hosts[strings.ToLower(h)]; taken && owner != p.ID {
			return fault.Newf("hub.SetHubs", fault.Conflict, "hub %s has the host name %s, which another hub of the plan has too", p.Name, h).
				Advise("give each service its own spec.hostName")
		}
	}
	for _, h := range p.HostNames {
		hosts[strings.ToLower(h)] = p.ID
	}
	return nil
}

// Hubs returns the hubs served now, by name.
func (s *Server) Hubs() []*Hub {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.hubs), func(a, b *Hub) int { return strings.Compare(a.Name(), b.Name()) })
}

// ByHost returns the hub which answers to the host name; a port and the case of letters do not matter.
func (s *Server) ByHost(host string) (*Hub, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.hubs {
		if sas.IsHost(host, h.HostNames()) {
			return h, true
		}
	}
	return nil, false
}

// ByName returns the hub by its name (ot/ot-cloud/contoso), its uid, or a host name.
func (s *Server) ByName(name string) (*Hub, bool) {
	for _, h := range s.Hubs() {
		if h.Name() == name || h.ID() == name {
			return h, true
		}
	}
	return s.ByHost(name)
}

func (s *Server) byID(id string) (*Hub, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.hubs[id]
	return h, ok
}
