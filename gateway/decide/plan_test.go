package decide

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/clienthello"
)

var start = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(text ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// front is a gateway with something of everything.
func front() plan.Gateway {
	return plan.Gateway{
		Name: "ot/ot-cloud/front",
		Listeners: []resource.GatewayListener{
			{Name: "mqtt", Port: 8883}, {Name: "web", Port: 443}, {Name: "raw", Port: 1883, Protocol: resource.GatewayTCP},
		},
		Groups: []resource.TargetGroup{{Name: "hub", Targets: []string{"10.7.0.4:8883", "10.7.0.5", "2001:db8::5"}}, {Name: "old", Targets: []string{"old.example"}}},
		Routes: []plan.GatewayRoute{
			{Names: []string{"*.azure-devices.net", "hub.example"}, Group: "hub", Port: 8883},
			{Names: []string{"contoso.azure-devices.net"}, Endpoint: &plan.GatewayEndpoint{Name: "ot/ot-cloud/contoso", Ports: []uint16{8883}}},
			{Names: []string{"broken.azure-devices.net"}, Problem: "its private endpoint is pending"},
			{Names: []string{"*.eu.azure-devices.net"}, Group: "old", Service: "ot/ot-cloud/old", Listeners: []string{"mqtt"}},
			{Names: []string{"lost.example"}, Group: "nowhere"},
			{Group: "old", Listeners: []string{"raw"}},
		},
		Limits: resource.GatewayLimits{Source: resource.Limit{Connections: 10, PerSecond: 5}, Name: resource.Limit{BytesPerSecond: 1000}},
		Allowlists: []plan.Allowlist{{Name: "ot/ot-cloud/fabrikam", Owner: "Fabrikam", Rules: []resource.AllowRule{
			{Name: "plant", Sources: prefixes("203.0.113.0/24"), Limit: resource.Limit{Connections: 100}},
			{Name: "printer", Action: resource.Deny, Sources: prefixes("203.0.113.9/32")},
			{Name: "partner", Sources: prefixes("198.51.100.0/24"), Names: []string{"hub.example"}},
			{Name: "never", Action: resource.Deny, Sources: prefixes("198.51.100.0/24"), Names: []string{"lost.example"}},
			{Name: "narrow", Action: resource.Deny, Sources: prefixes("203.0.113.9/32"), Names: []string{"hub.example"}},
			{Name: "gone", Sources: prefixes("192.0.2.0/24"), Expires: start},
		}}},
	}
}

func TestRoutes(t *testing.T) {
	p := Compile(front(), start)
	for _, tc := range []struct {
		listener, name string
		want           int // -1: none
	}{
		{"mqtt", "contoso.azure-devices.net", 1},
		{"mqtt", "x.azure-devices.net", 0},
		{"mqtt", "y.x.azure-devices.net", 0},
		{"mqtt", "x.eu.azure-devices.net", 3},
		{"web", "x.eu.azure-devices.net", 0}, // the longer one is not for this listener
		{"mqtt", "eu.azure-devices.net", 0},
		{"mqtt", "azure-devices.net", -1},
		{"mqtt", "hub.example", 0},
		{"mqtt", "x.hub.example", -1},
		{"mqtt", "net", -1},
		{"mqtt", "", -1},
		{"mqtt", "broken.azure-devices.net", 2}, // does not fall to the wildcard
		{"raw", "", 5},
		{"raw", "contoso.azure-devices.net", 5},
		{"nowhere", "contoso.azure-devices.net", -1},
		{"mqtt", strings.Repeat("a.", 117) + "azure-devices.net", 0},
	} {
		r, ok := p.Route(tc.listener, tc.name)
		if ok != (tc.want >= 0) || ok && r.Route.Number != tc.want {
			t.Errorf("%s on %s: %+v", tc.name, tc.listener, r)
		}
	}
	var order []string
	for _, c := range p.Order("mqtt") {
		order = append(order, fmt.Sprint(c.Pattern, " ", c.Route.Number))
	}
	want := []string{
		"broken.azure-devices.net 2", "contoso.azure-devices.net 1", "hub.example 0", "lost.example 4", "*.eu.azure-devices.net 3", "*.azure-devices.net 0",
	}
	if !slices.Equal(order, want) {
		t.Errorf("in order: %q", order)
	}
	if o := p.Order("raw"); len(o) != 1 || o[0].Pattern != "" || o[0].Route.Number != 5 || p.Order("nowhere") != nil {
		t.Errorf("in order: %+v", o)
	}
}

func TestABoundRouteComesBeforeOneForAll(t *testing.T) {
	g := front()
	g.Routes = []plan.GatewayRoute{
		{Names: []string{"a.example", "*.b.example"}, Group: "hub"}, {Group: "hub"},
		{Names: []string{"a.example", "*.b.example"}, Group: "old", Listeners: []string{"web"}}, {Group: "old", Listeners: []string{"web"}},
	}
	p := Compile(g, start)
	for i, name := range []string{"a.example", "x.b.example", "", "other"} {
		web, _ := p.Route("web", name)
		mqtt, _ := p.Route("mqtt", name)
		if web.Route.Group != "old" || mqtt.Route.Group != "hub" || web.Route.Number < 2 || mqtt.Route.Number != i/2 || web.Pattern != mqtt.Pattern {
			t.Errorf("%q leads to %+v and %+v", name, web, mqtt)
		}
	}
}

func TestDecisions(t *testing.T) {
	open := front()
	open.OpenToAll = true
	for _, tc := range []struct {
		listener, source, name string
		open                   bool
		reason                 Reason
		rule                   string
		port                   uint16
	}{
		{"mqtt", "203.0.113.8", "contoso.azure-devices.net", false, "", "plant", 8883},
		{"mqtt", "::ffff:203.0.113.8", "contoso.azure-devices.net", false, "", "plant", 8883},
		{"web", "203.0.113.8", "contoso.azure-devices.net", false, NoSuchPort, "plant", 443},
		{"web", "203.0.113.8", "x.azure-devices.net", false, "", "plant", 8883},
		{"mqtt", "203.0.113.8", "broken.azure-devices.net", false, RouteProblem, "plant", 8883},
		{"mqtt", "203.0.113.8", "lost.example", false, RouteProblem, "plant", 8883},
		{"mqtt", "203.0.113.8", "other.example", false, NoRoute, "plant", 0},
		{"mqtt", "203.0.113.8", "", false, NoRoute, "plant", 0},
		{"raw", "203.0.113.8", "other.example", false, "", "plant", 1883},
		{"mqtt", "203.0.113.9", "contoso.azure-devices.net", false, Denied, "printer", 0},
		{"mqtt", "203.0.113.9", "hub.example", false, Denied, "printer", 0}, // before the name is known
		{"mqtt", "203.0.113.9", "contoso.azure-devices.net", true, Denied, "printer", 0},
		{"mqtt", "8.8.8.8", "contoso.azure-devices.net", false, NoRule, "", 0},
		{"mqtt", "8.8.8.8", "contoso.azure-devices.net", true, "", "", 8883},
		{"mqtt", "8.8.8.8", "other.example", true, NoRoute, "", 0},
		{"mqtt", "198.51.100.1", "hub.example", false, "", "partner", 8883},
		{"mqtt", "198.51.100.1", "contoso.azure-devices.net", false, NoRule, "", 0},
		{"mqtt", "198.51.100.1", "lost.example", false, Denied, "never", 0},
		{"raw", "198.51.100.1", "hub.example", false, NoRule, "", 0}, // no name is read there
		{"mqtt", "192.0.2.1", "hub.example", false, NoRule, "", 0},
		{"nowhere", "203.0.113.8", "hub.example", false, NoListener, "", 0},
	} {
		g := front()
		if tc.open {
			g = open
		}
		p := Compile(g, start)
		d := p.Decide(tc.listener, addr(tc.source), tc.name, start)
		rule := ""
		if d.Match.Rule != nil {
			rule = d.Match.Rule.Name
		}
		if d.Reason != tc.reason || rule != tc.rule || d.Port != tc.port || d.Refused() != (tc.reason != "") {
			t.Errorf("%+v: %+v by %s", tc, d, rule)
		}
		if d.Reason == "" && d.Route == nil {
			t.Errorf("%+v leads nowhere", tc)
		}
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	p := Compile(front(), start)
	source := addr("203.0.113.8")
	if n := testing.AllocsPerRun(100, func() {
		if d := p.Decide("mqtt", source, "x.eu.azure-devices.net", start); d.Refused() {
			t.Fatal(d)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHostNamesAreWhatAClientHelloMayHave(t *testing.T) {
	for _, name := range []string{
		"a.example", "-a", "a-.b_c", "4711", "1.2.3.4", "2001:db8::1", "a..b", ".a", "a/b", "a b", "\x00", "münchen.example",
		strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("x.", 126) + "y", strings.Repeat("x.", 126) + "yy",
	} {
		list := append([]byte{0, byte(len(name) >> 8), byte(len(name))}, name...)
		ext := append([]byte{0, 0, 0, byte(len(list) + 2), 0, byte(len(list))}, list...)
		if len(list) > 253 {
			ext[2], ext[3], ext[4], ext[5] = byte((len(list)+2)>>8), byte(len(list)+2), byte(len(list)>>8), byte(len(list))
		}
		body := append(append([]byte{3, 3}, make([]byte, 33)...), 0, 2, 0x13, 1, 1, 0, byte(len(ext)>>8), byte(len(ext)))
		body = append(body, ext...)
		record := append([]byte{22, 3, 1, byte((len(body) + 4) >> 8), byte(len(body) + 4), 1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
		if h, err := clienthello.Parse(record); (err == nil) != hostName(name) || err == nil && h.ServerName != name {
			t.Errorf("%q: %v, and a ClientHello with it: %q %v", name, hostName(name), h.ServerName, err)
		}
	}
}

// slowRoute looks at every name of every route.
func slowRoute(g plan.Gateway, l resource.GatewayListener, name string) int {
	best, bestScore := -1, -1
	for i, r := range g.Routes {
		if len(r.Listeners) > 0 && !slices.Contains(r.Listeners, l.Name) {
			continue
		}
		score := -1 // twice how much of the name fits, and one more when it is bound
		if len(r.Names) == 0 {
			score = 0
		}
		for _, n := range r.Names {
			switch {
			case l.Protocol == resource.GatewayTCP || name == "":
			case n == name:
				score = 2_000
			case n[0] == '*' && strings.HasSuffix(name, n[1:]):
				score = max(score, 2*len(n))
			}
		}
		if score >= 0 && len(r.Listeners) > 0 {
			score++
		}
		if score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

func world(t *rapid.T) plan.Gateway {
	g := front()
	pattern := rapid.SampledFrom([]string{"a.x", "b.x", "*.x", "*.b.x", "x", "*.y", "y", "*.a.b.x", "c.a.b.x"})
	listeners := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"mqtt", "web", "raw"}), 0, 2, rapid.ID)
	g.OpenToAll = rapid.Bool().Draw(t, "open")
	g.Routes = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plan.GatewayRoute {
		r := plan.GatewayRoute{Names: rapid.SliceOfN(pattern, 0, 3).Draw(t, "names"), Listeners: listeners.Draw(t, "listeners"), Group: "hub"}
		switch rapid.IntRange(0, 4).Draw(t, "to") {
		case 0:
			r.Group, r.Problem = "", "pending"
		case 1:
			r.Group, r.Endpoint = "", &plan.GatewayEndpoint{Name: "e", Ports: []uint16{443}}
		case 2:
			r.Port = 5671
		}
		return r
	}), 0, 8).Draw(t, "routes")
	range4 := rapid.SampledFrom(prefixes("10.0.0.0/8", "10.0.0.0/31", "10.0.0.1/32", "0.0.0.0/0"))
	var rules []resource.AllowRule
	for i := range rapid.IntRange(0, 70).Draw(t, "rules") {
		r := resource.AllowRule{Name: fmt.Sprintf("r%d", i), Sources: []netip.Prefix{range4.Draw(t, "range")}, Names: rapid.SliceOfN(pattern, 0, 2).Draw(t, "names")}
		if rapid.IntRange(0, 2).Draw(t, "deny") == 0 {
			r.Action = resource.Deny
		}
		if rapid.IntRange(0, 2).Draw(t, "ports") == 0 {
			r.Ports = []uint16{8883}
		}
		if rapid.IntRange(0, 4).Draw(t, "expires") == 0 {
			r.Expires = start.Add(time.Minute)
		}
		rules = append(rules, r)
	}
	g.Allowlists = []plan.Allowlist{{Name: "l", Rules: rules}}
	return g
}

// What why tells, the data plane does, and both do what looking at everything says.
func TestWhySaysWhatIsDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := world(t)
		p := Compile(g, start)
		for range 10 {
			l := rapid.SampledFrom(g.Listeners).Draw(t, "listener")
			q := Question{
				Source: rapid.SampledFrom([]netip.Addr{addr("10.0.0.0"), addr("10.0.0.1"), addr("10.0.0.2"), addr("11.0.0.0"), addr("::ffff:10.0.0.1"), addr("2001:db8::1")}).Draw(t, "source"),
				Name:   rapid.SampledFrom([]string{"", "a.x", "b.x", "a.b.x", "x", "c.a.b.x", "y", "z"}).Draw(t, "name"),
			}
			if rapid.Bool().Draw(t, "by port") {
				q.Port = l.Port
			} else {
				q.Listener = l.Name
			}
			now := start.Add(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "now"))
			d := p.Decide(l.Name, q.Source, q.Name, now)
			x := p.Why(q, now)
			if y := Why(g, q, now); y.Summary != x.Summary || y.Rule != x.Rule || y.Reason != x.Reason {
				t.Fatalf("%+v\nand compiled now\n%+v", x, y)
			}
			checkWhy(t, x, d, q)
			checkDecision(t, g, p, l, q, d, now)
		}
	})
}

func checkWhy(t *rapid.T, x Explanation, d Decision, q Question) {
	rule, route := "", -1
	if d.Match.Rule != nil {
		rule = d.Match.Rule.ID
	}
	if d.Route != nil {
		route = d.Route.Number
	}
	said := -1
	if x.Route != nil {
		said = x.Route.Number
	}
	if x.Allowed == d.Refused() || x.Reason != string(d.Reason) || x.Rule != rule || said != route || d.Route != nil && x.Route.Port != d.Port {
		t.Fatalf("%+v\nis decided as %+v\nand explained as %+v", q, d, x)
	}
	deciding := 0
	for _, r := range x.Rules {
		if r.Decides {
			deciding++
			if r.Allowlist+"/"+r.Rule != rule || !r.Holds {
				t.Fatalf("%+v decides, and the rule is %s", r, rule)
			}
		}
	}
	if (rule != "") != (deciding == 1) || deciding > 1 || len(x.Rules) > mostRules+1 || x.Omitted < 0 || x.Omitted > 0 && len(x.Rules) < mostRules/2 {
		t.Fatalf("%d rules of %d decide, %d are left out", deciding, len(x.Rules), x.Omitted)
	}
	if x.Summary == "" || x.Allowed == (x.Next != "") || len(x.Steps) == 0 {
		t.Fatalf("%+v", x)
	}
	if _, err := json.Marshal(x); err != nil {
		t.Fatal(err)
	}
}

func checkDecision(t *rapid.T, g plan.Gateway, p *Plan, l resource.GatewayListener, q Question, d Decision, now time.Time) {
	name := q.Name
	if l.Protocol == resource.GatewayTCP {
		name = ""
	}
	match, ok := p.Rules().Lookup(q.Source, l.Port, name, now)
	admitted := g.OpenToAll
	if ok {
		admitted = !match.Rule.Denies()
	}
	if admitted != (d.Reason != Denied && d.Reason != NoRule) {
		t.Fatalf("%+v: %+v, and the rule is %+v", q, d, match)
	}
	if !admitted {
		return
	}
	want := slowRoute(g, l, q.Name)
	switch {
	case want < 0:
		if d.Reason != NoRoute {
			t.Fatalf("%+v: %+v, and there is no route", q, d)
		}
	case d.Route == nil || d.Route.Number != want:
		t.Fatalf("%+v: %+v, wanted route %d", q, d, want)
	case (d.Reason == RouteProblem) != (g.Routes[want].Problem != ""):
		t.Fatalf("%+v: %+v, and the problem is %q", q, d, g.Routes[want].Problem)
	}
	for _, c := range p.Order(l.Name) { // the first of the order that fits is the same
		if c.Pattern == "" || c.Pattern == q.Name || c.Pattern[0] == '*' && strings.HasSuffix(q.Name, c.Pattern[1:]) {
			if c.Route != d.Route || c.Pattern != d.Pattern {
				t.Fatalf("%+v: %+v comes first in order, %+v is taken", q, c, d.Route)
			}
			return
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	g := front()
	for i := range 1000 {
		g.Routes = append(g.Routes, plan.GatewayRoute{Names: []string{fmt.Sprintf("hub-%d.example", i), fmt.Sprintf("*.site-%d.example", i)}, Group: "hub"})
	}
	p := Compile(g, start)
	source := addr("203.0.113.8")
	for _, name := range []string{"hub-500.example", "a.b.site-500.example", "x.azure-devices.net"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide("mqtt", source, name, start); d.Refused() {
					b.Fatal(d)
				}
			}
		})
	}
}
