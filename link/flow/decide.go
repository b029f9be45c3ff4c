package flow

import (
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

// The reasons for which the provider's side refuses, as they stand in its log and metrics. The peer is not told them apart
// but for the last two.
const (
	reasonUnknown  = "no-approved-connection"
	reasonNetwork  = "another-network"
	reasonPort     = "no-such-port"
	reasonRevoked  = "revoked-agent"
	reasonFull     = "full"
	reasonStopping = "stopping"
)

// rules are what the provider's plan allows, by the uid of the endpoint. A value is never changed once it is in use.
type rules map[string]grant

// grant is one approved link and the service it leads to.
type grant struct {
	service *plan.Service
	link    *plan.Link
}

// compile makes rules of the plan's services, keeping no memory of the plan's.
func compile(services []plan.Service) rules {
	r := rules{}
	for i := range services {
		s := services[i]
		s.Ports, s.LinkKey, s.Links = slices.Clone(s.Ports), slices.Clone(s.LinkKey), slices.Clone(s.Links)
		for j := range s.Links {
			r[s.Links[j].Endpoint] = grant{&s, &s.Links[j]}
		}
	}
	return r
}

// decide is the one place that says no. It returns why, or what is granted.
func (r rules) decide(peer identity.ID, endpoint string, port uint16) (grant, string) {
	g, ok := r[endpoint]
	switch {
	case !ok:
		return grant{}, reasonUnknown
	case !g.fits(peer):
		return grant{}, reasonNetwork
	case g.target(port) == 0:
		return grant{}, reasonPort
	}
	return g, ""
}

// fits says whether the peer is an agent of the consumer's network.
func (g grant) fits(peer identity.ID) bool {
	// The prefix ends in "/agent/" and what follows is a name; anything else in a plan lets nobody in.
	_, isAgent := peer.Agent()
	return isAgent && strings.HasSuffix(g.link.Consumer, "/agent/") && strings.HasPrefix(string(peer), g.link.Consumer)
}

// target returns the target's port for a port of the endpoint, 0 for none.
func (g grant) target(port uint16) uint16 {
	for _, p := range g.service.Ports {
		if p.Port != port {
			continue
		}
		if p.TargetPort != 0 {
			return p.TargetPort
		}
		return p.Port
	}
	return 0
}

// keep says whether flows of an endpoint which the rules before allowed are still what these rules would open, ports aside.
func (r rules) keep(before rules, endpoint string) bool {
	a, had := before[endpoint]
	b, has := r[endpoint]
	return had && has && a.service.ID == b.service.ID && a.service.Target == b.service.Target &&
		a.link.LinkID == b.link.LinkID && a.link.Consumer == b.link.Consumer
}
