package membership

import (
	"net/http"
	"sync"
	"time"
)

// offsets learns by how much the control plane's clock is ahead of ours, from the Date of its replies (RFC 9110, section 6.6.1), which
// was written between our question and its answer and has a resolution of a second. What one reply leaves open others narrow; where
// they contradict each other a clock was set, and the last one counts.
type offsets struct {
	mu    sync.Mutex // guards the fields below
	known bool
	low   time.Duration
	high  time.Duration
	at    time.Time // when low and high were right
	told  time.Duration
	tell  func(time.Duration)
}

const (
	dateResolution = time.Second
	drift          = 2000                   // clocks go wrong by one part in so many, at most
	worthTelling   = 100 * time.Millisecond // of a change
)

// heard learns from a reply that came in answer to a request; times are ours.
func (o *offsets) heard(h http.Header, sent, received time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || received.Before(sent) {
		return
	}
	o.mu.Lock()
	low, high := date.Sub(received), date.Add(dateResolution).Sub(sent)
	if o.known {
		older := max(received.Sub(o.at), 0) / drift
		if l, h := max(low, o.low-older), min(high, o.high+older); l <= h {
			low, high = l, h
		}
	}
	o.low, o.high, o.at = low, high, received
	now := low + (high-low)/2
	tell := o.tell
	if o.known && (now-o.told).Abs() < worthTelling {
		tell = nil
	} else {
		o.told = now
	}
	o.known = true
	o.mu.Unlock()
	if tell != nil {
		tell(now)
	}
}

// Offset returns by how much the control plane's clock is ahead of ours, as far as its replies tell: half a second off at most on a quick
// network. It is 0 before the first reply, also when an earlier life of the process knew it: the clock may have been set since.
func (m *Member) Offset() time.Duration {
	o := &m.caller.offsets
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.known {
		return 0
	}
	return o.low + (o.high-o.low)/2
}

// OnOffset has fn called when Offset becomes known and when it has changed by a tenth of a second or more. fn replaces the one before;
// it is called from the goroutine that heard the reply and must be quick.
func (m *Member) OnOffset(fn func(time.Duration)) {
	o := &m.caller.offsets
	o.mu.Lock()
	o.tell = fn
	known, now := o.known, o.told
	o.mu.Unlock()
	if known {
		fn(now)
	}
}
