package carry

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The other ends run in this process too, so these figures compare engines; docs/performance-gateway.md has processes apart.

func eachBench(b *testing.B, bench func(b *testing.B, cfg Config)) {
	b.Run("engine", func(b *testing.B) { bench(b, Config{}) })
	b.Run("portable", func(b *testing.B) { bench(b, Config{portable: true}) })
}

// lean is a world whose gate keeps no visits.
func lean(b *testing.B, cfg Config, e *Entrance, target netip.AddrPort) *world {
	w := unstarted(b, cfg, nil)
	w.c.gate = straight{target}
	w.l = w.listen("127.0.0.1:0", e)
	w.run()
	return w
}

type straight struct{ target netip.AddrPort }

func (s straight) Arrive(*Entrance, netip.AddrPort) (Visit, *Refusal) { return s, nil }
func (s straight) Choose(Hello) (Way, *Refusal)                       { return Way{Target: s.target}, nil }
func (straight) Failed(netip.AddrPort, error)                         {}
func (straight) Next() (netip.AddrPort, bool)                         { return netip.AddrPort{}, false }
func (straight) Connected(netip.AddrPort)                             {}
func (straight) Ended(Outcome)                                        {}

func BenchmarkConnections(b *testing.B) {
	hello := clientHello(b, "a.example")
	eachBench(b, func(b *testing.B, cfg Config) {
		w := lean(b, cfg, &Entrance{TLS: true}, newTarget(b, func(c *net.TCPConn) {
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			_, _ = c.Write(buf[:n])
		}))
		b.SetParallelism(8)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c, err := net.Dial("tcp", w.l.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = c.Write(hello)
				if n, err := io.Copy(io.Discard, c); int(n) != len(hello) || err != nil {
					b.Error(n, err)
				}
				c.Close()
			}
		})
	})
}

func BenchmarkBytes(b *testing.B) {
	for _, flows := range []int{1, 64} {
		b.Run(strconv.Itoa(flows), func(b *testing.B) {
			eachBench(b, func(b *testing.B, cfg Config) {
				const piece = 64 << 10
				w := lean(b, cfg, &Entrance{}, newTarget(b, func(c *net.TCPConn) { _, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, make([]byte, 4*piece)) }))
				var left atomic.Int64
				left.Store(int64(b.N))
				b.SetBytes(piece)
				b.ResetTimer()
				var writers sync.WaitGroup
				for range flows {
					c := dial(b, w.l.Addr())
					writers.Go(func() {
						for buf := make([]byte, piece); left.Add(-1) >= 0; {
							if _, err := c.Write(buf); err != nil {
								b.Error(err)
								return
							}
						}
						_ = c.CloseWrite()
						_, _ = io.Copy(io.Discard, c)
					})
				}
				writers.Wait()
			})
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	eachBench(b, func(b *testing.B, cfg Config) {
		w := lean(b, cfg, &Entrance{}, newTarget(b, echo))
		c := dial(b, w.l.Addr())
		buf := make([]byte, 64)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			_, _ = c.Write(buf)
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIdle tells what a connection without traffic costs this process. The other ends are kernel's alone.
func BenchmarkIdle(b *testing.B) {
	eachBench(b, func(b *testing.B, cfg Config) {
		const n = 2000
		fd, err := newListener(netip.MustParseAddrPort("127.0.0.1:0"), false, 4096)
		if err != nil {
			b.Fatal(err)
		}
		defer closeFD(fd)
		target, _ := localAddress(fd)
		for range b.N {
			w := lean(b, cfg, &Entrance{}, target)
			w.begun()
			before := inUse()
			var clients []int
			for range n {
				c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
				if err != nil {
					b.Fatal(err)
				}
				clients = append(clients, c)
				if err := unix.Connect(c, &unix.SockaddrInet4{Port: int(w.l.Addr().Port()), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
					b.Fatal(err)
				}
			}
			w.until("all pass", func(s Stats) bool { return s.Passing == n })
			b.ReportMetric(float64(inUse()-before)/n, "B/conn")
			for _, c := range clients {
				unix.Close(c)
			}
			w.stop()
			for range n { // what waits in the target's queue
				if c, _, e := accept(fd); e == 0 {
					closeFD(c)
				}
			}
		}
	})
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
