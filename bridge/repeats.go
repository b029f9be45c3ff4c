package bridge

import (
	"slices"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
)

// maxOrigins bounds how many partitions of other bridges a lane remembers; those that moved last are kept.
const maxOrigins = 1000

// maxID is how long an id may be that is remembered: a bridge's own is far shorter, and whoever sends can write what he likes.
const maxID = 256

// repeats leaves out the second copies of events that other bridges have sent into a partition. In one partition those of one partition of
// theirs come in order, so what is marked as a repeat and not behind the last one met was met. What is not marked is never left out.
type repeats struct {
	keep  bool // leave nothing out
	met   []checkpoint.Origin
	dirty bool
}

func (r *repeats) begin(met []checkpoint.Origin) { r.met = slices.Clone(met) }

// leaveOut returns what is left of the events, and how many are gone.
func (r *repeats) leaveOut(events []*event.Event) (left []*event.Event, dropped int64) {
	if r.keep {
		return events, 0
	}
	left = events
	for i, e := range events {
		second := len(e.Properties) > 0 && r.second(e)
		switch {
		case second && dropped == 0:
			left = append(make([]*event.Event, 0, len(events)-1), events[:i]...)
			dropped++
		case second:
			dropped++
		case dropped > 0:
			left = append(left, e)
		}
	}
	return left, dropped
}

// second tells whether an event is the second copy of one that was met, and remembers it otherwise.
func (r *repeats) second(e *event.Event) bool {
	id := event.Text(e.Properties, event.OriginProperty)
	if id == "" || len(id) > maxID {
		return false
	}
	bridge, o, ok := event.ParseID(id)
	if !ok {
		return false
	}
	mark, _ := event.Get(e.Properties, event.RepeatProperty)
	repeat := mark == true || mark == "true"
	at := slices.IndexFunc(r.met, func(m checkpoint.Origin) bool { return m.Bridge == bridge && m.Partition == o.Partition })
	if at >= 0 {
		if m := &r.met[at]; o.Sequence < m.Sequence || o.Sequence == m.Sequence && o.Index <= m.Index {
			return repeat
		}
	}
	now := checkpoint.Origin{Bridge: bridge, Partition: o.Partition, Sequence: o.Sequence, Index: o.Index}
	r.dirty = true
	switch {
	case at >= 0 && at == len(r.met)-1:
		r.met[at] = now
		return false
	case at >= 0:
		r.met = slices.Delete(r.met, at, at+1)
	case len(r.met) >= maxOrigins:
		r.met = slices.Delete(r.met, 0, 1)
	}
	r.met = append(r.met, now)
	return false
}

// moved returns a copy of what was met when it changed since the last call, nil otherwise.
func (r *repeats) moved() []checkpoint.Origin {
	if !r.dirty {
		return nil
	}
	r.dirty = false
	return slices.Clone(r.met)
}
