package flow

import (
	"io"
	"net"
	"sync/atomic"
)

// socket is one end of a flow. The kernel's own, TCP and Unix, are read and written past their methods, where the platform can;
// everything else by them.
type socket interface {
	net.Conn
	CloseWrite() error
}

// socketOf makes do with a connection that cannot say end of data: it is not said, and the connection stays until the other side ends it.
func socketOf(c net.Conn) socket {
	if s, ok := c.(socket); ok {
		return s
	}
	return whole{c}
}

type whole struct{ net.Conn }

func (whole) CloseWrite() error { return nil }

// counter counts what is read, where the kernel does not.
type counter struct{ n atomic.Uint64 }

// countedReader hides everything of the socket but Read, so that what is read can be counted.
type countedReader struct {
	from  io.Reader
	count *counter
}

func (r countedReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.count.n.Add(uint64(max(n, 0)))
	return n, err
}
