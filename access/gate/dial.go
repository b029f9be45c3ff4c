package gate

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// deviceTimeout bounds a Dial that was given: a device is asked, and may take its time.
const deviceTimeout = time.Minute

// winsockRefused is what Windows says for ECONNREFUSED (WSAECONNREFUSED); elsewhere no error has this number.
const winsockRefused = syscall.Errno(10061)

const gone = "the person went away before the target answered"

var errNotHere = errors.New("not allowed by the machine's own settings")

// dial connects to the target. It gives up when the visit is cut, or when the person goes away.
func (g *Gate) dial(v *visit, t *plan.Target) (net.Conn, *refusal) {
	within := flow.DialTimeout
	if g.cfg.Dial != nil {
		within = deviceTimeout
	}
	ctx, cancel := context.WithTimeout(v.ctx, within)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-v.stream.Done():
			v.cut(session.EndBroken, gone)
		case <-ctx.Done():
		}
	})
	var c net.Conn
	var err error
	switch path, local := strings.CutPrefix(t.Address, "unix:"); {
	case g.cfg.Dial != nil:
		c, err = g.cfg.Dial(ctx, t)
	case t.Device != nil:
		err = fault.New("gate.dial", fault.Unavailable, "this process leads to no devices")
	case local:
		c, err = g.dialer.DialContext(ctx, "unix", path)
	default:
		d := g.dialer
		if g.allow.mustLook(t.Address) {
			d.ControlContext = g.look
		}
		c, err = d.DialContext(ctx, "tcp", t.Address)
	}
	if err == nil {
		return c, nil
	}
	g.log.Debug("target not reached", "session", v.id, "target", t.Name, "error", err)
	return nil, unreached(err)
}

// look looks at an address that a target's name stands for.
func (g *Gate) look(_ context.Context, _, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !g.allow.reaches(at) {
		return errNotHere
	}
	return nil
}

// unreached says in words why a target could not be dialled.
func unreached(err error) *refusal {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		if fault.KindOf(err) == fault.Denied {
			return &refusal{session.RejectedThere, tunnel.ResetTargetClosed, fault.Message(err)}
		}
		return &refusal{session.Unreachable, tunnel.ResetUnreachable, fault.Message(err)}
	}
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errNotHere):
		return refused(session.NotAllowedHere, "the machine's own settings do not allow people into the address that the target's name stands for")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, winsockRefused):
		return &refusal{session.Unreachable, tunnel.ResetTargetClosed, "the target refuses connections: what should answer there does not run"}
	case errors.Is(err, context.DeadlineExceeded), timeout != nil && timeout.Timeout():
		return &refusal{session.Unreachable, tunnel.ResetUnreachable, "the target does not answer"}
	}
	return &refusal{session.Unreachable, tunnel.ResetUnreachable, "the target cannot be reached: " + innermost(err)}
}

// innermost returns the words of a network error without the addresses that stand around it.
func innermost(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
