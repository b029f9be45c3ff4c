package limit

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

var start = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func noRules(string) resource.Limit { return resource.Limit{} }

func TestConnectionsOpenAtOnce(t *testing.T) {
	l := New(Config{}, clock.NewFake(start))
	l.Set(resource.Limit{Connections: 2}, resource.Limit{Connections: 3}, noRules)
	rule := resource.Limit{Connections: 1}
	var a, b, c, d Lease
	if l.Enter(&a, addr("203.0.113.9")) != "" || a.Rule("r", rule) != "" || a.Name("n") != "" {
		t.Fatal("the first is refused")
	}
	if over := l.Enter(&b, addr("::ffff:203.0.113.9")); over != "" {
		t.Fatal(over)
	}
	if over := b.Rule("r", rule); over != RuleConnections {
		t.Errorf("a second for the rule: %q", over)
	}
	if over := b.Rule("s", rule); over != "" {
		t.Errorf("another rule: %q", over)
	}
	if over := l.Enter(&c, addr("203.0.113.9")); over != SourceConnections {
		t.Errorf("a third of the source: %q", over)
	}
	a.Leave()
	a.Leave() // once is all it counts
	if over := l.Enter(&c, addr("203.0.113.9")); over != "" {
		t.Errorf("one has left: %q", over)
	}
	if over := l.Enter(&d, addr("203.0.113.9")); over != SourceConnections {
		t.Errorf("one has left, two have come: %q", over)
	}
	for i, want := range []Over{"", "", "", NameConnections} {
		var x Lease
		if over := l.Enter(&x, addr(fmt.Sprintf("10.0.0.%d", i))); over != "" {
			t.Fatal(over)
		}
		if over := x.Name("n"); over != want {
			t.Errorf("connection %d of a name: %q", i, over)
		}
	}
}

func TestAnIPv6SourceIsItsSubscriber(t *testing.T) {
	l := New(Config{}, clock.NewFake(start))
	l.Set(resource.Limit{Connections: 1}, resource.Limit{}, noRules)
	var a, b Lease
	if over := l.Enter(&a, addr("2001:db8:0:7::1")); over != "" {
		t.Fatal(over)
	}
	if over := l.Enter(&b, addr("2001:db8:0:7:ffff::2")); over != SourceConnections {
		t.Errorf("the same /64: %q", over)
	}
	for _, other := range []string{"2001:db8:0:8::1", "203.0.113.9", "0.0.0.0", "::1"} {
		if over := l.Enter(new(Lease), addr(other)); over != "" {
			t.Errorf("%s: %q", other, over)
		}
	}
}

func TestNewConnectionsASecond(t *testing.T) {
	clk := clock.NewFake(start)
	l := New(Config{}, clk)
	l.Set(resource.Limit{PerSecond: 5}, resource.Limit{}, noRules)
	burst := func() (n int) {
		for {
			var x Lease
			if l.Enter(&x, addr("203.0.113.9")) != "" {
				return n
			}
			x.Leave()
			n++
		}
	}
	if n := burst(); n != 10 {
		t.Errorf("%d at once, twice five are allowed", n)
	}
	clk.Advance(time.Second)
	if n := burst(); n != 5 {
		t.Errorf("%d a second later", n)
	}
	clk.Advance(time.Hour)
	if n := burst(); n != 10 {
		t.Errorf("%d an hour later", n)
	}
	l.Set(resource.Limit{PerSecond: 50}, resource.Limit{}, noRules)
	if n := burst(); n != 0 {
		t.Errorf("%d because the limit grew: the burst was used up", n)
	}
	clk.Advance(time.Second)
	if n := burst(); n != 50 {
		t.Errorf("%d a second after the limit grew", n)
	}
	l.Set(resource.Limit{}, resource.Limit{}, noRules)
	var x Lease
	if over := l.Enter(&x, addr("203.0.113.9")); over != "" {
		t.Error("refused without a limit")
	}
}

func TestLimitsChangeWhileConnectionsAreOpen(t *testing.T) {
	l := New(Config{}, clock.NewFake(start))
	var open [5]Lease
	for i := range open {
		if l.Enter(&open[i], addr("203.0.113.9")) != "" || open[i].Rule("r", resource.Limit{}) != "" || open[i].Name("n") != "" {
			t.Fatal("refused without a limit")
		}
	}
	if open[0].Metered() {
		t.Error("there is no limit of bytes")
	}
	l.Set(resource.Limit{Connections: 5}, resource.Limit{}, noRules)
	var x Lease
	if over := l.Enter(&x, addr("203.0.113.9")); over != SourceConnections {
		t.Errorf("five were open before the limit came: %q", over)
	}
	open[0].Leave()
	if over := l.Enter(&x, addr("203.0.113.9")); over != "" {
		t.Error(over)
	}
	if over := x.Rule("r", resource.Limit{Connections: 4}); over != RuleConnections {
		t.Errorf("four hold the rule: %q", over)
	}
	l.Set(resource.Limit{}, resource.Limit{}, func(id string) resource.Limit {
		if id != "r" {
			t.Errorf("asked for rule %q", id)
		}
		return resource.Limit{BytesPerSecond: 100}
	})
	if n, _ := open[1].Take(1000); n != 100 || !open[1].Metered() {
		t.Errorf("%d bytes pass", n)
	}
	if n, wait := open[2].Take(1000); n != 0 || wait <= 0 {
		t.Errorf("%d bytes pass another connection of the rule", n)
	}
}

// total takes as much as it can for a while on several connections.
func total(clk *clock.Fake, d time.Duration, leases ...*Lease) (sum int) {
	type sleeper struct {
		lease *Lease
		until time.Time
	}
	var all []sleeper
	for _, l := range leases {
		all = append(all, sleeper{l, clk.Now()})
	}
	for end := clk.Now().Add(d); ; {
		next := end
		for i := range all {
			s := &all[i]
			if !s.until.After(clk.Now()) {
				n, wait := s.lease.Take(64 << 10)
				if n < 0 || n == 0 && wait <= 0 || n > 64<<10 {
					panic(fmt.Sprint(n, wait))
				}
				sum += n
				s.until = clk.Now().Add(wait)
			}
			if s.until.Before(next) {
				next = s.until
			}
		}
		if !next.Before(end) {
			clk.Advance(end.Sub(clk.Now()))
			return sum
		}
		clk.Advance(next.Sub(clk.Now()))
	}
}

func TestBytesASecond(t *testing.T) {
	for _, rate := range []int64{1, 9, 10, 1000, 123_457, 1 << 20, 10 << 30} {
		t.Run(strconv.FormatInt(rate, 10), func(t *testing.T) {
			clk := clock.NewFake(start)
			l := New(Config{}, clk)
			l.Set(resource.Limit{BytesPerSecond: rate}, resource.Limit{}, noRules)
			var a, b Lease
			if l.Enter(&a, addr("203.0.113.9")) != "" || l.Enter(&b, addr("203.0.113.9")) != "" {
				t.Fatal("refused")
			}
			const seconds = 10
			if rate > 1<<30 { // too many steps to play
				if n, _ := a.Take(1 << 30); n != 1<<30 {
					t.Errorf("%d bytes", n)
				}
				return
			}
			got := int64(total(clk, seconds*time.Second, &a, &b))
			if most := (seconds + 1) * rate; got > most || got < most-max(2, rate/5) {
				t.Errorf("%d bytes in %d seconds, at most %d", got, seconds, most)
			}
		})
	}
}

func TestTheTightestLimitHoldsAndTheOthersKeepWhatItRefuses(t *testing.T) {
	clk := clock.NewFake(start)
	l := New(Config{}, clk)
	l.Set(resource.Limit{BytesPerSecond: 1000}, resource.Limit{BytesPerSecond: 300}, noRules)
	var a, b Lease
	for _, x := range []*Lease{&a, &b} {
		if l.Enter(x, addr("203.0.113.9")) != "" || x.Rule("r", resource.Limit{BytesPerSecond: 500}) != "" {
			t.Fatal("refused")
		}
	}
	if a.Name("n") != "" {
		t.Fatal("refused")
	}
	if n, _ := a.Take(10_000); n != 300 {
		t.Errorf("%d bytes through the name", n)
	}
	if n, _ := a.Take(10_000); n != 0 {
		t.Errorf("%d more bytes through the name", n)
	}
	if n, _ := b.Take(10_000); n < 199 || n > 200 {
		t.Errorf("%d bytes through the rule, 200 were left", n)
	}
	var c Lease
	if l.Enter(&c, addr("203.0.113.9")) != "" {
		t.Fatal("refused")
	}
	if n, _ := c.Take(10_000); n < 498 || n > 500 {
		t.Errorf("%d bytes through the source, 500 were left", n)
	}
}

func flood(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i))
	return netip.AddrFrom4(b)
}

// Whoever holds a connection is remembered; of the rest, a bounded number.
func TestAFloodOfSources(t *testing.T) {
	clk := clock.NewFake(start)
	l := New(Config{Idle: 1024}, clk)
	l.Set(resource.Limit{Connections: 1, PerSecond: 1}, resource.Limit{PerSecond: 1}, noRules)
	var kept [100]Lease
	for i := range kept {
		if over := l.Enter(&kept[i], netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})); over != "" || kept[i].Name("name-"+strconv.Itoa(i)) != "" {
			t.Fatal(over)
		}
	}
	const many = 300_000
	for i := range many {
		var x Lease
		if over := l.Enter(&x, flood(i)); over != "" {
			t.Fatalf("source %d, which nobody has seen: %q", i, over)
		}
		if over := x.Name(strconv.Itoa(i)); over != "" {
			t.Fatal(over)
		}
		x.Leave()
	}
	if s := l.Stats(); s.IdleSources > 1024 || s.IdleNames > 1024 || s.Sources != s.IdleSources+100 || s.Names != s.IdleNames+100 || s.Rules != 0 {
		t.Errorf("%+v", s)
	}
	for i := range kept {
		if over := l.Enter(new(Lease), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})); over != SourceConnections {
			t.Fatalf("source %d was forgotten: %q", i, over)
		}
	}
	var last Lease // the latest ones are still known
	if l.Enter(&last, flood(many-1)) != "" {
		t.Error("the second of its burst")
	}
	last.Leave()
	if over := l.Enter(&last, flood(many-1)); over != SourceRate {
		t.Errorf("the third of its burst: %q", over)
	}
	for i := range kept {
		kept[i].Leave()
	}
	// Whoever has rested goes as others come.
	clk.Advance(time.Minute)
	for i := range 2 * 1024 {
		var x Lease
		if over := l.Enter(&x, flood(many+i)); over != "" {
			t.Fatal(over)
		}
		x.Leave()
		clk.Advance(10 * time.Millisecond)
	}
	if s := l.Stats(); s.Sources > 2*shards+200 {
		t.Errorf("%d sources are remembered, of which 200 can matter", s.Sources)
	}
}

func TestNothingIsRememberedWithoutRates(t *testing.T) {
	l := New(Config{}, clock.NewFake(start))
	l.Set(resource.Limit{Connections: 10}, resource.Limit{}, noRules)
	for i := range 1000 {
		var x Lease
		if l.Enter(&x, flood(i)) != "" || x.Name("n") != "" || x.Rule("r", resource.Limit{}) != "" {
			t.Fatal("refused")
		}
		x.Leave()
	}
	if s := l.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
}

// A twin which keeps everything and counts tokens in billionths.
type twin struct {
	limit  resource.Limit
	open   map[string]int
	tokens map[string]int64
	at     map[string]time.Time
}

func newTwin(limit resource.Limit) *twin {
	return &twin{limit, map[string]int{}, map[string]int64{}, map[string]time.Time{}}
}

func (w *twin) enter(key string, now time.Time) string {
	if w.limit.Connections > 0 && w.open[key] >= w.limit.Connections {
		return "connections"
	}
	if r := int64(w.limit.PerSecond); r > 0 {
		had, ok := w.tokens[key]
		if !ok {
			had = 2 * r * second
		}
		had = min(2*r*second, had+r*int64(now.Sub(w.at[key])))
		if !ok {
			had = 2 * r * second
		}
		w.at[key], w.tokens[key] = now, had
		if had < second {
			return "rate"
		}
		w.tokens[key] -= second
	}
	w.open[key]++
	return ""
}

func TestAgainstCountingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Custom(func(t *rapid.T) resource.Limit {
			// Rates that divide a second, so that both count exactly.
			return resource.Limit{Connections: rapid.IntRange(0, 4).Draw(t, "connections"), PerSecond: rapid.SampledFrom([]int{0, 1, 2, 5, 10}).Draw(t, "rate")}
		})
		source, name, rule := newTwin(limit.Draw(t, "source")), newTwin(limit.Draw(t, "name")), newTwin(limit.Draw(t, "rule"))
		clk := clock.NewFake(start)
		l := New(Config{}, clk)
		l.Set(source.limit, name.limit, noRules)
		type visit struct {
			lease              *Lease
			source, rule, name string
		}
		var open []visit
		leave := func(v visit) {
			v.lease.Leave()
			source.open[v.source]--
			rule.open[v.rule]--
			name.open[v.name]--
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				clk.Advance(time.Duration(rapid.IntRange(1, 8).Draw(t, "pass")) * 100 * time.Millisecond)
			case 1:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "who")
					leave(open[i])
					open = append(open[:i], open[i+1:]...)
				}
			default:
				v := visit{lease: new(Lease), source: rapid.SampledFrom([]string{"203.0.113.1", "203.0.113.2", "2001:db8::1"}).Draw(t, "source")}
				want := source.enter(v.source, clk.Now())
				got := l.Enter(v.lease, addr(v.source))
				if want != "" {
					if got != Over("source-"+want) {
						t.Fatalf("%q, wanted source-%s", got, want)
					}
					continue
				}
				r := rapid.SampledFrom([]string{"r", "s"}).Draw(t, "rule")
				n := rapid.SampledFrom([]string{"m", "n"}).Draw(t, "name")
				if want := rule.enter(r, clk.Now()); want != "" {
					if got := v.lease.Rule(r, rule.limit); got != Over("rule-"+want) {
						t.Fatalf("%q, wanted rule-%s", got, want)
					}
				} else if v.rule, got = r, v.lease.Rule(r, rule.limit); got != "" {
					t.Fatal(got)
				} else if want := name.enter(n, clk.Now()); want != "" {
					if got := v.lease.Name(n); got != Over("name-"+want) {
						t.Fatalf("%q, wanted name-%s", got, want)
					}
				} else if v.name, got = n, v.lease.Name(n); got != "" {
					t.Fatal(got)
				} else {
					open = append(open, v)
					continue
				}
				leave(v)
			}
		}
		for _, v := range open {
			leave(v)
		}
		if s := l.Stats(); s.Sources != s.IdleSources || s.Rules != s.IdleRules || s.Names != s.IdleNames {
			t.Fatalf("all have left: %+v", s)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	l := New(Config{Idle: 128}, clock.System{})
	l.Set(resource.Limit{Connections: 3, BytesPerSecond: 1 << 40}, resource.Limit{}, noRules)
	var open [4]atomic.Int32
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				who := (g + i) % len(open)
				var x Lease
				if l.Enter(&x, flood(who)) != "" {
					continue
				}
				if n := open[who].Add(1); n > 3 {
					t.Errorf("%d connections of one source", n)
				}
				_ = x.Rule("r", resource.Limit{PerSecond: 1 << 20})
				_ = x.Name(strconv.Itoa(i % 10))
				x.Take(1000)
				if i%100 == 0 {
					l.Set(resource.Limit{Connections: 3, BytesPerSecond: int64(i)}, resource.Limit{}, noRules)
					l.Stats()
				}
				open[who].Add(-1)
				x.Leave()
			}
		})
	}
	wg.Wait()
	if s := l.Stats(); s.Sources != s.IdleSources || s.Rules != s.IdleRules || s.Names != s.IdleNames {
		t.Errorf("all have left: %+v", s)
	}
}

// Time stands still, so that all of them together get what there is and not a byte more.
func TestManyShareOneBucket(t *testing.T) {
	l := New(Config{}, clock.NewFake(start))
	l.Set(resource.Limit{BytesPerSecond: 1_000_000}, resource.Limit{BytesPerSecond: 900_000}, noRules)
	var total atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		var x Lease
		if l.Enter(&x, addr("203.0.113.9")) != "" || g < 4 && x.Name("n") != "" {
			t.Fatal("refused")
		}
		wg.Go(func() {
			for {
				n, wait := x.Take(1 + g*100)
				if total.Add(int64(n)); n == 0 {
					if wait <= 0 {
						t.Error("nothing passes, and there is nothing to wait for")
					}
					return
				}
			}
		})
	}
	wg.Wait()
	// What a name refused may just have been missing when another asked.
	if n := total.Load(); n > 1_000_000 || n < 990_000 {
		t.Errorf("%d bytes of 1,000,000 passed", n)
	}
}

func TestNothingIsAllocatedForThoseWhoComeAgain(t *testing.T) {
	l := New(Config{}, clock.System{})
	l.Set(resource.Limit{Connections: 3, PerSecond: 1 << 20, BytesPerSecond: 1 << 40}, resource.Limit{Connections: 10}, noRules)
	var x Lease
	if n := testing.AllocsPerRun(1000, func() {
		if l.Enter(&x, addr("203.0.113.9")) != "" || x.Rule("ot/ot-cloud/fabrikam/plant", resource.Limit{}) != "" || x.Name("contoso.azure-devices.net") != "" {
			t.Fatal("refused")
		}
		x.Take(100)
		x.Leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVisit(b *testing.B) {
	for _, sources := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d-sources", sources), func(b *testing.B) {
			l := New(Config{}, clock.System{})
			l.Set(resource.Limit{Connections: 1 << 20, PerSecond: 1 << 29}, resource.Limit{Connections: 1 << 20}, noRules)
			var next atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				i := int(next.Add(1)) * 7919
				var x Lease
				for pb.Next() {
					if over := l.Enter(&x, flood(i%sources)); over != "" {
						b.Fatal(over)
					}
					_ = x.Rule("ot/ot-cloud/fabrikam/plant", resource.Limit{})
					_ = x.Name("contoso.azure-devices.net")
					x.Leave()
					i++
				}
			})
		})
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Config{}, clock.System{})
	l.Set(resource.Limit{BytesPerSecond: 1 << 50}, resource.Limit{BytesPerSecond: 1 << 50}, noRules)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var x Lease
		_, _, _ = l.Enter(&x, addr("203.0.113.9")), x.Rule("r", resource.Limit{BytesPerSecond: 1 << 50}), x.Name("n")
		for pb.Next() {
			if n, _ := x.Take(16 << 10); n == 0 {
				b.Fatal("nothing passes")
			}
		}
	})
}

// What a remembered source takes, with its place in the table.
func BenchmarkMemory(b *testing.B) {
	clk := clock.NewFake(start)
	for b.Loop() {
		l := New(Config{Idle: 1 << 20}, clk)
		l.Set(resource.Limit{PerSecond: 1}, resource.Limit{}, noRules)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 200_000 {
			var x Lease
			_ = l.Enter(&x, flood(i*7919))
			x.Leave()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/200_000, "B/source")
		runtime.KeepAlive(l)
	}
}
