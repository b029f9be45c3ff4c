package decide

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/gateway/allowlist"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Question is what somebody wants to know of a gateway.
type Question struct {
	Source   netip.Addr `json:"source"`
	Name     string     `json:"name,omitempty"`     // as the client sends it; "" is none
	Port     uint16     `json:"port,omitempty"`     // that the client dials; 0: any
	Listener string     `json:"listener,omitempty"` // its name, when the port alone does not tell
}

// Explanation is the whole chain of a decision, for people and as JSON.
type Explanation struct {
	Gateway  string     `json:"gateway"`
	Source   netip.Addr `json:"source"`
	Name     string     `json:"name,omitempty"`
	Listener string     `json:"listener,omitempty"`
	Port     uint16     `json:"port,omitempty"`

	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"` // one short word when it is refused, the same as in logs and metrics
	Summary string `json:"summary"`
	Next    string `json:"next,omitempty"` // what to do about a refusal

	Rule    string         `json:"rule,omitempty"` // the one that decides, as allowlist and rule
	Rules   []RuleAround   `json:"rules,omitempty"`
	Omitted int            `json:"omitted,omitempty"` // how many rules around the source are not in Rules
	Route   *RouteTaken    `json:"route,omitempty"`
	Limits  []LimitInForce `json:"limits,omitempty"` // what could still refuse it

	Steps []string `json:"steps"` // the chain in words
}

// RuleAround is one rule around the source.
type RuleAround struct {
	Allowlist string              `json:"allowlist"`
	Owner     string              `json:"owner,omitempty"`
	Rule      string              `json:"rule"`
	Action    resource.RuleAction `json:"action"`
	Range     netip.Prefix        `json:"range"`
	Note      string              `json:"note,omitempty"`
	Expires   time.Time           `json:"expires,omitzero"`
	Holds     bool                `json:"holds"`
	Decides   bool                `json:"decides,omitempty"`
	Why       string              `json:"why"`
}

// RouteTaken is the route a name leads to.
type RouteTaken struct {
	Number  int      `json:"number"`          // of the gateway's routes, from 0
	Names   []string `json:"names,omitempty"` // none: the route without names
	To      string   `json:"to"`              // in words
	Port    uint16   `json:"port"`            // there
	Targets []string `json:"targets,omitempty"`
	Problem string   `json:"problem,omitempty"`
}

// LimitInForce is a limit that a connection counts against.
type LimitInForce struct {
	On string `json:"on"` // the source, rule or name
	resource.Limit
}

// mostRules is how many rules an explanation shows.
const mostRules = 50

// Why explains what a gateway would do, see [Plan.Why].
func Why(g plan.Gateway, q Question, now time.Time) Explanation { return Compile(g, now).Why(q, now) }

// Why explains what the gateway does with a connection. It looks at every rule, so it is for people and not for connections.
func (p *Plan) Why(q Question, now time.Time) Explanation {
	x := Explanation{
		Gateway: p.gateway.Name, Source: q.Source.Unmap().WithZone(""), Port: q.Port, Listener: q.Listener,
		Name: strings.TrimSuffix(strings.ToLower(q.Name), "."),
	}
	l := p.asked(q)
	if l == nil {
		x.Summary = "refused: the gateway does not listen there"
		x.Reason, x.Next = string(NoListener), "it listens on "+p.listening()
		x.step("no listener has %s", where(q))
		return x
	}
	x.Listener, x.Port = l.Name, l.Port
	x.step("the listener %s takes it on port %d", l.Name, l.Port)
	if x.Name != "" {
		switch {
		case l.Protocol == resource.GatewayTCP:
			x.step("the listener reads no ClientHello, so the name does not count")
			x.Name = ""
		case !hostName(x.Name):
			x.Reason, x.Summary = "bad-hello", "refused: the ClientHello has a name that is no host name"
			x.Next = "have the client send a host name or none: an address is not allowed there"
			x.step("%q is no host name", x.Name)
			return x
		}
	}
	d := p.Decide(l.Name, q.Source, x.Name, now)
	x.rules(p, d, now)
	x.Allowed, x.Reason = !d.Refused(), string(d.Reason)
	x.route(d)
	x.limits(p, d)
	x.conclude(d)
	return x
}

func (x *Explanation) step(format string, args ...any) {
	x.Steps = append(x.Steps, fmt.Sprintf(format, args...))
}

// asked returns the listener a question is about, nil when there is none.
func (p *Plan) asked(q Question) *listener {
	for _, l := range p.gateway.Listeners {
		if (q.Listener == "" || l.Name == q.Listener) && (q.Port == 0 || l.Port == q.Port) {
			return p.listeners[l.Name]
		}
	}
	return nil
}

func where(q Question) string {
	switch {
	case q.Listener == "":
		return "port " + strconv.Itoa(int(q.Port))
	case q.Port == 0:
		return "the name " + strconv.Quote(q.Listener)
	}
	return fmt.Sprintf("the name %q and port %d", q.Listener, q.Port)
}

func (p *Plan) listening() string {
	var all []string
	for _, l := range p.gateway.Listeners {
		all = append(all, fmt.Sprintf("port %d (%s)", l.Port, l.Name))
	}
	return strings.Join(all, ", ")
}

// hostName tells whether a ClientHello with the name would be read: more is let through there than routes and rules may be written for.
func hostName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, foreign) {
			return false
		}
	}
	return true
}

// rules tells of the rules around the source and which of them decided.
func (x *Explanation) rules(p *Plan, d Decision, now time.Time) {
	around := p.rules.Explain(x.Source, x.Port, x.Name, now)
	holding := 0
	for i, v := range around {
		// What was refused before the name was known was decided by a rule for all names, though one for this name may be narrower.
		decides := v.Match == d.Match && d.Match.Rule != nil
		switch {
		case decides && !v.Decides:
			v.Why = "decides: it denies every name, before the name is known"
		case v.Decides && !decides:
			v.Why = "holds, but the connection is refused before the name is known"
		}
		if decides {
			x.Rule = v.Rule.ID
			x.step("the rule %s (%s %s) decides", v.Rule.ID, action(v.Rule), v.Prefix)
		}
		if v.Holds {
			holding++
		}
		if decides || len(around) <= mostRules || v.Holds && holding <= mostRules/2 || !v.Holds && i-holding < mostRules/2 {
			x.Rules = append(x.Rules, RuleAround{
				Allowlist: v.Rule.Allowlist, Owner: v.Rule.Owner, Rule: v.Rule.Name, Action: action(v.Rule), Range: v.Prefix,
				Note: v.Rule.Note, Expires: v.Rule.Expires, Holds: v.Holds, Decides: decides, Why: v.Why,
			})
		}
	}
	x.Omitted = len(around) - len(x.Rules)
	if x.Rule != "" {
		return
	}
	switch len(around) {
	case 0:
		x.step("no rule has a range around %s", x.Source)
	case 1:
		x.step("one rule has a range around %s, and does not hold", x.Source)
	default:
		x.step("%d rules have a range around %s, and none holds", len(around), x.Source)
	}
	if p.gateway.OpenToAll && !d.Refused() {
		x.step("the gateway is open to all, so no rule is needed")
	}
}

func action(r *allowlist.Rule) resource.RuleAction {
	if r.Denies() {
		return resource.Deny
	}
	return resource.Allow
}

// route tells where the name leads.
func (x *Explanation) route(d Decision) {
	if d.Route == nil {
		return
	}
	r := d.Route
	t := &RouteTaken{Number: r.Number, Names: r.Names, Port: d.Port, Problem: r.Problem}
	x.Route = t
	switch {
	case r.Endpoint != nil:
		t.To = "the private endpoint " + r.Endpoint.Name
	case r.Service != "":
		t.To = "the service " + r.Service
	case r.Group != "":
		t.To = "the group " + r.Group
	default:
		t.To = "nothing"
	}
	if r.To != nil {
		for _, target := range r.To.Targets {
			if host, port, err := resource.ParseTarget(target); err == nil {
				if port == 0 {
					port = d.Port
				}
				t.Targets = append(t.Targets, net.JoinHostPort(host, strconv.Itoa(int(port))))
			}
		}
	}
	what := "no name"
	if x.Name != "" {
		what = x.Name
	}
	x.step("%s leads by route %d (%s) to %s, port %d", what, r.Number, named(r), t.To, d.Port)
	if len(t.Targets) > 0 {
		x.step("targets: %s", strings.Join(t.Targets, ", "))
	}
}

func named(r *Route) string {
	if len(r.Names) == 0 {
		return "for all other names and for none"
	}
	if len(r.Names) > 4 {
		return fmt.Sprintf("%s and %d others", strings.Join(r.Names[:4], ", "), len(r.Names)-4)
	}
	return strings.Join(r.Names, ", ")
}

// limits tells what could refuse a connection that is let in.
func (x *Explanation) limits(p *Plan, d Decision) {
	if d.Refused() {
		return
	}
	add := func(on string, l resource.Limit) {
		if l != (resource.Limit{}) {
			x.Limits = append(x.Limits, LimitInForce{on, l})
			x.step("%s may have %s", on, limited(l))
		}
	}
	add("the source "+x.Source.String(), p.gateway.Limits.Source)
	if d.Match.Rule != nil {
		add("the rule "+d.Match.Rule.ID, d.Match.Rule.Limit)
	}
	if x.Name != "" {
		add("the name "+x.Name, p.gateway.Limits.Name)
	}
}

func limited(l resource.Limit) string {
	var all []string
	if l.Connections > 0 {
		all = append(all, fmt.Sprintf("%d connections open at once", l.Connections))
	}
	if l.PerSecond > 0 {
		all = append(all, fmt.Sprintf("%d new connections a second", l.PerSecond))
	}
	if l.BytesPerSecond > 0 {
		all = append(all, fmt.Sprintf("%d bytes a second", l.BytesPerSecond))
	}
	return strings.Join(all, ", ")
}

// conclude puts the decision into one sentence.
func (x *Explanation) conclude(d Decision) {
	switch d.Reason {
	case "":
		by := "the gateway is open to all"
		if x.Rule != "" {
			by = "the rule " + x.Rule + " allows it"
		}
		x.Summary = "let in to " + x.Route.To + ": " + by
	case NoRule:
		x.Summary = "refused: no rule lets " + x.Source.String() + " in"
		x.Next = "add a rule with its range to an allowlist of the gateway"
		if len(x.Rules) > 0 {
			x.Next = "see why the rules around it do not hold, or add one with its range"
		}
	case Denied:
		x.Summary = "refused: the rule " + x.Rule + " denies it"
		x.Next = "take the rule away, or add one that allows a narrower range"
	case NoRoute:
		x.Summary = "refused: no route has the name, and none is for all other names"
		x.Next = "add a route with the name, or one without names"
		if x.Name == "" {
			x.Summary, x.Next = "refused: there is no route for clients without a name", "add a route without names"
		}
	case RouteProblem:
		x.Summary = "refused: its route leads nowhere: " + x.Route.Problem
		x.Next = "put right what the route leads to"
	case NoSuchPort:
		x.Summary = fmt.Sprintf("refused: %s has no port %d", x.Route.To, d.Port)
		x.Next = "give the route a port the endpoint has"
	}
}

// String is the chain in lines, the conclusion last.
func (x Explanation) String() string {
	var b strings.Builder
	for _, s := range x.Steps {
		b.WriteString(s)
		b.WriteByte('\n')
	}
	for _, r := range x.Rules {
		if !r.Decides {
			fmt.Fprintf(&b, "  %s/%s (%s %s): %s\n", r.Allowlist, r.Rule, r.Action, r.Range, r.Why)
		}
	}
	if x.Omitted > 0 {
		fmt.Fprintf(&b, "  and %d other rules around it\n", x.Omitted)
	}
	b.WriteString(x.Summary)
	if x.Next != "" {
		b.WriteString("; " + x.Next)
	}
	return b.String()
}

// foreign tells whether a character has no place in a host name.
func foreign(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}
