//go:build unix

package mux

import (
	"net"
	"syscall"
)

// A rawSink writes to a socket what it takes without waiting.
type rawSink interface{ write(p []byte) int }

type socketSink struct {
	conn syscall.RawConn
	p    []byte
	n    int
	step func(fd uintptr) bool
}

// newRawSink returns nil when conn is no socket.
func newRawSink(conn net.Conn) rawSink {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socketSink{conn: raw}
	s.step = s.try
	return s
}

func (s *socketSink) try(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), s.p)
		if err != syscall.EINTR {
			s.n = max(n, 0)
			return true
		}
	}
}

// write returns how much was written. An error will be met again by whoever writes the rest.
func (s *socketSink) write(p []byte) int {
	s.p, s.n = p, 0
	_ = s.conn.Write(s.step)
	s.p = nil
	return s.n
}
