package resolver_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/resolver"
)

// BenchmarkUDP is the rate of local answers over loopback, 8 clients with 16 queries each on their way. Clients and server share
// the machine.
func BenchmarkUDP(b *testing.B) {
	r := start(b, resolver.Config{}, plant())
	packet, err := question("contoso.azure-devices.net", "A").Pack()
	if err != nil {
		b.Fatal(err)
	}
	const clients, window = 8, 16
	var wg sync.WaitGroup
	b.ResetTimer()
	for c := range clients {
		wg.Go(func() {
			conn, err := net.Dial("udp", r.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			q := append([]byte(nil), packet...)
			in := make([]byte, 2048)
			total := b.N / clients
			if c == 0 {
				total = b.N - (clients-1)*(b.N/clients)
			}
			for sent, got := 0, 0; got < total; {
				for ; sent < total && sent-got < window; sent++ {
					binary.BigEndian.PutUint16(q, uint16(sent))
					if _, err := conn.Write(q); err != nil {
						b.Error(err)
						return
					}
				}
				if _, err := conn.Read(in); err != nil {
					b.Error(err)
					return
				}
				got++
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}
