package provisioning

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
	"github.com/isthmus-io/isthmus/throttle"
)

// Server is all provisioning services of one process.
type Server struct {
	cfg     Config
	store   *provisioningstore.Store
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics
	webhook *webhook

	places chan struct{} // one for each registration that waits or is worked on
	queue  chan job
	far    *far
	often  *throttle.Throttle[job] // of each device

	mu       sync.RWMutex // guards the fields below
	services map[string]*Service
	scopes   map[string]*Service   // by id scope in upper case
	working  map[job]chan struct{} // that wait or are worked on; closed when they are not any more
	remote   map[string]dialled    // by service and host
}

// How often one device may register: in a row, and then one more each. Those of whom that is remembered take some 100 bytes each.
const (
	oftenBurst = 20
	oftenEvery = 3 * time.Second
	oftenKeys  = 50_000
)

// job is a registration to be worked on.
type job struct{ service, registration string }

// dialled is a hub elsewhere with what it was dialled by.
type dialled struct {
	connection string
	hub        RemoteHub
}

// New opens the store. There are no services until SetServices. reg may be nil.
func New(ctx context.Context, cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Database == "" {
		return nil, fault.New("provisioning.New", fault.Invalid, "the provisioning service has no data directory").Advise("set one with --data-dir")
	}
	st, err := provisioningstore.Open(ctx, provisioningstore.Config{DSN: cfg.Database, MaxPages: cfg.MaxPages}, log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, store: st, log: log, clock: clk, metrics: newMetrics(reg), webhook: newWebhook(cfg),
		places: make(chan struct{}, cfg.Queue+cfg.Workers), queue: make(chan job, cfg.Queue+cfg.Workers),
		services: map[string]*Service{}, scopes: map[string]*Service{}, working: map[job]chan struct{}{}, remote: map[string]dialled{},
	}
	s.far = newFar(cfg.Workers, s.queue)
	s.often = throttle.New[job](throttle.Config{Burst: oftenBurst, Every: oftenEvery, Keys: oftenKeys}, clk)
	return s, nil
}

// Close closes the store and the connections to hubs elsewhere. Call it after Run and the doors have returned.
func (s *Server) Close() error {
	s.mu.Lock()
	for _, d := range s.remote {
		d.hub.Close()
	}
	clear(s.remote)
	s.mu.Unlock()
	s.webhook.close()
	return s.store.Close()
}

// Run works on registrations until ctx ends, and returns nil when those that had begun have ended. What waits then is taken up again
// when its device asks.
func (s *Server) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range s.cfg.Workers {
		all.Go(func() {
			for {
				select {
				case j := <-s.queue:
					s.work(ctx, j)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
	return nil
}

// SetServices makes the server have exactly these services. One whose id scope and policies cannot be stored is not served and its error
// is returned; the others are.
func (s *Server) SetServices(ctx context.Context, wanted []Spec) error {
	next, scopes := map[string]*Service{}, map[string]*Service{}
	var errs []error
	for _, spec := range wanted {
		svc, known := s.Service(spec.ID)
		if !known {
			var err error
			if svc, err = s.open(ctx, spec); err != nil {
				errs = append(errs, err)
				continue
			}
			s.log.Info("provisioning: serving", "service", spec.Name, "hosts", spec.HostNames, "scope", svc.scope)
		}
		svc.setSpec(spec)
		next[spec.ID], scopes[strings.ToUpper(svc.scope)] = svc, svc
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services, s.scopes = next, scopes
	return errors.Join(errs...)
}

// Service returns a service by its uid.
func (s *Server) Service(id string) (*Service, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	svc, ok := s.services[id]
	return svc, ok
}

// ByScope returns the service with an id scope.
func (s *Server) ByScope(scope string) (*Service, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	svc, ok := s.scopes[strings.ToUpper(scope)]
	return svc, ok
}

// Services returns all services by name.
func (s *Server) Services() []*Service {
	s.mu.RLock()
	out := slices.Collect(maps.Values(s.services))
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Service) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// ByName returns a service by its name, its uid, its id scope or a host name.
func (s *Server) ByName(name string) (*Service, bool) {
	for _, svc := range s.Services() {
		if svc.Name() == name || svc.id == name || strings.EqualFold(svc.scope, name) || sas.IsHost(name, svc.HostNames()) {
			return svc, true
		}
	}
	return nil, false
}
