package refusals

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is a log without times.
func logged(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func source(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// running calls f beside Run and returns what was logged.
func running(t *testing.T, f func(l *Ledger, b *bytes.Buffer)) string {
	t.Helper()
	var b bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{}, logged(&b), clock.System{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		f(l, &b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b.String()
}

// later lets the ledger do what is due.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTheFirstAtOnceAndThenALineInAWhile(t *testing.T) {
	got := running(t, func(l *Ledger, b *bytes.Buffer) {
		l.Refused(Refusal{Gateway: "g", Listener: "mqtt", Reason: "denied", Rule: "a/r", Name: "n.example", Source: source(1)})
		l.Refused(Refusal{Gateway: "g", Listener: "mqtt", Reason: "no-rule", Source: source(2)})
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("%d lines at once", n)
		}
		for i := range 9 {
			l.Refused(Refusal{Gateway: "g", Reason: "denied", Rule: "a/r", Name: "n" + strconv.Itoa(i%2), Source: source(i % 4)})
		}
		later(10 * time.Second)
		b.WriteString("--\n")
		l.Refused(Refusal{Gateway: "g", Reason: "no-rule", Source: source(2)}) // was quiet
		l.Refused(Refusal{Gateway: "g", Reason: "denied", Source: source(2)})  // was not
		later(10 * time.Second)
		b.WriteString("--\n")
		later(10 * time.Second)
		l.Refused(Refusal{Gateway: "g", Reason: "denied", Detail: "in-person", Source: source(3)})
		l.Refused(Refusal{Gateway: "g", Reason: "denied", Source: source(4)})
		b.WriteString("-- the end\n")
	})
	want := `msg="gateway refused a connection" gateway=g listener=mqtt reason=denied source=10.0.0.1 name=n.example rule=a/r
msg="gateway refused a connection" gateway=g listener=mqtt reason=no-rule source=10.0.0.2
msg="gateway refused more connections" reason=denied count=9 sources=4 topSources="10.0.0.0 (3), 10.0.0.1 (2), 10.0.0.2 (2)" topNames="n0 (5), n1 (4)" topRules="a/r (9)"
--
msg="gateway refused a connection" gateway=g listener="" reason=no-rule source=10.0.0.2
msg="gateway refused more connections" reason=denied count=1 sources=1 topSources="10.0.0.2 (1)"
--
msg="gateway refused a connection" gateway=g listener="" reason=denied source=10.0.0.3 detail=in-person
-- the end
msg="gateway refused more connections" reason=denied count=1 sources=1 topSources="10.0.0.4 (1)"
`
	if got != want {
		t.Errorf("got\n%s\nwanted\n%s", got, want)
	}
}

func TestAFloodIsLoggedOnceAndKeptSmall(t *testing.T) {
	const many = 200_000
	var heap uint64
	got := running(t, func(l *Ledger, _ *bytes.Buffer) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range many {
			r := Refusal{Gateway: "g", Reason: "no-rule", Name: strconv.Itoa(i) + ".example", Source: source(i)}
			if i%10 == 0 {
				r.Source = source(many) // one of them is a tenth of all
			}
			if i%3 == 0 {
				r.Reason = "reason-" + strconv.Itoa(i) // which code does not do
			}
			if i%5 == 0 {
				r.Rule = "rule-" + strconv.Itoa(i)
			}
			l.Refused(r)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap = after.HeapAlloc - before.HeapAlloc
		if len(l.reasons) > mostReasons+1 || len(l.series) > l.cfg.Series+2*mostReasons || len(l.recent) > l.cfg.Recent || len(l.culprits.counts) > culprits {
			t.Errorf("%d reasons, %d series, %d recent, %d culprits", len(l.reasons), len(l.series), len(l.recent), len(l.culprits.counts))
		}
		total := uint64(0)
		for _, c := range l.Counts() {
			total += c.N
		}
		if total != many {
			t.Errorf("%d of %d are counted", total, many)
		}
		later(10 * time.Second)
	})
	if heap > 8<<20 {
		t.Errorf("%d bytes are held", heap)
	}
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) > 2*(mostReasons+1)+1 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(line, "more connections") || !strings.Contains(line, "reason=no-rule") {
			continue
		}
		if !strings.Contains(line, `topSources="`+source(many).String()+" (at least ") {
			t.Errorf("who is a tenth of all does not stand out: %s", line)
		}
		var n uint64
		_, rest, _ := strings.Cut(line, "sources=")
		if _, err := fmt.Sscan(rest, &n); err != nil || math.Abs(float64(n)/(many*2/3*0.9)-1) > 0.15 {
			t.Errorf("%d sources: %s", n, line)
		}
		return
	}
	t.Errorf("no line about the flood:\n%s", got)
}

func TestRecentAndCulprits(t *testing.T) {
	l := New(Config{Recent: 10}, slog.New(slog.DiscardHandler), clock.NewFake(time.Unix(1, 0)), nil)
	for i := range 25 {
		if got := l.Recent(100); len(got) != min(i, 10) || i > 0 && got[0].Source != source(i-1) {
			t.Fatalf("after %d: %v", i, got)
		}
		l.Refused(Refusal{Reason: "no-rule", Source: source(i)})
	}
	got := l.Recent(3)
	if len(got) != 3 || got[0].Source != source(24) || got[2].Source != source(22) || !got[0].At.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", got)
	}
	for range 3 {
		l.Refused(Refusal{Reason: "denied", Rule: "a/r", Name: "n.example", Source: source(7)})
	}
	if c := l.Culprits(1); len(c) != 1 || c[0] != (Culprit{"denied", "a/r", "n.example", source(7), 3}) {
		t.Errorf("%+v", c)
	}
	if len(l.Culprits(1000)) != 26 {
		t.Errorf("%+v", l.Culprits(1000))
	}
}

func TestMetricsHaveNamesOfRoutesOnly(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := New(Config{Series: 3}, slog.New(slog.DiscardHandler), clock.System{}, reg)
	for _, r := range []Refusal{
		{Reason: "denied", Rule: "a/r", Name: "x.example", Pattern: "*.example"},
		{Reason: "denied", Rule: "a/r", Name: "y.example", Pattern: "*.example"},
		{Reason: "denied", Rule: "a/r", Name: "made.up"},
		{Reason: "denied", Rule: "a/r", Name: "up.made"},
		{Reason: "no-rule"},
		{Reason: "no-rule", Rule: "there is no more room"},
		{Reason: "no-rule", Rule: "nor for this"},
		{Reason: "denied", Rule: "a/r", Name: "x.example", Pattern: "*.example"}, // has its place
	} {
		r.Gateway = "g"
		l.Refused(r)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "isthmus_gateway_refusals_total" {
		t.Fatalf("%v, %v", families, err)
	}
	var got []string
	for _, m := range families[0].GetMetric() {
		text := ""
		for _, label := range m.GetLabel() { // by name
			text += label.GetName() + "=" + label.GetValue() + " "
		}
		got = append(got, text+fmt.Sprint(m.GetCounter().GetValue()))
	}
	slices.Sort(got)
	want := []string{
		"gateway=g name= reason=no-rule rule= 1",
		"gateway=g name=*.example reason=denied rule=a/r 3",
		"gateway=g name=other reason=denied rule=a/r 2",
		"gateway=g name=other reason=no-rule rule=other 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Whoever is frequent is there, and nobody is counted too often.
func TestFrequentAgainstCountingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 6).Draw(t, "most")
		f := newFrequent[int](most)
		exact := map[int]uint64{}
		all := rapid.SliceOfN(rapid.IntRange(0, 10), 0, 200).Draw(t, "what comes")
		for _, k := range all {
			f.add(k)
			exact[k]++
		}
		if len(f.counts) > most {
			t.Fatalf("%d are kept, %d may be", len(f.counts), most)
		}
		for k, n := range exact {
			got := f.counts[k]
			if got > n || n-got > f.lost || f.lost > uint64(len(all)/(most+1)) {
				t.Fatalf("%d came %d times and is counted %d times; all lost %d", k, n, got, f.lost)
			}
		}
	})
}

func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 100, 1000, 5000, 20_000, 200_000} {
		d := newReason().many
		for i := range 3 * n {
			d.add(source(i % max(1, n)))
		}
		if got := d.estimate(); math.Abs(float64(got)-float64(n)) > 0.15*float64(n)+0.5 {
			t.Errorf("%d are estimated as %d", n, got)
		}
		if d.clear(); d.estimate() != 0 {
			t.Error("something is left")
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	l := New(Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				l.Refused(Refusal{Reason: "no-rule", Source: source(g*i + i)})
				if i%100 == 0 {
					l.summarise()
					l.Recent(10)
					l.Culprits(10)
				}
			}
		})
	}
	wg.Wait()
	if c := l.Counts(); len(c) != 1 || c[0].N != 4000 {
		t.Errorf("%+v", c)
	}
}

func BenchmarkRefused(b *testing.B) {
	for name, sources := range map[string]int{"one-source": 1, "many-sources": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			l := New(Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Refused(Refusal{Gateway: "ot/ot-cloud/front", Listener: "mqtt", Reason: "no-rule", Name: "contoso.azure-devices.net", Source: source(i % sources)})
				i++
			}
		})
	}
}
