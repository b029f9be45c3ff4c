package balance

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

const one, two = "10.0.0.1:8883", "10.0.0.2:8883"

func TestChecksTakeOutAndBringBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.kill(two, true)
		_, g := start(t, n, resource.TargetGroup{Targets: []string{one, two}, Health: resource.Health{EverySeconds: 4, Rise: 2, Fall: 3}})
		wantState(t, g, one, "untested")
		time.Sleep(time.Second)
		wantState(t, g, one, "up")
		wantState(t, g, two, "down") // the first check decides

		n.kill(two, false)
		time.Sleep(5 * time.Second)
		wantState(t, g, two, "down") // one success of two
		time.Sleep(5 * time.Second)
		wantState(t, g, two, "up")

		n.kill(two, true)
		time.Sleep(2 * 4 * time.Second)
		wantState(t, g, two, "up") // two failures of three
		time.Sleep(6 * time.Second)
		wantState(t, g, two, "down")
		if s := g.Status(); !strings.Contains(s.Targets[1].Because, "refused") || len(s.Problems) != 0 {
			t.Errorf("%+v", s)
		}
		n.kill(one, true)
		time.Sleep(20 * time.Second)
		if s := g.Status(); !slices.Contains(s.Problems, "no target works") {
			t.Errorf("%+v", s)
		}
		if got := order(g, someone, 0); len(got) != 2 {
			t.Error("a group that is down tries", got)
		}
	})
}

func TestWhoRefusesConnectionsIsLeftAloneLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g := start(t, newNetwork(), unchecked(one, two))
		wantState(t, g, one, "up")
		g.fail(t, one, 2)
		wantState(t, g, one, "up")
		g.fail(t, one, 1)
		for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			pause := time.Duration(seconds) * time.Second
			wantState(t, g, one, "ejected")
			if got := order(g, someone, 0); got[0] != two {
				t.Fatal("an ejected target comes first:", got)
			}
			time.Sleep(pause*8/10 - instant)
			wantState(t, g, one, "ejected")
			time.Sleep(pause*2/10 + 2*instant)
			wantState(t, g, one, "returning")

			// The first connection that comes to it tries it, and nobody else does meanwhile.
			var first Attempt
			for {
				at, _ := g.Next(&first, someone, 0)
				if at.String() == one {
					break
				}
				first.Released()
			}
			for range 10 {
				var other Attempt
				if at, _ := g.Next(&other, someone, 0); at.String() != two {
					t.Fatal("a second connection is led to a target that is being tried")
				}
				other.Released()
			}
			first.Failed(errRefused)
			first.Released()
		}
		time.Sleep(time.Minute + instant)
		synctest.Wait()
		var a Attempt
		for at, _ := g.Next(&a, someone, 0); at.String() != one; at, _ = g.Next(&a, someone, 0) {
			a.Released()
		}
		a.Connected()
		wantState(t, g, one, "up")
		a.Released()

		// After a long good time the pauses begin anew.
		time.Sleep(3 * time.Minute)
		g.fail(t, one, 3)
		time.Sleep(time.Second + instant)
		wantState(t, g, one, "returning")
	})
}

func TestAnEjectedTargetReturnsByItsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g := start(t, newNetwork(), resource.TargetGroup{Targets: []string{one, two}, Health: resource.Health{EverySeconds: 1}})
		time.Sleep(time.Second)
		for range 4 {
			g.fail(t, one, 3)
			wantState(t, g, one, "ejected")
			time.Sleep(12 * time.Second)
			wantState(t, g, one, "up")
		}
	})
}

func TestOurOwnWantsAreNotTheTargetsFault(t *testing.T) {
	g := still(t, unchecked(one))
	g.mu.Lock()
	x := g.targets[netip.MustParseAddrPort(one)]
	g.mu.Unlock()
	for range 10 {
		x.refused(context.Canceled)
	}
	wantState(t, g, one, "up")
}

func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.name("hub.example", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1")
		b, g := start(t, n, unchecked("hub.example:8883"))
		if got := slices.Sorted(slices.Values(order(g, someone, 0))); !slices.Equal(got, []string{one, two}) {
			t.Fatal("at once:", got)
		}
		var a Attempt
		_, _ = g.Next(&a, someone, 0)

		n.name("hub.example", "10.0.0.2", "10.0.0.3")
		time.Sleep(40 * time.Second)
		if got := slices.Sorted(slices.Values(order(g, someone, 0))); !slices.Equal(got, []string{two, "10.0.0.3:8883"}) {
			t.Fatal("after a change:", got)
		}
		a.Connected()
		a.Released() // of a target that is gone, maybe

		n.mu.Lock()
		delete(n.names, "hub.example")
		n.mu.Unlock()
		time.Sleep(40 * time.Second)
		if got := order(g, someone, 0); len(got) != 2 {
			t.Fatal("when it cannot be resolved:", got)
		}
		if s := b.Status()[0]; len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "hub.example cannot be resolved") {
			t.Errorf("%+v", s)
		}

		// A failure has it resolved again, but not for each failure.
		asked := n.asked("hub.example")
		for range 100 {
			g.fail(t, two, 1)
			time.Sleep(100 * time.Millisecond)
		}
		if more := n.asked("hub.example") - asked; more < 2 || more > 8 {
			t.Errorf("resolved %d times in 10 s of failures", more)
		}
	})
}

func TestANameThatIsUnknownAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		_, g := start(t, n, unchecked("late.example:8883"))
		if got := order(g, someone, 0); len(got) != 0 {
			t.Fatal(got)
		}
		n.name("late.example", "10.0.0.1")
		time.Sleep(6 * time.Second)
		if got := order(g, someone, 0); len(got) != 1 {
			t.Fatal(got)
		}
	})
}

func TestTargetsWithoutAPortTakeTheListeners(t *testing.T) {
	g := still(t, unchecked("10.0.0.1", "10.0.0.2:99"), 443, 8883)
	for port, want := range map[uint16][]string{443: {"10.0.0.1:443", "10.0.0.2:99"}, 8883: {"10.0.0.1:8883", "10.0.0.2:99"}, 5671: nil} {
		if got := slices.Sorted(slices.Values(order(g, someone, port))); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", port, got, want)
		}
	}
	if n := len(g.Status().Targets); n != 3 {
		t.Errorf("%d targets; one that names its port is one for all ports", n)
	}
}

func TestWhatStaysKeepsItsStateAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := start(t, newNetwork(), unchecked(one, two))
		g.fail(t, one, 3)
		var a Attempt
		_, _ = g.Next(&a, someone, 0)
		again := unchecked(two, one, "10.0.0.3:8883")
		again.Name = "g"
		b.Set([]Use{{Gateway: "gw", Group: again}})
		if b.Group("gw", "g") != g {
			t.Fatal("another group")
		}
		wantState(t, g, one, "ejected")
		if c := g.Status().Targets[1].Connections; c != 1 {
			t.Error("connections:", c)
		}
		again.Health.Check = resource.CheckTCP
		b.Set([]Use{{Gateway: "gw", Group: again}})
		time.Sleep(20 * time.Second)
		wantState(t, g, one, "up")
		b.Set(nil)
		if b.Group("gw", "g") != nil || len(order(g, someone, 0)) != 3 {
			t.Error("a group that is gone still leads those who have it")
		}
	})
}

func TestAddressesOfANameAreBounded(t *testing.T) {
	n := newNetwork()
	var all []string
	for i := range 500 {
		all = append(all, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String())
	}
	n.name("wide.example", all...)
	_, g := start(t, n, unchecked("wide.example:1"))
	if got := len(g.Status().Targets); got != MostAddresses {
		t.Error(got)
	}
}

// answers waits until all targets of a group are tested, and returns their states.
func answers(t *testing.T, g *Group) map[string]string {
	t.Helper()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(instant)
	defer tick.Stop()
	for {
		out := map[string]string{}
		tested := true
		for _, s := range g.Status().Targets {
			out[s.Address.String()] = s.State
			tested = tested && s.State != "untested"
		}
		if tested {
			return out
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("never tested:", out)
		}
	}
}

func TestChecksOfRealListeners(t *testing.T) {
	var names sync.Map
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		names.Store(h.ServerName, true)
		return nil, nil
	}}
	secure.StartTLS()
	defer secure.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	headers := make(chan proxyproto.Header, 16)
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if h, err := proxyproto.Read(c); err == nil {
				headers <- h
			}
			_ = c.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	good, bad, none := secure.Listener.Addr().String(), plain.Addr().String(), gone.Addr().String()

	check := func(h resource.Health, p resource.ProxyVersion) map[string]string {
		b := New(Config{}, quiet(t), clock.System{}, prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		b.Set([]Use{{Gateway: "gw", Group: resource.TargetGroup{Name: "g", Targets: []string{good, bad, none}, Health: h, ProxyProtocol: p}}})
		return answers(t, b.Group("gw", "g"))
	}
	if got := check(resource.Health{Check: resource.CheckTCP, EverySeconds: 1}, ""); got[good] != "up" || got[bad] != "up" || got[none] != "down" {
		t.Error("tcp:", got)
	}
	got := check(resource.Health{Check: resource.CheckTLS, EverySeconds: 1, ServerName: "hub.example"}, "")
	if got[good] != "up" || got[bad] != "down" || got[none] != "down" {
		t.Error("tls:", got)
	}
	if _, ok := names.Load("hub.example"); !ok {
		t.Error("the check did not ask for the server's name")
	}
	for len(headers) > 0 {
		<-headers
	}
	for _, v := range []resource.ProxyVersion{resource.ProxyV1, resource.ProxyV2} {
		check(resource.Health{Check: resource.CheckTCP, EverySeconds: 1}, v)
		select {
		case h := <-headers:
			if h.Local != (v == resource.ProxyV2) || h.Source.IsValid() {
				t.Errorf("%s: %+v", v, h)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: no header", v)
		}
	}
}

func TestMetricsShowTargets(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := New(Config{}, quiet(t), clock.System{}, reg)
	group := unchecked(one, two)
	group.Name = "g"
	b.Set([]Use{{Gateway: "gw", Group: group}})
	b.Group("gw", "g").fail(t, two, 3)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	up := map[string]float64{}
	for _, f := range all {
		if f.GetName() == "isthmus_gateway_target_up" {
			for _, m := range f.GetMetric() {
				up[m.GetLabel()[2].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if len(up) != 2 || up[one] != 1 || up[two] != 0 {
		t.Error(up)
	}
}
