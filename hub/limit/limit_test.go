package limit

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
)

var begin = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func of(c Class, device, hub Rate) Limits {
	var l Limits
	l.Device[c], l.Hub[c] = device, hub
	return l
}

func TestABurstThenTheRate(t *testing.T) {
	h := New(Rates{}, begin).Hub("ot", of(Messages, Rate{10, 20}, Rate{}))
	d := h.Holder("d", begin)
	for i := range 20 {
		if v := h.Take(d, Messages, 1, begin); v != (Verdict{}) {
			t.Fatalf("unit %d: %+v", i, v)
		}
	}
	for range 2 { // what is refused is not counted
		if v := h.Take(d, Messages, 1, begin); v != (Verdict{100 * time.Millisecond, Device}) {
			t.Fatalf("the 21st: %+v", v)
		}
	}
	if v := h.Take(h.Holder("e", begin), Messages, 1, begin); v.Level != None {
		t.Errorf("another device: %+v", v)
	}
	if v := h.Take(d, TwinReads, 1, begin); v.Level != None {
		t.Errorf("another class: %+v", v)
	}
	if v := h.Take(d, Messages, 3, begin.Add(300*time.Millisecond)); v.Level != None {
		t.Errorf("later: %+v", v)
	}
	if v := h.Take(d, Messages, 1000, begin.Add(time.Hour)); v.Level != None {
		t.Errorf("what costs more than the burst costs the burst: %+v", v)
	}
	if v := h.Take(d, Messages, 1, begin.Add(time.Hour)); v.Level != Device {
		t.Errorf("after it: %+v", v)
	}
}

func TestARefusalAboveGivesBackBelow(t *testing.T) {
	tenants := Rates{}
	tenants[Methods] = Rate{1, 4}
	l := New(tenants, begin)
	a := l.Hub("ot", of(Methods, Rate{1, 4}, Rate{1, 10}))
	b := l.Hub("ot", of(Methods, Rate{1, 4}, Rate{1, 10}))
	c := l.Hub("ot", of(Methods, Rate{1, 4}, Rate{1, 10}))
	other := l.Hub("it", of(Methods, Rate{1, 4}, Rate{1, 10}))
	for i := range 3 {
		if v := b.Take(b.Holder(fmt.Sprint(i), begin), Methods, 1, begin); v.Level != None {
			t.Fatal(v)
		}
	}
	if v := c.Take(nil, Methods, 1, begin); v.Level != None {
		t.Fatal(v)
	}
	d := a.Holder("d", begin)
	for range 100 {
		if v := a.Take(d, Methods, 1, begin); v.Level != Tenant || v.Wait != time.Second {
			t.Fatal(v)
		}
	}
	if d.buckets[Methods].used(0) != 0 || a.Used(Methods, begin) != 0 {
		t.Errorf("the device has used %v, its hub %v", d.buckets[Methods].used(0), a.Used(Methods, begin))
	}
	if v := other.Take(nil, Methods, 1, begin); v.Level != None {
		t.Errorf("another tenant: %+v", v)
	}
	if got := a.Counts(); len(got) != 1 || got[0] != (Count{Methods, Tenant, 100}) {
		t.Errorf("counts %+v", got)
	}
}

// Run-away devices ask for ten times what the hub has; calm ones ask for a twentieth of it, all together.
func TestRunawaysLeaveTheCalmAlone(t *testing.T) {
	h := New(Rates{}, begin).Hub("ot", of(Messages, Rate{200, 400}, Rate{1000, 2000}))
	const step = time.Millisecond
	var calm, refused, fast int
	for ms := range 60_000 {
		now := begin.Add(time.Duration(ms) * step)
		for i := range 10 {
			for range 1 { // 1,000 a second each
				if h.Take(h.Holder(fmt.Sprintf("runaway-%d", i), now), Messages, 1, now).Level == None {
					fast++
				}
			}
		}
		if ms%200 == 0 { // ten devices, five a second each
			for i := range 10 {
				calm++
				if h.Take(h.Holder(fmt.Sprintf("calm-%d", i), now), Messages, 1, now).Level != None {
					refused++
				}
			}
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d calm messages were refused", refused, calm)
	}
	if total := fast + calm; total < 59_000 || total > 63_000 {
		t.Errorf("%d messages in a minute, the hub's rate is 1,000 a second", total)
	}
}

// Crowds of any size run away from one moment to the next, each device with its whole burst; the calm ones come a little later and are
// never refused.
func TestACrowdThatRunsAwayAtOnce(t *testing.T) {
	for _, crowd := range []int{1, 2, 10, 100, 300} {
		h := New(Rates{}, begin).Hub("ot", of(Messages, Rate{500, 1000}, Rate{1000, 2000}))
		refused, got := 0, 0
		for ms := range 2500 {
			now := begin.Add(time.Duration(ms) * time.Millisecond)
			for i := range max(crowd, 2000/(ms+1)) { // a great gush first
				if h.Take(h.Holder(fmt.Sprintf("runaway-%d", i%crowd), now), Messages, 1, now).Level == None {
					got++
				}
			}
			if ms >= 1 && ms%100 == 1 {
				if h.Take(h.Holder(fmt.Sprintf("calm-%d", ms/100%25), now), Messages, 1, now).Level != None {
					refused++
				}
			}
		}
		if want := min(500*crowd, 1000) * 5 / 2; refused > 0 || got < want*9/10 {
			t.Errorf("of a crowd of %d: %d calm messages were refused; the crowd got %d of at least %d", crowd, refused, got, want)
		}
	}
}

// A hub that runs away stands to its tenant as a device to its hub.
func TestARunawayHubLeavesTheOtherAlone(t *testing.T) {
	tenants := Rates{}
	tenants[Messages] = Rate{1000, 2000}
	l := New(tenants, begin)
	a, b := l.Hub("ot", of(Messages, Rate{}, Rate{800, 1600})), l.Hub("ot", of(Messages, Rate{}, Rate{800, 1600}))
	for ms := range 20_000 {
		now := begin.Add(time.Duration(ms) * time.Millisecond)
		for range 3 {
			a.Take(nil, Messages, 1, now)
		}
		if ms%3 == 0 {
			if v := b.Take(nil, Messages, 1, now); v.Level != None {
				t.Fatalf("after %d ms the calm hub was refused: %+v", ms, v)
			}
		}
	}
}

// The twin counts tokens as a book would say it.
type twin struct {
	rate, burst, tokens float64
	last                time.Time
}

func (b *twin) fill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
	b.last = now
}

func TestABucketIsATokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.5, 5000).Draw(t, "rate")
		burst := rapid.Float64Range(1, 500).Draw(t, "burst")
		h := New(Rates{}, begin).Hub("ot", of(Queries, Rate{rate, burst}, Rate{}))
		d := h.Holder("d", begin)
		slow := &twin{rate, burst, burst, begin}
		now := begin
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100_000_000).Draw(t, "pass")))
			cost := rapid.IntRange(1, 20).Draw(t, "cost")
			slow.fill(now)
			want := math.Min(float64(cost), burst)
			v := h.Take(d, Queries, cost, now)
			const rounding = 1e-3
			if v.Level == None {
				if slow.tokens < want-rounding {
					t.Fatalf("admitted %d with %g tokens", cost, slow.tokens)
				}
				slow.tokens -= want
				continue
			}
			if slow.tokens > want+rounding {
				t.Fatalf("refused %d with %g tokens", cost, slow.tokens)
			}
			if w := (want - slow.tokens) / rate; math.Abs(w-v.Wait.Seconds()) > rounding/rate+1e-6 {
				t.Fatalf("it is to wait %v, the twin says %g s", v.Wait, w)
			}
		}
	})
}

func TestTheIdleAreForgotten(t *testing.T) {
	h := New(Rates{}, begin).Hub("ot", of(Messages, Rate{1, 2}, Rate{}))
	now := begin
	h.Hold("held", now)
	for i := range 1_000_000 {
		now = now.Add(time.Millisecond)
		h.Take(h.Holder(fmt.Sprint(i), now), Messages, 1, now)
	}
	if n := h.Known(); n > 10_000 {
		t.Errorf("%d names are known, a thousand were active in the last second", n)
	}
	for i := range 200_000 { // all at one instant: none is idle
		h.Take(h.Holder("x"+fmt.Sprint(i), now), Messages, 1, now)
	}
	if n := h.Known(); n > shards*maxKnown+1 {
		t.Errorf("%d names are known", n)
	}
	if d := h.Holder("held", now); d == &h.others || d.held != 1 {
		t.Error("the held one was forgotten")
	}
	h.Release("held")
	h.Release("held")
	h.Release("nobody")
	if d := h.Holder("held", now); d.held != 0 {
		t.Errorf("held %d times", d.held)
	}
}

func TestTroubleIsRemembered(t *testing.T) {
	h := New(Rates{}, begin).Hub("ot", of(Messages, Rate{1, 1}, Rate{}))
	for i := range 5 {
		now := begin.Add(time.Duration(i) * 100 * time.Millisecond)
		h.Take(h.Holder("d", now), Messages, 1, now)
	}
	got := h.Troubles("d", begin.Add(time.Second))
	if len(got) != 1 || got[0].Class != Messages || got[0].Level != Device || !got[0].Now || got[0].Count != 4 || !got[0].Since.Equal(begin.Add(100*time.Millisecond)) {
		t.Errorf("%+v", got)
	}
	if got := h.Troubles("d", begin.Add(time.Minute)); len(got) != 1 || got[0].Now {
		t.Errorf("a minute later %+v", got)
	}
	if got := h.Troubles("d", begin.Add(11*time.Minute)); len(got) != 0 {
		t.Errorf("eleven minutes later %+v", got)
	}
	if h.Troubles("other", begin) != nil {
		t.Error("a stranger has trouble")
	}
}

func TestLimitsAreChecked(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		text, words string
	}{
		{`{"device":{"messages":{"perSecond":-1}}}`, "messages is -1"},
		{`{"device":{"messages":{"perSecond":1e12}}}`, "messages is"},
		{`{"hub":{"queries":{"perSecond":1,"burst":0.1}}}`, "queries lets hardly"},
		{`{"hub":{"queries":{"perSecond":0.00001,"burst":5}}}`, "queries lets hardly"},
		{`{"device":{"twinReads":{"perSecond":6}},"hub":{"twinReads":{"perSecond":10}}}`, "more than half"},
		{`{"device":{"twinReads":{"perSecond":1,"burst":9}},"hub":{"twinReads":{"perSecond":10}}}`, ""},
		{`{"device":{"twinReads":{"perSecond":1,"burst":11}},"hub":{"twinReads":{"perSecond":10}}}`, "more than half"},
		{`{"device":{"twinReads":{"perSecond":0}},"hub":{"twinReads":{"perSecond":10}}}`, ""},
	} {
		l := Defaults()
		if err := json.Unmarshal([]byte(c.text), &l); err != nil {
			t.Fatal(err)
		}
		err := l.Check()
		if (err == nil) != (c.words == "") || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	var l Limits
	if err := json.Unmarshal([]byte(`{"device":{"massages":{}}}`), &l); err == nil {
		t.Error("an unknown class was taken")
	}
	b, err := json.Marshal(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &l); err != nil || l != Defaults() {
		t.Errorf("%s comes back as %+v, %v", b, l, err)
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	h := New(DefaultTenant(), begin).Hub("ot", Defaults())
	d := h.Hold("d", begin)
	now := begin
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		h.Take(d, Messages, 1, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestManyAtOnceNeverGetMore(t *testing.T) {
	h := New(DefaultTenant(), begin).Hub("ot", of(Messages, Rate{10, 100}, Rate{100, 500}))
	var got atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 1000 {
				if h.Take(h.Holder(fmt.Sprint(i), begin), Messages, 1, begin).Level == None {
					got.Add(1)
				}
			}
		})
	}
	all.Wait()
	// Whoever is a second ahead of its share draws on 250 of the hub's 500 only.
	if n := got.Load(); n < 250 || n > 500 {
		t.Errorf("%d were admitted", n)
	}
}

func FuzzLimitsFromJSON(f *testing.F) {
	f.Add(`{"device":{"messages":{"perSecond":5,"burst":10}},"hub":{"queries":{"perSecond":1e308}}}`)
	f.Add(`{"hub":{"jobs":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l := Defaults()
		if json.Unmarshal([]byte(text), &l) != nil || l.Check() != nil {
			return
		}
		h := New(l.Hub, begin).Hub("ot", l)
		d := h.Holder("d", begin)
		for _, c := range Classes() {
			for i := range 3 {
				if v := h.Take(d, c, 1+i*1000, begin.Add(time.Duration(i)*time.Hour)); v.Wait < 0 || (v.Level == None) != (v.Wait == 0) {
					t.Fatalf("%s: %+v", c, v)
				}
			}
		}
	})
}

// BenchmarkTake is what a message costs: with no limit at all, with the three levels that every hub has, and when the hub's is nearly
// used up. The clock is read too, which the hub does anyway.
func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name   string
		limits Limits
		tenant Rates
	}{
		{"none", Limits{}, Rates{}},
		{"three", of(Messages, Rate{1e8, 1e9}, Rate{1e9, 1e9}), Rates{Messages: {1e9, 1e9}}},
		{"pressed", of(Messages, Rate{1e6, 1e6}, Rate{3e6, 3e6}), Rates{Messages: {1e9, 1e9}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := New(c.tenant, time.Now()).Hub("ot", c.limits)
			var turn atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				d := h.Hold(fmt.Sprint(turn.Add(1)), time.Now())
				for pb.Next() {
					h.Take(d, Messages, 1, time.Now())
				}
			})
		})
	}
}
