package balance

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func quiet(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(testLog{t}, nil)) }

// net is what targets and names do.
type network struct {
	mu      sync.Mutex
	dead    map[string]bool
	names   map[string][]netip.Addr
	checks  map[string]int
	lookups map[string]int
}

func newNetwork() *network {
	return &network{dead: map[string]bool{}, names: map[string][]netip.Addr{}, checks: map[string]int{}, lookups: map[string]int{}}
}

var errRefused = errors.New("connection refused")

func (n *network) dial(_ context.Context, at netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checks[at.String()]++
	if n.dead[at.String()] {
		return nil, errRefused
	}
	near, far := net.Pipe()
	_ = far.Close()
	return near, nil
}

func (n *network) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups[name]++
	if a, ok := n.names[name]; ok {
		return append([]netip.Addr{}, a...), nil
	}
	return nil, errors.New("no such host")
}

func (n *network) kill(at string, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[at] = dead
}

func (n *network) name(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = nil
	for _, a := range addrs {
		n.names[name] = append(n.names[name], netip.MustParseAddr(a))
	}
}

func (n *network) asked(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lookups[name]
}

// start returns a running Balancer of one group "g" at the gateway "gw", over the network.
func start(t testing.TB, n *network, group resource.TargetGroup, ports ...uint16) (*Balancer, *Group) {
	t.Helper()
	b := New(Config{Lookup: n.lookup, Dial: n.dial}, quiet(t), clock.System{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	group.Name = "g"
	b.Set([]Use{{Gateway: "gw", Group: group, Ports: ports}})
	return b, b.Group("gw", "g")
}

// still returns a Balancer that does not run: nothing is checked.
func still(t testing.TB, group resource.TargetGroup, ports ...uint16) *Group {
	t.Helper()
	n := newNetwork()
	b := New(Config{Lookup: n.lookup, Dial: n.dial}, quiet(t), clock.System{}, nil)
	group.Name = "g"
	b.Set([]Use{{Gateway: "gw", Group: group, Ports: ports}})
	return b.Group("gw", "g")
}

func unchecked(targets ...string) resource.TargetGroup {
	return resource.TargetGroup{Targets: targets, Health: resource.Health{Check: resource.CheckNone}}
}

var someone = netip.MustParseAddr("203.0.113.9")

// order is what one connection is given when everything fails for a reason that is not the targets'.
func order(g *Group, source netip.Addr, port uint16) []string {
	var a Attempt
	defer a.Released()
	var out []string
	for {
		at, ok := g.Next(&a, source, port)
		if !ok {
			return out
		}
		out = append(out, at.String())
		a.Failed(context.Canceled)
	}
}

func (g *Group) state(at string) string {
	for _, t := range g.Status().Targets {
		if t.Address.String() == at {
			return t.State
		}
	}
	return "gone"
}

// fail has n connections fail at a target.
func (g *Group) fail(t *testing.T, at string, n int) {
	t.Helper()
	for range n {
		g.mu.Lock()
		x := g.targets[netip.MustParseAddrPort(at)]
		g.mu.Unlock()
		x.refused(errRefused)
	}
}

func wantState(t *testing.T, g *Group, at, want string) {
	t.Helper()
	if got := g.state(at); got != want {
		t.Fatalf("%s is %s, want %s", at, got, want)
	}
}

const instant = time.Millisecond
