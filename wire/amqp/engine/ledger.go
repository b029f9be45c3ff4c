package engine

import "github.com/isthmus-io/isthmus/wire/amqp"

// ledger holds the deliveries of a session that the peer has not settled, by their ids, which only rise. What it costs to find a range of
// ids depends on how many deliveries there are, and not on the range.
type ledger struct {
	entries []entry // from the oldest; some are done with already
	live    int     // entries that are not
}

type entry struct {
	id   uint32
	link *Link // nil: done with
	done func(amqp.State)
}

func (l *ledger) push(e entry) {
	if dead := len(l.entries) - l.live; dead > l.live+16 && len(l.entries) == cap(l.entries) {
		l.compact()
	}
	l.entries = append(l.entries, e)
	l.live++
}

func (l *ledger) compact() {
	kept := l.entries[:0]
	for _, e := range l.entries {
		if e.link != nil {
			kept = append(kept, e)
		}
	}
	clear(l.entries[len(kept):])
	l.entries = kept
}

// span gives the places of the entries with ids from first to last.
func (l *ledger) span(first, last uint32) (from, to int) {
	if len(l.entries) == 0 {
		return 0, 0
	}
	base := l.entries[0].id
	if after(base, last) {
		return 0, 0
	}
	if after(base, first) {
		first = base
	}
	return l.search(first - base), l.search(last - base + 1)
}

// search finds the first entry at least so far behind the oldest.
func (l *ledger) search(distance uint32) int {
	base := l.entries[0].id
	from, to := 0, len(l.entries)
	if distance == 0 { // of last-base+1: it wrapped around
		return 0
	}
	for from < to {
		middle := int(uint(from+to) / 2)
		if l.entries[middle].id-base < distance {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from
}

// take appends the entries of a range to dst and forgets them.
func (l *ledger) take(dst []entry, first, last uint32) []entry {
	from, to := l.span(first, last)
	for i := from; i < to; i++ {
		if e := &l.entries[i]; e.link != nil {
			dst = append(dst, *e)
			e.link, e.done = nil, nil
			l.live--
		}
	}
	if l.live == 0 {
		l.entries = l.entries[:0]
	} else if len(l.entries)-l.live > l.live+64 {
		l.compact()
	}
	return dst
}

// rest gives back what an empty ledger does not need.
func (l *ledger) rest() {
	if l.live == 0 {
		l.entries = nil
	}
}

// takeLink forgets the deliveries of a link and returns who is to be told.
func (l *ledger) takeLink(link *Link) (dones []func(amqp.State)) {
	for i := range l.entries {
		if e := &l.entries[i]; e.link == link {
			dones = append(dones, e.done)
			e.link, e.done = nil, nil
			l.live--
		}
	}
	return dones
}

// takeAll is takeLink for all links.
func (l *ledger) takeAll() (dones []func(amqp.State)) {
	for _, e := range l.entries {
		if e.link != nil {
			dones = append(dones, e.done)
		}
	}
	*l = ledger{}
	return dones
}
