package transport

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/plan"
)

func TestRelayRestarts(t *testing.T) {
	r, a, b, _ := two(t, Config{}, nil)
	if err := roundTrip(t.Context(), a, peers(provider, ""), "before"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	eventually(t, "all noticed", func() bool { return !connected(a) && !connected(b) && len(a.Status().Tunnels) == 0 })
	r.start()
	// Nobody else asks for b's link, so it comes back by its own back-off.
	eventually(t, "flows come back", func() bool { return roundTrip(t.Context(), a, peers(provider, ""), "after") == nil })
}

func TestRelayIsUnreachable(t *testing.T) {
	w := newWorld(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	relays := []plan.Relay{{Address: dead.Addr().String(), ID: string(identity.RelayID(domain, "r1"))}}
	a, _ := w.agent(consumer, Config{RelayWait: 50 * time.Millisecond}, clock.System{}, relays, nil)
	eventually(t, "it has tried", func() bool { return relayStatus(a).Attempts > 0 })
	_, err = a.Open(t.Context(), peers(provider, ""), flow)
	if !strings.Contains(fault.Message(err), dead.Addr().String()) || !strings.Contains(fault.Next(err), "firewall") {
		t.Fatalf("got %v; next %q", err, fault.Next(err))
	}
}

func TestRelayIsAnother(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	relays := []plan.Relay{{Address: r.address, ID: string(identity.RelayID(domain, "another"))}}
	a, _ := w.agent(consumer, Config{}, clock.System{}, relays, nil)
	eventually(t, "it says so", func() bool { return strings.Contains(relayStatus(a).Problem, "not "+relays[0].ID) })
}

func TestNoRelayAtAll(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent(consumer, Config{}, clock.System{}, nil, nil)
	if _, err := a.Open(t.Context(), peers(provider, ""), flow); fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Fatalf("got %v", err)
	}
	if _, err := a.Open(t.Context(), nil, flow); fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Fatalf("got %v", err)
	}
}

// With no relay in the plan a direct address is all there is: it is tried although it failed a moment ago.
func TestDirectAloneIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	clk := clock.NewFake(time.Now())
	a, _ := w.agent(consumer, Config{DirectTimeout: 10 * time.Second}, clk, nil, nil)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	address := gone.Addr().String()
	_, err = a.Open(t.Context(), peers(provider, address), flow)
	if m := fault.Message(err); !strings.Contains(m, "cannot connect to "+address) || strings.Contains(m, "relay") {
		t.Fatalf("got %v", err)
	}
	w.agent(provider, Config{Direct: address}, clock.System{}, nil, nil)
	clk.Advance(time.Second)
	if err := roundTrip(t.Context(), a, peers(provider, address), "hello"); err != nil {
		t.Fatal(err)
	}
}

func TestMetricsRegister(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewPedanticRegistry()
	relay.New(relay.Config{}, w.credentials(identity.RelayID(domain, "r1"), time.Hour), logger(t), clock.System{}, reg)
	New(Config{}, w.credentials(consumer, time.Hour), logger(t), clock.System{}, reg)
	if _, err := reg.Gather(); err != nil {
		t.Fatal(err)
	}
}

func TestRelaysOfThePlanChange(t *testing.T) {
	w := newWorld(t)
	one, two := w.relay(relay.Config{}), w.relay(relay.Config{})
	a, _ := w.agent(consumer, Config{}, clock.System{}, one.plan(), nil)
	eventually(t, "connected to one", func() bool { return len(one.relay.Status().Agents) == 1 })
	a.SetRelays(append(one.plan(), two.plan()...))
	eventually(t, "connected to both", func() bool { return connected(a) && len(two.relay.Status().Agents) == 1 })
	if n := one.relay.Status().AgentsReplaced; n != 0 {
		t.Fatal("the connection that was to stay was made anew")
	}
	a.SetRelays(two.plan())
	eventually(t, "one is left", func() bool { return len(one.relay.Status().Agents) == 0 })
}

func TestOwnCertificate(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	for name, c := range map[string]struct {
		now  time.Duration
		kind fault.Kind
		say  string
	}{
		"lapsed":       {2 * time.Hour, fault.Expired, "lapsed at"},
		"clock behind": {-2 * time.Hour, fault.Invalid, "not valid before"},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clock.NewFake(time.Now().Add(c.now))
			a, _ := w.agent(consumer, Config{}, clk, r.plan(), nil)
			_, err := a.Open(t.Context(), peers(provider, ""), flow)
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.say) || fault.Next(err) == "" {
				t.Fatalf("got %v", err)
			}
			eventually(t, "the status says so", func() bool { return strings.Contains(relayStatus(a).Problem, c.say) })
		})
	}
}

func TestRunRefusesBadConfiguration(t *testing.T) {
	w := newWorld(t)
	for name, cfg := range map[string]Config{
		"proxy":  {ProxyURL: "socks5://user:hunter2@proxy:1080"},
		"url":    {ProxyURL: "http://user:hunter2@[proxy"},
		"direct": {Direct: "203.0.113.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := New(cfg, w.credentials(consumer, time.Hour), logger(t), clock.System{}, nil).Run(t.Context())
			if err == nil || fault.Next(err) == "" || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestOpenBeforeRun(t *testing.T) {
	w := newWorld(t)
	a := New(Config{}, w.credentials(consumer, time.Hour), logger(t), clock.System{}, nil)
	if _, err := a.Open(t.Context(), peers(provider, ""), flow); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("got %v", err)
	}
}
