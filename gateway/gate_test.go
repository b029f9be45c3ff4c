package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// wide is a gateway with many rules.
func wide(rules int) plan.Gateway {
	p := plan.Gateway{
		Name: "ot/cloud/front", Listeners: []resource.GatewayListener{{Name: "mqtt", Address: netip.MustParseAddr("127.0.0.1")}},
		Routes:     []plan.GatewayRoute{{Names: []string{"a.example", "*.hub.example"}, Group: "hub"}},
		Groups:     []resource.TargetGroup{{Name: "hub", Targets: []string{"10.0.0.1:1", "10.0.0.2:1"}, Health: resource.Health{Check: resource.CheckNone}}},
		Allowlists: []plan.Allowlist{{Name: "ot/cloud/all"}},
	}
	for i := range rules {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		p.Allowlists[0].Rules = append(p.Allowlists[0].Rules, resource.AllowRule{
			Name: fmt.Sprint("rule-", i), Sources: []netip.Prefix{netip.PrefixFrom(a, 32)},
		})
	}
	return p
}

func running(t testing.TB, p plan.Gateway) *Gateway {
	g := New(Config{}, nil, slog.New(slog.DiscardHandler), clock.System{}, nil)
	g.Set([]plan.Gateway{p})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-g.Ready()
	return g
}

// whole is the life of a connection in the eyes of the gate.
func whole(g *Gateway, source netip.AddrPort) bool {
	v, no := g.Arrive(&carry.Entrance{Name: "127.0.0.1:0"}, source)
	if no != nil {
		return false
	}
	way, no := v.Choose(carry.Hello{TLS: true, ServerName: "a.example"})
	if no == nil {
		v.Connected(way.Target)
	}
	v.Ended(carry.Outcome{Reason: carry.ReasonClosed})
	return no == nil
}

func TestAConnectionCostsLittle(t *testing.T) {
	g := running(t, wide(1000))
	source := netip.MustParseAddrPort("10.0.1.7:4711")
	if !whole(g, source) {
		t.Fatal("refused")
	}
	if n := testing.AllocsPerRun(1000, func() { whole(g, source) }); n > 1 {
		t.Errorf("%v allocations for each connection", n)
	}
	if n := unsafe.Sizeof(visit{}); n > 240 {
		t.Errorf("a connection is held in %d bytes", n)
	}
}

func BenchmarkGate(b *testing.B) {
	for _, rules := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("let-in/%d", rules), func(b *testing.B) {
			g := running(b, wide(rules))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if !whole(g, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % min(rules, 250))}), 4711)) {
						b.Error("refused")
					}
				}
			})
		})
		b.Run(fmt.Sprintf("refused/%d", rules), func(b *testing.B) {
			g := running(b, wide(rules))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if whole(g, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 4711)) {
						b.Error("let in")
					}
				}
			})
		})
	}
}

// BenchmarkSet is a change of one rule among many, with connections open, and how long the gate is held up by it at most.
func BenchmarkSet(b *testing.B) {
	p := wide(100_000)
	g := running(b, p)
	source := netip.MustParseAddrPort("10.0.1.7:4711")
	ctx, cancel := context.WithCancel(context.Background())
	var longest time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			if !whole(g, source) {
				b.Error("refused")
			}
			longest = max(longest, time.Since(began))
		}
	})
	for b.Loop() {
		g.Set([]plan.Gateway{p})
	}
	cancel()
	wg.Wait()
	b.ReportMetric(float64(longest.Microseconds()), "longest-gate-µs")
}
