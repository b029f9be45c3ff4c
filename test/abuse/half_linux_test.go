package abuse

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// pour writes until nobody takes any more, and counts.
func pour(poured *atomic.Int64) func(net.Conn) {
	return func(c net.Conn) {
		own := c.(*net.TCPConn)
		_ = own.SetWriteBuffer(32 << 10)
		b := make([]byte, 32<<10)
		for {
			n, err := c.Write(b)
			poured.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// Peers that are gone without a word, on either side, while the other pours: what they were sent waits in bounded buffers, and
// limits.idleSeconds ends them.
func TestPeersThatVanish(t *testing.T) {
	t.Parallel()
	const idle = 2
	var poured, sent atomic.Int64
	held := make(chan struct{})
	mute := func(c net.Conn) { // takes the hello, and nothing after it
		_ = c.(*net.TCPConn).SetReadBuffer(32 << 10)
		<-held
	}
	f := startFront(t, manifest(fmt.Sprintf("  openToAll: true\n  limits: {idleSeconds: %d}\n", idle), map[string][]string{
		served: {serve(t, repeat).at()}, "pours.example": {serve(t, pour(&poured)).at()}, "mute.example": {serve(t, mute).at()}, raw: {serve(t, echo).at()},
	}))
	t.Cleanup(func() { close(held) })
	o := f.besides()
	memory := f.watchMemory()
	n := more(150, 1500)
	began := time.Now()

	// Those who ask for much and read nothing.
	deaf := crowd(t, f.at, n, records(helloOf(names("pours.example")), 1<<14))
	// Those who send much to a target that reads nothing.
	loud := crowd(t, f.at, n, records(helloOf(names("mute.example")), 1<<14))
	for _, c := range loud {
		_ = c.SetWriteBuffer(32 << 10)
		go func() { // ends with the connection
			b := make([]byte, 32<<10)
			for {
				k, err := c.Write(b)
				sent.Add(int64(k))
				if err != nil {
					return
				}
			}
		}()
	}
	// Those who do not say a word after their hello has come through.
	silent := crowd(t, f.at, n, records(helloOf(names(raw)), 1<<14))
	most := 0
	var bytes uint64
	await(t, "the end of all of them", func() error {
		s := f.status().Carrier
		most, bytes = max(most, s.Passing), max(bytes, s.HeldBytes)
		if s.Passing > 5 || most < 2*n { // on a slow machine the first are ended before the last have come
			return fmt.Errorf("%d pass, %d did at once", s.Passing, most)
		}
		return nil
	})
	lasted := time.Since(began)
	t.Logf("%d were open at once; at most %d KiB were held for them; %d KiB were poured to the deaf and %d KiB to the mute; all were gone after %v",
		most, bytes>>10, poured.Load()>>10, sent.Load()>>10, lasted.Round(time.Millisecond))
	for _, all := range [][]*net.TCPConn{deaf, loud, silent} {
		if err := ended(all[0], time.Now().Add(patient)); err != nil {
			t.Error(err)
		}
	}
	if lasted < idle*time.Second || lasted > (idle+10)*time.Second {
		t.Errorf("they were gone after %v, and the limit is %d s", lasted, idle)
	}
	o.fine("beside the vanished", 50)
	memory().within(t, 64)
	o.stop()
	f.end()
	if n := len(f.lines()); n > 10 {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}
