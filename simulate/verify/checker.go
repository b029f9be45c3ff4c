package verify

import (
	"fmt"
	"slices"
)

// Properties of a message that is to be verified.
const (
	RunProperty    = "isthmus-run"
	NumberProperty = "isthmus-number"
)

// Sent is what one device knows of its messages.
type Sent struct {
	Device       string
	Acknowledged uint64            // messages 1 to this one
	Attempted    uint64            // messages 1 to this one were sent at least once; at most one more than acknowledged
	Repeated     map[uint64]uint32 // how often more than once each was sent; nil for never
}

// Report is the outcome. All but Repeated and Unacknowledged are to be 0.
type Report struct {
	Sent       uint64 `json:"sent"`       // different messages that were acknowledged
	Received   uint64 `json:"received"`   // different messages that are there
	Lost       uint64 `json:"lost"`       // acknowledged and not there
	Duplicated uint64 `json:"duplicated"` // copies that were never sent
	Reordered  uint64 `json:"reordered"`  // that came after a later one of their device
	Unknown    uint64 `json:"unknown"`    // of this run, that no device sent
	// Repeated counts copies that were sent again, on purpose or after a cut: at least once is what a hub promises.
	Repeated uint64 `json:"repeated"`
	// Unacknowledged counts messages that are there although no acknowledgement came: the connection ended before.
	Unacknowledged uint64   `json:"unacknowledged"`
	First          []string `json:"first,omitempty"` // the first offences, in words
}

// OK tells whether every message is there, once and in order.
func (r *Report) OK() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Reordered == 0 && r.Unknown == 0
}

// maxFirst bounds Report.First.
const maxFirst = 20

func (r *Report) offend(format string, args ...any) {
	if len(r.First) < maxFirst {
		r.First = append(r.First, fmt.Sprintf(format, args...))
	}
}

// span is the numbers from to to, both included.
type span struct{ from, to uint64 }

// track is where one device's events stand.
type track struct {
	next   uint64            // the number expected
	gaps   []span            // that were jumped over, in order
	extra  map[uint64]uint32 // copies beyond the first, by number
	copies uint64
}

// Checker compares.
type Checker struct {
	devices map[string]*track
	report  Report
	strange uint64 // events with no number that can be one
}

// NewChecker returns one that has seen nothing.
func NewChecker() *Checker { return &Checker{devices: map[string]*track{}} }

// See takes the next event of the run: a device's message of this number. Events of one device come in the hub's order.
func (c *Checker) See(device string, number uint64) {
	t := c.devices[device]
	if t == nil {
		t = &track{next: 1}
		c.devices[device] = t
	}
	switch {
	case number == 0:
		c.strange++
		c.report.offend("%s: an event has no number", device)
	case number == t.next:
		t.next++
	case number > t.next:
		t.gaps = append(t.gaps, span{t.next, number - 1})
		t.next = number + 1
	case t.fill(number):
		c.report.Reordered++
		c.report.offend("%s: message %d came after message %d", device, number, t.next-1)
	default:
		if t.extra == nil {
			t.extra = map[uint64]uint32{}
		}
		t.extra[number]++
		t.copies++
	}
}

// fill takes a number out of the gaps; false when it was seen before.
func (t *track) fill(number uint64) bool {
	for i, g := range t.gaps {
		if number < g.from || number > g.to {
			continue
		}
		var rest []span
		if number > g.from {
			rest = append(rest, span{g.from, number - 1})
		}
		if number < g.to {
			rest = append(rest, span{number + 1, g.to})
		}
		t.gaps = slices.Replace(t.gaps, i, i+1, rest...)
		return true
	}
	return false
}

// Finish compares with what was sent.
func (c *Checker) Finish(sent []Sent) *Report {
	r := &c.report
	for _, s := range sent {
		t := c.devices[s.Device]
		if t == nil {
			t = &track{next: 1}
		}
		delete(c.devices, s.Device)
		r.Sent += s.Acknowledged
		c.compare(s, t)
	}
	for _, device := range sortedDevices(c.devices) { // nobody simulated them
		t := c.devices[device]
		n := t.next - 1 + t.copies
		for _, g := range t.gaps {
			n -= g.to - g.from + 1
		}
		r.Unknown += n
		r.offend("%s: %d messages of this run, which did not have the device", device, n)
	}
	r.Unknown += c.strange
	out := *r
	return &out
}

func (c *Checker) compare(s Sent, t *track) {
	r := &c.report
	last := t.next - 1
	missing := func(g span) {
		r.Received -= g.to - g.from + 1
		if g.from > s.Acknowledged {
			return
		}
		g.to = min(g.to, s.Acknowledged)
		r.Lost += g.to - g.from + 1
		if g.from == g.to {
			r.offend("%s: message %d is lost", s.Device, g.from)
		} else {
			r.offend("%s: messages %d to %d are lost", s.Device, g.from, g.to)
		}
	}
	r.Received += max(last, s.Acknowledged)
	for _, g := range t.gaps {
		missing(g)
	}
	if last < s.Acknowledged {
		missing(span{t.next, s.Acknowledged})
	}
	if last > s.Attempted {
		r.Unknown += last - s.Attempted
		r.offend("%s: message %d is there, and only %d were sent", s.Device, last, s.Attempted)
		last = s.Attempted
	}
	if last > s.Acknowledged {
		r.Unacknowledged += last - s.Acknowledged
	}
	for number, copies := range t.extra {
		meant := min(copies, s.Repeated[number])
		r.Repeated += uint64(meant)
		if copies > meant {
			r.Duplicated += uint64(copies - meant)
			r.offend("%s: message %d is there %d times and was sent %d times", s.Device, number, copies+1, s.Repeated[number]+1)
		}
	}
}

func sortedDevices(m map[string]*track) []string {
	out := make([]string, 0, len(m))
	for d := range m {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}
