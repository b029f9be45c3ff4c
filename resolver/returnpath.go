package resolver

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// returnPath reads datagrams and answers them from the address they were sent to.
type returnPath interface {
	read(buf []byte) (n int, client netip.AddrPort, err error)
	write(reply []byte, to netip.AddrPort) // to the client of the last read
	keep() returnPath                      // for a write after the next read
}

// newReturnPath returns the path for a socket. One bound to a single address needs nothing special; on one bound to all addresses
// the kernel would choose the source by its routes, and clients drop answers from an address they did not ask.
func newReturnPath(conn *net.UDPConn) returnPath {
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // a UDP socket's
	if !at.Addr().IsUnspecified() {
		return plainPath{conn}
	}
	// A dual-stack socket takes both; where one is refused the plain behaviour remains for that family.
	_ = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	_ = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	return &sourcePath{conn: conn, oob: make([]byte, 256)}
}

func (p plainPath) keep() returnPath { return p }

type sourcePath struct {
	conn   *net.UDPConn
	oob    []byte
	source []byte // control message that names the address to answer from
}

func (p *sourcePath) read(buf []byte) (int, netip.AddrPort, error) {
	n, oobn, _, client, err := p.conn.ReadMsgUDPAddrPort(buf, p.oob)
	p.source = sourceOf(p.oob[:oobn])
	return n, client, err
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

func (p *sourcePath) write(reply []byte, to netip.AddrPort) {
	if len(reply) > 0 {
		_, _, _ = p.conn.WriteMsgUDPAddrPort(reply, p.source, to) // a client that is gone asks again
	}
}

func (p *sourcePath) keep() returnPath { return &sourcePath{conn: p.conn, source: p.source} }
