package mux

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// keepAlive pings at once, for the round trip, and then every KeepAlive, until the session is over or ctx ends. A peer is alive
// while bytes come from it and while it answers a ping within four times KeepAliveTimeout: the first finds a dead line, the second
// a peer that talks but does not read. While streams wait for their Accept, it looks more closely.
func (s *Session) keepAlive(ctx context.Context) {
	s.sendPing()
	every := s.cfg.KeepAlive
	if every < 0 {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.end(nil, endDrained)
		}
		return
	}
	seen, last := s.in.reads.Load(), s.cfg.Clock.Now()
	tick, stop := s.cfg.Clock.After(min(every, s.cfg.KeepAliveTimeout))
	defer func() { stop() }()
	var look <-chan time.Time // at streams that wait
	unlook := func() {}
	defer func() { unlook() }()
	for {
		select {
		case <-s.done:
			return
		case <-ctx.Done():
			s.end(nil, endDrained)
			return
		case <-s.watch:
			look, unlook = s.cfg.Clock.After(s.cfg.Doubt)
			continue
		case <-look:
			look, unlook = nil, func() {}
			again, err := s.lookAtPending()
			if err != nil {
				s.end(err, endTelling)
				return
			}
			if again {
				look, unlook = s.cfg.Clock.After(s.cfg.Doubt)
			}
			continue
		case <-tick:
		}
		tick, stop = s.cfg.Clock.After(min(every, s.cfg.KeepAliveTimeout))
		now := s.cfg.Clock.Now()
		if reads := s.in.reads.Load(); reads != seen {
			seen, last = reads, now
		}
		s.mu.Lock()
		deaf := s.ping.await && now.Sub(s.ping.sent) >= 4*s.cfg.KeepAliveTimeout
		s.mu.Unlock()
		words := ""
		switch silent := now.Sub(last); {
		case silent >= s.cfg.KeepAliveTimeout:
			words = "the peer has been silent for " + silent.String()
		case deaf:
			words = "the peer talks but has not answered a ping for " + (4 * s.cfg.KeepAliveTimeout).String()
		}
		if words != "" {
			s.end(fault.New("mux.Run", fault.Timeout, words).
				Advise("the machine, the relay or the network between is gone; the tunnel is made anew"), endTelling)
			return
		}
		s.sendPing()
	}
}

// measured takes in a round trip. The base follows the least at once and forgets it by an eighth with each ping, because paths change.
func (s *Session) measured(now time.Duration) {
	least := now
	if old := time.Duration(s.rtt.Load()); old > 0 {
		base := time.Duration(s.base.Load())
		least = min(now, base+base/8)
		now = old + (now-old)/4
	}
	s.rtt.Store(int64(now))
	s.base.Store(int64(least))
}

// sendPing queues a ping unless one is under way.
func (s *Session) sendPing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask()
}

// ask is sendPing under s.mu.
func (s *Session) ask() {
	if s.ping.await || s.ping.queued {
		return
	}
	s.ping.token++
	s.ping.queued = true
	s.rouse()
}
