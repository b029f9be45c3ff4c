package connection

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// portWhenConnecting lets the kernel choose the port when the target is known, so that one port serves connections to several
// (ip(7), IP_BIND_ADDRESS_NO_PORT).
func portWhenConnecting(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // without it there are only fewer ports
	})
}
