package balance

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/resource"
)

func many(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("10.0.%d.%d:8883", i/250, i%250+1))
	}
	return out
}

func bySource(targets ...string) resource.TargetGroup {
	g := unchecked(targets...)
	g.Balance = resource.BySource
	return g
}

func TestEqualsTakeTurns(t *testing.T) {
	g := still(t, unchecked(many(4)...))
	count := map[string]int{}
	for range 400 {
		var a Attempt
		at, _ := g.Next(&a, someone, 0)
		count[at.String()]++
		a.Released()
	}
	for at, n := range count {
		if n != 100 {
			t.Errorf("%s got %d of 400", at, n)
		}
	}
	if len(count) != 4 {
		t.Error("targets used:", len(count))
	}
}

// The one with the fewest connections of the lowest rank, whatever came before: compared with a model that counts by itself.
func TestLeastConnectionsAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := still(t, unchecked(many(rapid.IntRange(1, 6).Draw(rt, "targets"))...))
		open := map[string]int{}
		ranks := map[string]int{}
		for at, x := range g.targets {
			s := rapid.SampledFrom([]State{Up, Up, Untested, Down, Ejected}).Draw(rt, "state")
			x.state.Store(uint32(s))
			ranks[at.String()] = map[State]int{Up: 0, Untested: 1, Down: 2, Ejected: 2}[s]
			open[at.String()] = 0
		}
		var live []*Attempt
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(rt, "release") {
				i := rapid.IntRange(0, len(live)-1).Draw(rt, "which")
				open[live[i].at.at.String()]--
				live[i].Released()
				live = slices.Delete(live, i, i+1)
				continue
			}
			a := new(Attempt)
			got, _ := g.Next(a, someone, 0)
			for at, n := range open {
				if ranks[at] < ranks[got.String()] || ranks[at] == ranks[got.String()] && n < open[got.String()] {
					rt.Fatalf("got %s with %d connections and rank %d, while %s has %d and %d",
						got, open[got.String()], ranks[got.String()], at, n, ranks[at])
				}
			}
			open[got.String()]++
			live = append(live, a)
		}
		for at, x := range g.targets {
			if int(x.open.Load()) != open[at.String()] {
				rt.Fatalf("%s: %d counted, %d open", at, x.open.Load(), open[at.String()])
			}
		}
	})
}

func TestEveryTargetIsTriedOnceAndTheBestFirst(t *testing.T) {
	for _, balance := range []resource.Balance{resource.LeastConnections, resource.BySource} {
		group := unchecked(many(6)...)
		group.Balance = balance
		g := still(t, group)
		set := func(at string, s State) { g.targets[netip.MustParseAddrPort(at)].state.Store(uint32(s)) }
		set("10.0.0.1:8883", Down)
		set("10.0.0.2:8883", Untested)
		set("10.0.0.3:8883", Ejected)
		set("10.0.0.4:8883", Untested)
		got := order(g, someone, 0)
		if len(got) != 6 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 6 {
			t.Fatalf("%s: %v", balance, got)
		}
		slices.Sort(got[:2])
		slices.Sort(got[2:4])
		slices.Sort(got[4:])
		want := []string{"10.0.0.5:8883", "10.0.0.6:8883", "10.0.0.2:8883", "10.0.0.4:8883", "10.0.0.1:8883", "10.0.0.3:8883"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", balance, got)
		}
		for at, x := range g.targets {
			if x.open.Load() != 0 {
				t.Errorf("%s: %d connections are counted still", at, x.open.Load())
			}
		}
	}
}

func TestTriesAreBounded(t *testing.T) {
	if n := len(order(still(t, unchecked(many(100)...)), someone, 0)); n != MostTries {
		t.Error("tried", n)
	}
}

// twin is rendezvous hashing as a text book has it, over text.
func twin(targets []string, source netip.Addr) []string {
	out := slices.Clone(targets)
	score := func(at string) uint64 {
		p := netip.MustParseAddrPort(at)
		b := p.Addr().As16()
		key := mix(mix(mix(binary.BigEndian.Uint64(b[:8]))^binary.BigEndian.Uint64(b[8:])) ^ uint64(p.Port()))
		if source.Is4() {
			four := source.As4()
			return mix(mix(uint64(binary.BigEndian.Uint32(four[:]))|4<<32) ^ key)
		}
		s := source.As16()
		return mix(mix(mix(binary.BigEndian.Uint64(s[:8]))+6) ^ key)
	}
	slices.SortFunc(out, func(a, b string) int {
		if score(a) > score(b) {
			return -1
		}
		return 1
	})
	return out
}

func source(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.Uint64())
	b[0] = 0x20
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	return netip.AddrFrom16(b)
}

func TestHashingAgreesWithItsTwin(t *testing.T) {
	targets := append(many(9), "[2001:db8::1]:8883", "[2001:db8::2]:8883", "10.0.0.1:443")
	g := still(t, bySource(targets...))
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := source(r)
		if got, want := order(g, s, 0), twin(targets, s); !slices.Equal(got, want) {
			t.Fatalf("%s:\n got %v\nwant %v", s, got, want)
		}
	}
}

// What a source leads to must be the same in every process and version.
func TestHashingIsFixed(t *testing.T) {
	g := still(t, bySource(many(5)...))
	for source, want := range map[string]string{
		"203.0.113.9": "10.0.0.2:8883", "198.51.100.1": "10.0.0.3:8883", "2001:db8::9": "10.0.0.4:8883", "2001:db8:0:1::": "10.0.0.4:8883",
	} {
		if got := order(g, netip.MustParseAddr(source), 0)[0]; got != want {
			t.Errorf("%s leads to %s, not %s", source, got, want)
		}
	}
	if a, b := order(g, netip.MustParseAddr("2001:db8::1"), 0)[0], order(g, netip.MustParseAddr("2001:db8::ffff:2"), 0)[0]; a != b {
		t.Error("two addresses of one /64 lead to", a, "and", b)
	}
	if a, b := order(g, someone, 0)[0], order(g, netip.AddrFrom16(someone.As16()), 0)[0]; a != b {
		t.Error("an IPv4 address in IPv6 dress leads elsewhere:", a, b)
	}
}

// When a target leaves, those of its sources move and no other, and they spread over the rest.
func TestOnlySourcesOfTheLostTargetMove(t *testing.T) {
	const sources, n = 20_000, 10
	g := still(t, bySource(many(n)...))
	r := rand.New(rand.NewPCG(3, 4))
	before := map[netip.Addr]string{}
	share := map[string]int{}
	for range sources {
		s := source(r)
		before[s] = order(g, s, 0)[0]
		share[before[s]]++
	}
	most, least := 0, sources
	for _, c := range share {
		most, least = max(most, c), min(least, c)
	}
	t.Logf("shares of %d: %d to %d", sources/n, least, most)
	if most > sources/n*115/100 || least < sources/n*85/100 {
		t.Errorf("shares go from %d to %d", least, most)
	}
	lost := "10.0.0.4:8883"
	g.targets[netip.MustParseAddrPort(lost)].state.Store(uint32(Down))
	moved := map[string]int{}
	for s, was := range before {
		now := order(g, s, 0)[0]
		if was != lost && now != was {
			t.Fatalf("%s moved from %s to %s", s, was, now)
		}
		if was == lost {
			moved[now]++
		}
	}
	if len(moved) != n-1 {
		t.Errorf("the sources of the lost target went to %d others", len(moved))
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	for _, group := range []resource.TargetGroup{unchecked(many(16)...), bySource(many(16)...)} {
		g := still(t, group)
		var a Attempt
		if n := testing.AllocsPerRun(1000, func() {
			_, _ = g.Next(&a, someone, 0)
			a.Connected()
			a.Released()
		}); n != 0 {
			t.Errorf("%s: %v allocations", group.Balance, n)
		}
	}
}

func TestCountsComeOutEvenWhileTheConfigurationChanges(t *testing.T) {
	n := newNetwork()
	b, g := start(t, n, unchecked(many(8)...))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(w)))
			for range 3000 {
				var a Attempt
				for range r.IntN(4) {
					if _, ok := g.Next(&a, source(r), 8883); !ok {
						break
					}
					if r.IntN(3) == 0 {
						a.Failed(errRefused)
					} else {
						a.Connected()
					}
				}
				a.Released()
				a.Released()
			}
		})
	}
	all := map[*target]bool{}
	for i := range 50 {
		group := unchecked(many(4 + i%8)...)
		group.Name = "g"
		if i%3 == 0 {
			group.Balance = resource.BySource
		}
		b.Set([]Use{{Gateway: "gw", Group: group}})
		g.mu.Lock()
		for _, x := range g.targets {
			all[x] = true
		}
		g.mu.Unlock()
	}
	wg.Wait()
	for x := range all {
		if x.open.Load() != 0 || x.trying.Load() {
			t.Errorf("%s: %d connections counted, trying %v", x.at, x.open.Load(), x.trying.Load())
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{4, 256} {
		for _, balance := range []resource.Balance{resource.LeastConnections, resource.BySource} {
			b.Run(fmt.Sprintf("%s/%d", balance, n), func(b *testing.B) {
				group := unchecked(many(n)...)
				group.Balance = balance
				g := still(b, group)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					var a Attempt
					for pb.Next() {
						_, _ = g.Next(&a, someone, 0)
						a.Connected()
						a.Released()
					}
				})
			})
		}
	}
}
