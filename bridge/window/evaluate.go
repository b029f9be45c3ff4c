package window

import (
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// Times that windows can be of: sums with a size stay in range.
var (
	firstTime = time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	lastTime  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
)

// evaluate looks at all events of a batch and changes nothing but w.taken and what belongs to it, and w.refused. latest and seen are what the
// lane's will be.
func (w *Window) evaluate(l *lane, batch []*event.Event) (latest int64, seen bool, late int64, err error) {
	w.taken, w.keys, w.values = w.taken[:0], w.keys[:0], w.values[:0]
	clear(w.refused)
	latest, seen = l.latest, l.seen
	for i, e := range batch {
		w.look.At(e)
		t, err := w.time(e)
		if err != nil {
			w.refused[i] = err
			continue
		}
		passed := max(w.passed, w.own(seen, latest))
		if !seen || t > latest {
			seen, latest = true, t
		}
		keys, values := len(w.keys), len(w.values)
		counts, wait, err := w.take(t, passed, &late)
		switch {
		case wait != nil:
			return 0, false, 0, wait
		case err != nil:
			w.refused[i] = err
		}
		if err != nil || !counts {
			w.keys, w.values = w.keys[:keys], w.values[:values]
			continue
		}
		at := position{t, l.name, e.Origin.Sequence, e.Origin.Index}
		w.taken = append(w.taken, taken{at, passed, keys, len(w.keys)})
	}
	return latest, seen, late, nil
}

func (w *Window) time(e *event.Event) (int64, error) {
	came := e.Origin.Enqueued
	switch {
	case w.spec.time < 0 && came.IsZero():
		return 0, fault.New("window.Add", fault.Invalid, "time: it is not known when the event came in").Advise("give an expression in time")
	case !came.IsZero() && (came.UTC().Year() < 1950 || came.UTC().Year() >= 2200): // nanoseconds would say another year
		return 0, fault.Newf("window.Add", fault.Invalid, "time: the event came in in the year %d", came.UTC().Year()).Advise("set the clock of the source")
	}
	t := came.UnixNano()
	if w.spec.time >= 0 {
		v, err := w.look.Value(w.spec.time)
		if err != nil {
			return 0, within("time", err)
		}
		if t, err = column.AsTime(v); err != nil {
			return 0, within("time", err)
		}
	}
	if t < firstTime || t > lastTime {
		return 0, fault.New("window.Add", fault.Invalid, "time: it is not between the years 1700 and 2200").
			Advise("give seconds of the epoch, not milliseconds")
	}
	if !came.IsZero() && t-came.UnixNano() > w.spec.ahead {
		return 0, fault.Newf("window.Add", fault.Invalid, "time: %s is %s after the event came in", time.Unix(0, t).UTC().Format(time.RFC3339),
			time.Duration(t-came.UnixNano()).Round(time.Second)).Advise("set the clock of the device, or raise aheadSeconds")
	}
	return t, nil
}

func within(field string, err error) error {
	words := err.Error()
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Message != "" {
		words = f.Message
	}
	return fault.Newf("window.Add", fault.Invalid, "%s: %.300s", field, words).Because(err)
}

// take appends the key and the values of an event, if it counts. wait is why the whole batch has to.
func (w *Window) take(t, passed int64, late *int64) (counts bool, wait, refused error) {
	s := w.spec
	if s.where >= 0 {
		ok, err := w.look.Bool(s.where)
		if err != nil {
			return false, nil, within("where", err)
		}
		if !ok {
			return false, nil, nil
		}
	}
	if w.store.late(t, passed) {
		*late++
		if s.refuseLate {
			return false, nil, fault.Newf("window.Add", fault.Invalid, "time: the windows of %s are closed: the event is late", time.Unix(0, t).UTC().Format(time.RFC3339Nano)).
				Advise("raise latenessSeconds if such events should count")
		}
		return false, nil, nil
	}
	for i := range s.joins {
		if wait, refused = w.join(i); wait != nil || refused != nil {
			return false, wait, refused
		}
	}
	for i := range s.groups {
		g := &s.groups[i]
		v, err := w.look.Value(g.value)
		if err == nil {
			v, err = column.Convert(v, g.as)
		}
		if err != nil {
			return false, nil, within(g.name, err)
		}
		w.keys = v.AppendKey(w.keys)
	}
	for i := range s.aggregates {
		a := &s.aggregates[i]
		if a.value < 0 {
			w.values = append(w.values, column.Value{Kind: column.Bool})
			continue
		}
		v, err := w.look.Value(a.value)
		if err != nil {
			return false, nil, within(a.name, err)
		}
		if _, number := v.Float64(); a.numeric && !number && v.Kind != column.Null {
			return false, nil, fault.Newf("window.Add", fault.Invalid, "%s: the value is %s, not a number", a.name, v.Words())
		}
		w.values = append(w.values, v)
	}
	return true, nil, nil
}

// join shows the expressions that follow the row of a table.
func (w *Window) join(i int) (wait, refused error) {
	j := &w.spec.joins[i]
	key, err := w.look.Value(j.on)
	if err != nil {
		return nil, within("join with "+j.table, err)
	}
	row, err := w.tables[i].Row(key)
	switch {
	case err != nil:
		return err, nil
	case row != nil:
		w.look.With(j.table, row)
	case j.required:
		return nil, fault.Newf("window.Add", fault.Invalid, "join with %s: no row has the key %.60q", j.table, key.AppendText(nil)).
			Advise("add one, or take required out")
	default:
		w.look.With(j.table, nil)
	}
	return nil, nil
}
