package window

import (
	"github.com/isthmus-io/isthmus/bridge/event"
)

// store is the groups of windows that are open, or closed and not forgotten. There is one for windows of fixed length, one for sessions.
// Times are nanoseconds of the epoch; passed is the watermark by which an event is judged.
type store interface {
	late(t, passed int64) bool
	// find returns the group that an event goes to, nil when there is none yet.
	find(key []byte, t, passed int64) *group
	// name tells groups apart that find has not found.
	name(b []byte, t, passed int64, key []byte) []byte
	// add returns the group that an event goes to, which may be new, and by how many bytes that has changed what is kept.
	add(key []byte, t, passed int64) (g *group, kept int)
	// advance closes what the watermark has passed.
	advance(to int64) (kept int)
	rows(skip, most int) []*event.Event
	// forget drops the first n of rows, and says how many bytes less are kept.
	forget(n int) (kept int)
	held() int // groups, of open windows and of those whose rows are not forgotten
	open() int // groups of open windows
	append(b []byte) []byte
	read(r *reader) (kept int)
}

// group is one row in the making.
type group struct {
	accs []accumulator
}

// groupCost is about what a group costs beside its key and what its accumulators keep.
const groupCost = 128

func (g *group) kept() int {
	n := 0
	for _, a := range g.accs {
		n += a.kept()
	}
	return n
}

func (g *group) merge(o *group) {
	for i, a := range g.accs {
		a.merge(o.accs[i])
	}
}

func (g *group) append(b []byte) []byte {
	for _, a := range g.accs {
		b = a.append(b)
	}
	return b
}

func (s *spec) readGroup(r *reader) *group {
	g := &group{s.fresh()}
	for _, a := range g.accs {
		a.read(r)
	}
	return g
}
