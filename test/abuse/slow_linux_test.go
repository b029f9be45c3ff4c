package abuse

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// crowd opens n connections from sources of 127.0.2.0/24, each with the same first bytes.
func crowd(t *testing.T, at string, n int, first []byte) []*net.TCPConn {
	t.Helper()
	all := make([]*net.TCPConn, n)
	var dialling sync.WaitGroup
	for part := range 8 {
		dialling.Go(func() {
			for i := part; i < n; i += 8 {
				c, err := from(fmt.Sprintf("127.0.2.%d", 1+i%200), at)
				if err != nil {
					t.Error(err)
					return
				}
				all[i] = c
				if len(first) > 0 {
					_, _ = c.Write(first)
				}
			}
		})
	}
	dialling.Wait()
	t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				_ = c.SetLinger(0)
				_ = c.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// drip sends one byte more on every connection, again and again.
func drip(all []*net.TCPConn, bytes []byte, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var dripping sync.WaitGroup
	dripping.Go(func() {
		for _, b := range bytes {
			for _, c := range all {
				_, _ = c.Write([]byte{b})
			}
			select {
			case <-time.After(every):
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); dripping.Wait() }
}

// 5,000 who send a byte of a ClientHello now and then and 5,000 who send nothing are got rid of when limits.helloSeconds is over, all of
// them and none before; nobody else notices.
func TestTenThousandWhoNeverGetToThePoint(t *testing.T) {
	half, limit := 5000, more(5, 30)
	f := startFront(t, manifest(fmt.Sprintf("  openToAll: true\n  limits: {helloSeconds: %d}\n", limit), map[string][]string{served: {serve(t, repeat).at()}}))
	o := f.besides()
	memory := f.watchMemory()
	hello := records(helloOf(names(served)), 1<<14)

	began := time.Now()
	slow := crowd(t, f.at, half, hello[:1])
	silent := crowd(t, f.at, half, nil)
	opened := time.Since(began)
	stop := drip(slow, hello[1:], time.Duration(limit)*time.Second/15)
	await(t, "all of them at the door", func() error {
		if n := f.status().Carrier.Opening; n < 2*half && f.refusals("hello-timeout") == 0 {
			return fmt.Errorf("%d of %d", n, 2*half)
		}
		return nil
	})
	most := f.status().Carrier.Opening
	for _, c := range []*net.TCPConn{slow[half-1], silent[half-1]} {
		if err := ended(c, time.Now().Add(10*time.Millisecond)); err == nil {
			t.Error("a connection ended before its time")
		}
	}
	for _, all := range [][]*net.TCPConn{slow, silent} {
		for i := 0; i < half; i += half / 20 {
			if err := ended(all[i], began.Add(opened+time.Duration(limit+3)*time.Second)); err != nil {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}
	}
	lasted := time.Since(began)
	await(t, "the end of all of them", func() error {
		if n := f.refusals("hello-timeout"); n != uint64(2*half) {
			return fmt.Errorf("%d of %d", n, 2*half)
		}
		return nil
	})
	stop()
	o.fine("beside ten thousand", 50)
	t.Logf("%d were at the door at once, opened in %v; the last was gone after %v", most, opened.Round(time.Millisecond), lasted.Round(time.Millisecond))
	if most < 2*half*9/10 {
		t.Errorf("only %d were at the door at once", most)
	}
	memory().within(t, 48)
	o.stop()
	f.end()
	if n := f.told(2+int(lasted/(10*time.Second)+1), "hello-timeout"); n != uint64(2*half) {
		t.Errorf("the log accounts for %d of %d", n, 2*half)
	}
	if n := len(f.lines()); n > 20 {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}
