package transport

import (
	"fmt"
	"io"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
)

// discard takes streams and throws their bytes away.
func discard(_ identity.ID, s *mux.Stream) {
	defer s.Close()
	if s.Accept() == nil {
		_, _ = io.Copy(io.Discard, s)
	}
}

// BenchmarkFlows is the throughput from agent to agent through a relay, all in this process, by flows and tunnels.
func BenchmarkFlows(b *testing.B) {
	for _, tunnels := range []int{1, 2} {
		for _, flows := range []int{1, 64} {
			b.Run(fmt.Sprintf("tunnels=%d/flows=%d", tunnels, flows), func(b *testing.B) {
				_, a, _, _ := two(b, Config{MaxTunnelsPerPeer: tunnels, SpreadStreams: 1}, discard)
				var open []*mux.Stream
				for range flows {
					s, err := a.Open(b.Context(), peers(provider, ""), flow)
					if err != nil {
						b.Fatal(err)
					}
					if err := s.WaitAccepted(b.Context()); err != nil {
						b.Fatal(err)
					}
					open = append(open, s)
					if want := min(tunnels, len(open)); want > 1 {
						eventually(b, "tunnels", func() bool { return len(a.Status().Tunnels) >= want-1 })
					}
				}
				buf := make([]byte, 64<<10)
				b.SetBytes(int64(len(buf)))
				before := processTime(b)
				b.ResetTimer()
				var all sync.WaitGroup
				for i, s := range open {
					n := b.N / flows
					if i < b.N%flows {
						n++
					}
					all.Go(func() {
						for range n {
							if _, err := s.Write(buf); err != nil {
								b.Error(err)
								return
							}
						}
						_ = s.CloseWrite()
						_, _ = s.Read(buf) // the peer closes once it has everything
					})
				}
				all.Wait()
				b.StopTimer()
				b.ReportMetric(float64(processTime(b)-before)/float64(b.N), "cpu-ns/op")
				for _, s := range open {
					_ = s.Close()
				}
			})
		}
	}
}

// processTime is what this process has used of the processors, which other processes disturb less than the time on the wall.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen is new flows one after the other, each accepted by the peer.
func BenchmarkOpen(b *testing.B) {
	_, a, _, _ := two(b, Config{}, echo)
	f := flow
	f.Client = netip.MustParseAddrPort("10.7.0.9:1")
	for b.Loop() {
		s, err := a.Open(b.Context(), peers(provider, ""), f)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.WaitAccepted(b.Context()); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}
