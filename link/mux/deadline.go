package mux

import (
	"sync"
	"time"
)

// A deadline wakes the waiters of a condition when it passes. It stands under the condition's lock.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(t time.Time, cond *sync.Cond) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			cond.Broadcast()
		})
	}
	cond.Broadcast()
}

// SetDeadline sets both deadlines; the zero time sets none.
func (st *Stream) SetDeadline(t time.Time) error {
	_ = st.SetReadDeadline(t)
	return st.SetWriteDeadline(t)
}

// SetReadDeadline makes Read and WriteTo fail with os.ErrDeadlineExceeded from t on.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.rmu.Lock()
	defer st.rmu.Unlock()
	st.rdeadline.set(t, &st.rcond)
	return nil
}

// SetWriteDeadline makes Write and ReadFrom fail with os.ErrDeadlineExceeded when they would wait from t on.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.wdeadline.set(t, &st.wcond)
	return nil
}
