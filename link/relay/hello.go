package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/isthmus-io/isthmus/wire/clienthello"
)

// maxHello bounds what is kept of a connection while its ClientHello is read. Hellos with post-quantum shares are below 4 KiB.
const maxHello = 32 << 10

var errHelloTooLong = errors.New("the ClientHello is longer than 32 KiB")

// readHello reads one whole ClientHello, which began with first, and returns it with every byte read. Nothing behind it is read and
// nothing is written. The caller has set a read deadline.
func readHello(c net.Conn, first []byte) (clienthello.Hello, []byte, error) {
	read := slices.Clip(first)
	for {
		h, err := clienthello.Parse(read)
		switch {
		case errors.Is(err, clienthello.BadName), errors.Is(err, clienthello.NameIsAddress):
			return clienthello.Hello{}, read, nil // from no agent; whether the control plane minds is not the relay's to say
		case !errors.Is(err, clienthello.ErrIncomplete):
			return h, read, err
		}
		need, err := clienthello.Need(read)
		if err != nil {
			return clienthello.Hello{}, nil, err
		}
		if len(read)+need > maxHello {
			return clienthello.Hello{}, nil, errHelloTooLong
		}
		read = slices.Grow(read, need)
		n, err := io.ReadFull(c, read[len(read):len(read)+need])
		if err != nil {
			return clienthello.Hello{}, nil, err
		}
		read = read[:len(read)+n]
	}
}

// replay is a connection whose first bytes were read already.
type replay struct {
	net.Conn
	first bytes.Reader
}

func newReplay(c net.Conn, first []byte) *replay {
	r := &replay{Conn: c}
	r.first.Reset(first)
	return r
}

func (r *replay) Read(p []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(p)
	}
	return r.Conn.Read(p)
}

// CloseWrite passes a half-close on where the connection can.
func (r *replay) CloseWrite() error {
	if h, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

var _ io.Reader = (*replay)(nil)
