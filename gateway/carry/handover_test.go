package carry

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A second Carrier, with more or fewer workers, takes the sockets over while connections come without a pause; none fails.
func TestHandOver(t *testing.T) {
	for _, workers := range [][2]int{{2, 2}, {1, 3}, {3, 1}} {
		each(t, func(t *testing.T, cfg Config) {
			cfg.Workers = workers[0]
			first := newWorld(t, cfg, &Entrance{}, nil)
			first.gate.to(newTarget(t, echo))
			var done atomic.Int64
			var stop atomic.Bool
			var callers sync.WaitGroup
			for range 4 {
				callers.Go(func() {
					for !stop.Load() && !t.Failed() {
						c := first.dial()
						exchange(t, c, []byte("anybody there"))
						c.Close()
						done.Add(1)
					}
				})
			}
			reach := func(n int64) {
				for end := time.Now().Add(20 * time.Second); done.Load() < n && time.Now().Before(end) && !t.Failed(); {
					<-time.After(time.Millisecond)
				}
			}
			reach(100)
			files, err := first.c.Files(first.l)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Workers = workers[1]
			second := unstarted(t, cfg, nil)
			second.gate = first.gate
			second.c = New(cfg, first.gate, second.c.log, second.clk, nil)
			second.l, err = second.c.Adopt(&Entrance{}, files)
			if err != nil {
				t.Fatal(err)
			}
			if second.l.Addr() != first.l.Addr() {
				t.Errorf("%v adopted as %v", first.l.Addr(), second.l.Addr())
			}
			closeFiles(files)
			second.run()
			reach(done.Load() + 100)
			if err := first.c.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			first.stop()
			reach(done.Load() + 200)
			stop.Store(true)
			callers.Wait()
			if n := second.c.Stats().Accepted; n < 200 {
				t.Errorf("the second accepted %d", n)
			}
		})
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
