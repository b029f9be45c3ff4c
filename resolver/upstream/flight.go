package upstream

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// flight is a question in flight, for one or more who wait, or a probe. All of it is guarded by Pool.mu, once Ask has filled it in;
// flights are used again, and gen tells the uses and tries apart.
type flight struct {
	key     key
	name    [maxName]byte // lower case
	nameLen int
	via     []byte
	waiters []waiter
	probe   *server // only this one is asked, and nobody waits
	listed  bool    // in Pool.flights

	deadline time.Time // of all tries together
	links    [2]link

	tried  uint64 // servers of the group, one bit each
	rounds int
	lost   bool   // a try had no answer at all, so that another round may have one
	best   []byte // an answer of a server that was unwilling, or cut: better than none
	bestOf Answer
	lastly error

	gen  uint32 // of the try
	sent []byte // the question as it was put, which an answer must repeat
	try  try
}

// clear makes a flight ready for another question. gen stays: others may still compare it.
func (f *flight) clear() {
	clear(f.waiters)
	f.waiters, f.via, f.sent = f.waiters[:0], f.via[:0], f.sent[:0]
	f.key, f.nameLen, f.probe, f.listed = key{}, 0, nil, false
	f.deadline, f.tried, f.rounds, f.lost = time.Time{}, 0, 0, false
	f.best, f.bestOf, f.lastly, f.try = nil, Answer{}, nil, try{}
}

// proceed asks the next server of the group, or ends the question when there is none.
func (p *Pool) proceed(f *flight, now time.Time, w *work) {
	if s := p.next(f); s != nil {
		p.begin(f, s, now, w)
		return
	}
	p.finish(f, w, p.outcome(f))
}

// next chooses a server: the first healthy one not asked yet; when there is none and nobody gave any answer, the skipped one whose
// pause ends first; and when all were asked and an answer may only have been lost, all over again.
func (p *Pool) next(f *flight) *server {
	if f.probe != nil {
		if f.tried != 0 {
			return nil
		}
		f.tried = 1
		return f.probe
	}
	servers := f.key.group.servers
	for {
		soonest := -1
		for i, s := range servers {
			if f.tried>>i&1 != 0 {
				continue
			}
			if s.skipTo.IsZero() {
				f.tried |= 1 << i
				return s
			}
			if soonest < 0 || s.skipTo.Before(servers[soonest].skipTo) {
				soonest = i
			}
		}
		switch {
		case f.best != nil:
			return nil
		case soonest >= 0:
			f.tried |= 1 << soonest
			return servers[soonest]
		case !f.lost || f.rounds+1 == maxTries:
			return nil
		}
		f.tried, f.lost = 0, false
		f.rounds++
	}
}

// outcome is the answer when nobody gave a good one.
func (p *Pool) outcome(f *flight) Answer {
	if f.best != nil {
		return f.bestOf
	}
	if f.lost || f.lastly == nil {
		return Answer{Err: fault.New("upstream.Ask", fault.Timeout, "no server answered in time").
			Because(f.lastly).Advise("see which servers are skipped, and whether this machine can reach them")}
	}
	return Answer{Err: fault.New("upstream.Ask", fault.Unavailable, "no server could be asked").
		Because(f.lastly).Advise("see which servers are skipped, and whether this machine can reach them")}
}

// drop takes a flight out of the tables. Who calls it looks after the waiters.
func (p *Pool) drop(f *flight) {
	p.all.remove(f)
	if f.listed {
		delete(p.flights, f.key)
		f.listed = false
	}
	if f.probe != nil {
		f.probe.probing = false
	}
}

// finish ends a question: its waiters get the answer as soon as the lock is free.
func (p *Pool) finish(f *flight, w *work, a Answer) {
	p.leave(f)
	p.drop(f)
	p.asks -= len(f.waiters)
	for i := range f.waiters {
		if f.waiters[i].stop != nil {
			delete(p.leaving, f.waiters[i].seq)
		}
	}
	if w.asking { // done is never called from Ask
		p.late = append(p.late, ending{flight: f, answer: a})
		p.wakeUp()
		return
	}
	w.ends = append(w.ends, ending{flight: f, answer: a})
}

// keepBest keeps an answer that is given when nobody has a better one.
func (p *Pool) keepBest(f *flight, a Answer) {
	if f.best == nil || f.bestOf.RCode != 0 && a.RCode == 0 {
		f.best = append([]byte{}, a.Message...)
		a.Message = f.best
		f.bestOf = a
	}
}
