package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

const (
	// MaxQuery is the longest datagram that is read; what is longer arrives cut.
	MaxQuery = 4096
	// Room is how many bytes of an answer can be written straight into the outgoing batch. Longer ones are sent as well.
	Room = 1472

	receiveBuffer = 4 << 20 // asked of the kernel for each socket, which may give less
)

// Listen opens count sockets on one address where the platform spreads datagrams between them, else one. With port 0 all get the same.
func Listen(addr netip.AddrPort, count int) ([]*Socket, error) {
	if !canShare {
		count = 1
	}
	var all []*Socket
	for range max(count, 1) {
		s, err := listen(addr)
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, err
		}
		addr = netip.AddrPortFrom(addr.Addr(), s.Addr().Port())
		all = append(all, s)
	}
	return all, nil
}

func open(addr netip.AddrPort) (*net.UDPConn, error) {
	// Named by family, because "udp" on 0.0.0.0 would take IPv6 as well.
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
		if addr.Addr().IsUnspecified() {
			network = "udp"
		}
	}
	lc := net.ListenConfig{Control: share}
	c, err := lc.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.New("datagram: not a UDP socket"), c.Close())
	}
	_ = conn.SetReadBuffer(receiveBuffer)
	return conn, nil
}

// Addr is where the socket listens.
func (s *Socket) Addr() netip.AddrPort {
	at := s.conn.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // a UDP socket's
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Close ends all that waits for the socket.
func (s *Socket) Close() error { return s.conn.Close() }

// Answer says what is sent to the client of datagram i by the next Flush; at most one answer for each. It may have been appended to
// Room, and must stay as it is until then.
func (b *Batch) Answer(i int, reply []byte) {
	if len(reply) > 0 {
		b.queue(i, reply)
	}
}
