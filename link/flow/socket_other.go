//go:build !linux

package flow

import (
	"io"
	"net"
)

// countedReader hides everything of the socket but Read, so that what is read can be counted.
type countedReader struct{ f *flow }

func (r countedReader) Read(b []byte) (int, error) {
	n, err := r.f.socket.Read(b)
	r.f.pulled.Add(uint64(max(n, 0)))
	return n, err
}

// source returns what the stream reads the socket from.
func (f *flow) source() io.Reader { return countedReader{f} }

// bytesRead returns how many bytes have come in so far.
func bytesRead(f *flow) uint64 { return f.pulled.Load() }

// awaitReset tells nothing here: a reset behind the end of data is noticed by the next write.
func awaitReset(*net.TCPConn) error { return nil }
