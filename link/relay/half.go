package relay

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// serveHalf reads the rest of a data connection's preface, waits for its other half or is that, and carries one direction of the
// pair. Not a byte behind the preface is read here: it belongs to the peer.
func (r *Relay) serveHalf(ctx context.Context, c *net.TCPConn, first byte, known func()) {
	var raw [tunnel.PrefaceLen]byte
	raw[0] = first
	if _, err := io.ReadFull(c, raw[1:]); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Now().Add(r.cfg.FirstBytesTimeout)) // for the status
	preface, err := tunnel.ParsePreface(raw[:])
	if err != nil {
		r.refuse(c, tunnel.PrefaceStatus(err))
		return
	}
	mine, other, status := r.tickets.present(preface.Ticket, c)
	known() // by its ticket
	switch {
	case status != tunnel.StatusPaired:
		r.refuse(c, status)
	case mine != nil:
		p, status := r.tickets.await(ctx.Done(), mine)
		if p == nil {
			r.refuse(c, status)
			return
		}
		p.carryToB()
	default:
		r.join(other, c)
	}
}

// join answers both halves of a pair and carries one direction; the first half's goroutine carries the other.
func (r *Relay) join(other *half, c *net.TCPConn) {
	ok := []byte{byte(tunnel.StatusPaired)}
	if _, err := other.conn.Write(ok); err != nil {
		other.met <- nil
		r.refuse(c, tunnel.StatusTimeout)
		return
	}
	p := newPair(other.conn, c, r.cfg.PairIdle)
	if _, err := c.Write(ok); err != nil {
		p.reset()
	}
	r.mu.Lock()
	r.pairs[p] = other.parties
	r.mu.Unlock()
	r.made.Add(1)
	r.metrics.pairs.Inc()
	r.log.Debug("relay made a pair", "asker", other.parties.asker, "target", other.parties.target)
	other.met <- p
	p.carryToA()
	n := p.toA.Load() + p.toB.Load()
	r.mu.Lock()
	delete(r.pairs, p)
	r.mu.Unlock()
	r.moved.Add(n)
	r.metrics.bytes.Add(float64(n))
	r.log.Debug("relay ended a pair", "asker", other.parties.asker, "target", other.parties.target, "bytes", n, "lasted", time.Since(p.opened))
}

// refuse answers a preface with a status other than paired, and closes so that the byte arrives.
func (r *Relay) refuse(c *net.TCPConn, s tunnel.Status) {
	r.halvesRefused.Add(1)
	r.metrics.refusedHalves.WithLabelValues(statusLabel(s)).Inc()
	r.log.Debug("relay refused a data connection", "from", c.RemoteAddr(), "why", s.Error())
	if _, err := c.Write([]byte{byte(s)}); err != nil {
		return
	}
	// Closing with unread bytes would send a reset, which may overtake the status: read what the visitor sent ahead, within reason.
	if c.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c, 16<<10)
	}
}

func statusLabel(s tunnel.Status) string {
	switch s {
	case tunnel.StatusUnknown:
		return "unknown"
	case tunnel.StatusTimeout:
		return "timeout"
	case tunnel.StatusOverloaded:
		return "overloaded"
	case tunnel.StatusShuttingDown:
		return "shutting-down"
	case tunnel.StatusDeclined:
		return "declined"
	default:
		return "malformed"
	}
}
