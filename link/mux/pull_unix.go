//go:build unix

package mux

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A rawSource waits for a socket to be readable before it takes a buffer, so that an idle flow costs none.
type rawSource struct {
	conn  syscall.RawConn
	limit int
	seg   *segment
	n     int
	err   error
	step  func(fd uintptr) bool
}

func newRawSource(r io.Reader) *rawSource {
	c, ok := r.(interface {
		net.Conn
		syscall.Conn
	})
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &rawSource{conn: raw}
	s.step = s.try
	return s
}

// try reads once and says whether there was an answer.
func (s *rawSource) try(fd uintptr) bool {
	s.seg = newSegment(tunnel.HeaderLen + s.limit)
	for {
		s.n, s.err = syscall.Read(int(fd), s.seg.buf[tunnel.HeaderLen:tunnel.HeaderLen+s.limit])
		if s.err != syscall.EINTR { //nolint:errorlint // an errno, never wrapped
			break
		}
	}
	if s.err == syscall.EAGAIN { //nolint:errorlint // an errno, never wrapped
		s.seg.free()
		s.seg = nil
		return false
	}
	return true
}

func (s *rawSource) pull(limit int) (*segment, error) {
	s.limit, s.seg, s.n, s.err = limit, nil, 0, nil
	err := s.conn.Read(s.step)
	seg := s.seg
	s.seg = nil
	if err == nil && s.err != nil {
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", s.err)}
	}
	if err == nil && s.n == 0 {
		err = io.EOF
	}
	if seg == nil || s.n <= 0 {
		if seg != nil {
			seg.free()
		}
		return nil, err
	}
	seg.w = tunnel.HeaderLen + s.n
	return seg, err
}
