package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sync/errgroup"
)

// maxQuery bounds a query over UDP; a longer one is cut and then malformed.
const maxQuery = 4096

// answerUDP reads datagrams, answers at once what the view knows, and hands the rest to a goroutine each.
func (r *Resolver) answerUDP(ctx context.Context, g *errgroup.Group, conn *net.UDPConn) error {
	buf := make([]byte, maxQuery)
	path := newReturnPath(conn)
	for errs := 0; ; {
		n, client, err := path.read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			// An ICMP error for an earlier reply is told to the next read; so many in a row are something else.
			if errs++; errs > 1000 || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		errs = 0
		reply, later := r.take(buf[:n], client, false)
		if later == nil {
			path.write(reply, client)
			continue
		}
		if !r.reserve() {
			path.write(later.busy(), client)
			continue
		}
		back := path.keep()
		g.Go(func() error {
			defer r.release()
			back.write(later.finish(ctx), client)
			return nil
		})
	}
}

func (r *Resolver) reserve() bool {
	select {
	case r.forwards <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *Resolver) release() { <-r.forwards }

// plainPath answers from the socket's own address.
type plainPath struct{ conn *net.UDPConn }

func (p plainPath) read(buf []byte) (int, netip.AddrPort, error) {
	return p.conn.ReadFromUDPAddrPort(buf)
}

func (p plainPath) write(reply []byte, to netip.AddrPort) {
	if len(reply) > 0 {
		_, _ = p.conn.WriteToUDPAddrPort(reply, to) // a client that is gone asks again
	}
}
