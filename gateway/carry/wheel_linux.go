package carry

// wheel keeps the deadlines of one worker's connections, exact to a tick. A deadline further away than a turn of the wheel is looked
// at once a turn; one that has moved is put in its new place when its old one comes up, so that moving one costs nothing.
type wheel struct {
	slots [wheelSlots]*link
	at    int64 // ticks; all before it have been looked at
	links int
}

const wheelSlots = 512

func ticks(nanos int64) int64 { return nanos / int64(tick) }

// arm makes sure that l is looked at by due, in nanoseconds.
func (w *wheel) arm(l *link, due int64) {
	at := ticks(due) + 1 // not before it is due
	at = min(max(at, w.at), w.at+wheelSlots-1)
	if l.armed {
		if l.wheelAt <= at {
			return
		}
		w.disarm(l)
	}
	l.armed, l.wheelAt = true, at
	head := &w.slots[at%wheelSlots]
	l.later, l.sooner = *head, nil
	if *head != nil {
		(*head).sooner = l
	}
	*head = l
	w.links++
}

func (w *wheel) disarm(l *link) {
	if !l.armed {
		return
	}
	if l.later != nil {
		l.later.sooner = l.sooner
	}
	if l.sooner != nil {
		l.sooner.later = l.later
	} else {
		w.slots[l.wheelAt%wheelSlots] = l.later
	}
	l.armed, l.later, l.sooner = false, nil, nil
	w.links--
}

// turn calls look for everything that came up until now, in nanoseconds. look may arm and disarm its own link only.
func (w *wheel) turn(now int64, look func(*link)) {
	end := ticks(now)
	if end-w.at > wheelSlots {
		w.at = end - wheelSlots
	}
	for ; w.at <= end; w.at++ {
		l := w.slots[w.at%wheelSlots]
		w.slots[w.at%wheelSlots] = nil
		for l != nil {
			next := l.later
			l.armed, l.later, l.sooner = false, nil, nil
			w.links--
			look(l)
			l = next
		}
	}
}
