package upstream

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchLen  = 16
	bufferLen = 2048 // more than is ever asked for; longer datagrams count as cut
)

// batch takes several datagrams at once. Sockets have one only while there is something to read.
type batch struct {
	headers [batchLen]header
	vectors [batchLen]unix.Iovec
	buffers [batchLen][bufferLen]byte
	msgs    [batchLen][]byte
	cut     [batchLen]bool
	reads   [batchLen]reading
	work    work
}

// header is struct mmsghdr of recvmmsg(2).
type header struct {
	unix.Msghdr
	n uint32
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.headers {
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(bufferLen)
		b.headers[i].Iov = &b.vectors[i]
		b.headers[i].SetIovlen(1)
	}
	return b
}

// listen takes what comes, until the socket is closed or done with.
func (s *socket) listen(p *Pool) {
	// The function never returns true but at the end: the runtime then waits for the next event of the socket, and an event between
	// our reading and its waiting is not lost. So a read that only finds the socket empty is left out.
	_ = s.raw.Read(func(fd uintptr) bool {
		b, _ := p.batches.Get().(*batch)
		if b == nil {
			b = newBatch()
		}
		defer p.batches.Put(b)
		for {
			n, errno := b.receive(int(fd))
			switch {
			case errno == unix.EAGAIN:
				return false
			case errno == unix.EINTR:
				continue
			case errno != 0:
				p.broken(s, errno, &b.work)
				return true
			}
			if p.arrived(s, b.msgs[:n], b.cut[:n], b.reads[:n], &b.work) {
				return true
			}
			if n < batchLen {
				return false
			}
		}
	})
}

func (b *batch) receive(fd int) (int, unix.Errno) {
	//nolint:gosec // G103: recvmmsg(2) is not in x/sys; the headers and all they point to live in b
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), batchLen, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range n {
		b.msgs[i] = b.buffers[i][:b.headers[i].n]
		b.cut[i] = b.headers[i].Flags&unix.MSG_TRUNC != 0
	}
	return int(n), 0
}

// packet is a query on its way out.
type packet struct {
	buf     [640]byte // the largest query has 2+12+255+4+11+44+132+131
	scratch [64]byte
	msg     []byte
	err     error
	write   func(fd uintptr) bool
}

func newPacket() *packet {
	k := new(packet)
	k.write = func(fd uintptr) bool {
		_, k.err = unix.Write(int(fd), k.msg)
		return true // a full socket loses the datagram, as a full network does; nobody waits
	}
	return k
}

func (k *packet) sendOn(s *socket) error {
	if err := s.raw.Write(k.write); err != nil {
		return err
	}
	return k.err
}
