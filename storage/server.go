package storage

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
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

// Server is all accounts of one process.
type Server struct {
	cfg      Config
	store    *storagestore.Store
	contents *blob.Store
	log      *slog.Logger
	clock    clock.Clock
	metrics  *metrics
	waiting  waiting
	making   making

	setting sync.Mutex // held while SetAccounts works

	mu       sync.RWMutex // guards the field below
	accounts map[string]*Account
}

// New opens the stores. There are no accounts until SetAccounts. reg may be nil.
func New(ctx context.Context, cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Database == "" || cfg.Blobs.Dir == "" {
		return nil, fault.New("storage.New", fault.Invalid, "the blob services have no data directory").Advise("set one with --data-dir")
	}
	st, err := storagestore.Open(ctx, storagestore.Config{DSN: cfg.Database, MaxPages: cfg.MaxPages}, log)
	if err != nil {
		return nil, err
	}
	contents, err := blob.Open(ctx, cfg.Blobs, log)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s := &Server{cfg: cfg, store: st, contents: contents, log: log, clock: clk, accounts: map[string]*Account{}}
	s.waiting.touched, s.making.ids = map[blob.Upload]touch{}, map[storagestore.Garbage]struct{}{}
	s.metrics = newMetrics(reg, s)
	return s, nil
}

// Close closes the stores. Call it after Run and the doors have returned.
func (s *Server) Close() error { return errors.Join(s.contents.Close(), s.store.Close()) }

// SetAccounts makes the server have exactly these accounts, with the containers their resources declare. One that cannot be opened is not
// served; the errors are returned, and everything else is done. An account that is not among them keeps its blobs for when it comes back.
func (s *Server) SetAccounts(ctx context.Context, wanted []Spec) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	next := map[string]*Account{}
	var errs []error
	for _, spec := range wanted {
		a, known := s.Account(spec.ID)
		if !known {
			var err error
			if a, err = s.open(ctx, spec); err != nil {
				errs = append(errs, err)
				continue
			}
			s.log.Info("storage: serving", "account", spec.Name, "hosts", spec.HostNames)
		}
		spec = spec.clone()
		a.spec.Store(&spec)
		next[spec.ID] = a
		errs = append(errs, a.declare(ctx, spec.Containers))
	}
	s.mu.Lock()
	before := s.accounts
	s.accounts = next
	s.mu.Unlock()
	for id, a := range before {
		if next[id] == nil {
			s.log.Info("storage: no longer serving", "account", a.Name())
		}
	}
	return errors.Join(errs...)
}

// Account returns an account by its uid.
func (s *Server) Account(id string) (*Account, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, ok := s.accounts[id]
	return a, ok
}

// Accounts returns all accounts by name.
func (s *Server) Accounts() []*Account {
	s.mu.RLock()
	out := slices.Collect(maps.Values(s.accounts))
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Account) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// ByName returns an account by its name, its uid or a host name.
func (s *Server) ByName(name string) (*Account, bool) {
	for _, a := range s.Accounts() {
		if a.Name() == name || a.id == name || a.AccountName() == name || sas.IsHost(name, a.HostNames()) {
			return a, true
		}
	}
	return nil, false
}
