package engine

import (
	"slices"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// outcome is how dispositions are put together: those of one kind with ids next to each other become one.
type outcome uint8

const (
	accepted outcome = iota
	released
	single // has something of its own to say
)

// span is a range of deliveries with the same outcome.
type span struct {
	first, last uint32
	kind        outcome
}

// mostRanges is how many ranges wait to be put together.
const mostRanges = 128

// dispose notes what became of a delivery. It is written when the writer comes to it, with those beside it.
func (s *Session) dispose(id uint32, state amqp.State, kind outcome) {
	c := s.conn
	if kind == single {
		if r, ok := state.(amqp.Rejected); ok {
			state = amqp.Rejected{Error: c.fit(r.Error)}
		}
		s.putDisposition(id, id, state)
		return
	}
	if n := len(s.ranges); n > 0 {
		if r := &s.ranges[n-1]; r.kind == kind && r.last+1 == id {
			r.last = id
			return
		}
	}
	if len(s.ranges) == mostRanges {
		s.flushRanges()
	}
	s.ranges = append(s.ranges, span{id, id, kind})
	if !s.unflushed {
		s.unflushed = true
		c.unflushed = append(c.unflushed, s)
	}
}

// flushRanges writes the dispositions that wait, as few as they can be.
func (s *Session) flushRanges() {
	if len(s.ranges) == 0 {
		return
	}
	if len(s.ranges) > 1 {
		base := s.last
		slices.SortFunc(s.ranges, func(a, b span) int { return int(int32(a.first-base)) - int(int32(b.first-base)) })
	}
	r := s.ranges[0]
	for _, next := range s.ranges[1:] {
		if next.kind == r.kind && next.first == r.last+1 {
			r.last = next.last
			continue
		}
		s.putRange(r)
		r = next
	}
	s.putRange(r)
	s.ranges = s.ranges[:0]
}

func (s *Session) putRange(r span) {
	var state amqp.State = amqp.Accepted{}
	if r.kind == released {
		state = amqp.Released{}
	}
	s.putDisposition(r.first, r.last, state)
}

func (s *Session) putDisposition(first, last uint32, state amqp.State) {
	c := s.conn
	if c.state >= closing || s.ended {
		return
	}
	d := &c.disposition
	*d = amqp.Disposition{Role: amqp.RoleReceiver, First: first, Settled: true, State: state}
	if first != last {
		d.Last = amqp.Some(last)
	}
	out := c.buffer()
	*out = amqp.AppendDisposition(*out, s.channel, d)
}

// flush writes all dispositions that wait.
func (c *Conn) flush() {
	for i, s := range c.unflushed {
		s.flushRanges()
		s.unflushed = false
		c.unflushed[i] = nil
	}
	c.unflushed = c.unflushed[:0]
}

// disposed takes a disposition (2.6.12).
func (s *Session) disposed(d *amqp.Disposition) {
	c := s.conn
	last := d.Last.Or(d.First)
	if after(d.First, last) {
		s.fail(amqp.Errorf(amqp.ConditionInvalidField, "A disposition goes from %d back to %d.", d.First, last))
		return
	}
	if d.Role == amqp.RoleSender { // the peer settles what it has sent; our own word about it does no harm
		return
	}
	state, settled := d.State, d.Settled
	if _, halfway := state.(amqp.Received); (halfway || state == nil) && !settled {
		return
	}
	c.taken = s.unsettled.take(c.taken[:0], d.First, last)
	for i := range c.taken {
		e := &c.taken[i]
		e.link.unsettled--
		if !settled { // the peer waits for us to settle, as mode second has it
			c.disposition = amqp.Disposition{Role: amqp.RoleSender, First: e.id, Settled: true, State: state}
			out := c.buffer()
			*out = amqp.AppendDisposition(*out, s.channel, &c.disposition)
		}
		e.link.wakeUp()
	}
	c.outside(func() {
		for i := range c.taken {
			e := &c.taken[i]
			if e.done != nil {
				outcome := state
				if outcome == nil {
					outcome = e.link.unspoken
				}
				e.done(outcome)
			}
			*e = entry{}
		}
	})
}

// unspoken is what becomes of a delivery that is settled without a word (3.5.3).
func unspoken(src *amqp.Source) amqp.State {
	if src != nil {
		if d, ok := src.DefaultOutcome.(amqp.Described); ok {
			switch d.Descriptor {
			case uint64(0x24), amqp.Symbol("amqp:accepted:list"):
				return amqp.Accepted{}
			case uint64(0x25), amqp.Symbol("amqp:rejected:list"):
				return amqp.Rejected{}
			case uint64(0x27), amqp.Symbol("amqp:modified:list"):
				return amqp.Modified{}
			}
		}
	}
	return amqp.Released{}
}
