package cache_test

import (
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/message"
)

// Whatever others do meanwhile, a hit is whole, belongs to its question, and one caller alone is told to fetch it anew.
func TestManyAtOnce(t *testing.T) {
	c := cache.New(cache.Config{Bytes: 256 << 10}, clock.NewFake(began))
	const names = 300
	keys, msgs := make([]cache.Key, names), make([][]byte, names)
	for i := range names {
		keys[i], msgs[i] = numbered(t, i, i%5*200)
	}
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			for i := range 1000 {
				n := (i*(2*g+1) + g*100) % names
				at := began.Add(time.Duration(i) * time.Millisecond)
				switch i % 7 {
				case 0:
					c.Put(keys[n], msgs[n], at)
				case 1:
					c.Fail(keys[n], at)
				case 2:
					c.Look(keys[n])
				case 3:
					if i%700 == 3 {
						c.Purge()
					}
					c.Stats()
				default:
					if m, hit, ok := get(t, c, keys[n], at); ok && hit.Rcode == 0 && m.Answer[0].Header().Name != message.Text(keys[n].Name) {
						t.Errorf("%s got %v", message.Text(keys[n].Name), m.Answer[0])
					}
				}
			}
		})
	}
	all.Wait()

	k, msg := numbered(t, 1, 0)
	c.Put(k, msg, began)
	var told sync.Map
	for g := range 4 {
		all.Go(func() {
			for range 100 {
				if hit, ok := c.Get(nil, k, began.Add(299*time.Second)); ok && hit.Prefetch {
					told.Store(g, true)
				}
			}
		})
	}
	all.Wait()
	callers := 0
	told.Range(func(any, any) bool { callers++; return true })
	if callers != 1 {
		t.Errorf("%d were told", callers)
	}
}
