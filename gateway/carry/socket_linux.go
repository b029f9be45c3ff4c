//nolint:gosec // every pointer is to memory that lives through the call, and its length goes with it
package carry

import (
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here go to the kernel without telling Go's scheduler, which is right for those that cannot block, and saves what the
// others cost: for a message of 64 bytes that is as much as the call itself.

func recv(fd int32, p []byte, flags uintptr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return int(n), e
}

// discard takes n bytes from a socket without copying them (tcp(7), MSG_TRUNC).
func discard(fd int32, n int) (int, unix.Errno) {
	got, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	return int(got), e
}

func send(fd int32, p []byte, flags uintptr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func splice(from, to int32, n int) (int, unix.Errno) {
	got, _, e := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(got), e
}

func accept(fd int32) (int32, netip.AddrPort, unix.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int32(n), address(&sa), 0
}

// address is the address in sa, not valid when it is none of TCP.
func address(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), swapped(a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), swapped(a.Port))
	}
	return netip.AddrPort{}
}

// swapped turns a port from the network's order of bytes into the machine's, or back.
func swapped(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

func connect(fd int32, to netip.AddrPort) unix.Errno {
	if a := to.Addr().Unmap(); a.Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(to.Port()), Addr: a.As4()}
		_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet4)
		return e
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Port()), Addr: to.Addr().As16(), Scope_id: scope(to.Addr().Zone())}
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet6)
	return e
}

func scope(zone string) uint32 {
	n := uint32(0)
	for _, c := range zone {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint32(c-'0')
	}
	return n
}

func newSocket(to netip.AddrPort) (int32, unix.Errno) {
	family := uintptr(unix.AF_INET6)
	if to.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	n, _, e := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return int32(n), e
}

func setOption(fd int32, level, name uintptr, value int32) {
	// Only an option the kernel does not know fails, and the connection works without.
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), level, name, uintptr(unsafe.Pointer(&value)), 4, 0)
}

// tune sets what a listening socket hands down to its connections, and what a target's gets once it has lived for a while.
func tune(fd int32) {
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int32(keepIdle/time.Second))
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int32(keepInterval/time.Second))
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount)
	// Bytes which nobody acknowledges for as long as a silent peer may be away.
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int32((keepIdle+keepCount*keepInterval)/time.Millisecond))
}

func socketError(fd int32) unix.Errno {
	var value int32
	size := uint32(4)
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return unix.Errno(value)
}

// unread tells how many bytes wait in a socket.
func unread(fd int32) int {
	var n int32
	_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCINQ, uintptr(unsafe.Pointer(&n)))
	return int(n)
}

func epollControl(epoll int32, what uintptr, fd int32, e *unix.EpollEvent) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), what, uintptr(fd), uintptr(unsafe.Pointer(e)), 0, 0)
	return errno
}

func endData(fd int32) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return e
}

func closeFD(fd int32) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// reset closes a socket with a reset.
func reset(fd int32) {
	linger := unix.Linger{Onoff: 1}
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
	closeFD(fd)
}

// newListener opens one listening socket; others of this user may listen at the same address. It is no os.File, which would wake Go's
// poller for each connection.
func newListener(at netip.AddrPort, both bool, backlog int) (int32, error) {
	fd, err := newSocketAt(at, both, true)
	if err != nil {
		return -1, err
	}
	if err := unix.Listen(int(fd), backlog); err != nil {
		closeFD(fd)
		return -1, os.NewSyscallError("listen", err)
	}
	return fd, nil
}

// newSocketAt makes a socket that is bound to an address and does not listen yet.
func newSocketAt(at netip.AddrPort, both, shared bool) (fd int32, err error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16(), ZoneId: scope(at.Addr().Zone())}
	if a := at.Addr().Unmap(); a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	}
	n, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	fd = int32(n)
	defer func() {
		if err != nil {
			closeFD(fd)
		}
	}()
	if family == unix.AF_INET6 {
		only := 1
		if both {
			only = 0
		}
		if err := unix.SetsockoptInt(n, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	options := []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT}
	if !shared {
		options = options[:1]
	}
	for _, option := range options {
		if err := unix.SetsockoptInt(n, unix.SOL_SOCKET, option, 1); err != nil {
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	tune(fd)
	return fd, os.NewSyscallError("bind", unix.Bind(n, sa))
}

// localAddress is the address a listening socket is bound to.
func localAddress(fd int32) (netip.AddrPort, error) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, e := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if e != 0 {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", e)
	}
	return address(&sa), nil
}

// epollNow gives the events that are there.
func epollNow(epoll int32, events []unix.EpollEvent) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
