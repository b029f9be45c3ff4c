package schedule_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/simulate/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type owner struct {
	schedule.Entry[*owner]
	id int
}

// TestAgainstASortedList sets, moves and clears at random and compares who is woken when with a list.
func TestAgainstASortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		heaps := rapid.IntRange(1, 3).Draw(rt, "heaps")
		moves := rapid.SliceOfN(rapid.IntRange(0, 20*40-1), 1, 60).Draw(rt, "moves")
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var mu sync.Mutex
			woken := map[int]time.Duration{}
			s := schedule.New(heaps, clock.System{}, func(o *owner) {
				mu.Lock()
				defer mu.Unlock()
				woken[o.id] = time.Since(begin)
			})
			owners := make([]*owner, 20)
			for i := range owners {
				owners[i] = &owner{id: i}
				s.Add(&owners[i].Entry, owners[i])
			}
			ctx, cancel := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() { s.Run(ctx) })
			want := map[int]time.Duration{}
			for n, m := range moves {
				o, at := owners[m/40], time.Duration(m%40)*10*time.Millisecond
				if m%40 == 0 {
					s.Clear(&o.Entry)
					delete(want, o.id)
				} else {
					s.Set(&o.Entry, begin.Add(at+time.Second))
					want[o.id] = at + time.Second
				}
				if n%7 == 0 {
					synctest.Wait()
				}
			}
			time.Sleep(2 * time.Second) // the bubble's time
			synctest.Wait()
			cancel()
			run.Wait()
			if len(woken) != len(want) {
				t.Fatalf("%d woken, want %d", len(woken), len(want))
			}
			for id, at := range want {
				if late := woken[id] - at; late < 0 || late > time.Millisecond {
					t.Fatalf("%d woken at %v, want %v", id, woken[id], at)
				}
			}
		})
	})
}

func TestWhoIsSetWhileAllSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		s := schedule.New(1, clock.System{}, func(o *owner) { order = append(order, o.id) })
		a, b := &owner{id: 1}, &owner{id: 2}
		s.Add(&a.Entry, a)
		s.Add(&b.Entry, b)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		s.Set(&a.Entry, time.Now().Add(time.Minute))
		synctest.Wait()
		s.Set(&b.Entry, time.Now().Add(time.Second))
		time.Sleep(2 * time.Second)
		s.Set(&b.Entry, time.Now().Add(-time.Second)) // long ago is now
		time.Sleep(2 * time.Second)
		s.Set(&b.Entry, time.Now().Add(2*time.Minute))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if !slices.Equal(order, []int{2, 2, 1, 2}) {
			t.Errorf("woken %v", order)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	s := schedule.New(2, clock.System{}, func(*owner) {})
	owners := make([]*owner, 20_000)
	now := time.Now()
	for i := range owners {
		owners[i] = &owner{id: i}
		s.Add(&owners[i].Entry, owners[i])
		s.Set(&owners[i].Entry, now.Add(time.Duration(i)*time.Millisecond))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		s.Set(&owners[n%len(owners)].Entry, now.Add(time.Duration(n)*time.Millisecond))
	}
}
