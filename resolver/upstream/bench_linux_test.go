package upstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// respond answers every query with itself, as cheaply as can be, so that what is measured is the asking.
func respond(conn *net.UDPConn) {
	pc := ipv4.NewPacketConn(conn)
	ms := make([]ipv4.Message, 32)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for {
		n, err := pc.ReadBatch(ms, 0)
		if err != nil {
			return
		}
		out := ms[:n]
		for i := range out {
			b := out[i].Buffers[0]
			b[2] |= 0x80
			out[i].Buffers[0] = b[:out[i].N]
		}
		for len(out) > 0 {
			done, err := pc.WriteBatch(out, 0)
			if err != nil {
				return
			}
			out = out[done:]
		}
		for i := range ms[:n] {
			ms[i].Buffers[0] = ms[i].Buffers[0][:2048]
		}
	}
}

// responder is this test as a process that only responds, so that its processor time is not ours.
func responder(b *testing.B) upstream.Server {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestResponder$")
	cmd.Env = append(os.Environ(), "ISTHMUS_RESPOND=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var port uint16
	if _, err := fmt.Fscanf(out, "%d\n", &port); err != nil {
		b.Fatal(err)
	}
	a := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}
	return upstream.Server{Address: a.AddrPort()}
}

// TestResponder is the process of responder. On its own it checks that it answers.
func TestResponder(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("ISTHMUS_RESPOND") != "" {
		fmt.Println(conn.LocalAddr().(*net.UDPAddr).Port)
		respond(conn)
		return
	}
	ended := make(chan struct{})
	go func() { defer close(ended); respond(conn) }()
	w := start(t, upstream.Config{})
	w.must(w.Group([]upstream.Server{{Address: conn.LocalAddr().(*net.UDPAddr).AddrPort()}}), "a.example", "NOERROR")
	conn.Close()
	<-ended
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkForward asks different questions, so many at a time, and says what one takes of this process's processor time.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  upstream.Config
	}{
		{"fresh", upstream.Config{SocketUses: 1}},
		{"1x256", upstream.Config{Sockets: 1}},
		{"4x256", upstream.Config{Sockets: 4}},
		{"8x256", upstream.Config{Sockets: 8}},
		{"64x256", upstream.Config{Sockets: 64}},
		{"8x1024", upstream.Config{Sockets: 8, SocketUses: 1024}},
	} {
		for _, window := range []int{1, 64, 200} {
			b.Run(fmt.Sprintf("%s/%d", c.name, window), func(b *testing.B) {
				p := upstream.New(c.cfg, slog.New(slog.DiscardHandler), clock.System{}, nil)
				run(b, p)
				forward(b, p, p.Group([]upstream.Server{responder(b)}), window)
			})
		}
	}
}

// BenchmarkLibrary is the same with the library's client, which opens a socket for each question, as many at a time as there are
// goroutines.
func BenchmarkLibrary(b *testing.B) {
	at := responder(b).Address.String()
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		var c dns.Client
		for pb.Next() {
			m := new(dns.Msg).SetQuestion(fmt.Sprintf("device-%d.contoso.azure-devices.net.", n.Add(1)), dns.TypeA)
			m.SetEdns0(1232, false)
			if _, _, err := c.Exchange(m, at); err != nil {
				b.Log(err)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "q/s")
}

func forward(b *testing.B, p *upstream.Pool, g *upstream.Group, window int) {
	b.Helper()
	name, err := upstream.WireName("device-000000000.contoso.azure-devices.net")
	if err != nil {
		b.Fatal(err)
	}
	slots := make(chan error, window)
	for range window {
		slots <- nil
	}
	done := func(a upstream.Answer) { slots <- a.Err }
	failed := 0
	take := func() {
		if err := <-slots; err != nil {
			failed++
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for i := range b.N {
		take()
		for j, n := 16, i; j > 7; j, n = j-1, n/10 {
			name[j] = byte('0' + n%10)
		}
		p.Ask(context.Background(), g, upstream.Query{Name: name, Type: 1}, done)
	}
	for range window {
		take()
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "q/s")
	if failed > b.N/1000 {
		b.Errorf("%d of %d failed", failed, b.N)
	}
}
