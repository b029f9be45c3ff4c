//go:build !linux

package datagram

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const canShare = false

// Socket is one UDP socket.
type Socket struct {
	conn     *net.UDPConn
	wildcard bool
}

func share(_, _ string, _ syscall.RawConn) error { return nil }

func listen(addr netip.AddrPort) (*Socket, error) {
	conn, err := open(addr)
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, wildcard: addr.Addr().IsUnspecified()}
	if s.wildcard {
		// A dual-stack socket takes both; where one is refused the kernel chooses the source of answers in that family.
		_ = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
		_ = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	}
	return s, nil
}

// Return is the way back to a client.
type Return struct {
	client netip.AddrPort
	source []byte // control message that names the address to answer from
}

// Batch is room for a datagram and its answer.
type Batch struct {
	sock   *Socket
	packet [MaxQuery]byte
	room   [Room]byte
	oob    [256]byte
	size   int
	to     Return
	reply  []byte
}

// NewBatch returns a batch for one reader of the socket.
func (s *Socket) NewBatch(int) *Batch { return &Batch{sock: s} }

// Read waits for a datagram. What was read before is gone.
func (b *Batch) Read() (int, error) {
	n, oobn, _, client, err := b.sock.conn.ReadMsgUDPAddrPort(b.packet[:], b.oob[:])
	if err != nil {
		return 0, err
	}
	b.size, b.to = n, Return{client: client}
	if b.sock.wildcard {
		b.to.source = sourceOf(b.oob[:oobn])
	}
	return 1, nil
}

func sourceOf(oob []byte) []byte {
	var six ipv6.ControlMessage
	if err := six.Parse(oob); err == nil && six.Dst != nil && six.Dst.To4() == nil {
		return (&ipv6.ControlMessage{Src: six.Dst}).Marshal()
	}
	var four ipv4.ControlMessage
	if err := four.Parse(oob); err == nil && four.Dst != nil {
		return (&ipv4.ControlMessage{Src: four.Dst}).Marshal()
	}
	if six.Dst != nil { // an IPv4 client on a dual-stack socket
		return (&ipv4.ControlMessage{Src: six.Dst}).Marshal()
	}
	return nil
}

// Packet is the datagram of the last Read.
func (b *Batch) Packet(int) []byte { return b.packet[:b.size] }

// Client is who sent it.
func (b *Batch) Client(int) netip.AddrPort {
	return netip.AddrPortFrom(b.to.client.Addr().Unmap(), b.to.client.Port())
}

// Room is an empty buffer for the answer.
func (b *Batch) Room(int) []byte { return b.room[:0] }

// Return is how the datagram can be answered after the next Read.
func (b *Batch) Return(int) Return { return b.to }

func (b *Batch) queue(_ int, reply []byte) { b.reply = reply }

// Flush sends the answer. One that cannot be sent is lost, as datagrams may be.
func (b *Batch) Flush() {
	if b.reply != nil {
		_ = b.sock.Send(&b.to, b.reply)
		b.reply = nil
	}
}

// Send answers a datagram of an earlier Read.
func (s *Socket) Send(to *Return, reply []byte) error {
	if len(reply) == 0 {
		return nil
	}
	_, _, err := s.conn.WriteMsgUDPAddrPort(reply, to.source, to.client)
	if errors.Is(err, syscall.ENOBUFS) {
		return nil
	}
	return err
}
