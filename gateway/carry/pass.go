package carry

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// pass carries bytes both ways, first those which the client sent before there was a target.
func (p *portable) pass(s *session, at *Entrance, meter Meter, first []byte) (reason string) {
	s.move(passing)
	s.wait(at.idleTimeout(), p.c.clk.Now(), ReasonIdle)
	other := make(chan string, 1)
	var half atomic.Bool
	go func() {
		other <- p.carry(s, s.client, s.target, nil, meter, at, &half, &s.recvd, &p.c.sessions.tally.received)
	}()
	here := p.carry(s, s.target, s.client, first, meter, at, &half, &s.sent, &p.c.sessions.tally.sent)
	return or(or(here, <-other), ReasonClosed)
}

// carry passes one direction on until it ends, which it says to the receiver too.
func (p *portable) carry(s *session, to, from *net.TCPConn, first []byte, meter Meter, at *Entrance, half *atomic.Bool, count, total *atomic.Uint64) (reason string) {
	var quiet [quietSize]byte
	buf := quiet[:]
	var big *[bulkSize]byte
	defer func() {
		if big != nil {
			p.bulk.Put(big)
		}
	}()
	write := func(b []byte) bool {
		for len(b) > 0 {
			n := len(b)
			if meter != nil {
				if n = p.meter(s, meter, n); n == 0 {
					return false
				}
			}
			n, err := to.Write(b[:n])
			count.Add(uint64(n))
			total.Add(uint64(n))
			s.since.Store(p.c.sessions.now.Load())
			if err != nil {
				return false
			}
			b = b[n:]
		}
		return true
	}
	if !write(first) {
		return ReasonReset
	}
	for {
		n, err := from.Read(buf)
		if !write(buf[:n]) {
			// The receiver may have answered before it went away: the other direction finds its end by itself.
			return ReasonReset
		}
		switch {
		case errors.Is(err, io.EOF):
			if half.Swap(true) {
				return ""
			}
			s.limit.Store(int64(at.halfIdle()))
			if to.CloseWrite() != nil {
				s.cut(ReasonReset)
				return ReasonReset
			}
			return ""
		case err != nil:
			s.cut(ReasonReset)
			return ReasonReset
		case n == len(buf) && big == nil:
			big = p.bulk.Get().(*[bulkSize]byte)
			buf = big[:]
		case n < quietSize && big != nil:
			p.bulk.Put(big)
			big, buf = nil, quiet[:]
		}
	}
}

// meter waits until some of want bytes may pass; 0 means that the session was cut.
func (p *portable) meter(s *session, m Meter, want int) int {
	for {
		n, wait := m.Take(want)
		if n > 0 {
			return n
		}
		due, stop := p.c.clk.After(wait)
		select {
		case <-due:
		case <-s.gone:
			stop()
			return 0
		}
	}
}
