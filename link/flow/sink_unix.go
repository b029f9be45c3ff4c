//go:build unix

package flow

import (
	"io"
	"net"
	"os"
	"syscall"
)

// trySink is a socketWriter that can also write without waiting.
type trySink struct {
	socketWriter
	raw  syscall.RawConn
	step func(fd uintptr) bool // made once
	p    []byte
	n    int
	err  error
}

// sink returns where the stream's bytes go.
func (f *flow) sink() io.Writer {
	raw := rawConn(f.socket)
	if raw == nil {
		return socketWriter{f}
	}
	s := &trySink{socketWriter: socketWriter{f}, raw: raw}
	s.step = s.try
	return s
}

// rawConn returns nil for what is no socket of the kernel's, or a closed one. A type around one may mean to change what is written.
func rawConn(c net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

func (s *trySink) try(fd uintptr) bool {
	for {
		s.n, s.err = syscall.Write(int(fd), s.p)
		if s.err != syscall.EINTR { //nolint:errorlint // an errno, never wrapped
			return true
		}
	}
}

// TryWrite writes what the socket takes at once. The first bytes are left to Write, which tells who waits for them.
func (s *trySink) TryWrite(p []byte) (int, error) {
	if s.f.written.Load() == 0 {
		return 0, nil
	}
	s.p, s.n, s.err = p, 0, nil
	err := s.raw.Write(s.step)
	s.p = nil
	if err == nil && s.err != nil && s.err != syscall.EAGAIN { //nolint:errorlint // an errno, never wrapped
		err = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", s.err)}
	}
	n := max(s.n, 0)
	s.wrote(n)
	return n, err
}
