package allowlist

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// spread is n rules as customers have them: most a host or a /24, some a /16 around others, one in four IPv6, some with names or ports.
func spread(n int) []plan.Allowlist {
	random := rand.New(rand.NewPCG(1, 2))
	var lists []plan.Allowlist
	for i := range n {
		if i%1000 == 0 {
			lists = append(lists, plan.Allowlist{Name: fmt.Sprintf("ot/ot-cloud/customer-%d", i/1000)})
		}
		var p netip.Prefix
		if i%4 == 3 {
			a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), 15: byte(random.Uint32())})
			p = netip.PrefixFrom(a, []int{48, 56, 64, 128}[random.IntN(4)])
		} else {
			a := netip.AddrFrom4([4]byte{byte(random.IntN(224)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			p = netip.PrefixFrom(a, []int{16, 24, 24, 28, 32, 32, 32, 32}[random.IntN(8)])
		}
		r := resource.AllowRule{Name: fmt.Sprintf("rule-%d", i), Sources: []netip.Prefix{p.Masked()}}
		if i%5 == 0 {
			r.Names = []string{fmt.Sprintf("hub-%d.azure-devices.net", i)}
		}
		if i%7 == 0 {
			r.Ports = []uint16{8883, 5671}
		}
		l := &lists[len(lists)-1]
		l.Rules = append(l.Rules, r)
	}
	return lists
}

// sameRange is n rules for everybody, each for a name of its own.
func sameRange(n int) []plan.Allowlist {
	l := plan.Allowlist{Name: "ot/ot-cloud/names"}
	for i := range n {
		l.Rules = append(l.Rules, resource.AllowRule{
			Name: fmt.Sprintf("rule-%d", i), Sources: prefixes("0.0.0.0/0"), Names: []string{fmt.Sprintf("hub-%d.azure-devices.net", i)},
		})
	}
	return []plan.Allowlist{l}
}

// nested is ranges of every length around one address.
func nested() []plan.Allowlist {
	l := plan.Allowlist{Name: "ot/ot-cloud/nested"}
	a := netip.MustParseAddr("203.0.113.9")
	for bits := range 33 {
		l.Rules = append(l.Rules, resource.AllowRule{
			Name: fmt.Sprintf("rule-%d", bits), Sources: []netip.Prefix{netip.PrefixFrom(a, bits).Masked()}, Names: []string{"a.example", "*.b.example"},
		})
	}
	return []plan.Allowlist{l}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		lists := spread(n)
		table := New(lists, start)
		var inside []netip.Addr
		for i := range 4096 {
			r := lists[i*7919%n/1000].Rules
			inside = append(inside, r[i*7919%len(r)].Sources[0].Addr())
		}
		b.Run(fmt.Sprintf("inside/%d", n), func(b *testing.B) { lookups(b, table, inside) })
		outside := make([]netip.Addr, 4096)
		random := rand.New(rand.NewPCG(3, 4))
		for i := range outside {
			outside[i] = netip.AddrFrom4([4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		}
		b.Run(fmt.Sprintf("anywhere/%d", n), func(b *testing.B) { lookups(b, table, outside) })
	}
	b.Run("same-range/100000", func(b *testing.B) {
		lookups(b, New(sameRange(100_000), start), []netip.Addr{netip.MustParseAddr("203.0.113.9")})
	})
	b.Run("nested/33", func(b *testing.B) { lookups(b, New(nested(), start), []netip.Addr{netip.MustParseAddr("203.0.113.9")}) })
	b.Run("scan/1000", func(b *testing.B) { // what looking at every rule costs
		lists := spread(1_000)
		for b.Loop() {
			slow(lists, question{source: netip.MustParseAddr("203.0.113.9"), port: 8883, name: "hub-500.azure-devices.net", now: start})
		}
	})
}

func lookups(b *testing.B, table *Table, sources []netip.Addr) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Lookup(sources[i%len(sources)], 8883, "hub-500.azure-devices.net", start)
		i++
	}
}

func BenchmarkNew(b *testing.B) {
	for name, lists := range map[string][]plan.Allowlist{"spread": spread(100_000), "same-range": sameRange(100_000)} {
		b.Run(name+"/100000", func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			table := New(lists, start)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			for b.Loop() {
				table = New(lists, start)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(table.Len()), "heap-B/rule")
		})
	}
}

// No answer may cost more than a connection is worth, whatever a client calls itself.
func TestLookupsDoNotAllocate(t *testing.T) {
	long := strings.Repeat("a.", 126) + "z"
	for name, lists := range map[string][]plan.Allowlist{"spread": spread(1000), "same range": sameRange(1000), "nested": nested()} {
		table := New(lists, start)
		for _, source := range []netip.Addr{netip.MustParseAddr("203.0.113.9"), lists[0].Rules[3%len(lists[0].Rules)].Sources[0].Addr()} {
			if n := testing.AllocsPerRun(100, func() {
				table.Lookup(source, 8883, "hub-500.azure-devices.net", start)
				table.Lookup(source, 8883, long, start)
				table.Outlook(source, 8883, start)
				table.NextExpiry(start)
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}
