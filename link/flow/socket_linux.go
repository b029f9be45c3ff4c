package flow

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// source reads a TCP connection itself, so that an idle flow holds no buffer; the kernel counts. It does not for other sockets.
type source struct{ counter }

func (s *source) reader(f *flow) io.Reader {
	if _, ok := f.socket.(*net.TCPConn); ok {
		return f.socket
	}
	return countedReader{f.socket, &s.counter}
}

// bytes asks the kernel how many bytes have come in so far. It is called with f.mu held.
func (s *source) bytes(f *flow) uint64 {
	tcp, ok := f.socket.(*net.TCPConn)
	if !ok {
		return s.n.Load()
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return f.read
	}
	n := f.read
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_received
		}
	})
	return n
}

// awaitReset waits, after the end of data, until the peer resets the connection, which is returned as an error, or until the socket is
// closed on our side, which is not. It knows of TCP alone.
func awaitReset(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil //nolint:nilerr // closed
	}
	for {
		var reset error
		err = raw.Read(func(fd uintptr) bool {
			n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
			if err == nil && n != 0 {
				err = syscall.Errno(n)
			}
			reset = err
			return err != nil
		})
		switch {
		case err == nil:
			return reset
		case !errors.Is(err, os.ErrDeadlineExceeded): // closed by whoever ended the flow
			return nil
		}
		_ = tcp.SetReadDeadline(time.Time{}) // meant for bytes, which have ended
	}
}
