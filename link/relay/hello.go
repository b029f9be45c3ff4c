package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// maxHello bounds what is kept of a connection while its ClientHello is read. Hellos with post-quantum shares are below 4 KiB.
const maxHello = 32 << 10

var (
	errHelloRead    = errors.New("the hello has been read")
	errHelloTooLong = errors.New("the ClientHello is longer than 32 KiB")
)

// readHello reads one whole ClientHello, which began with first, and returns the protocols it offers and every byte read.
// Nothing is written. The caller has set a read deadline.
func readHello(ctx context.Context, c net.Conn, first []byte) (alpn []string, read []byte, err error) {
	rec := &recorder{Conn: c, pending: first}
	seen := false
	// crypto/tls is the parser: it gives the hello to GetConfigForClient before it decides anything, and we stop it there.
	err = tls.Server(rec, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			alpn, seen = h.SupportedProtos, true
			return nil, errHelloRead
		},
	}).HandshakeContext(context.WithoutCancel(ctx)) // the connection's deadline bounds it
	if !seen {
		return nil, nil, err
	}
	return alpn, rec.read, nil
}

// recorder keeps what is read and swallows what is written, so that crypto/tls can look without being noticed.
type recorder struct {
	net.Conn
	pending []byte // read before
	read    []byte
}

func (r *recorder) Read(p []byte) (n int, err error) {
	if len(r.pending) > 0 {
		n = copy(p, r.pending)
		r.pending = r.pending[n:]
	} else {
		n, err = r.Conn.Read(p)
	}
	if len(r.read)+n > maxHello {
		return 0, errHelloTooLong
	}
	r.read = append(r.read, p[:n]...)
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// Close and the deadlines are not for the parser to use.
func (r *recorder) Close() error                     { return nil }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

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
