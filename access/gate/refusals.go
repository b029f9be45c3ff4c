package gate

import (
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
)

// What one person can make us write of refusals: so many, and from then on one a minute, until he has been quiet for a minute.
const (
	refusalsTold  = 10
	refusalsEvery = time.Minute
	refusalPeople = 1024 // kept apart; more share one account
)

// refusals keep account of what was refused to whom.
type refusals struct {
	mu     sync.Mutex // guards the fields below
	people map[string]*account
}

type account struct {
	since  time.Duration // the minute began, in the gate's time
	told   int
	missed int            // in this minute
	from   time.Time      // the first that was missed
	last   session.Record // the last that was missed
}

// take says whether the record is to be written. Otherwise it is counted. fresh says that nothing was kept before.
func (r *refusals) take(who string, now time.Duration, rec session.Record) (write, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.people[who]
	if a == nil && len(r.people) >= refusalPeople {
		who = "" // nobody's name
		a = r.people[who]
	}
	if a == nil {
		if r.people == nil {
			r.people = map[string]*account{}
		}
		a = &account{since: now}
		r.people[who] = a
		fresh = len(r.people) == 1
	}
	if a.told < refusalsTold {
		a.told++
		return true, fresh
	}
	if a.missed == 0 {
		a.from = rec.At
	}
	a.missed++
	a.last = rec
	return false, fresh
}

// due returns the records that tell of those not written, for people whose minute is over, or for all, and how long it is until there is
// something to do again; ok is false when there is nothing.
func (r *refusals) due(now time.Duration, all bool) (records []session.Record, wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = refusalsEvery
	for who, a := range r.people {
		if left := a.since + refusalsEvery - now; left > 0 && !all {
			wait = min(wait, left)
			continue
		}
		if a.missed == 0 {
			delete(r.people, who)
			continue
		}
		rec := a.last
		rec.Words = fmt.Sprintf("%d more were refused since %s and are not written one by one; the last: %s",
			a.missed, a.from.UTC().Format(time.TimeOnly), rec.Words)
		records = append(records, rec)
		a.missed, a.since = 0, now
	}
	return records, wait, len(r.people) > 0
}
