package datagram

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canShare = true

const (
	nameSize    = unix.SizeofSockaddrInet6
	controlSize = 40 // one in6_pktinfo with its header
)

// Socket is one UDP socket.
type Socket struct {
	conn     *net.UDPConn
	raw      syscall.RawConn
	wildcard bool
}

func share(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // with CAP_NET_ADMIN
	})
	return errors.Join(err, failed)
}

func listen(addr netip.AddrPort) (*Socket, error) {
	conn, err := open(addr)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &Socket{conn: conn, raw: raw, wildcard: addr.Addr().IsUnspecified()}
	if !s.wildcard {
		return s, nil
	}
	// An IPv6 socket which takes both tells IPv4 destinations as mapped addresses, and takes them back so.
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if addr.Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err = errors.Join(err, failed); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// header is struct mmsghdr.
type header struct {
	unix.Msghdr
	size uint32
}

// Return is the way back to a client.
type Return struct {
	_       [0]uint64 // aligned as control messages are
	control [controlSize]byte
	name    [nameSize]byte
	nameLen uint32
	used    uint32 // of control
}

// Batch is room for datagrams and their answers.
type Batch struct {
	sock    *Socket
	in, out []header
	vec     []unix.Iovec // of in, then of out
	packets [][MaxQuery]byte
	rooms   [][Room]byte
	returns []Return // of in

	got, queued, sent int
	errno             syscall.Errno
	receive, send     func(fd uintptr) bool
}

// NewBatch returns a batch of size datagrams for one reader of the socket.
func (s *Socket) NewBatch(size int) *Batch {
	b := &Batch{
		sock: s, in: make([]header, size), out: make([]header, size), vec: make([]unix.Iovec, 2*size),
		packets: make([][MaxQuery]byte, size), rooms: make([][Room]byte, size), returns: make([]Return, size),
	}
	for i := range size {
		b.vec[i].Base = &b.packets[i][0]
		b.vec[i].SetLen(MaxQuery)
		b.in[i].Iov = &b.vec[i]
		b.in[i].SetIovlen(1)
		b.in[i].Name = &b.returns[i].name[0]
		b.out[i].Iov = &b.vec[size+i]
		b.out[i].SetIovlen(1)
	}
	b.receive = func(fd uintptr) bool {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // the kernel wants an address
		b.got, b.errno = int(n), errno
		return errno != unix.EAGAIN && errno != unix.EINTR
	}
	b.send = func(fd uintptr) bool {
		for b.sent < b.queued {
			n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.queued-b.sent), unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // the kernel wants an address
			switch errno {
			case 0:
				b.sent += int(n)
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				b.sent++ // a client that cannot be reached; the others can
			}
		}
		return true
	}
	return b
}

// Read waits for datagrams and returns how many there are. What was read before is gone.
func (b *Batch) Read() (int, error) {
	for i := range b.in {
		b.in[i].Namelen = nameSize
		if b.sock.wildcard {
			b.in[i].Control = &b.returns[i].control[0]
			b.in[i].SetControllen(controlSize)
		}
	}
	if err := b.sock.raw.Read(b.receive); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, b.errno
	}
	return b.got, nil
}

// Packet is datagram i of the last Read.
func (b *Batch) Packet(i int) []byte { return b.packets[i][:b.in[i].size] }

// Client is who sent datagram i.
func (b *Batch) Client(i int) netip.AddrPort {
	name := &b.returns[i].name
	port := binary.BigEndian.Uint16(name[2:])
	switch binary.NativeEndian.Uint16(name[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// Room is an empty buffer for the answer to datagram i.
func (b *Batch) Room(i int) []byte { return b.rooms[i][:0] }

// Return is how datagram i can be answered after the next Read.
func (b *Batch) Return(i int) Return {
	b.back(i)
	return b.returns[i]
}

// back turns what the kernel said of a datagram into what it wants for the answer.
func (b *Batch) back(i int) {
	h, r := &b.in[i], &b.returns[i]
	r.nameLen, r.used = h.Namelen, 0
	if !b.sock.wildcard || h.Control == nil {
		return
	}
	const head = unix.SizeofCmsghdr // a length, level and type
	level, kind := binary.NativeEndian.Uint32(r.control[head-8:]), binary.NativeEndian.Uint32(r.control[head-4:])
	switch size := int(h.Controllen); {
	case size >= head+unix.SizeofInet4Pktinfo && level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO:
		// The interface is left open, or the answer could not take another way than the query came.
		clear(r.control[head : head+4])
		r.used = uint32(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	case size >= head+unix.SizeofInet6Pktinfo && level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO:
		if to := netip.AddrFrom16([16]byte(r.control[head : head+16])); !to.IsLinkLocalUnicast() || to.Is4In6() {
			clear(r.control[head+16 : head+20])
		}
		r.used = uint32(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	}
}

func (b *Batch) queue(i int, reply []byte) {
	b.back(i)
	h := &b.out[b.queued]
	h.Iov.Base = &reply[0]
	h.Iov.SetLen(len(reply))
	h.address(&b.returns[i])
	b.queued++
}

func (h *header) address(r *Return) {
	h.Name, h.Namelen = &r.name[0], r.nameLen
	h.Control = nil
	h.SetControllen(int(r.used))
	if r.used > 0 {
		h.Control = &r.control[0]
	}
}

// Flush sends the answers. An answer that cannot be sent is lost, as datagrams may be.
func (b *Batch) Flush() {
	if b.queued == 0 {
		return
	}
	b.sent = 0
	_ = b.sock.raw.Write(b.send) // fails when the socket is closed
	for i := range b.queued {
		b.out[i].Iov.Base = nil
	}
	b.queued = 0
}

// Send answers a datagram of an earlier Read. It never waits: what does not fit the socket's buffer is lost.
func (s *Socket) Send(to *Return, reply []byte) error {
	if len(reply) == 0 {
		return nil
	}
	var failed syscall.Errno
	err := s.raw.Control(func(fd uintptr) {
		var h header
		var vec unix.Iovec
		vec.Base = &reply[0]
		vec.SetLen(len(reply))
		h.Iov = &vec
		h.SetIovlen(1)
		h.address(to)
		_, _, failed = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&h.Msghdr)), unix.MSG_DONTWAIT) //nolint:gosec // the kernel wants an address
	})
	if err != nil {
		return err
	}
	if failed != 0 {
		return failed
	}
	return nil
}
