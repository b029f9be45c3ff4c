package gateway

import (
	"net"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// into takes a connection into the tunnels of a private endpoint.
func (v *visit) into(e *plan.GatewayEndpoint, idle time.Duration) func(net.Conn, []byte) {
	return func(c net.Conn, first []byte) {
		g := v.door.front.g
		socket, ok := c.(*net.TCPConn)
		if !ok || g.opener == nil {
			g.log.Error("this process has no tunnels, and a route leads to a private endpoint", "endpoint", e.Name)
			v.refuse(reasonNoWay, "")
			reset(c)
			return
		}
		way := flow.Given{
			Opener: g.opener, Clock: g.clk, Providers: e.Providers, First: first, Idle: idle,
			Flow: tunnel.Flow{Endpoint: e.ID, Port: v.port, Client: v.source},
		}
		if v.lease.Metered() {
			way.Meter = &v.lease
		}
		sent, received, err := way.Carry(g.running, socket)
		v.sent, v.recvd = sent, received
		if err != nil {
			g.log.Debug("a connection went nowhere", "endpoint", e.Name, "source", v.source, "because", fault.Message(err))
			v.refuse(reasonNoWay, "")
		}
	}
}

// reset closes a connection so that the peer sees that nothing came of it.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
