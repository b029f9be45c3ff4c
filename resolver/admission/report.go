package admission

import (
	"sync/atomic"
	"time"
)

// Report counts what is not worth a line of log each time.
type Report struct {
	count  atomic.Uint64
	silent atomic.Int64 // until then, unix nanoseconds
}

// Happened counts one. When it is time for a line, at most once in every, it returns how many there were since the last, itself included;
// else 0.
func (r *Report) Happened(now time.Time, every time.Duration) uint64 {
	r.count.Add(1)
	silent := r.silent.Load()
	at := now.UnixNano()
	if at < silent && at >= silent-2*int64(every) { // earlier than that, the machine's time was set back
		return 0
	}
	if !r.silent.CompareAndSwap(silent, at+int64(every)) {
		return 0
	}
	return r.count.Swap(0)
}
