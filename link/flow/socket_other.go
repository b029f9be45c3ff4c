//go:build !linux

package flow

import (
	"io"
	"net"
	"sync/atomic"
)

// source counts what is read from the socket as it happens.
type source struct{ n atomic.Uint64 }

func (s *source) reader(f *flow) io.Reader { return countedReader{f.socket, &s.n} }

// bytes returns how many bytes have come in so far.
func (s *source) bytes(*flow) uint64 { return s.n.Load() }

// countedReader hides everything of the socket but Read, so that what is read can be counted.
type countedReader struct {
	socket *net.TCPConn
	n      *atomic.Uint64
}

func (r countedReader) Read(b []byte) (int, error) {
	n, err := r.socket.Read(b)
	r.n.Add(uint64(max(n, 0)))
	return n, err
}

// awaitReset tells nothing here: a reset behind the end of data is noticed by the next write.
func awaitReset(*net.TCPConn) error { return nil }
