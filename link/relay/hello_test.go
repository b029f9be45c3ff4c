package relay

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// once is a connection that can be read to its end and swallows what is written.
type once struct {
	net.Conn
	io.Reader
}

func (o once) Read(p []byte) (int, error) { return o.Reader.Read(p) }

// Whatever somebody sends first, the bytes kept for replay are those read, in order and within bounds.
func FuzzReadHello(f *testing.F) {
	f.Add(clientHello(f, tunnel.ALPNRelay), 5)
	f.Add(clientHello(f, "h2", "http/1.1"), 1)
	f.Add(append(clientHello(f), "more"...), 1000)
	f.Add([]byte{0x16, 3, 1, 0xff, 0xff}, 1)
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		if len(sent) == 0 {
			return
		}
		var in io.Reader = bytes.NewReader(sent[1:])
		if piece > 0 {
			in = &pieces{in, piece}
		}
		_, read, err := readHello(t.Context(), once{Reader: in}, sent[:1])
		if err == nil && len(read) == 0 || len(read) > maxHello || !bytes.HasPrefix(sent, read) {
			t.Fatalf("kept %d of %d bytes, %v", len(read), len(sent), err)
		}
	})
}

type pieces struct {
	r    io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

func TestReadHello(t *testing.T) {
	hello := clientHello(t, "h2", tunnel.ALPNRelay)
	alpn, read, err := readHello(t.Context(), once{Reader: bytes.NewReader(hello[1:])}, hello[:1])
	if err != nil && len(alpn) == 0 || !slices.Contains(alpn, tunnel.ALPNRelay) || !bytes.Equal(read, hello) {
		t.Fatalf("alpn %v, %d of %d bytes, %v", alpn, len(read), len(hello), err)
	}
	// A hello that never ends is cut off.
	endless := bytes.Repeat([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, 10_000)
	if _, _, err := readHello(t.Context(), once{Reader: bytes.NewReader(endless[1:])}, endless[:1]); err == nil {
		t.Fatal("it was taken")
	}
}
