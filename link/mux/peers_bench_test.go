package mux_test

import (
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// closeWrite half-closes whatever it is; yamux has only Close, which is one.
func closeWrite(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
		return
	}
	_ = c.Close()
}

// forward joins what the rig accepts to new TCP connections and gives back a function that dials through, as two agents do: TCP,
// stream, TLS, stream, TCP.
func forward(b *testing.B, r rig, flows int) (in, out []net.Conn, stop func()) {
	var wg sync.WaitGroup
	splice := func(x, y net.Conn) {
		wg.Go(func() {
			_, _ = io.Copy(x, y)
			closeWrite(x)
		})
	}
	for range flows {
		user, near := tcpPair(b)
		far, target := tcpPair(b)
		st, err := r.open()
		if err != nil {
			b.Fatal(err)
		}
		_, _ = st.Write([]byte("x"))
		there, err := r.accept()
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.ReadFull(there, make([]byte, 1))
		splice(st, near)
		splice(near, st)
		splice(far, there)
		splice(there, far)
		in, out = append(in, user), append(out, target)
	}
	return in, out, func() {
		for i := range in {
			in[i].Close()
			out[i].Close()
		}
		r.close()
		wg.Wait()
	}
}

// BenchmarkForward is the path of a flow through two agents in one process: TCP in, TCP out. One flow, and 64 at once.
func BenchmarkForward(b *testing.B) {
	for name, flows := range map[string]int{"1": 1, "64": 64} {
		b.Run(name, func(b *testing.B) {
			rigs(b, func(b *testing.B, r rig) {
				in, out, stop := forward(b, r, flows)
				const chunk = 64 << 10
				buf := make([]byte, chunk)
				each := int64(b.N)/int64(flows) + 1
				b.SetBytes(chunk)
				b.ResetTimer()
				report := cpu(b)
				var wg sync.WaitGroup
				for i := range in {
					wg.Go(func() {
						for range each {
							if _, err := in[i].Write(buf); err != nil {
								b.Error(err)
								return
							}
						}
					})
					wg.Go(func() {
						if _, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{io.LimitReader(out[i], each*chunk)}, make([]byte, 256<<10)); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				report()
				stop()
			})
		})
	}
}

// BenchmarkRoundTrip sends 64 bytes there and back on one stream.
func BenchmarkRoundTrip(b *testing.B) {
	rigs(b, func(b *testing.B, r rig) {
		defer r.close()
		a, z := ends(b, r)
		go func() { _, _ = io.CopyBuffer(onlyWriter{z}, onlyReader{z}, make([]byte, 4096)) }()
		buf := make([]byte, 64)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			if _, err := a.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(a, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ends(b *testing.B, r rig) (a, z net.Conn) {
	a, err := r.open()
	if err != nil {
		b.Fatal(err)
	}
	_, _ = a.Write([]byte("x"))
	if z, err = r.accept(); err != nil {
		b.Fatal(err)
	}
	_, _ = io.ReadFull(z, make([]byte, 1))
	return a, z
}

// BenchmarkNewFlow opens a stream, sends 64 bytes there and back, and closes it; eight users at once.
func BenchmarkNewFlow(b *testing.B) {
	rigs(b, func(b *testing.B, r rig) {
		go func() {
			for {
				st, err := r.accept()
				if err != nil {
					return
				}
				go func() {
					buf := make([]byte, 64)
					_, _ = io.ReadFull(st, buf)
					_, _ = st.Write(buf)
					_, _ = st.Read(buf)
					_ = st.Close()
				}()
			}
		}()
		b.ReportAllocs()
		b.ResetTimer()
		var wg sync.WaitGroup
		var left atomic.Int64
		left.Store(int64(b.N))
		for range 8 {
			wg.Go(func() {
				buf := make([]byte, 64)
				for left.Add(-1) >= 0 {
					st, err := r.open()
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = st.Write(buf)
					if _, err := io.ReadFull(st, buf); err != nil {
						b.Error(err)
						return
					}
					closeWrite(st)
					_, _ = st.Read(buf)
					_ = st.Close()
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flows/s")
		r.close()
	})
}

// BenchmarkSmallBesideBulk is a round trip of 64 bytes while another stream of the session carries as much as it can.
func BenchmarkSmallBesideBulk(b *testing.B) {
	rigs(b, func(b *testing.B, r rig) {
		bulk, sink := ends(b, r)
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := bulk.Write(buf); err != nil {
					return
				}
			}
		})
		wg.Go(func() { _, _ = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{sink}, make([]byte, 64<<10)) })
		a, z := ends(b, r)
		wg.Go(func() { _, _ = io.CopyBuffer(onlyWriter{z}, onlyReader{z}, make([]byte, 4096)) })
		buf := make([]byte, 64)
		var worst time.Duration
		b.ResetTimer()
		for range b.N {
			start := time.Now()
			if _, err := a.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(a, buf); err != nil {
				b.Fatal(err)
			}
			worst = max(worst, time.Since(start))
		}
		b.StopTimer()
		b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		r.close()
		wg.Wait()
	})
}

// BenchmarkIdle reports the memory of a stream that waits, at both ends together, without goroutines: divide by two for one end.
func BenchmarkIdle(b *testing.B) {
	rigs(b, func(b *testing.B, r rig) {
		defer r.close()
		const n = 1000
		heap := func() uint64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		ends(b, r)
		before := heap()
		var keep []net.Conn
		for range n {
			a, z := ends(b, r)
			keep = append(keep, a, z)
		}
		b.ReportMetric(float64(heap()-before)/(2*n), "B/end")
		runtime.KeepAlive(keep)
		for range b.N {
		}
	})
}
