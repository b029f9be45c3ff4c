package dialer

import (
	"context"
	"net"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/socks5"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// socksTimeout is how long a client may take to say where it wants to.
const socksTimeout = 10 * time.Second

// Socks serves SOCKS version 5 (RFC 1928) on l to programs of this machine: CONNECT alone, without authentication. resolve says by which
// grant a host and a port are reached; with a fault the client is refused (reply 2, not allowed by ruleset). It serves until ctx ends,
// which is no fault, closes l and returns when all connections have ended. tell, which may be nil, is told in words what a client sees
// as a number.
func (d *Dialer) Socks(ctx context.Context, l net.Listener, resolve func(host string, port uint16) (grant string, err error), tell func(error)) error {
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if tell == nil {
		tell = func(error) {}
	}
	return d.serve(ctx, l, func(ctx context.Context, c net.Conn) { d.socks(ctx, c, resolve, tell) }, tell)
}

// socks is the life of one client.
func (d *Dialer) socks(ctx context.Context, c net.Conn, resolve func(string, uint16) (string, error), tell func(error)) {
	if a := addressOf(c); a.IsValid() && !a.Addr().IsLoopback() {
		tell(fault.Newf("dialer.Socks", fault.Denied, "%s is not on this machine and was refused", a))
		abort(c)
		return
	}
	stop := context.AfterFunc(ctx, func() { abort(c) })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(socksTimeout))
	refuse := func(reply socks5.Reply) {
		_, _ = c.Write(socks5.AppendReply(nil, reply))
		_ = c.Close()
	}
	if err := socks5.Greet(c); err != nil {
		_ = c.Close()
		return
	}
	q, err := socks5.ReadRequest(c)
	switch {
	case err != nil:
		if reply, ok := socks5.ReplyTo(err); ok {
			refuse(reply)
			return
		}
		_ = c.Close()
		return
	case q.Command != socks5.Connect:
		refuse(socks5.CommandNotSupported)
		return
	}
	grant, err := resolve(q.Host, q.Port)
	if err != nil {
		tell(err)
		refuse(socks5.NotAllowed)
		return
	}
	s, err := d.open(ctx, grant, addressOf(c))
	if err != nil {
		if ctx.Err() == nil {
			tell(err)
		}
		refuse(replyFor(err))
		return
	}
	_ = c.SetDeadline(time.Now().Add(socksTimeout))
	if _, err := c.Write(socks5.AppendReply(nil, socks5.Succeeded)); err != nil {
		s.Reset(tunnel.ResetPeer, "")
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	if !stop() { // ctx has ended
		s.Reset(tunnel.ResetShuttingDown, "the person's program has ended")
		return
	}
	if err := d.cut("dialer.Socks", grant, d.carry(ctx, c, s, grant)); err != nil && ctx.Err() == nil {
		tell(err)
	}
}

// replyFor is what a client is told of a connection that could not be made.
func replyFor(err error) socks5.Reply {
	switch fault.KindOf(err) {
	case fault.Denied, fault.Expired, fault.Unauthenticated:
		return socks5.NotAllowed
	case fault.Unavailable:
		return socks5.HostUnreachable
	case fault.Timeout:
		return socks5.TTLExpired
	default:
		return socks5.GeneralFailure
	}
}
