package stream

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// closeWriter is a connection of which one direction can end before the other.
type closeWriter interface{ CloseWrite() error }

// goner is a connection that tells when it was lost though nobody reads it any more.
type goner interface{ Gone() <-chan struct{} }

// carry passes bytes both ways until both have ended, or one of the two cannot end alone.
func (b *bridge) carry(device, service net.Conn) {
	var ways, rest sync.WaitGroup
	rest.Go(func() { b.watch(device) })
	rest.Go(func() { b.watch(service) })
	rest.Go(func() {
		<-b.over
		b.close()
	})
	ways.Go(func() { b.pass(device, service, &b.toService) })
	ways.Go(func() { b.pass(service, device, &b.toDevice) })
	ways.Wait()
	b.finish(session.EndClosed, "")
	rest.Wait()
}

// watch returns when the bridge is over, and ends it when the connection is lost.
func (b *bridge) watch(c net.Conn) {
	var gone <-chan struct{}
	if w, ok := c.(goner); ok {
		gone = w.Gone()
	}
	select {
	case <-gone:
		b.finish(session.EndClosed, "")
	case <-b.over:
	}
}

// carryBuffer is what one direction of a stream takes of memory while bytes pass.
const carryBuffer = 32 << 10

// pass passes bytes one way.
func (b *bridge) pass(from, to net.Conn, count *atomic.Int64) {
	_, err := io.CopyBuffer(&counted{to, b, count}, plain{from}, make([]byte, carryBuffer))
	if _, half := from.(closeWriter); err == nil && half {
		if w, ok := to.(closeWriter); ok && w.CloseWrite() == nil {
			return
		}
	}
	switch {
	case err == nil:
		b.finish(session.EndClosed, "")
	case fault.KindOf(err) == fault.Exhausted:
		b.finish(session.EndTotal, fault.Message(err))
	default:
		b.finish(session.EndBroken, "")
	}
}

// plain hides what else a connection can do, so that the buffer is used.
type plain struct{ io.Reader }

// counted counts bytes, lets no more of them pass than may, and ends a stream whose hub has carried enough.
type counted struct {
	to    io.Writer
	b     *bridge
	count *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	b, g := c.b, c.b.gateway
	if b.today != nil && b.today.bytes.Add(int64(len(p))) > g.cfg.Bytes {
		return 0, fault.New("stream.carry", fault.Exhausted, "the streams of the hub carried enough today")
	}
	if !b.pace.wait(g.clock, len(p), b.over) {
		return 0, net.ErrClosed
	}
	n, err := c.to.Write(p)
	c.count.Add(int64(n))
	if b.grant != "" {
		b.moved.Store(g.clock.Now().UnixNano())
	}
	return n, err
}

// pace lets so many bytes a second pass, both ways together. The zero value lets all pass.
type pace struct {
	rate atomic.Int64

	mu   sync.Mutex // guards the field below
	next time.Time  // when the bytes that were let pass have used up their time
}

// paceAhead is how far bytes may be ahead of their time: a keystroke need not wait.
const paceAhead = 100 * time.Millisecond

func (p *pace) set(rate int64) { p.rate.Store(rate) }

// wait returns when n more bytes may pass; false when over was closed first.
func (p *pace) wait(clk clock.Clock, n int, over <-chan struct{}) bool {
	rate := p.rate.Load()
	if rate <= 0 {
		return true
	}
	now := clk.Now()
	p.mu.Lock()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	pause := p.next.Sub(now) - paceAhead
	p.mu.Unlock()
	if pause <= 0 {
		return true
	}
	later, stop := clk.After(pause)
	defer stop()
	select {
	case <-later:
		return true
	case <-over:
		return false
	}
}
