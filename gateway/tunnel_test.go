package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// far is the provider's side of a private endpoint, with a tunnel to it.
type far struct {
	services *flow.Services
	near     *mux.Session
	fail     error
}

var cloudAgent = identity.AgentID("isthmus.test", "ot", "cloud", "gw-1")

func (f *far) Open(ctx context.Context, peers []plan.Peer, h tunnel.Flow) (*mux.Stream, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	if len(peers) != 1 || peers[0].ID != "provider" {
		return nil, errors.New("not the providers of the plan")
	}
	return f.near.Open(ctx, h)
}

func newFar(t *testing.T, target string) *far {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err := l.Accept()
	must(t, err)
	_ = l.Close()
	at := netip.MustParseAddrPort(target)
	f := &far{services: flow.NewServices(logger(t), clock.System{}, nil), near: mux.Client(a, mux.Config{})}
	f.services.Set([]plan.Service{{
		ID: "svc", Name: "ot/ot-cloud/contoso", Target: at.Addr().String(), Ports: []resource.ServicePort{{Port: 8883, TargetPort: at.Port()}},
		ProxyProtocol: true,
		Links:         []plan.Link{{Endpoint: "ep", Name: "ot/cloud/contoso", LinkID: 7, Consumer: identity.NetworkPrefix("isthmus.test", "ot", "cloud")}},
	}})
	other := mux.Server(b, mux.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.near.Run(ctx) })
	wg.Go(func() { _ = other.Run(ctx) })
	wg.Go(func() { _ = f.services.Run(ctx) })
	wg.Go(func() {
		for {
			s, err := other.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { f.services.Handle(cloudAgent, s) })
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

func TestARouteIntoAPrivateEndpoint(t *testing.T) {
	s := serve(t, "hub", true)
	f := newFar(t, s.address())
	p := front(plan.GatewayRoute{Names: []string{"a.example"}, Port: 8883, Endpoint: &plan.GatewayEndpoint{
		ID: "ep", Name: "ot/cloud/contoso", Ports: []uint16{8883}, Providers: []plan.Peer{{ID: "provider"}},
	}})
	w := startWith(t, gateway.Config{}, f, clock.System{}, p)
	c := w.dial(plant, "a.example")
	if c.hi != "hub" {
		t.Error("led to", c.hi)
	}
	c.wantAlive(t)
	h := <-s.headers
	if want := netip.MustParseAddrPort(plant + ":4711"); h.Source != want {
		t.Errorf("the provider is told that %s calls, not %s", h.Source, want)
	}
	if id, _ := h.LinkID(); id != 7 {
		t.Error("link id", id)
	}

	// The end of data passes, and bytes are counted by rule when it has ended.
	must(t, c.CloseWrite())
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) != 0 {
		t.Error(rest, err)
	}
	_ = c.raw.Close()
	await(t, "the count", func() bool {
		b := w.g.Status().Gateways[0].Busiest
		return len(b) == 1 && b[0].Connections == 0 && b[0].Sent > 300 && b[0].Received > 300
	})

	goes := w.dial(plant, "a.example")
	w.plan.Routes[0].Problem, w.plan.Routes[0].Endpoint = "connection is Disconnected", nil
	w.set()
	goes.wantCut(t)
	await(t, "the other end", func() bool { return len(f.services.Flows()) == 0 })
	w.plan.Routes = p.Routes
	w.refused(plant, "a.example", "route-problem")
}

func TestAPrivateEndpointThatCannotBeReached(t *testing.T) {
	s := serve(t, "hub", true)
	f := newFar(t, s.address())
	f.fail = errors.New("no tunnel")
	endpoint := &plan.GatewayEndpoint{ID: "ep", Name: "ot/cloud/contoso", Ports: []uint16{8883}, Providers: []plan.Peer{{ID: "provider"}}}
	p := front(plan.GatewayRoute{Names: []string{"a.example"}, Port: 8883, Endpoint: endpoint}, plan.GatewayRoute{Port: 99, Endpoint: endpoint})
	w := startWith(t, gateway.Config{}, f, clock.System{}, p)
	w.refused(plant, "a.example", "no-tunnel")
	w.refused(plant, "b.example", "no-such-port")
	if s := w.g.Status(); s.Gateways[0].Connections != 0 {
		await(t, "its end", func() bool { return w.g.Status().Gateways[0].Connections == 0 })
	}
	none := startWith(t, gateway.Config{}, nil, clock.System{}, p)
	none.refused(plant, "a.example", "no-tunnel")
}

func TestRulesLimitBytesIntoTunnelsToo(t *testing.T) {
	s := serve(t, "hub", true)
	f := newFar(t, s.address())
	p := front(plan.GatewayRoute{Port: 8883, Endpoint: &plan.GatewayEndpoint{
		ID: "ep", Name: "ot/cloud/contoso", Ports: []uint16{8883}, Providers: []plan.Peer{{ID: "provider"}},
	}})
	p.Allowlists[0].Rules[0].Limit.BytesPerSecond = 150_000
	w := startWith(t, gateway.Config{}, f, clock.System{}, p)
	c := w.dial(plant, "a.example")
	began := now()
	go func() { _, _ = io.WriteString(c.Conn, strings.Repeat("x", 150_000)) }()
	_, err := io.ReadFull(c.r, make([]byte, 150_000)) // there and back: 300,000, of which 150,000 at once
	must(t, err)
	if took := now().Sub(began); took < 700*ms || took > 5000*ms {
		t.Errorf("300,000 bytes at 150,000 a second took %v", took)
	}
}

// Silence ends a connection into a private endpoint as it does any other.
func TestSilenceInAPrivateEndpointEnds(t *testing.T) {
	s := serve(t, "hub", true)
	f := newFar(t, s.address())
	p := front(plan.GatewayRoute{Names: []string{"a.example"}, Port: 8883, Endpoint: &plan.GatewayEndpoint{
		ID: "ep", Name: "ot/cloud/contoso", Ports: []uint16{8883}, Providers: []plan.Peer{{ID: "provider"}},
	}})
	p.Limits.IdleSeconds = 1
	w := startWith(t, gateway.Config{}, f, clock.System{}, p)
	w.dial(plant, "a.example").wantCut(t)
	await(t, "the count", func() bool { return w.g.Status().Gateways[0].Connections == 0 })
}
