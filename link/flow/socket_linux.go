package flow

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// source reads the socket itself, so that an idle flow holds no buffer; the kernel counts.
type source struct{}

func (source) reader(f *flow) io.Reader { return f.socket }

// bytes asks the kernel how many bytes have come in so far. It is called with f.mu held.
func (source) bytes(f *flow) uint64 {
	raw, err := f.socket.SyscallConn()
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
// closed on our side, which is not.
func awaitReset(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil //nolint:nilerr // closed
	}
	var reset error
	err = raw.Read(func(fd uintptr) bool {
		n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && n != 0 {
			err = syscall.Errno(n)
		}
		reset = err
		return err != nil
	})
	if err != nil {
		return nil //nolint:nilerr // closed by whoever ended the flow
	}
	return reset
}
