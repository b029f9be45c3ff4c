package flow_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/link/flow"
)

// BenchmarkThroughput carries one direction through endpoint, a tunnel without TLS and service, all in this process.
func BenchmarkThroughput(b *testing.B) {
	for _, flows := range []int{1, 64} {
		b.Run(fmt.Sprintf("flows=%d", flows), func(b *testing.B) {
			w := newWorld(b)
			w.start()
			var clients, targets []*net.TCPConn
			for range flows {
				c, t := w.dial("127.0.0.1")
				clients, targets = append(clients, c), append(targets, t)
			}
			const block = 256 << 10
			b.SetBytes(block * int64(flows))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range flows {
				wg.Go(func() {
					buf := make([]byte, block)
					for range b.N {
						if _, err := clients[i].Write(buf); err != nil {
							b.Error(err)
							return
						}
					}
					_ = clients[i].CloseWrite()
				})
				wg.Go(func() {
					if n, err := io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{targets[i]}); err != nil || n != int64(b.N)*block {
						b.Errorf("%d bytes, %v", n, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkNewFlows opens a flow, sends a byte there and back, and closes it.
func BenchmarkNewFlows(b *testing.B) {
	w := newWorld(b)
	w.start()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case c := <-w.accepted:
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			case <-stop:
				return
			}
		}
	}()
	address := fmt.Sprintf("127.0.0.1:%d", w.port)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		one := make([]byte, 1)
		for pb.Next() {
			c, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = c.Write(one)
			if _, err := c.Read(one); err != nil {
				b.Error(err)
			}
			_ = c.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkRoundTrip sends 64 bytes there and back over one flow.
func BenchmarkRoundTrip(b *testing.B) {
	w := newWorld(b)
	w.start()
	client, target := w.dial("127.0.0.1")
	go func() { _, _ = io.Copy(struct{ io.Writer }{target}, struct{ io.Reader }{target}) }()
	buf := make([]byte, 64)
	for b.Loop() {
		if _, err := client.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdleFlows tells what a flow costs that has spoken once and is silent, in bytes of heap and stacks. Both agents, the clients
// and the target live in this process; the two connections of client and target are measured alone and taken off.
func BenchmarkIdleFlows(b *testing.B) {
	const flows = 2000
	held := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	for b.Loop() {
		w := newWorld(b, flow.WithMaxFlows(2*flows))
		w.start()
		before := held()
		var keep []*net.TCPConn
		for range flows {
			a, c := tcpPair(b)
			keep = append(keep, a, c)
		}
		pairs := held() - before
		before = held()
		for range flows {
			client, target := w.dial("127.0.0.1")
			send(b, client, "x")
			expect(b, target, "x")
			send(b, target, "x")
			expect(b, client, "x")
			keep = append(keep, client, target)
		}
		took := held() - before
		b.ReportMetric(float64(took-pairs)/flows/2, "bytes/flow/agent")
		for _, c := range keep {
			_ = c.Close()
		}
		w.await("flows to end", func() bool { return len(w.endpoints.Flows())+len(w.services.Flows()) == 0 })
	}
}
