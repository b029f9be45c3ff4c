package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// BenchmarkPair is one direction of one pair over loopback. Compare with BenchmarkNoRelay.
func BenchmarkPair(b *testing.B) {
	h := serve(b, Config{}, clock.System{})
	from, to := h.pair()
	pour(b, from, to)
}

// BenchmarkNoRelay is the same without a relay between.
func BenchmarkNoRelay(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	from, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	to, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	pour(b, from, to)
}

func pour(b *testing.B, from, to net.Conn) {
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.CopyN(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, int64(b.N)*int64(len(buf)))
	}()
	_ = from.SetDeadline(time.Time{})
	_ = to.SetDeadline(time.Time{})
	b.ResetTimer()
	for range b.N {
		if _, err := from.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	<-done
}
