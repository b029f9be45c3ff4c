package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// pairChunk is moved between two looks at deadlines and counters. It is also the least that must pass within the idle limit
	// once a side is congested, so it is not large.
	pairChunk = 256 << 10
	// pairLook is how long a quiet direction sleeps before it looks whether the pair as a whole is idle.
	pairLook = 15 * time.Second
)

// pair is two connections whose bytes are exchanged. Each direction runs on its own goroutine, see carry.
//
// The connections are *net.TCPConn and stay that: (*net.TCPConn).ReadFrom recognises another *net.TCPConn, also inside an
// io.LimitedReader, and then moves the bytes with splice(2), so that they never enter this process. Deadlines are the sockets' own,
// hence the system's clock and not the relay's.
type pair struct {
	a, b   *net.TCPConn
	idle   time.Duration
	opened time.Time
	toB    atomic.Uint64 // bytes moved from a to b
	toA    atomic.Uint64

	lastMoved atomic.Int64 // unix nanoseconds
	open      atomic.Int32 // directions not yet ended
	done      chan struct{}
}

func newPair(a, b *net.TCPConn, idle time.Duration) *pair {
	p := &pair{a: a, b: b, idle: idle, opened: time.Now(), done: make(chan struct{})}
	p.lastMoved.Store(p.opened.UnixNano())
	p.open.Store(2)
	return p
}

// carryToB and carryToA move one direction each and return when both have ended and both connections are closed.
func (p *pair) carryToB() { p.carry(p.b, p.a, &p.toB) }
func (p *pair) carryToA() { p.carry(p.a, p.b, &p.toA) }

func (p *pair) carry(dst, src *net.TCPConn, moved *atomic.Uint64) {
	if p.move(dst, src, moved) {
		_ = dst.CloseWrite() // the half-close goes on; the other direction may still carry
	} else {
		p.reset()
	}
	if p.open.Add(-1) == 0 {
		_ = p.a.Close()
		_ = p.b.Close()
		close(p.done)
	}
	<-p.done
}

// move returns true at the end of src, false when the pair must be reset.
func (p *pair) move(dst, src *net.TCPConn, moved *atomic.Uint64) bool {
	look := min(pairLook, p.idle)
	var writeSet time.Time
	for {
		now := time.Now()
		_ = src.SetReadDeadline(now.Add(look))
		if now.Sub(writeSet) > time.Second {
			// Only a peer that takes less than a chunk within the idle limit meets this one.
			writeSet = now
			_ = dst.SetWriteDeadline(now.Add(p.idle + look))
		}
		n, err := dst.ReadFrom(&io.LimitedReader{R: src, N: pairChunk})
		if n > 0 {
			moved.Add(uint64(n))
			p.lastMoved.Store(time.Now().UnixNano())
		}
		switch {
		case err == nil && n == pairChunk:
		case err == nil:
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false
		case time.Since(writeSet) >= p.idle:
			return false // dst is stuck: what is in flight cannot be delivered
		case time.Since(time.Unix(0, p.lastMoved.Load())) >= p.idle:
			return false
		}
	}
}

// reset ends both sides with RST rather than FIN, so that neither takes a cut stream for a finished one.
func (p *pair) reset() {
	for _, c := range [...]*net.TCPConn{p.a, p.b} {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}
