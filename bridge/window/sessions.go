package window

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// sessions keeps, for each group, runs: events none of which is further than the gap from the next, of one stretch of time as long as a
// session may be. Runs that touch across stretches are one session, unless that would be too long: then each run is one.
type sessions struct {
	spec   *spec
	groups map[string]*runs
	n      int
	due    deadlines
	closed int64
	out    []*session // closed, in the order in which the watermark has passed them
}

// runs is those of one group.
type runs struct {
	list   []*run // in order of time
	queued int64  // the deadline that counts; others of the group are left over
}

type run struct {
	first, last int64 // events
	cut         bool  // what was before it in its session has closed
	group       *group
}

type session struct {
	start, end, passed int64
	key                string
	group              *group
}

func newSessions(s *spec) *sessions {
	return &sessions{spec: s, groups: map[string]*runs{}, closed: math.MinInt64}
}

// deadline is when a group may have to be looked at.
type deadline struct {
	at  int64
	key string
}

type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}

func (s *sessions) late(t, passed int64) bool { return t < passed }

func (s *sessions) stretch(t int64) int64 { return floor(t, s.spec.size) }

// near returns the first run that ends no more than the gap before t or later, and whether t belongs to it.
func (s *sessions) near(list []*run, t int64) (int, bool) {
	i := len(list)
	for i > 0 && list[i-1].last+s.spec.gap >= t && s.stretch(list[i-1].first) >= s.stretch(t) {
		i--
	}
	return i, i < len(list) && s.joins(list[i], t)
}

func (s *sessions) joins(r *run, t int64) bool {
	return t >= r.first-s.spec.gap && t <= r.last+s.spec.gap && s.stretch(r.first) == s.stretch(t)
}

func (s *sessions) find(key []byte, t, _ int64) *group {
	if of := s.groups[string(key)]; of != nil {
		if i, ok := s.near(of.list, t); ok {
			return of.list[i].group
		}
	}
	return nil
}

func (s *sessions) name(b []byte, _, _ int64, key []byte) []byte { return append(b, key...) }

func (s *sessions) add(key []byte, t, _ int64) (g *group, kept int) {
	of := s.groups[string(key)]
	if of == nil {
		of = &runs{queued: math.MaxInt64}
		s.groups[string(key)] = of
	}
	i, ok := s.near(of.list, t)
	if ok {
		kept = s.extend(of, i, t, len(key))
	} else {
		of.list = slices.Insert(of.list, i, &run{first: t, last: t, group: &group{s.spec.fresh()}})
		s.n++
		kept = groupCost + len(key)
	}
	if i == 0 {
		s.queue(of, string(key))
	}
	return of.list[i].group, kept
}

// extend takes t into a run, and the run behind it when t has closed the gap between the two.
func (s *sessions) extend(of *runs, i int, t int64, key int) (kept int) {
	r := of.list[i]
	r.first, r.last = min(r.first, t), max(r.last, t)
	if i+1 == len(of.list) || !s.joins(of.list[i+1], t) {
		return 0
	}
	next := of.list[i+1]
	kept = -r.group.kept() - next.group.kept() - groupCost - key
	r.last = next.last
	r.group.merge(next.group)
	of.list = slices.Delete(of.list, i+1, i+2)
	s.n--
	return kept + r.group.kept()
}

// queue sees to it that the group is looked at in time.
func (s *sessions) queue(of *runs, key string) {
	if at := s.wait(of.list); at < of.queued {
		of.queued = at
		heap.Push(&s.due, deadline{at, key})
	}
}

func (s *sessions) advance(to int64) (kept int) {
	s.closed = to
	from := len(s.out)
	for len(s.due) > 0 && s.due[0].at < to {
		d := heap.Pop(&s.due).(deadline)
		of := s.groups[d.key]
		if of == nil || of.queued != d.at {
			continue
		}
		for len(of.list) > 0 && s.wait(of.list) < to {
			kept += s.close(d.key, of)
		}
		if len(of.list) == 0 {
			delete(s.groups, d.key)
			continue
		}
		of.queued = math.MaxInt64
		s.queue(of, d.key)
	}
	slices.SortFunc(s.out[from:], func(a, b *session) int {
		return cmp.Or(cmp.Compare(a.passed, b.passed), cmp.Compare(a.start, b.start), strings.Compare(a.key, b.key))
	})
	return kept
}

// wait is the watermark beyond which it is known what the first session is: nothing touches the first run any more, or it is known whether
// what touches it fits into one session with it.
func (s *sessions) wait(list []*run) int64 {
	r := list[0]
	if !r.cut && len(list) > 1 && list[1].first-r.last <= s.spec.gap {
		return min(list[1].last, r.first+s.spec.size) + s.spec.gap
	}
	return r.last + s.spec.gap
}

// close takes the first session out, which must be known.
func (s *sessions) close(key string, of *runs) (kept int) {
	r := of.list[0]
	w := &session{r.first, r.last + s.spec.gap, s.wait(of.list), key, r.group}
	if r.cut {
		w.start = s.stretch(r.first)
	}
	rest := of.list[1:]
	if len(rest) > 0 && rest[0].first-r.last <= s.spec.gap {
		next := rest[0]
		beyond := len(rest) > 1 && rest[1].first-next.last <= s.spec.gap
		if !r.cut && !beyond && next.last-r.first <= s.spec.size {
			kept = -r.group.kept() - next.group.kept() - groupCost - len(key)
			r.group.merge(next.group)
			kept += r.group.kept()
			w.end, rest = next.last+s.spec.gap, rest[1:]
			s.n--
		} else {
			next.cut, w.end = true, s.stretch(r.first)+s.spec.size
		}
	}
	of.list = rest
	s.out = append(s.out, w)
	return kept
}

func (s *sessions) held() int { return s.n }
func (s *sessions) open() int { return s.n - len(s.out) }

func (s *sessions) rows(skip, most int) []*event.Event {
	var out []*event.Event
	due := s.out[min(skip, len(s.out)):]
	for _, w := range due[:min(len(due), most)] {
		out = append(out, s.spec.row(w.start, w.end, w.key, w.group))
	}
	return out
}

func (s *sessions) forget(n int) (kept int) {
	n = min(n, len(s.out))
	for _, w := range s.out[:n] {
		kept -= groupCost + len(w.key) + w.group.kept()
	}
	s.out = slices.Delete(s.out, 0, n)
	s.n -= n
	return kept
}

func (s *sessions) append(b []byte) []byte {
	b = binary.AppendVarint(b, s.closed)
	b = binary.AppendUvarint(b, uint64(len(s.groups)))
	for key, of := range s.groups {
		b = appendText(b, key)
		b = binary.AppendUvarint(b, uint64(len(of.list)))
		for _, r := range of.list {
			b = binary.AppendVarint(b, r.first)
			b = binary.AppendVarint(b, r.last)
			b = appendTruth(b, r.cut)
			b = r.group.append(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.out)))
	for _, w := range s.out {
		for _, n := range []int64{w.start, w.end, w.passed} {
			b = binary.AppendVarint(b, n)
		}
		b = w.group.append(appendText(b, w.key))
	}
	return b
}

func (s *sessions) read(r *reader) (kept int) {
	s.closed = r.varint()
	for range r.count(4) {
		key := r.text()
		list := make([]*run, r.count(3))
		for i := range list {
			one := &run{first: r.varint(), last: r.varint(), cut: r.truth()}
			if r.bad {
				return 0
			}
			one.group = s.spec.readGroup(r)
			list[i] = one
			kept += groupCost + len(key) + one.group.kept()
		}
		if r.bad || len(list) == 0 {
			r.bad = true
			return 0
		}
		of := &runs{list: list, queued: math.MaxInt64}
		s.groups[key] = of
		s.n += len(list)
		s.queue(of, key)
	}
	for range r.count(4) {
		w := &session{start: r.varint(), end: r.varint(), passed: r.varint(), key: r.text()}
		if r.bad {
			return 0
		}
		w.group = s.spec.readGroup(r)
		s.out = append(s.out, w)
		s.n++
		kept += groupCost + len(w.key) + w.group.kept()
	}
	return kept
}
