package hub

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	maxReports        = 64       // of one session that are not answered
	maxReportsWaiting = 2048     // of one hub, and so written in one go, which bounds how long others wait for the database
	maxReportBytes    = 16 << 20 // of one hub that are not answered
)

// reports is the queue of patches that devices sent of their reported properties. All that wait when the database is free are written
// together, a twin that is patched twice only once: what costs is the fsync, not the patch.
type reports struct {
	mu      sync.Mutex // guards the fields below, and Session.reports
	room    sync.Cond
	waiting []*report // the store was asked to write them when there are any
	bytes   int
}

type report struct {
	session *Session
	change  twin.Change
	size    int
	done    func(version int64, err error)

	err   error
	after hubstore.Twin
}

// PatchReported merges a patch into the reported properties, and calls done with their new version once that is durable, or with what is
// wrong: faults are those of Hub.PatchTwin, and Precondition when a newer session has the identity. Patches of a session are merged and
// answered in their order, and those of a newer one after them. done must not wait. PatchReported itself waits while too much is under way;
// the patch may be used again when it returns.
func (s *Session) PatchReported(patch []byte, done func(version int64, err error)) {
	h := s.hub
	s.last.Store(h.server.clock.Now().UnixNano())
	r := &report{session: s, size: len(patch) + 256, done: done}
	r.change, r.err = twin.ReadReported(patch)
	q := &h.reports
	q.mu.Lock()
	if r.err != nil && s.reports == 0 { // nothing is before it
		q.mu.Unlock()
		done(0, badTwin(r.err))
		return
	}
	for s.reports >= maxReports || len(q.waiting) >= maxReportsWaiting || q.bytes >= maxReportBytes {
		q.room.Wait()
	}
	s.reports++
	q.bytes += r.size
	q.waiting = append(q.waiting, r)
	first := len(q.waiting) == 1
	q.mu.Unlock()
	if first {
		h.submitReports()
	}
}

// take returns what waits, in order.
func (q *reports) take() []*report {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.waiting
	q.waiting = nil
	q.room.Broadcast()
	return batch
}

// submitReports has the store write what waits when it comes to it. It is called for the first that waits.
func (h *Hub) submitReports() {
	var batch []*report
	var now time.Time
	h.server.store.Submit(context.Background(), func(tx *hubstore.Tx) error {
		batch, now = h.reports.take(), h.server.clock.Now()
		return h.writeReports(tx, batch, now)
	}, func(err error) {
		if batch == nil { // the store did not come to it
			batch = h.reports.take()
		}
		h.answerReports(batch, now, err)
	})
}

// writeReports merges the batch, twin by twin, and gives each report its outcome. The error is the store's.
func (h *Hub) writeReports(tx *hubstore.Tx, batch []*report, now time.Time) error {
	type twins struct{ before, after hubstore.Twin }
	open := make(map[Name]*twins, len(batch))
	var order []*twins
	var merger twin.Merger
	for _, r := range batch {
		if r.err != nil {
			continue
		}
		n := r.session.Name()
		// What an older session left behind would be written over what the device has said since.
		if newer := h.session(n); newer != nil && newer != r.session {
			r.err = fault.Newf("hub.PatchReported", fault.Precondition, "%s connected again before this patch was merged", n.Words())
			continue
		}
		t := open[n]
		if t == nil {
			before, err := tx.Twin(h.id, n)
			if fault.KindOf(err) == fault.NotFound {
				r.err = noTwin(err)
				continue
			}
			if err != nil {
				return err
			}
			t = &twins{before, before}
			open[n] = t
			order = append(order, t)
		}
		if r.after, r.err = apply(&merger, t.after, r.change, now); r.err == nil {
			t.after = r.after
		}
	}
	for _, t := range order {
		if t.after == t.before {
			continue
		}
		if err := tx.SetTwin(t.before, t.after); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) answerReports(batch []*report, now time.Time, err error) {
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
		if r.err != nil {
			r.done(0, badTwin(r.err))
			continue
		}
		h.twinMoved(r.session.Name()) // before the device, which may send what depends on it, hears that it is so
		r.done(r.after.Reported.Version, nil)
		h.twinChanged(r.session.Name(), r.change, r.after, now)
	}
	q := &h.reports
	q.mu.Lock()
	for _, r := range batch {
		r.session.reports--
		q.bytes -= r.size
	}
	q.room.Broadcast()
	q.mu.Unlock()
}
