package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// threeWays is a front with an exact name, a wildcard and a default, each to a service of its own.
func threeWays(t *testing.T) (plan.Gateway, map[string]*service) {
	services := map[string]*service{}
	p := front(
		plan.GatewayRoute{Names: []string{"a.example"}, Group: "exact"},
		plan.GatewayRoute{Names: []string{"*.hub.example"}, Group: "wild"},
		plan.GatewayRoute{Names: []string{"b.example"}, Problem: "there is no service b"},
		plan.GatewayRoute{Group: "default"},
	)
	for _, name := range []string{"exact", "wild", "default"} {
		services[name] = serve(t, name, false)
		p.Groups = append(p.Groups, group(name, services[name].address()))
	}
	return p, services
}

func TestNamesLeadWhereTheyShould(t *testing.T) {
	p, _ := threeWays(t)
	w := start(t, p)
	for name, want := range map[string]string{
		"a.example": "exact", "x.hub.example": "wild", "y.hub.example": "wild", "other.example": "default", "": "default",
	} {
		for _, source := range []string{plant, office} {
			c := w.dial(source, name)
			if c.hi != want {
				t.Errorf("%q leads to %s, want %s", name, c.hi, want)
			}
			c.wantAlive(t)
		}
	}
	w.refused("192.0.2.77", "a.example", "no-rule")
	w.refused(plant, "b.example", "route-problem")
	await(t, "the end of what was refused", func() bool { return w.g.Status().Gateways[0].Connections == 10 })
	s := w.g.Status()
	if s.Phase != "serving" || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "there is no service b") {
		t.Errorf("%+v", s)
	}
	names := map[string]int{}
	for _, n := range s.Gateways[0].Names {
		names[n.Name] = n.Connections
	}
	if names["a.example"] != 2 || names["*.hub.example"] != 4 || names["*"] != 4 {
		t.Error(names)
	}
}

func TestAChangeOfRulesCutsOneAndKeepsAnother(t *testing.T) {
	p, _ := threeWays(t)
	w := start(t, p)
	stays, goes := w.dial(plant, "a.example"), w.dial(office, "a.example")
	address := w.address()

	w.plan.Allowlists = []plan.Allowlist{{Name: "ot/cloud/fabrikam", Rules: []resource.AllowRule{rule("plant-2", "203.0.113.9/32")}}}
	w.set()
	goes.wantCut(t)
	stays.wantAlive(t) // by another rule now
	w.refused(office, "a.example", "no-rule")
	if got := w.address(); got != address {
		t.Error("the listener moved to", got)
	}
	for _, u := range w.g.Status().Gateways[0].Busiest {
		if want := map[string]int{"ot/cloud/fabrikam/plant-2": 1}[u.Name]; u.Connections != want {
			t.Errorf("%s has %d connections, want %d", u.Name, u.Connections, want)
		}
	}

	deny := rule("not-this-one", "203.0.113.9/32")
	deny.Action = resource.Deny
	w.plan.Allowlists[0].Rules = append(w.plan.Allowlists[0].Rules, deny)
	w.set()
	stays.wantCut(t)
	if n := w.g.Status().Gateways[0].Connections; n != 0 {
		t.Error("connections left:", n)
	}
}

func TestWhatLosesItsWayIsCut(t *testing.T) {
	for what, change := range map[string]func(w *world){
		"the route leads nowhere": func(w *world) { w.plan.Routes[0].Problem = "it is no longer approved" },
		"the name has no route":   func(w *world) { w.plan.Routes = w.plan.Routes[1:3] },
		"the listener is gone": func(w *world) {
			w.plan.Listeners[0].Address = netip.MustParseAddr("127.0.0.2")
			w.plan.Listeners[0].Name = "other"
		},
		"the rule is for another port": func(w *world) { w.plan.Allowlists[0].Rules[0].Ports = []uint16{1} },
		"the rule is for another name": func(w *world) { w.plan.Allowlists[0].Rules[0].Names = []string{"b.example"} },
	} {
		t.Run(what, func(t *testing.T) {
			p, _ := threeWays(t)
			w := start(t, p)
			goes := w.dial(plant, "a.example")
			change(w)
			w.set()
			goes.wantCut(t)
		})
	}
	t.Run("the gateway is gone", func(t *testing.T) {
		p, _ := threeWays(t)
		w := start(t, p)
		goes := w.dial(plant, "a.example")
		address := w.address()
		w.g.Set(nil)
		goes.wantCut(t)
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			t.Error("still listening")
		}
		w.set()
		w.dial(plant, "a.example")
	})
}

func TestWhatStaysAllowedStays(t *testing.T) {
	for what, change := range map[string]func(w *world){
		"nothing changes":                 func(*world) {},
		"the listener has another name":   func(w *world) { w.plan.Listeners[0].Name = "mqtts" },
		"the route leads elsewhere":       func(w *world) { w.plan.Routes[0].Group = "default" },
		"the target is gone":              func(w *world) { w.plan.Groups[0].Targets = w.plan.Groups[1].Targets },
		"the gateway is open to all":      func(w *world) { w.plan.OpenToAll, w.plan.Allowlists = true, nil },
		"there are fewer connections now": func(w *world) { w.plan.Limits.Connections, w.plan.Limits.Source.Connections = 1, 1 },
		"a narrower rule takes over": func(w *world) {
			w.plan.Allowlists[0].Rules = append(w.plan.Allowlists[0].Rules, rule("narrow", "203.0.113.9/32"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			p, _ := threeWays(t)
			w := start(t, p)
			a, b := w.dial(plant, "a.example"), w.dial(plant, "a.example")
			change(w)
			w.set()
			a.wantAlive(t)
			b.wantAlive(t)
		})
	}
}

func TestARuleEndsAtItsTime(t *testing.T) {
	clk := clock.NewFake(time.Now())
	p, _ := threeWays(t)
	p.Allowlists[0].Rules[1].Expires = clk.Now().Add(30 * time.Second)
	w := startWith(t, gateway.Config{}, nil, clk, p)
	stays, goes := w.dial(plant, "a.example"), w.dial(office, "a.example")
	clk.Advance(29 * time.Second)
	goes.wantAlive(t)
	w.dial(office, "a.example")
	clk.Advance(time.Second)
	goes.wantCut(t)
	stays.wantAlive(t)
	w.refused(office, "a.example", "no-rule")
}

// Names of new targets may take long to resolve. Rules do not wait for them, and routes do.
func TestRulesDoNotWaitForNames(t *testing.T) {
	answer, asked := make(chan []netip.Addr), make(chan struct{}, 10)
	cfg := gateway.Config{Balance: balance.Config{Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		asked <- struct{}{}
		select {
		case a := <-answer:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}}
	p, services := threeWays(t)
	w := startWith(t, cfg, nil, clock.System{}, p)
	stays, goes := w.dial(plant, "a.example"), w.dial(office, "a.example")
	at := netip.MustParseAddrPort(services["wild"].address())
	w.plan.Allowlists = []plan.Allowlist{{Name: "ot/cloud/new", Rules: []resource.AllowRule{rule("plant", "203.0.113.0/24")}}}
	w.plan.Groups = slices.Clone(p.Groups)
	w.plan.Groups[0].Targets = []string{fmt.Sprint("new.example:", at.Port())}
	set := make(chan struct{})
	go func() { defer close(set); w.set() }()
	<-asked
	goes.wantCut(t)
	stays.wantAlive(t)
	if c := w.dial(plant, "a.example"); c.hi != "exact" {
		t.Error("led to", c.hi, "before its target is known")
	}
	answer <- []netip.Addr{at.Addr()}
	<-set
	if c := w.dial(plant, "a.example"); c.hi != "wild" {
		t.Error("led to", c.hi)
	}
}

func TestTimesThatAreFarAwayAreKept(t *testing.T) {
	clk := clock.NewFake(time.Now())
	p, _ := threeWays(t)
	p.Allowlists[0].Rules[1].Expires = clk.Now().Add(5 * time.Minute)
	w := startWith(t, gateway.Config{}, nil, clk, p)
	goes := w.dial(office, "a.example")
	for range 4 {
		clk.Advance(time.Minute)
	}
	goes.wantAlive(t)
	clk.Advance(time.Minute)
	await(t, "the cut", func() bool { clk.Advance(time.Second); return w.g.Status().Gateways[0].Connections == 0 })
	goes.wantCut(t)
}

func TestTargetsLearnWhoIsCalling(t *testing.T) {
	for _, v := range []resource.ProxyVersion{resource.ProxyV1, resource.ProxyV2} {
		for _, source := range []string{plant, "2001:db8::9"} {
			s := serve(t, "hub", true)
			p := front(plan.GatewayRoute{Group: "hub"})
			p.Groups = []resource.TargetGroup{{Name: "hub", Targets: []string{s.address()}, ProxyProtocol: v}}
			p.Allowlists[0].Rules = append(p.Allowlists[0].Rules, rule("six", "2001:db8::/64"))
			w := start(t, p)
			w.dial(source, "a.example").wantAlive(t)
			h := <-s.headers
			if want := netip.AddrPortFrom(netip.MustParseAddr(source), 4711); h.Source != want {
				t.Errorf("%s: source %s, want %s", v, h.Source, want)
			}
			if got := h.Version; got != map[resource.ProxyVersion]int{resource.ProxyV1: 1, resource.ProxyV2: 2}[v] {
				t.Errorf("%s: version %d", v, got)
			}
		}
	}
}

func TestATargetThatIsDownIsPassedOver(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dead := gone.Addr().String()
	_ = gone.Close()
	s := serve(t, "alive", false)
	p := front(plan.GatewayRoute{Group: "hub"})
	p.Groups = []resource.TargetGroup{group("hub", dead, s.address())}
	w := start(t, p)
	for range 20 {
		w.dial(plant, "a.example").wantAlive(t)
	}
	targets := w.g.Status().Groups[0].Targets
	for _, x := range targets {
		if x.Address.String() == dead && (x.State != "ejected" || x.Failed < 3) {
			t.Errorf("%+v", x)
		}
	}
	s.stop()
	w.refused(plant, "a.example", "no-target")
}

func TestLimitsHold(t *testing.T) {
	p, _ := threeWays(t)
	p.Limits = resource.GatewayLimits{Source: resource.Limit{Connections: 2}, Connections: 4}
	p.Allowlists[0].Rules[1].Limit = resource.Limit{Connections: 1}
	w := start(t, p)
	first := w.dial(plant, "a.example")
	w.dial(plant, "a.example")
	w.refused(plant, "a.example", "source-connections")
	w.dial(office, "a.example")
	w.refused("198.51.100.8", "a.example", "rule-connections")
	await(t, "the refused to be gone", func() bool { return w.g.Status().Gateways[0].Connections == 3 })
	w.dial("203.0.113.10", "a.example")
	w.refused("203.0.113.11", "a.example", "full")
	_ = first.raw.Close()
	await(t, "a place", func() bool { return w.g.Status().Gateways[0].Connections == 3 })
	w.dial(plant, "a.example")
}

func TestWhyKnowsTheMoment(t *testing.T) {
	p, services := threeWays(t)
	p.Limits = resource.GatewayLimits{Source: resource.Limit{Connections: 1}}
	p.Allowlists[0].Rules[1].Limit = resource.Limit{Connections: 1}
	w := start(t, p)
	w.dial(plant, "a.example")
	w.dial(office, "x.hub.example")
	for _, c := range []struct{ source, reason, words string }{
		{plant, "source-connections", "the source has as many connections open as it may"},
		{"198.51.100.8", "rule-connections", "the rule has let in as many connections as it may"},
		{"203.0.113.10", "", "let in to the group exact"},
		{"192.0.2.77", "no-rule", "no rule lets 192.0.2.77 in"},
	} {
		x, ok := w.g.Why("", decide.Question{Source: netip.MustParseAddr(c.source), Name: "a.example"})
		if !ok || x.Allowed != (c.reason == "") || x.Reason != c.reason || !strings.Contains(x.String(), c.words) {
			t.Errorf("%s: %v", c.source, x)
		}
	}
	services["exact"].stop()
	w.plan.Groups[0].Targets = []string{"no-such-name.invalid:8883"}
	w.set()
	x, _ := w.g.Why("front", decide.Question{Source: netip.MustParseAddr("203.0.113.10"), Name: "a.example"})
	if x.Reason != "no-target" || !strings.Contains(x.String(), "cannot be resolved") {
		t.Errorf("%v", x)
	}
	if _, ok := w.g.Why("nowhere", decide.Question{}); ok {
		t.Error("it explains a gateway it does not carry")
	}
}

func TestBytesAreLimited(t *testing.T) {
	p, _ := threeWays(t)
	p.Limits.Source.BytesPerSecond = 200_000
	w := start(t, p)
	c := w.dial(plant, "a.example")
	began := time.Now()
	block := make([]byte, 100_000)
	for range 2 { // there and back: twice 200,000, of which a second's worth may come at once
		_, err := c.Write(block)
		must(t, err)
		n := 0
		for n < len(block) {
			got, err := c.r.Read(make([]byte, 64<<10))
			must(t, err)
			n += got
		}
	}
	if took := time.Since(began); took < 800*time.Millisecond || took > 5*time.Second {
		t.Errorf("400,000 bytes at 200,000 a second took %v", took)
	}
}

func TestAListenerWhoseAddressIsTakenIsOpenedLater(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p, _ := threeWays(t)
	p.Listeners[0].Port = uint16(taken.Addr().(*net.TCPAddr).Port)
	p.Listeners = append(p.Listeners, resource.GatewayListener{Name: "twin", Address: p.Listeners[0].Address, Port: p.Listeners[0].Port})
	w := start(t, p)
	problems := strings.Join(w.g.Problems(), "; ")
	if !strings.Contains(problems, "front/mqtt: the gateway cannot listen") || !strings.Contains(problems, "front/twin: it has the address of ot/cloud/front/mqtt") {
		t.Error(problems)
	}
	_ = taken.Close()
	await(t, "the listener", func() bool { return len(w.g.Listening()) == 1 })
	w.dial(plant, "a.example")
}

func TestNothingBeforeRunAndNothingAfter(t *testing.T) {
	p, _ := threeWays(t)
	g := gateway.New(gateway.Config{}, nil, logger(t), clock.System{}, nil)
	g.Set([]plan.Gateway{p})
	if len(g.Listening()) != 0 {
		t.Error("it listens before Run")
	}
	_, _, _ = g.Status(), g.Problems(), g.Handler()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, g.Run(ctx))
	g.Set([]plan.Gateway{p})
	if n := g.Status().Carrier.Open; n != 0 {
		t.Error(n)
	}
}
