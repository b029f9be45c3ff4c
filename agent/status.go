package agent

import (
	"net/netip"
	"slices"

	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/resolver"
)

// Status is what a screen shows of an agent.
type Status struct {
	ID        identity.ID
	Revision  string // of the plan that is carried out
	Endpoints []EndpointStatus
	Services  []ServiceStatus
	Targets   []TargetStatus // none when nobody is let in
	Transport transport.Status
	DNS       *resolver.Status // nil without a resolver
	Gateway   gateway.Status
	Problems  []string
}

// EndpointStatus is one private endpoint of the plan.
type EndpointStatus struct {
	ID        string
	Name      string // ot/plant-7/hub
	Address   netip.Addr
	Open      bool             // the connection is approved
	Listening []netip.AddrPort // now; fewer than the ports while something is in the way
	Flows     []flow.Info      // oldest first
}

// ServiceStatus is one service of the plan.
type ServiceStatus struct {
	ID    string
	Name  string      // ot/ot-cloud/contoso
	Links []string    // names of the endpoints that may reach it
	Flows []flow.Info // oldest first
}

// Status returns how things are now.
func (a *Agent) Status() Status {
	p := a.current()
	s := Status{ID: a.creds.ID(), Revision: p.Revision, Transport: a.transport.Status(), Problems: a.Problems(), Gateway: a.gateway.Status(),
		Targets: a.targets(p)}
	if a.resolver != nil {
		dns := a.resolver.Status()
		s.DNS = &dns
	}
	listening, consumed, served := a.endpoints.Listening(), byEndpoint(a.endpoints.Flows()), byEndpoint(a.services.Flows())
	for _, e := range p.Endpoints {
		es := EndpointStatus{ID: e.ID, Name: e.Name, Address: e.Address, Open: e.Open, Flows: consumed[e.ID]}
		for _, at := range listening {
			if e.Open && at.Addr() == e.Address && slices.Contains(e.Ports, at.Port()) {
				es.Listening = append(es.Listening, at)
			}
		}
		s.Endpoints = append(s.Endpoints, es)
	}
	for _, v := range p.Services {
		vs := ServiceStatus{ID: v.ID, Name: v.Name}
		for _, l := range v.Links {
			vs.Links = append(vs.Links, l.Name)
			vs.Flows = append(vs.Flows, served[l.Endpoint]...)
		}
		slices.SortStableFunc(vs.Flows, func(x, y flow.Info) int { return x.Since.Compare(y.Since) })
		s.Services = append(s.Services, vs)
	}
	return s
}

func byEndpoint(flows []flow.Info) map[string][]flow.Info {
	m := map[string][]flow.Info{}
	for _, f := range flows {
		m[f.Endpoint] = append(m[f.Endpoint], f)
	}
	return m
}

// Problems says in words what does not work now, for people and for the report to the control plane.
func (a *Agent) Problems() []string {
	a.mu.Lock()
	var words []string
	if a.rejected != "" {
		words = append(words, a.rejected)
	}
	words = append(words, a.troubles...)
	a.mu.Unlock()
	words = append(words, a.endpoints.Problems()...)
	if a.resolver != nil {
		words = append(words, a.resolver.Problems()...)
	}
	words = append(words, a.gateway.Problems()...)
	words = append(words, a.accessProblems()...)
	for _, r := range a.transport.Status().Relays {
		if !r.Connected && r.Problem != "" {
			words = append(words, "relay "+r.Address+": "+r.Problem)
		}
	}
	return words
}
