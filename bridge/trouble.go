package bridge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// words is what a person is told of an error: what happened and what to do about it.
func words(err error) string {
	w := fault.Message(err)
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind == fault.Internal {
		w = reasonOf(err) // it is about the tenant's own bridge
	}
	if next := fault.Next(err); next != "" {
		w += ": " + next
	}
	return w
}

// waiting is what somebody waits for.
type waiting struct {
	step, words string
	failed      bool // waiting will not mend it
}

// troubles is what goes wrong in a bridge: what is waited for now, by whom, and the last error of each step.
type troubles struct {
	clk clock.Clock

	mu     sync.Mutex // guards the fields below
	now    map[string]waiting
	recent map[string]*resource.BridgeError
	wake   chan struct{} // closed when something changed that waiting may be over for
}

func newTroubles(clk clock.Clock) *troubles {
	return &troubles{clk: clk, now: map[string]waiting{}, recent: map[string]*resource.BridgeError{}, wake: make(chan struct{})}
}

// note keeps an error for the status.
func (t *troubles) note(step, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.recent[step]
	if e == nil {
		e = &resource.BridgeError{Step: step}
		t.recent[step] = e
	}
	e.Words, e.At = text, t.clk.Now().UTC()
	e.Count++
}

func (t *troubles) begin(who string, w waiting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[who] = w
}

func (t *troubles) end(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, who)
}

// forget ends all that somebody waits for, by how their names end.
func (t *troubles) forget(suffix string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who := range t.now {
		if strings.HasSuffix(who, suffix) {
			delete(t.now, who)
		}
	}
}

// clear forgets what is waited for.
func (t *troubles) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.now)
}

// stir ends all pauses.
func (t *troubles) stir() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.wake)
	t.wake = make(chan struct{})
}

// pause waits for d, something that changed, or ctx, and tells whether ctx still lives.
func (t *troubles) pause(ctx context.Context, d time.Duration) bool {
	t.mu.Lock()
	wake := t.wake
	t.mu.Unlock()
	fired, stop := t.clk.After(d)
	defer stop()
	select {
	case <-fired:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// patience is one wait of somebody for something, over several attempts.
type patience struct {
	t    *troubles
	who  string
	back backoff.Backoff
}

func (t *troubles) patience(who string) *patience {
	return &patience{t: t, who: who, back: backoff.Backoff{Base: 250 * time.Millisecond, Max: 30 * time.Second}}
}

// again notes why an attempt failed, waits, and tells whether to try again.
func (p *patience) again(ctx context.Context, step string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	w := words(err)
	switch step {
	case AtSource, AtContract, AtDestination, AtDeadLetters, AtCheckpoint:
	default: // a step of the owner's, whose words may quote the event
		w = withoutValues(w)
	}
	p.t.note(step, w)
	p.t.begin(p.who, waiting{step: step, words: w, failed: fault.KindOf(err) == fault.Invalid})
	return p.t.pause(ctx, p.back.Next())
}

// over is for an attempt that did not fail.
func (p *patience) over() {
	if p.back.Failures() > 0 {
		p.back.Reset()
		p.t.end(p.who)
	}
}

// shown is what the status says: the trouble of most, and how many have it.
func (t *troubles) shown() (w waiting, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := map[waiting]int{}
	for _, x := range t.now {
		count[x]++
	}
	for x, c := range count {
		switch {
		case n == 0, x.failed && !w.failed, x.failed == w.failed && (c > n || c == n && x.step+x.words < w.step+w.words):
			w, n = x, c
		}
	}
	return w, n
}

// bySteps counts who waits at each step.
func (t *troubles) bySteps() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]int{}
	for _, x := range t.now {
		out[x.step]++
	}
	return out
}

func (t *troubles) list() []resource.BridgeError {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]resource.BridgeError, 0, len(t.recent))
	for _, e := range t.recent {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b resource.BridgeError) int { return strings.Compare(a.Step, b.Step) })
	return out
}
