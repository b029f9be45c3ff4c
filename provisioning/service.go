package provisioning

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// Service is one provisioning service of a server.
type Service struct {
	server   *Server
	id       string
	scope    string
	secret   []byte // what keys for TPMs are derived from
	spec     atomic.Pointer[Spec]
	policies atomic.Pointer[map[string]provisioningstore.Policy] // the map is replaced, never changed
	renewing sync.Mutex                                          // held while the keys of a policy change
	known    atomic.Pointer[groups]
}

func (s *Server) open(ctx context.Context, spec Spec) (*Service, error) {
	op := "provisioning.SetServices"
	if spec.ID == "" || len(spec.HostNames) == 0 {
		return nil, fault.Newf(op, fault.Invalid, "provisioning service %q has no id or no host name in the plan", spec.Name).
			Advise("give its service a spec.hostName")
	}
	var row provisioningstore.Service
	var policies []provisioningstore.Policy
	var err error
	for range 5 { // a scope has 32 random bits: two services of one database may meet
		wanted := provisioningstore.Service{ID: spec.ID, Scope: newScope(), Secret: newKey(32), Created: s.clock.Now()}
		if row, policies, err = s.store.Ensure(ctx, wanted, builtInPolicies()); fault.KindOf(err) != fault.Conflict || err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(row.Secret)
	if err != nil || len(secret) < 16 {
		return nil, fault.Newf(op, fault.Internal, "the secret of service %q is damaged", spec.Name).Because(err)
	}
	svc := &Service{server: s, id: spec.ID, scope: row.Scope, secret: secret}
	svc.setPolicies(policies)
	svc.setSpec(spec)
	return svc, nil
}

func (s *Service) setSpec(spec Spec) {
	spec.HostNames = slices.Clone(spec.HostNames)
	for i, h := range spec.HostNames {
		spec.HostNames[i] = strings.ToLower(h)
	}
	s.spec.Store(&spec)
}

func (s *Service) store() *provisioningstore.Store { return s.server.store }

// ID returns the uid of the service.
func (s *Service) ID() string { return s.id }

// Scope returns the id scope, by which devices name the service.
func (s *Service) Scope() string { return s.scope }

// Name returns the service's full name, such as "ot/ot-cloud/provisioning".
func (s *Service) Name() string { return s.spec.Load().Name }

// HostNames returns every name it answers to, in lower case, the public one first. Do not change the slice.
func (s *Service) HostNames() []string { return s.spec.Load().HostNames }

// HostName returns its public name.
func (s *Service) HostName() string { return s.HostNames()[0] }
