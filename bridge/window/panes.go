package window

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// panes keeps windows of fixed length. What hopping windows share is kept once: a pane is one hop long, and a window is made of its panes
// when its rows are.
type panes struct {
	spec    *spec
	list    []*pane // by start, then from
	n       int
	closed  int64 // windows up to this end take nothing in any more
	done    int64 // windows up to this end are forgotten
	leaving []*leaving
}

// pane is the groups of one hop. The events of one with from came when windows up to that end were closed for them, and
// count in later ones only.
type pane struct {
	start, from int64
	groups      map[string]*group
}

// leaving is a closed window whose rows are given.
type leaving struct {
	end  int64
	of   []*pane
	keys []string // in order
	gone int      // so many are forgotten
}

func newPanes(s *spec) *panes {
	return &panes{spec: s, closed: math.MinInt64, done: math.MinInt64}
}

// floor rounds down to a multiple of step.
func floor(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

func (p *panes) late(t, passed int64) bool { return floor(t, p.spec.hop)+p.spec.size <= passed }

// place returns the pane of an event.
func (p *panes) place(t, passed int64) (start, from int64) {
	start = floor(t, p.spec.hop)
	if start+p.spec.hop > passed {
		return start, math.MinInt64
	}
	return start, floor(passed, p.spec.hop)
}

func (p *panes) search(start, from int64) (int, bool) {
	// Nearly all events are for the newest panes.
	for i := len(p.list) - 1; i >= max(0, len(p.list)-2); i-- {
		if p.list[i].start == start && p.list[i].from == from {
			return i, true
		}
	}
	return slices.BinarySearchFunc(p.list, pane{start: start, from: from}, func(a *pane, b pane) int {
		if c := cmp.Compare(a.start, b.start); c != 0 {
			return c
		}
		return cmp.Compare(a.from, b.from)
	})
}

func (p *panes) find(key []byte, t, passed int64) *group {
	i, there := p.search(p.place(t, passed))
	if !there {
		return nil
	}
	return p.list[i].groups[string(key)]
}

func (p *panes) name(b []byte, t, passed int64, key []byte) []byte {
	start, from := p.place(t, passed)
	b = binary.BigEndian.AppendUint64(b, uint64(start))
	b = binary.BigEndian.AppendUint64(b, uint64(from))
	return append(b, key...)
}

func (p *panes) add(key []byte, t, passed int64) (*group, int) {
	start, from := p.place(t, passed)
	i, there := p.search(start, from)
	if !there {
		p.list = slices.Insert(p.list, i, &pane{start: start, from: from, groups: map[string]*group{}})
	}
	in := p.list[i]
	if g := in.groups[string(key)]; g != nil {
		return g, 0
	}
	g := &group{p.spec.fresh()}
	in.groups[string(key)] = g
	p.n++
	return g, groupCost + len(key)
}

func (p *panes) advance(to int64) (kept int) {
	p.closed = to
	return 0
}

func (p *panes) held() int          { return p.n }
func (p *pane) last(s *spec) int64  { return p.start + s.size }
func (p *pane) first(s *spec) int64 { return max(p.start, p.from) + s.hop }

func (p *panes) open() (n int) {
	for _, in := range slices.Backward(p.list) {
		if in.last(p.spec) <= p.closed {
			break
		}
		n += len(in.groups)
	}
	return n
}

// next returns the least end of a window that has rows, above one and up to another; MaxInt64 when there is none.
func (p *panes) next(above, upTo int64) int64 {
	best := int64(math.MaxInt64)
	for _, in := range p.list {
		if in.start >= best || in.start >= upTo {
			break
		}
		e := in.first(p.spec)
		if e <= above {
			e = floor(above, p.spec.hop) + p.spec.hop
		}
		if e <= upTo && e <= in.last(p.spec) {
			best = min(best, e)
		}
	}
	return best
}

// lead makes the next window that is due leave; false when there is none.
func (p *panes) lead() bool {
	above := p.done
	if n := len(p.leaving); n > 0 {
		above = p.leaving[n-1].end
	}
	end := p.next(above, p.closed)
	if end == math.MaxInt64 {
		return false
	}
	w := &leaving{end: end}
	for _, in := range p.list {
		if in.start >= end {
			break
		}
		if in.last(p.spec) >= end && in.from < end {
			w.of = append(w.of, in)
		}
	}
	seen := w.of[0].groups
	if len(w.of) > 1 {
		seen = map[string]*group{}
		for _, in := range w.of {
			maps.Copy(seen, in.groups)
		}
	}
	w.keys = slices.AppendSeq(make([]string, 0, len(seen)), maps.Keys(seen))
	slices.SortFunc(w.keys, strings.Compare)
	p.leaving = append(p.leaving, w)
	return true
}

func (p *panes) rows(skip, most int) []*event.Event {
	var out []*event.Event
	for i := 0; len(out) < most; i++ {
		if i == len(p.leaving) && !p.lead() {
			break
		}
		w := p.leaving[i]
		keys := w.keys[w.gone:]
		over := min(skip, len(keys))
		skip -= over
		keys = keys[over:]
		for _, key := range keys[:min(len(keys), most-len(out))] {
			out = append(out, p.spec.row(w.end-p.spec.size, w.end, key, w.group(p.spec, key)))
		}
	}
	return out
}

// group puts together what the panes of a window have of a group.
func (w *leaving) group(s *spec, key string) *group {
	var one, sum *group
	for _, in := range w.of {
		g := in.groups[key]
		switch {
		case g == nil:
		case one == nil:
			one = g
		default:
			if sum == nil {
				sum = &group{s.fresh()}
				sum.merge(one)
			}
			sum.merge(g)
		}
	}
	if sum != nil {
		return sum
	}
	return one
}

func (p *panes) forget(n int) (kept int) {
	for n > 0 && len(p.leaving) > 0 {
		w := p.leaving[0]
		some := min(n, len(w.keys)-w.gone)
		w.gone += some
		n -= some
		if w.gone == len(w.keys) {
			p.leaving = p.leaving[1:]
			p.done = w.end
			kept += p.drop()
		}
	}
	return kept
}

// drop gives up panes that no window needs any more.
func (p *panes) drop() (kept int) {
	i := 0
	for ; i < len(p.list) && p.list[i].last(p.spec) <= p.done; i++ {
		in := p.list[i]
		p.n -= len(in.groups)
		for key, g := range in.groups {
			kept -= groupCost + len(key) + g.kept()
		}
	}
	p.list = slices.Delete(p.list, 0, i)
	return kept
}

func (p *panes) append(b []byte) []byte {
	for _, n := range []int64{p.closed, p.done} {
		b = binary.AppendVarint(b, n)
	}
	gone := ""
	if len(p.leaving) > 0 && p.leaving[0].gone > 0 {
		gone = p.leaving[0].keys[p.leaving[0].gone-1]
	}
	b = appendText(b, gone)
	b = binary.AppendUvarint(b, uint64(len(p.list)))
	for _, in := range p.list {
		b = binary.AppendVarint(b, in.start)
		b = binary.AppendVarint(b, in.from)
		b = binary.AppendUvarint(b, uint64(len(in.groups)))
		for key, g := range in.groups {
			b = g.append(appendText(b, key))
		}
	}
	return b
}

func (p *panes) read(r *reader) (kept int) {
	p.closed, p.done = r.varint(), r.varint()
	gone := r.text()
	for range r.count(4) {
		in := &pane{start: r.varint(), from: r.varint()}
		n := r.count(1)
		in.groups = make(map[string]*group, n)
		for range n {
			key := r.text()
			if r.bad {
				return 0
			}
			g := p.spec.readGroup(r)
			in.groups[key] = g
			kept += groupCost + len(key) + g.kept()
		}
		p.n += len(in.groups)
		p.list = append(p.list, in)
	}
	if !r.bad && p.lead() && gone != "" {
		w := p.leaving[0]
		w.gone, _ = slices.BinarySearch(w.keys, gone)
		w.gone = min(w.gone+1, len(w.keys))
	}
	return kept
}
