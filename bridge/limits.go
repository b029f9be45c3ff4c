package bridge

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
)

// shortWait is how long it is worth waiting for a batch to cross as it is; otherwise less of it may cross sooner.
const shortWait = time.Second

// largest is of contracts that never let more cross at once.
type largest interface {
	Largest() (events int, bytes int64)
}

// permit waits until some of the events may cross, and tells how many of the first. They are counted as crossed today.
func (r *run) permit(ctx context.Context, lane string, events []*event.Event) (int, error) {
	if r.contract == nil {
		r.countToday(events)
		return len(events), nil
	}
	p := r.troubles.patience("limit/" + lane)
	for {
		n, wait, why := r.take(events)
		if n > 0 {
			p.over()
			return n, nil
		}
		if wait > shortWait {
			r.troubles.begin(p.who, waiting{step: AtContract, words: why})
			p.back.Next() // so that over ends it
		}
		if !r.troubles.pause(ctx, min(wait, time.Minute)) { // the clock may jump, or the day end sooner than it seemed
			return 0, ctx.Err()
		}
	}
}

// take asks the contract for as many of the events as it lets cross, and otherwise how long to wait.
func (r *run) take(events []*event.Event) (n int, wait time.Duration, why string) {
	r.limits.Lock()
	defer r.limits.Unlock()
	n = len(events)
	maxEvents, maxBytes := 0, int64(0)
	if l, ok := r.contract.(largest); ok {
		maxEvents, maxBytes = l.Largest()
	}
	if maxEvents > 0 {
		n = min(n, maxEvents)
	}
	now := r.clk.Now()
	for {
		bytes := size(events[:n])
		if maxBytes > 0 && bytes > maxBytes && n > 1 {
			n /= 2
			continue
		}
		var today checkpoint.Day
		r.account.look(func(s *checkpoint.State) { today = *s.Today(now) })
		wait, why = r.contract.Take(today, now, n, bytes)
		if wait <= 0 {
			r.countToday(events[:n])
			return n, 0, ""
		}
		if wait <= shortWait || n == 1 {
			return 0, wait, why
		}
		n /= 2
	}
}

func size(events []*event.Event) (n int64) {
	for _, e := range events {
		n += int64(e.Size())
	}
	return n
}

func (r *run) countToday(events []*event.Event) {
	bytes := size(events)
	r.account.change(func(s *checkpoint.State) {
		d := s.Today(r.clk.Now())
		d.Events += int64(len(events))
		d.Bytes += bytes
	})
}

// several is of stores that make many letters durable at once.
type several interface {
	PutAll(ctx context.Context, lane string, dead []Dead) error
}

// bury puts dead letters where they are kept, whatever it takes.
func (r *run) bury(ctx context.Context, lane string, dead []Dead) error {
	if len(dead) == 0 {
		return nil
	}
	p := r.troubles.patience("letters/" + lane)
	put := func() error {
		if s, ok := r.letters.(several); ok {
			return s.PutAll(ctx, lane, dead)
		}
		for i := range dead {
			if err := r.letters.Put(ctx, lane, dead[i].Step, dead[i].Event, dead[i].Reason); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		err := ctx.Err()
		if err == nil {
			err = safely("the store of dead letters", put)
		}
		if err == nil {
			break
		}
		if !p.again(ctx, AtDeadLetters, err) {
			return ctx.Err()
		}
	}
	p.over()
	for i := range dead {
		r.troubles.note(dead[i].Step, withoutValues(dead[i].Reason))
	}
	return nil
}

// withoutValues is a dead letter's reason without what it quotes, which may be of the event: letters stay with the bridge's process, and its
// status goes to the control plane.
func withoutValues(reason string) string {
	b := make([]byte, 0, len(reason))
	quoted := false
	for i := 0; i < len(reason); i++ {
		switch c := reason[i]; {
		case c == '"' && quoted:
			b = append(b, `…"`...)
			quoted = false
		case c == '"':
			b = append(b, c)
			quoted = true
		case quoted && c == '\\':
			i++ // what is escaped ends nothing
		case !quoted:
			b = append(b, c)
		}
	}
	return string(b)
}
