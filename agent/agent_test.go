package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	trust   = "isthmus.test"
	patient = 15 * time.Second // no test waits as long unless it fails
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patient)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited too long: " + what)
		}
	}
}

func credentials(t *testing.T, a *identity.Authority, id identity.ID) *identity.Credentials {
	t.Helper()
	key, keyPEM, err := identity.NewKey()
	must(t, err)
	csr, err := identity.NewRequest(key, id)
	must(t, err)
	cert, err := a.IssueIdentity(csr, id, time.Now(), time.Hour)
	must(t, err)
	c, err := identity.NewCredentials(cert, keyPEM, a.CertificatePEM())
	must(t, err)
	return c
}

// run runs f until the test ends, or until the function returned is called, and waits for it.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// echo answers every connection with what it sends, behind a greeting.
func echo(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(struct{ io.Writer }{c}, c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestTwoAgentsAndARelayCarryOutTheirPlans(t *testing.T) {
	authority, _, err := identity.NewAuthority(trust, time.Now())
	must(t, err)
	relayID := identity.RelayID(trust, "r1")
	consumerID, providerID := identity.AgentID(trust, "ot", "plant-7", "gw-1"), identity.AgentID(trust, "it", "cloud", "c-1")
	rl, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := relay.New(relay.Config{}, credentials(t, authority, relayID), quiet(), clock.System{}, nil)
	run(t, func(ctx context.Context) error { return r.Serve(ctx, rl) })

	consumer, err := New(Config{DNSListen: []string{"127.0.0.1:0"}}, credentials(t, authority, consumerID), quiet(), clock.System{}, nil)
	must(t, err)
	provider, err := New(Config{}, credentials(t, authority, providerID), quiet(), clock.System{}, nil)
	must(t, err)

	relays := []plan.Relay{{Address: rl.Addr().String(), ID: string(relayID)}}
	port := freePort(t)
	endpoint := plan.Endpoint{
		ID: "ep", Name: "ot/plant-7/hub", Address: netip.MustParseAddr("127.0.0.9"), Ports: []uint16{port}, Open: true,
		Providers: []plan.Peer{{ID: string(providerID)}},
	}
	service := plan.Service{
		ID: "svc", Name: "it/cloud/hub", Target: "127.0.0.1", Ports: []resource.ServicePort{{Port: port, TargetPort: echo(t)}},
		Links: []plan.Link{{Endpoint: "ep", Name: "ot/plant-7/hub", LinkID: 7, Consumer: identity.NetworkPrefix(trust, "ot", "plant-7")}},
	}
	consumerPlan := plan.Plan{
		Self: plan.Self{ID: string(consumerID)}, Relays: relays, Endpoints: []plan.Endpoint{endpoint},
		Names: []plan.Name{{Name: "hub.azure-devices.net", TTL: 10, A: []netip.Addr{endpoint.Address}}},
	}.Seal()
	providerPlan := plan.Plan{Self: plan.Self{ID: string(providerID)}, Relays: relays, Services: []plan.Service{service}}.Seal()
	consumer.SetPlan(consumerPlan) // before Run: the plan of the disk
	run(t, consumer.Run)
	stopProvider := run(t, provider.Run)
	provider.SetPlan(providerPlan)
	connected := func(a *Agent) bool {
		s := a.Status()
		return len(s.Transport.Relays) == 1 && s.Transport.Relays[0].Connected
	}
	await(t, "relays", func() bool { return connected(consumer) && connected(provider) })
	await(t, "the listener", func() bool { return len(consumer.Status().Endpoints[0].Listening) == 1 })

	await(t, "DNS", func() bool { return consumer.DNSAddr().IsValid() })
	lookup := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, consumer.DNSAddr().String())
	}}
	if got, err := lookup.LookupHost(t.Context(), "hub.azure-devices.net."); err != nil || !slices.Equal(got, []string{"127.0.0.9"}) {
		t.Errorf("the name is at %q, %v", got, err)
	}

	at := fmt.Sprintf("127.0.0.9:%d", port)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", at)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patient))
		return c
	}
	say := func(c net.Conn) error {
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 5))
		return err
	}
	first := dial()
	must(t, say(first))

	s, ps := consumer.Status(), provider.Status()
	if s.ID != consumerID || s.Revision != consumerPlan.Revision || len(s.Endpoints[0].Flows) != 1 || len(s.Transport.Tunnels) != 1 || len(s.Problems) != 0 ||
		s.DNS == nil || s.DNS.Queries["answered"] == 0 {
		t.Errorf("consumer: %+v", s)
	}
	if len(ps.Services[0].Flows) != 1 || ps.Services[0].Flows[0].Peer != consumerID || !slices.Equal(ps.Services[0].Links, []string{"ot/plant-7/hub"}) {
		t.Errorf("provider: %+v", ps)
	}

	wrong := consumerPlan
	wrong.Self.ID, wrong.Endpoints = string(providerID), nil
	consumer.SetPlan(wrong.Seal())
	must(t, say(first))
	if p := consumer.Problems(); len(p) != 1 || !strings.Contains(p[0], "not for "+string(consumerID)) || consumer.PlanRevision() != consumerPlan.Revision {
		t.Errorf("a plan for somebody else: %q", p)
	}

	reset := func(c net.Conn, what string) {
		t.Helper()
		watch := clocktest.Start(t)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", what, err)
		}
		if d := watch.Took(); d > time.Second {
			t.Errorf("%s took %s", what, d)
		}
	}
	provider.SetPlan(plan.Plan{Self: providerPlan.Self, Relays: relays}.Seal())
	reset(first, "revoked by the provider")
	provider.SetPlan(providerPlan)
	consumer.SetPlan(consumerPlan)
	await(t, "flows after approval", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		defer c.Close()
		return say(c) == nil
	})
	second := dial()
	must(t, say(second))
	provider.SetPlan(func() plan.Plan { p := providerPlan; p.Revoked = []string{string(consumerID)}; return p.Seal() }())
	reset(second, "the consumer's agent is deleted")
	provider.SetPlan(providerPlan)
	await(t, "flows after the return", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		defer c.Close()
		return say(c) == nil
	})
	third := dial()
	must(t, say(third))
	shut := consumerPlan
	shut.Endpoints = []plan.Endpoint{endpoint}
	shut.Endpoints[0].Open = false
	consumer.SetPlan(shut.Seal())
	reset(third, "closed by the consumer")
	if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a pending endpoint answers: %v", err)
	}
	stopProvider()
	provider.SetPlan(providerPlan) // too late: nothing happens
}

// fakeAddresses tells what was asked of it.
type fakeAddresses struct {
	mu      sync.Mutex
	calls   []string
	problem []string
}

func (f *fakeAddresses) note(what string, want []netip.Addr) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what+fmt.Sprint(want))
	return f.problem
}

func (f *fakeAddresses) add(want []netip.Addr) []string   { return f.note("add", want) }
func (f *fakeAddresses) prune(want []netip.Addr) []string { f.note("prune", want); return nil }

func (f *fakeAddresses) last() (n int, call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls), f.calls[len(f.calls)-1]
}

// A relay is sought through the proxy that the environment names, unless the agent was told of another, or of none.
func TestWhichProxyLeadsToTheRelay(t *testing.T) {
	authority, _, err := identity.NewAuthority(trust, time.Now())
	must(t, err)
	for _, c := range []struct{ proxy, want string }{{"", "the environment's proxy"}, {"its own", "its own proxy"}, {NoProxy, "the relay"}} {
		t.Run(c.want, func(t *testing.T) {
			asked := make(chan string, 64)
			listen := func(name string) (port string) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				t.Cleanup(func() { l.Close() })
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						asked <- name
						c.Close()
					}
				}()
				_, port, err = net.SplitHostPort(l.Addr().String())
				must(t, err)
				return port
			}
			t.Setenv("HTTPS_PROXY", "http://127.0.0.1:"+listen("the environment's proxy"))
			t.Setenv("NO_PROXY", "")
			own := "http://127.0.0.1:" + listen("its own proxy")
			if c.proxy != "its own" {
				own = c.proxy
			}
			// 0.0.0.0 leads to this machine and is no loopback address, for which the environment's proxies do not count.
			relay := plan.Relay{ID: string(identity.RelayID(trust, "r1")), Address: "0.0.0.0:" + listen("the relay")}
			a, err := New(Config{ProxyURL: own}, credentials(t, authority, identity.AgentID(trust, "ot", "plant-7", "a")), quiet(), clock.System{}, nil)
			must(t, err)
			a.SetPlan(plan.Plan{Revision: "1", Relays: []plan.Relay{relay}})
			run(t, a.Run)
			select {
			case got := <-asked:
				if got != c.want {
					t.Errorf("the agent asked %s, not %s", got, c.want)
				}
			case <-time.After(patient):
				t.Error("the agent asked nobody")
			}
		})
	}
}

func TestAddressesFollowThePlan(t *testing.T) {
	authority, _, err := identity.NewAuthority(trust, time.Now())
	must(t, err)
	clk := clock.NewFake(time.Now())
	a, err := New(Config{}, credentials(t, authority, identity.AgentID(trust, "ot", "plant-7", "gw-1")), quiet(), clk, nil)
	must(t, err)
	fake := &fakeAddresses{problem: []string{"not allowed to add 127.0.0.4"}}
	a.addresses, a.cfg.Interface = fake, "eth0"
	e := plan.Endpoint{ID: "1", Name: "ot/plant-7/a", Address: netip.MustParseAddr("127.0.0.4"), Ports: []uint16{freePort(t)}}
	e2 := plan.Endpoint{ID: "2", Name: "ot/plant-7/b", Address: netip.MustParseAddr("127.0.0.5"), Ports: e.Ports, Open: true}
	a.SetPlan(plan.Plan{Endpoints: []plan.Endpoint{e, e2, e}}.Seal())
	if want := []string{"add[127.0.0.4 127.0.0.5]", "prune[127.0.0.4 127.0.0.5]"}; !slices.Equal(fake.calls, want) {
		t.Errorf("got %q", fake.calls)
	}
	if p := a.Problems(); len(p) != 1 || p[0] != fake.problem[0] {
		t.Errorf("problems %q", p)
	}
	stop := run(t, a.Run)
	fake.mu.Lock()
	fake.problem = nil
	fake.mu.Unlock()
	before, _ := fake.last()
	await(t, "another attempt", func() bool { clk.Advance(addressCheck); n, _ := fake.last(); return n > before })
	if _, call := fake.last(); call != "add[127.0.0.4 127.0.0.5]" {
		t.Errorf("got %q", call)
	}
	await(t, "the problem to go", func() bool { return len(a.Problems()) == 0 })
	stop()
	if _, call := fake.last(); call != "prune[]" {
		t.Errorf("at the end: %q", call)
	}
}
