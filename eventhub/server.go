package eventhub

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// Server is all namespaces of one process.
type Server struct {
	cfg     Config
	events  *eventlog.Log
	store   *eventhubstore.Store
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics

	setting sync.Mutex // held while SetNamespaces works

	mu         sync.RWMutex // guards the field below
	namespaces map[string]*Namespace
}

// New opens the store. There are no namespaces until SetNamespaces. Events are kept in events, which the caller runs and closes, after
// this server. reg may be nil.
func New(ctx context.Context, cfg Config, events *eventlog.Log, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Database == "" {
		return nil, fault.New("eventhub.New", fault.Invalid, "the event hubs have no data directory").Advise("set one with --data-dir")
	}
	st, err := eventhubstore.Open(ctx, eventhubstore.Config{DSN: cfg.Database, MaxPages: cfg.MaxPages}, log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, events: events, store: st, log: log, clock: clk, namespaces: map[string]*Namespace{}}
	s.metrics = newMetrics(reg, s)
	return s, nil
}

// Run returns nil when ctx ends. Then every [Entity] is gone.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.setting.Lock()
	defer s.setting.Unlock()
	for _, n := range s.Namespaces() {
		n.end()
	}
	return nil
}

// Close closes the store. Call it after Run and the doors have returned.
func (s *Server) Close() error { return s.store.Close() }

// SetNamespaces makes the server have exactly these namespaces, with what their resources declare. One that cannot be opened is not
// served, and what cannot be as it is declared stays as it is; the errors are returned, and everything else is done. A namespace that is
// not among them keeps its event hubs for when it comes back.
func (s *Server) SetNamespaces(ctx context.Context, wanted []Spec) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	next := map[string]*Namespace{}
	var errs []error
	for _, spec := range wanted {
		n, known := s.Namespace(spec.ID)
		if !known {
			var err error
			if n, err = s.open(ctx, spec); err != nil {
				errs = append(errs, err)
				continue
			}
			s.log.Info("eventhub: serving", "namespace", spec.Name, "hosts", spec.HostNames, "eventHubs", len(n.state.Load().hubs))
			if s.cfg.TestToken != "" {
				s.log.Warn("eventhub: a test token stands for every right in this namespace: whoever knows it may do everything", "namespace", spec.Name)
			}
		}
		n.setSpec(spec)
		next[spec.ID] = n
		errs = append(errs, n.declare(ctx, spec.EventHubs))
	}
	s.mu.Lock()
	before := s.namespaces
	s.namespaces = next
	s.mu.Unlock()
	for id, n := range before {
		if next[id] == nil {
			n.end()
			s.log.Info("eventhub: no longer serving", "namespace", n.Name())
		}
	}
	return errors.Join(errs...)
}

// Namespace returns a namespace by its uid.
func (s *Server) Namespace(id string) (*Namespace, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.namespaces[id]
	return n, ok
}

// Namespaces returns all namespaces by name.
func (s *Server) Namespaces() []*Namespace {
	s.mu.RLock()
	out := slices.Collect(maps.Values(s.namespaces))
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Namespace) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// ByName returns a namespace by its name, its uid or a host name.
func (s *Server) ByName(name string) (*Namespace, bool) {
	for _, n := range s.Namespaces() {
		if n.Name() == name || n.id == name || sas.IsHost(name, n.HostNames()) {
			return n, true
		}
	}
	return nil, false
}
