package window

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/reference"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// maxKept bounds what groups keep beside their number: keys, and the values of countDistinct, percentile and the like.
const maxKept = 1 << 30

// maxStep is the longest that one call of Idle can say a partition was idle, so that a clock that jumps closes nothing.
const maxStep = 30 * time.Second

// Window is the state of one bridge's window.
type Window struct {
	spec   *spec
	store  store
	lanes  map[string]*lane
	tables []table // of spec.joins; read are the same
	look   *column.Look
	read   []*reference.Table

	late, closed int64 // counts
	passed       int64 // watermark; never falls
	kept         int
	written      int // length of the last snapshot

	taken   []taken // of the batch in hand
	keys    []byte
	values  []column.Value
	refused map[int]error
}

type table interface {
	// Row returns the row of a key, nil when there is none. Unavailable: the table was never read.
	Row(key column.Value) (map[string]any, error)
}

type lane struct {
	name   string
	seen   bool
	latest int64 // time
	idle   time.Duration
	asked  time.Time // Idle was called last
}

// taken is an event of the batch that goes into a group.
type taken struct {
	at       position
	passed   int64
	from, to int // of its key in keys; its values are in order
}

// New makes a window from its spec and, if there is one, the state of an earlier one. It begins to read its tables, until ctx ends or Close.
// Invalid: an expression is wrong. Precondition: the state is of another window. Internal: it is damaged.
func New(ctx context.Context, args bridge.WindowArgs) (*Window, error) {
	w, err := open(args.Step.Name, args.Step.Window, args.Lanes, args.State)
	if err != nil {
		return nil, err
	}
	for _, j := range w.spec.joins {
		for i := range args.References {
			if r := &args.References[i]; r.Name == j.table {
				t, err := reference.Open(ctx, reference.Args{Table: *r, Folder: args.Folder, End: args.End, Log: args.Log, Clock: args.Clock, Changed: args.Changed})
				if err != nil {
					return nil, errors.Join(err, w.Close())
				}
				w.read, w.tables = append(w.read, t), append(w.tables, t)
			}
		}
	}
	if len(w.tables) != len(w.spec.joins) {
		return nil, errors.Join(fault.Newf("window.New", fault.Invalid, "step %s joins with a table that the bridge does not have", args.Step.Name), w.Close())
	}
	return w, nil
}

func open(step string, window *resource.Window, lanes []string, state []byte) (*Window, error) {
	s, err := compile(step, window)
	if err != nil {
		return nil, err
	}
	w := &Window{spec: s, lanes: map[string]*lane{}, passed: math.MinInt64, look: s.set.Look(), refused: map[int]error{}}
	for _, name := range lanes {
		w.lanes[name] = &lane{name: name}
	}
	if s.kind == resource.WindowSession {
		w.store = newSessions(s)
	} else {
		w.store = newPanes(s)
	}
	if state != nil {
		if err := w.restore(state); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Add takes a batch of a lane in. *event.Refused says which of its events never will be; the others are. After Exhausted, and Unavailable
// where a table was never read, none is.
func (w *Window) Add(lane string, batch []*event.Event) error {
	l := w.lane(lane)
	latest, seen, late, err := w.evaluate(l, batch)
	if err != nil {
		return err
	}
	if err := w.room(); err != nil {
		return err
	}
	l.latest, l.seen, l.idle, l.asked = latest, seen, 0, time.Time{}
	w.late += late
	values := w.values
	for i := range w.taken {
		t := &w.taken[i]
		g, kept := w.store.add(w.keys[t.from:t.to], t.at.time, t.passed)
		w.kept += kept
		for j, a := range g.accs {
			if v := values[j]; v.Kind != column.Null {
				w.kept += a.add(v, t.at)
			}
		}
		values = values[len(g.accs):]
	}
	w.advance()
	if len(w.refused) > 0 {
		refused := w.refused
		w.refused = map[int]error{}
		return &event.Refused{At: refused}
	}
	return nil
}

func (w *Window) lane(name string) *lane {
	l := w.lanes[name]
	if l == nil {
		l = &lane{name: name}
		w.lanes[name] = l
	}
	return l
}

// passed is the watermark by which an event of the lane is late.
func (w *Window) own(seen bool, latest int64) int64 {
	if !seen {
		return math.MinInt64
	}
	return latest - w.spec.lateness
}

// room tells whether the batch in hand can be taken in.
func (w *Window) room() error {
	op := "window.Add"
	if w.kept > maxKept && len(w.taken) > 0 {
		return fault.Newf(op, fault.Exhausted, "open windows keep more than %d MiB", maxKept>>20).
			Advise("make windows shorter, lateness less, or groups fewer; countDistinct and percentile keep each different value")
	}
	if w.store.held()+len(w.taken) <= w.spec.maxGroups {
		return nil
	}
	fresh := map[string]struct{}{}
	var name []byte
	for i := range w.taken {
		t := &w.taken[i]
		if key := w.keys[t.from:t.to]; w.store.find(key, t.at.time, t.passed) == nil {
			name = w.store.name(name[:0], t.at.time, t.passed, key)
			fresh[string(name)] = struct{}{}
		}
	}
	if n := w.store.held(); len(fresh) > 0 && n+len(fresh) > w.spec.maxGroups {
		return fault.Newf(op, fault.Exhausted, "%d groups of windows are kept and %d more would be: maxGroups is %d", n, len(fresh), w.spec.maxGroups).
			Advise("raise maxGroups, make windows shorter, or group by less")
	}
	return nil
}

// Idle tells that nothing was left to read in a lane's partition.
func (w *Window) Idle(lane string, now time.Time) {
	l := w.lane(lane)
	if !l.asked.IsZero() {
		l.idle += min(max(now.Sub(l.asked), 0), maxStep)
	}
	l.asked = now
	if l.idle >= w.spec.idle {
		w.advance()
	}
}

// advance moves the watermark, and closes what it has passed.
func (w *Window) advance() {
	active := int64(math.MaxInt64)
	latest, quiet := int64(math.MinInt64), time.Duration(math.MaxInt64)
	for _, l := range w.lanes {
		own := w.own(l.seen, l.latest)
		latest, quiet = max(latest, own), min(quiet, l.idle)
		if l.idle < w.spec.idle {
			active = min(active, own)
		}
	}
	to := active
	if active == math.MaxInt64 { // all are idle
		if latest == math.MinInt64 {
			return
		}
		to = latest + int64(min(quiet, maxQuiet))
	}
	if to <= w.passed {
		return
	}
	w.passed = to
	w.kept += w.store.advance(to)
}

// maxQuiet is far longer than anything waits for.
const maxQuiet = 365 * 24 * time.Hour

// Closed returns rows that are due and not forgotten, oldest first, at most limit, the first skip left out.
func (w *Window) Closed(skip, limit int) []*event.Event { return w.store.rows(skip, limit) }

// Forget drops the first n rows of Closed.
func (w *Window) Forget(n int) {
	w.kept += w.store.forget(n)
	w.closed += int64(n)
}

// Counts tells of late events, open groups, and rows that were forgotten.
func (w *Window) Counts() bridge.WindowCounts {
	return bridge.WindowCounts{Late: w.late, Open: int64(w.store.open()), Closed: w.closed}
}

// Problems says in words which tables cannot be read.
func (w *Window) Problems() []string {
	var out []string
	for _, t := range w.read {
		if p := t.Problem(); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// Close ends the refreshing of tables.
func (w *Window) Close() error {
	for _, t := range w.read {
		t.Close()
	}
	return nil
}
