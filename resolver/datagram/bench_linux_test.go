package datagram_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/isthmus-io/isthmus/resolver/datagram"
)

// BenchmarkServer is what the side that answers pays for a datagram, in and out, when so many are there at once: with this package, with
// golang.org/x/net/ipv4's batches, and one by one.
func BenchmarkServer(b *testing.B) {
	for _, size := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("datagram-%d", size), func(b *testing.B) {
			all, err := datagram.Listen(netip.MustParseAddrPort("127.0.0.1:0"), 1)
			if err != nil {
				b.Fatal(err)
			}
			s := all[0]
			defer func() { _ = s.Close() }()
			batch := s.NewBatch(size)
			measure(b, s.Addr().String(), size, func() int {
				n, err := batch.Read()
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					_ = batch.Client(i)
					batch.Answer(i, append(batch.Room(i), batch.Packet(i)...))
				}
				batch.Flush()
				return n
			})
		})
		b.Run(fmt.Sprintf("ipv4-%d", size), func(b *testing.B) {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			p := ipv4.NewPacketConn(c)
			in, out := make([]ipv4.Message, size), make([]ipv4.Message, size)
			for i := range in {
				in[i].Buffers, out[i].Buffers = [][]byte{make([]byte, datagram.MaxQuery)}, [][]byte{nil}
			}
			measure(b, c.LocalAddr().String(), size, func() int {
				n, err := p.ReadBatch(in, 0)
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					out[i].Buffers[0], out[i].Addr = in[i].Buffers[0][:in[i].N], in[i].Addr
				}
				for sent := 0; sent < n; {
					k, err := p.WriteBatch(out[sent:n], 0)
					if err != nil {
						b.Fatal(err)
					}
					sent += k
				}
				return n
			})
		})
	}
	b.Run("one", func(b *testing.B) {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, datagram.MaxQuery)
		measure(b, c.LocalAddr().String(), 16, func() int {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err == nil {
				_, err = c.WriteToUDPAddrPort(buf[:n], from)
			}
			if err != nil {
				b.Fatal(err)
			}
			return 1
		})
	})
}

// measure sends size datagrams, has them answered, and counts only the time of that.
func measure(b *testing.B, to string, size int, answer func() int) {
	b.Helper()
	c, err := net.Dial("udp", to)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	query, buf := make([]byte, 48), make([]byte, 100)
	var took time.Duration
	total := 0
	b.ReportAllocs()
	for b.Loop() {
		for range size {
			if _, err := c.Write(query); err != nil {
				b.Fatal(err)
			}
		}
		began := time.Now()
		for done := 0; done < size; {
			done += answer()
		}
		took += time.Since(began)
		total += size
		for range size {
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(total), "ns/datagram")
	b.ReportMetric(0, "ns/op")
}
