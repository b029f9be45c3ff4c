package syslog

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter lets a connection break when bytes were not acknowledged for so long (TCP_USER_TIMEOUT, RFC 5482), instead of minutes later.
func giveUpAfter(conn net.Conn, d time.Duration) {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // where it is refused the system's own patience holds
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
	}
}
