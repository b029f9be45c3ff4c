package upstream

import "time"

// work is what was decided under the pool's lock and is done without it: it sends, opens and calls back.
type work struct {
	asking bool // on behalf of a caller of Ask, on whose goroutine done is not called
	sends  []send
	opens  []opening
	ends   []ending
	tells  []tell
}

// tell is something to log: a server that is skipped from now on, or lives again.
type tell struct {
	server *server
	fails  int // 0: it lives
	pause  time.Duration
	err    error
}

// send is a datagram for a socket.
type send struct {
	sock *socket
	pkt  *packet
	id   uint16
}

// opening is a try that waits for a new socket.
type opening struct {
	flight *flight
	server *server
	gen    uint32
}

// ending is an answer for all who wait in flight, or for the one. Without waiters the flight is only to be used again.
type ending struct {
	flight *flight
	one    waiter
	answer Answer
}

// do does the work, and what comes of it, until there is none.
func (p *Pool) do(w *work) {
	for len(w.sends)+len(w.opens)+len(w.ends) > 0 {
		// What is done here may add to the lists.
		for i := 0; i < len(w.ends); i++ {
			p.end(w.ends[i])
			w.ends[i] = ending{}
		}
		w.ends = w.ends[:0]
		for i := 0; i < len(w.sends); i++ {
			s := w.sends[i]
			w.sends[i] = send{}
			if err := s.pkt.sendOn(s.sock); err != nil {
				p.unsent(s, err, w)
			}
			p.packets.Put(s.pkt)
		}
		w.sends = w.sends[:0]
		for i := 0; i < len(w.opens); i++ {
			o := w.opens[i]
			w.opens[i] = opening{}
			p.open(o, w)
		}
		w.opens = w.opens[:0]
	}
	w.asking = false
	for _, t := range w.tells {
		p.tell(t)
	}
	clear(w.tells)
	w.tells = w.tells[:0]
}

// tell logs the beginning and the end of an outage for everybody, what is between for those who look closely.
func (p *Pool) tell(t tell) {
	switch at := t.server.Server.String(); t.fails {
	case 0:
		p.log.Info("a DNS server answers again", "server", at)
	case 1:
		p.log.Warn("a DNS server does not answer and is skipped", "server", at, "pause", t.pause, "err", t.err)
	default:
		p.log.Debug("a DNS server still does not answer", "server", at, "fails", t.fails, "pause", t.pause, "err", t.err)
	}
}

func (p *Pool) end(e ending) {
	if e.one.done != nil {
		e.one.call(e.answer)
	}
	if e.flight == nil {
		return
	}
	for i := range e.flight.waiters {
		e.flight.waiters[i].call(e.answer)
	}
	p.recycle(e.flight)
}

func (w *waiter) call(a Answer) {
	if w.stop != nil {
		w.stop()
	}
	a.Joined = w.joined
	w.done(a)
}

// recycle keeps a flight that no table and no carrier knows any more.
func (p *Pool) recycle(f *flight) {
	f.clear()
	p.spare.Put(f)
}

// timeline is flights in the order of their deadlines, which is that of their coming because all get the same time.
type timeline struct {
	which       int
	first, last *flight
}

type link struct {
	prev, next *flight
	in         bool
}

func (t *timeline) push(f *flight) {
	f.links[t.which] = link{prev: t.last, in: true}
	if t.last == nil {
		t.first = f
	} else {
		t.last.links[t.which].next = f
	}
	t.last = f
}

func (t *timeline) remove(f *flight) {
	l := &f.links[t.which]
	if !l.in {
		return
	}
	if l.prev == nil {
		t.first = l.next
	} else {
		l.prev.links[t.which].next = l.next
	}
	if l.next == nil {
		t.last = l.prev
	} else {
		l.next.links[t.which].prev = l.prev
	}
	*l = link{}
}

// wakeUp has the timekeeper look at once.
func (p *Pool) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// wakeBefore has the timekeeper look no later than at.
func (p *Pool) wakeBefore(at time.Time) {
	if at.Before(p.wakeAt) {
		p.wakeAt = at
		p.wakeUp()
	}
}
