//go:build !linux

package flow

import (
	"io"
	"net"
)

// source counts what is read from the socket as it happens.
type source struct{ counter }

func (s *source) reader(f *flow) io.Reader { return countedReader{f.socket, &s.counter} }

// bytes returns how many bytes have come in so far.
func (s *source) bytes(*flow) uint64 { return s.n.Load() }

// awaitReset tells nothing here: a reset behind the end of data is noticed by the next write.
func awaitReset(net.Conn) error { return nil }
