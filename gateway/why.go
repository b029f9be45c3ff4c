package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/decide"
)

// Explanation is what decide says, and what it cannot know: whether there is a target, and how much of the limits is used.
type Explanation struct {
	decide.Explanation
	Targets []balance.TargetStatus `json:"liveTargets,omitempty"` // of the route's group
	Uses    []UseStatus            `json:"uses,omitempty"`        // of the rule and the name
	Open    int                    `json:"open"`                  // connections of the gateway
	Most    int                    `json:"most"`                  // that it may have
}

// Why explains what would become of a connection now, at the gateway named, or at the first that has the port when that is empty. False
// is that there is no such gateway.
func (g *Gateway) Why(gateway string, q decide.Question) (Explanation, bool) {
	f := g.about(gateway, q)
	if f == nil {
		return Explanation{}, false
	}
	c := f.now()
	x := Explanation{Explanation: c.decide.Why(q, g.clk.Now()), Open: int(f.open.Load()), Most: int(c.most)}
	if !x.Allowed {
		return x, true
	}
	if x.Open >= x.Most {
		x.step("the gateway has %d connections, which is as many as it may have: it refuses more", x.Open)
	}
	if r := x.Route; r != nil && c.ways[r.Number].group != nil {
		s := c.ways[r.Number].group.Status()
		x.Targets = s.Targets
		for _, t := range s.Targets {
			x.step("%s (%s) is %s, with %d connections", t.Address, t.Host, t.State, t.Connections)
		}
		for _, p := range s.Problems {
			x.step("the group %s: %s", s.Name, p)
		}
	}
	for _, u := range []*use{f.rules.look(x.Rule), f.names.look(c.pattern(x.Listener, x.Name))} {
		if u != nil {
			x.Uses = append(x.Uses, u.status())
			x.step("%s has %d connections open", u.label, u.open.Load())
		}
	}
	return x, true
}

func (x *Explanation) step(format string, args ...any) {
	x.Steps = append(x.Steps, fmt.Sprintf(format, args...))
}

// about returns the gateway a question is about.
func (g *Gateway) about(name string, q decide.Question) *front {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for n := range g.fronts {
		names = append(names, n)
	}
	slices.Sort(names)
	var first *front
	for _, n := range names {
		f := g.fronts[n]
		if name != "" {
			if n == name || strings.HasSuffix(n, "/"+name) {
				return f
			}
			continue
		}
		if first == nil {
			first = f
		}
		for _, l := range f.now().decide.Gateway().Listeners {
			if l.Port == q.Port && (q.Listener == "" || l.Name == q.Listener) {
				return f
			}
		}
	}
	return first
}
