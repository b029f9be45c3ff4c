package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/limit"
	"github.com/isthmus-io/isthmus/gateway/refusals"
)

// Status is what a person wants to know of a gateway process.
type Status struct {
	Since    time.Time             `json:"since"`
	Phase    string                `json:"phase"` // starting, serving, draining or over
	Gateways []FrontStatus         `json:"gateways"`
	Groups   []balance.GroupStatus `json:"groups"`
	Carrier  carry.Stats           `json:"carrier"`
	Refusals []refusals.Count      `json:"refusals"` // the most frequent
	Problems []string              `json:"problems,omitempty"`
}

// FrontStatus is one gateway.
type FrontStatus struct {
	Name        string           `json:"name"`
	Connections int              `json:"connections"` // let in by their source
	Most        int              `json:"most"`        // that there may be
	OpenToAll   bool             `json:"openToAll,omitempty"`
	Listeners   []ListenerStatus `json:"listeners"`
	Allowlists  int              `json:"allowlists"`
	Rules       int              `json:"rules"`
	NextExpiry  time.Time        `json:"nextExpiry,omitzero"`
	Routes      []RouteStatus    `json:"routes"`
	Busiest     []UseStatus      `json:"busiest,omitempty"` // rules with the most connections
	Names       []UseStatus      `json:"names,omitempty"`   // names with the most connections
	Limiter     limit.Stats      `json:"limiter"`
}

// ListenerStatus is one listener.
type ListenerStatus struct {
	Name    string         `json:"name"`
	Address netip.AddrPort `json:"address,omitzero"` // listened on
	Problem string         `json:"problem,omitempty"`
}

// RouteStatus is one route.
type RouteStatus struct {
	Names   []string `json:"names,omitempty"`
	To      string   `json:"to"`
	Problem string   `json:"problem,omitempty"`
}

// UseStatus is how a rule or a name is used.
type UseStatus struct {
	Name        string `json:"name"`
	Connections int    `json:"connections"` // open
	Total       uint64 `json:"total"`
	Sent        uint64 `json:"sent"` // bytes of connections that have ended, to targets
	Received    uint64 `json:"received"`
}

// most lines of anything that can be long in a Status.
const mostLines = 20

var phases = [...]string{before: "starting", serving: "serving", draining: "draining", over: "over"}

// Status returns the state of this moment.
func (g *Gateway) Status() Status {
	s := Status{Since: g.began, Groups: g.balancer.Status(), Carrier: g.carrier.Stats(), Refusals: g.ledger.Counts(), Gateways: []FrontStatus{}}
	s.Refusals = s.Refusals[:min(len(s.Refusals), mostLines)]
	g.mu.Lock()
	s.Phase = phases[g.phase]
	for _, f := range g.fronts {
		s.Gateways = append(s.Gateways, f.status())
	}
	g.mu.Unlock()
	slices.SortFunc(s.Gateways, func(a, b FrontStatus) int { return strings.Compare(a.Name, b.Name) })
	s.Problems = g.Problems()
	return s
}

// status is called with the gateway's mu held.
func (f *front) status() FrontStatus {
	c := f.now()
	p := c.decide.Gateway()
	s := FrontStatus{
		Name: f.name, Connections: int(f.open.Load()), Most: int(c.most), OpenToAll: p.OpenToAll, Allowlists: len(p.Allowlists),
		Rules: c.decide.Rules().Len(), Limiter: f.limiter.Stats(), Listeners: []ListenerStatus{}, Routes: []RouteStatus{},
		Busiest: f.rules.busiest(), Names: f.names.busiest(),
	}
	s.NextExpiry, _ = c.decide.Rules().NextExpiry(f.g.clk.Now())
	for _, l := range p.Listeners {
		one := ListenerStatus{Name: l.Name, Problem: "it is not opened"}
		if f.g.phase >= draining {
			one.Problem = "closed: the process drains"
			s.Listeners = append(s.Listeners, one)
			continue
		}
		for _, w := range f.g.open {
			if w.name == f.name+"/"+l.Name {
				one.Problem = w.problem
				if w.listener != nil {
					one.Address = w.listener.Addr()
				}
			}
		}
		s.Listeners = append(s.Listeners, one)
	}
	for _, r := range p.Routes {
		to := "the group " + r.Group
		switch {
		case r.Endpoint != nil:
			to = "the private endpoint " + r.Endpoint.Name
		case r.Service != "":
			to = "the service " + r.Service
		case r.Group == "":
			to = "nothing"
		}
		s.Routes = append(s.Routes, RouteStatus{Names: r.Names, To: to, Problem: r.Problem})
	}
	return s
}

func (u *use) status() UseStatus {
	return UseStatus{u.label, int(u.open.Load()), u.total.Load(), u.sent.Load(), u.recvd.Load()}
}

// busiest returns the uses with the most open connections.
func (t *tally) busiest() (out []UseStatus) {
	for _, u := range t.list() {
		out = append(out, u.status())
	}
	slices.SortStableFunc(out, func(a, b UseStatus) int { return b.Connections - a.Connections })
	return out[:min(len(out), mostLines)]
}

// Problems says in words what does not work now.
func (g *Gateway) Problems() []string {
	var out []string
	g.mu.Lock()
	for _, w := range g.open {
		if w.problem != "" {
			out = append(out, "the listener "+w.name+": "+w.problem)
		}
	}
	for _, f := range g.fronts {
		for _, r := range f.now().decide.Gateway().Routes {
			if r.Problem != "" {
				out = append(out, "the gateway "+f.name+": a route for "+namesOf(r.Names)+" leads nowhere: "+r.Problem)
			}
		}
	}
	g.mu.Unlock()
	for _, group := range g.balancer.Status() {
		for _, p := range group.Problems {
			out = append(out, "the group "+group.Gateway+"/"+group.Name+": "+p)
		}
	}
	slices.Sort(out)
	return out
}

func namesOf(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "every other name"
	case n > 3:
		return strings.Join(names[:3], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}
