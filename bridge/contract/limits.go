package contract

import (
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
)

// rate is a bucket of one second's events.
type rate struct {
	perSecond int

	mu   sync.Mutex // guards the fields below
	left float64
	at   time.Time // when left was counted; zero: nothing has crossed yet
}

// again is how long to wait at most before asking anew: the machine's clock may jump.
const again = time.Minute

// Largest is how many events and bytes may ever cross at once; 0 is any number. More than a day's are refused for ever, and more than a
// second's would cross in less than a second.
func (x *Enforcer) Largest() (events int, bytes int64) {
	if n := x.spec.Limits.EventsPerDay; n > 0 && n < 1<<31 {
		events = int(n)
	}
	if n := x.spec.Limits.EventsPerSecond; n > 0 && (events == 0 || n < events) {
		events = n
	}
	return events, x.spec.Limits.BytesPerDay
}

// Ended tells whether the contract has run out: nothing crosses then.
func (x *Enforcer) Ended(now time.Time) bool {
	return !x.spec.Until.IsZero() && !now.Before(x.spec.Until)
}

// Take asks whether so many events and bytes may cross now. 0: they may, and count in the rate of a second. Otherwise ask again after wait;
// why says what is waited for. today is what has crossed on now's day (UTC), these not among it. A batch that is larger than a second's
// rate is let through when a second's worth is there, and pays for it afterwards; a single event passes whenever anything of the day is left
// that it fits into. Time is measured with now's monotonic reading.
func (x *Enforcer) Take(today checkpoint.Day, now time.Time, events int, bytes int64) (wait time.Duration, why string) {
	l := &x.spec.Limits
	if x.Ended(now) {
		return again, fmt.Sprintf("%s, ended on %s", x.name, x.spec.Until.UTC().Format(time.RFC3339))
	}
	if l.EventsPerDay > 0 && int64(events) > l.EventsPerDay-today.Events {
		return tomorrow(now), fmt.Sprintf("%s, lets %d events cross in a day (UTC); %d have crossed today", x.name, l.EventsPerDay, today.Events)
	}
	if l.BytesPerDay > 0 && bytes > l.BytesPerDay-today.Bytes {
		return tomorrow(now), fmt.Sprintf("%s, lets %d bytes cross in a day (UTC); %d have crossed today", x.name, l.BytesPerDay, today.Bytes)
	}
	if wait = x.rate.take(now, events); wait > 0 {
		why = fmt.Sprintf("%s, lets %d events cross in a second", x.name, l.EventsPerSecond)
	}
	return wait, why
}

func tomorrow(now time.Time) time.Duration {
	now = now.UTC()
	next := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
	return min(next.Sub(now.Round(0)), again)
}

// take is 0 when the events may pass, which then count.
func (r *rate) take(now time.Time, events int) time.Duration {
	if r.perSecond <= 0 || events <= 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	full := float64(r.perSecond)
	switch gone := now.Sub(r.at); {
	case r.at.IsZero():
		r.left = full
	case gone > 0:
		r.left = min(full, r.left+gone.Seconds()*full)
	}
	r.at = now
	needed := min(float64(events), full)
	if r.left < needed {
		return max(time.Duration((needed-r.left)/full*float64(time.Second)), time.Millisecond)
	}
	r.left -= float64(events)
	return 0
}
