package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/limit"
	"github.com/isthmus-io/isthmus/resource"
)

// Explanation is what decide says, and what it cannot know: whether there is a target, and how much of the limits is used.
type Explanation struct {
	decide.Explanation
	Targets []balance.TargetStatus `json:"liveTargets,omitempty"` // of the route's group
	Uses    []UseStatus            `json:"uses,omitempty"`        // of the rule and the route's name
	Limiter limit.Usage            `json:"open"`
	Open    int                    `json:"connections"` // of the gateway
	Most    int                    `json:"most"`        // that it may have
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
	g.mu.Lock()
	phase := g.phase
	g.mu.Unlock()
	if phase >= draining {
		x.step("the process drains: it sees its connections out and accepts no new ones")
		x.forNow("draining", "the process accepts nothing more", "ask another gateway, or start this one again")
	}
	if x.Open >= x.Most {
		x.step("the gateway has %d connections, which is as many as it may have", x.Open)
		x.forNow(carry.ReasonFull, "the gateway has as many connections as it may", "raise spec.limits.connections, or carry the gateway by another process")
	}
	x.limits(f, c)
	x.targets(c)
	for _, u := range []*use{f.rules.look(x.Rule), f.names.look(c.pattern(x.Listener, x.Name))} {
		if u != nil {
			x.Uses = append(x.Uses, u.status())
			x.step("%s has %d connections open", u.label, u.open.Load())
		}
	}
	return x, true
}

// forNow turns the answer into a refusal that may be over in a moment. The first reason stays.
func (x *Explanation) forNow(reason, because, next string) {
	if x.Allowed {
		x.Allowed, x.Reason, x.Summary, x.Next = false, reason, "refused at this moment: "+because, next
	}
}

// limits tells how much of the limits is used.
func (x *Explanation) limits(f *front, c *state) {
	var own resource.Limit
	if m, ok := c.decide.Rules().Lookup(x.Source, x.Port, x.Name, f.g.clk.Now()); ok {
		own = m.Rule.Limit
	}
	u := f.limiter.Usage(x.Source, x.Rule, own, x.Name)
	x.Limiter = u
	x.step("the source has %d connections open", u.Source)
	if u.Over != "" {
		x.forNow(string(u.Over), map[limit.Over]string{
			limit.SourceConnections: "the source has as many connections open as it may",
			limit.SourceRate:        "the source opens more connections a second than it may",
			limit.RuleConnections:   "the rule has let in as many connections as it may",
			limit.RuleRate:          "the rule lets in more connections a second than it may",
			limit.NameConnections:   "the name has as many connections open as it may",
			limit.NameRate:          "the name has more new connections a second than it may",
		}[u.Over], "wait, or raise the limit")
	}
}

// targets tells how those of the route's group are.
func (x *Explanation) targets(c *state) {
	if x.Route == nil || c.ways[x.Route.Number].group == nil {
		return
	}
	s := c.ways[x.Route.Number].group.Status()
	x.Targets = s.Targets
	for _, t := range s.Targets {
		x.step("%s (%s) is %s, with %d connections", t.Address, t.Host, t.State, t.Connections)
	}
	for _, p := range s.Problems {
		x.step("the group %s: %s", s.Name, p)
	}
	if len(s.Targets) == 0 {
		x.forNow(reasonNowhere, "no target of the group "+s.Name+" has an address", "see whether the names of its targets can be resolved")
	}
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
