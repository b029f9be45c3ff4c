package share_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/access/gate/share"
)

const tick = time.Millisecond

// wish is what somebody would have.
type wish struct {
	each     float64 // bytes that come to his queue in a tick
	own      int64   // his own limit
	from, to int     // ticks in which bytes come
}

// slowly gives each tick's bytes to those who have something queued, in equal parts, until nobody wants more: obvious, and nothing else.
func slowly(rate int64, wishes []wish, ticks int) []float64 {
	got, queue := make([]float64, len(wishes)), make([]float64, len(wishes))
	for t := range ticks {
		may := make([]float64, len(wishes))
		for i, w := range wishes {
			if t >= w.from && t < w.to {
				queue[i] += w.each
			}
			may[i] = queue[i]
			if w.own > 0 {
				may[i] = min(may[i], float64(w.own)*tick.Seconds())
			}
		}
		left := float64(rate) * tick.Seconds()
		for {
			wanting := 0
			for i := range may {
				if may[i] > 1e-9 {
					wanting++
				}
			}
			if wanting == 0 || left < 1e-9 {
				break
			}
			part := left / float64(wanting)
			for i := range may {
				n := min(part, may[i])
				may[i], queue[i], got[i], left = may[i]-n, queue[i]-n, got[i]+n, left-n
			}
		}
	}
	return got
}

// quickly is a Room, asked as flows ask it.
func quickly(rate int64, wishes []wish, ticks int) []float64 {
	r := share.New(rate)
	got, queue := make([]float64, len(wishes)), make([]float64, len(wishes))
	members, again := make([]*share.Member, len(wishes)), make([]time.Duration, len(wishes))
	for i, w := range wishes {
		members[i] = r.Join(w.own)
	}
	for t := range ticks {
		now := time.Duration(t+1) * tick
		for i, w := range wishes {
			if t >= w.from && t < w.to {
				queue[i] += w.each
			}
			for queue[i] >= 1 && now >= again[i] {
				n, wait := members[i].Take(now, int(min(queue[i], 64<<10)))
				queue[i], got[i] = queue[i]-float64(n), got[i]+float64(n)
				again[i] = now + wait
			}
		}
	}
	return got
}

func TestSharesAreAsFairAsTheSlowWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ticks = 1500
		rate := rapid.SampledFrom([]int64{200 << 10, 1 << 20, 10 << 20, 100 << 20}).Draw(t, "rate")
		wishes := make([]wish, rapid.IntRange(1, 12).Draw(t, "members"))
		for i := range wishes {
			w := wish{each: math.Inf(1), to: ticks}
			if rapid.Bool().Draw(t, "modest") {
				w.each = float64(rate) * tick.Seconds() * rapid.Float64Range(0.001, 0.6).Draw(t, "part")
			} else {
				w.each = float64(rate) // more than can be carried
			}
			if rapid.IntRange(0, 3).Draw(t, "limited") == 0 {
				w.own = max(20<<10, int64(float64(rate)*rapid.Float64Range(0.02, 0.8).Draw(t, "own")))
			}
			if rapid.IntRange(0, 3).Draw(t, "late") == 0 {
				w.from = rapid.IntRange(0, ticks/2).Draw(t, "from")
			}
			wishes[i] = w
		}
		want, got := slowly(rate, wishes, ticks), quickly(rate, wishes, ticks)
		sum, all := 0.0, 0.0
		for i := range wishes {
			sum, all = sum+got[i], all+want[i]
			// A moment's worth of bytes early or late, and what is lost by asking once a millisecond.
			if slack := float64(rate)*0.04 + float64(8<<10) + want[i]*0.04; math.Abs(got[i]-want[i]) > slack {
				t.Errorf("member %d of %+v got %.0f bytes, its share is %.0f of %d", i, wishes, got[i], want[i], rate*ticks/1000)
			}
		}
		if most := all + float64(rate)*0.2 + float64(len(wishes)*8<<10); sum > most {
			t.Errorf("%.0f bytes passed, %.0f may", sum, most)
		}
		if sum < all*0.97-float64(rate)*0.03 {
			t.Errorf("%.0f bytes passed, %.0f could", sum, all)
		}
	})
}

func TestWhoWantsLittleDoesNotWait(t *testing.T) {
	r := share.New(1 << 20)
	greedy, modest := []*share.Member{r.Join(0), r.Join(0), r.Join(0)}, r.Join(0)
	again := make([]time.Duration, len(greedy))
	for now := tick; now < 5*time.Second; now += tick {
		for i, m := range greedy {
			for now >= again[i] {
				_, wait := m.Take(now, 64<<10)
				again[i] = now + wait
			}
		}
		if now%(20*time.Millisecond) == 0 {
			if n, wait := modest.Take(now, 100); n != 100 || wait != 0 {
				t.Fatalf("at %s: %d bytes, wait %s", now, n, wait)
			}
		}
	}
}

func TestNobodySavesUp(t *testing.T) {
	r := share.New(1 << 20)
	m := r.Join(0)
	total := 0
	for range 100 { // after an hour of silence, too
		n, _ := m.Take(time.Hour, 64<<10)
		total += n
	}
	if total > 1<<20/10 {
		t.Errorf("%d bytes at once", total)
	}
}

func TestWithoutLimitsNobodyWaits(t *testing.T) {
	m := share.New(0).Join(0)
	for range 100 {
		if n, wait := m.Take(0, 1<<20); n != 1<<20 || wait != 0 {
			t.Fatal(n, wait)
		}
	}
}

func TestAnOwnLimitMayChange(t *testing.T) {
	m := share.New(0).Join(10 << 10)
	now := time.Second
	drain := func() (total int) {
		for end := now + 2*time.Second; now < end; {
			n, wait := m.Take(now, 1<<20)
			now += max(wait, tick)
			total += n
		}
		return total
	}
	if n := drain(); n < 18<<10 || n > 26<<10 {
		t.Errorf("%d bytes in two seconds of 10 KiB", n)
	}
	m.SetOwn(100 << 10)
	if n := drain(); n < 180<<10 || n > 220<<10 {
		t.Errorf("%d bytes in two seconds of 100 KiB", n)
	}
	m.SetOwn(0)
	if n, _ := m.Take(now, 1<<20); n != 1<<20 {
		t.Error("limited still:", n)
	}
}

// A clock that stands still or goes back makes nobody pass more, and nobody wait for ever.
func TestTimeThatGoesBack(t *testing.T) {
	m := share.New(1 << 20).Join(1 << 20)
	for m2, wait := 1, time.Duration(0); m2 > 0 && wait == 0; {
		m2, wait = m.Take(time.Minute, 64<<10)
	}
	if n, wait := m.Take(time.Second, 64<<10); n != 0 || wait <= 0 || wait > time.Second {
		t.Error(n, wait)
	}
	if n, _ := m.Take(time.Minute+time.Second, 64<<10); n == 0 {
		t.Error("waits for ever")
	}
}

func BenchmarkTake(b *testing.B) {
	r := share.New(1 << 30)
	members := make([]*share.Member, 100)
	for i := range members {
		members[i] = r.Join(1 << 28)
	}
	now := time.Duration(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now += 20 * time.Microsecond
		members[i%len(members)].Take(now, 16<<10)
	}
}
