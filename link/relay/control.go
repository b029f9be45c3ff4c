package relay

import (
	"context"
	"net"
	"sync"
	"time"
)

// passOn gives a connection that is not for the relay to the control plane, with the bytes read to look at it. It reports whether
// somebody else owns the connection now.
func (r *Relay) passOn(ctx context.Context, c *net.TCPConn, hello []byte) bool {
	_ = c.SetReadDeadline(time.Time{})
	if r.cfg.ControlHandler != nil {
		r.cfg.ControlHandler(&guest{replay: newReplay(c, hello), leave: sync.OnceFunc(func() { r.door.leave(c) })})
		return true
	}
	if r.cfg.Control == "" {
		r.log.Debug("relay has no control address to pass a connection to", "from", c.RemoteAddr())
		return false
	}
	d := net.Dialer{Timeout: r.cfg.HandshakeTimeout, KeepAlive: 15 * time.Second}
	up, err := d.DialContext(ctx, "tcp", r.cfg.Control)
	if err != nil {
		r.metrics.controlFailures.Inc()
		r.log.Warn("relay cannot reach the control plane", "address", r.cfg.Control, "err", err)
		_ = c.SetLinger(0) // a reset says "not here" where a FIN would say "finished"
		return false
	}
	defer up.Close()
	stop := context.AfterFunc(ctx, func() { _ = up.Close() })
	defer stop()
	_ = up.SetWriteDeadline(time.Now().Add(r.cfg.HandshakeTimeout))
	if _, err := up.Write(hello); err != nil {
		_ = c.SetLinger(0)
		return false
	}
	p := newPair(c, up.(*net.TCPConn), r.cfg.ControlIdle)
	var back sync.WaitGroup
	back.Go(p.carryToA)
	p.carryToB()
	back.Wait()
	return false
}

// guest is a connection handed to somebody else in this process; it counts as a visitor until it is closed.
type guest struct {
	*replay
	leave func()
}

func (g *guest) Close() error {
	err := g.replay.Close()
	g.leave()
	return err
}
