package proxyproto

import (
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// DefaultReplayCapacity is how many proofs a ReplayWindow remembers when nobody says otherwise: some 50 MB when it is full.
const DefaultReplayCapacity = 1 << 20

// ReplayWindow remembers the nonces of proofs for as long as they could verify again, so that a header works once. It is bounded:
// when it is full it refuses, since forgetting would let an overheard header in. Only proofs that verified may be given to it; then
// nobody without a link key can fill it.
type ReplayWindow struct {
	skew     time.Duration
	capacity int

	mu      sync.Mutex                               // guards the fields below
	buckets map[int64]map[[nonceLength]byte]struct{} // by the proof's time divided by skew
	floor   int64                                    // proofs of buckets below it are refused: their nonces are forgotten
	before  time.Time                                // proofs made before are refused
	size    int
}

// NewReplayWindow returns a window for proofs verified with the same skew (0: DefaultSkew) and at most capacity of them (0:
// DefaultReplayCapacity).
func NewReplayWindow(skew time.Duration, capacity int) *ReplayWindow {
	if skew <= 0 {
		skew = DefaultSkew
	}
	if capacity <= 0 {
		capacity = DefaultReplayCapacity
	}
	return &ReplayWindow{skew: skew, capacity: capacity, buckets: map[int64]map[[nonceLength]byte]struct{}{}, floor: -1 << 62}
}

// RefuseBefore refuses every proof made before t. A process which starts calls it with the time of its start, since it does not know
// what its predecessor saw; a signer whose clock is behind is then refused for as long as it is behind.
func (w *ReplayWindow) RefuseBefore(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = t.Truncate(time.Millisecond)
}

// Use takes note of a proof. A fault of kind Denied says that it was used before or is too old to know, one of kind Exhausted that
// the window is full.
func (w *ReplayWindow) Use(p Proof, now time.Time) error {
	const op = "proxyproto.Use"
	w.mu.Lock()
	defer w.mu.Unlock()
	// The oldest proof that can still verify is of now-skew. The floor never sinks, not even when the clock is set back.
	if f := w.bucket(now.Add(-w.skew)); f > w.floor {
		w.floor = f
		for b, m := range w.buckets {
			if b < f {
				w.size -= len(m)
				delete(w.buckets, b)
			}
		}
	}
	b := w.bucket(p.Time)
	if b < w.floor || p.Time.Before(w.before) {
		return fault.New(op, fault.Denied, "the PROXY header was made before this process can remember").
			Advise("dial again; if it goes on, compare the clocks of the provider's agent and of this machine")
	}
	m := w.buckets[b]
	if _, seen := m[p.Nonce]; seen {
		return fault.New(op, fault.Denied, "the PROXY header was used before").
			Advise("somebody repeats what he overheard: find the machine by its address in this process's log")
	}
	if w.size >= w.capacity {
		return fault.Newf(op, fault.Exhausted, "more than %d connections came in %s: no more can be told from repeated ones", w.capacity, 2*w.skew).
			Advise("dial again later, or spread the load over more hubs")
	}
	if m == nil {
		m = map[[nonceLength]byte]struct{}{}
		w.buckets[b] = m
	}
	m[p.Nonce] = struct{}{}
	w.size++
	return nil
}

// Len returns how many proofs it remembers.
func (w *ReplayWindow) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *ReplayWindow) bucket(t time.Time) int64 {
	n, s := t.UnixMilli(), max(1, w.skew.Milliseconds())
	if n < 0 {
		n -= s - 1
	}
	return n / s
}
