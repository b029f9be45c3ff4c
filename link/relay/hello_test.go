package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
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
		_, read, err := readHello(once{Reader: in}, sent[:1])
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
	for _, behind := range []string{"", "early data"} {
		in := bytes.NewReader(append(hello[1:len(hello):len(hello)], behind...))
		h, read, err := readHello(once{Reader: in}, hello[:1])
		if err != nil || !h.Offers(tunnel.ALPNRelay) || !bytes.Equal(read, hello) || in.Len() != len(behind) {
			t.Fatalf("alpn %v, %d of %d bytes, %d left, %v", h.ALPN(), len(read), len(hello), in.Len(), err)
		}
	}
	// A hello that never ends is cut off.
	endless := bytes.Repeat([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, 10_000)
	if _, _, err := readHello(once{Reader: bytes.NewReader(endless[1:])}, endless[:1]); !errors.Is(err, errHelloTooLong) {
		t.Fatalf("it was taken: %v", err)
	}
	// Who asks for an address as a name is no agent, and the control plane may decide.
	address := bytes.Replace(clientHello(t), []byte("relay.example"), []byte("203.0.113.255"), 1)
	if h, read, err := readHello(once{Reader: bytes.NewReader(address[1:])}, address[:1]); err != nil || h.Offers(tunnel.ALPNRelay) || !bytes.Equal(read, address) {
		t.Fatalf("%d of %d bytes, %v", len(read), len(address), err)
	}
}
