package bridge

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
)

// safely makes an error of a panic, so that code that meets something it did not expect cannot end the process.
func safely(what string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Newf("bridge.safely", fault.Unavailable, "%s failed inside: %.300s", what, fmt.Sprint(p))
		}
	}()
	return do()
}

const spreadAtLeast = 64 // events for which another goroutine is worth it

// spread does something with each of n events, on as many processors as there are: a lane keeps its order, since what becomes of an event
// has its place.
func spread(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/spreadAtLeast)
	if workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			end := int(next.Add(spreadAtLeast))
			for i := end - spreadAtLeast; i < min(end, n); i++ {
				do(i)
			}
			if end >= n {
				return
			}
		}
	}
	var others sync.WaitGroup
	for range workers - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// mappingLink is the processor "mapping" of Benthos over events.
type mappingLink struct {
	step string
	m    *message.Mapping
	wait bool
}

func (l *mappingLink) name() string                { return l.step }
func (l *mappingLink) close(context.Context) error { return nil }

func (l *mappingLink) process(_ context.Context, b *batch) error {
	became, why := make([][]*event.Event, len(b.out)), make([]error, len(b.out))
	spread(len(b.out), func(i int) { became[i], why[i] = l.m.Apply(b.out[i]) })
	if l.wait {
		for _, err := range why {
			if err != nil {
				return err
			}
		}
	}
	same, n := b.from == nil, 0
	for i, out := range became {
		if why[i] != nil {
			b.die(i, l.step, why[i])
		} else if len(out) == 0 {
			b.filtered++
		}
		n, same = n+len(out), same && len(out) == 1
	}
	if same { // which most mappings are: nothing to renumber
		out := make([]*event.Event, n)
		for i := range became {
			out[i] = became[i][0]
		}
		b.out = out
		return nil
	}
	b.replace(n, func(i int) []*event.Event { return became[i] })
	b.number()
	return nil
}

// filterLink leaves out events for which a condition is false.
type filterLink struct {
	step string
	x    *message.Expression
	wait bool
}

func (l *filterLink) name() string                { return l.step }
func (l *filterLink) close(context.Context) error { return nil }

func (l *filterLink) process(_ context.Context, b *batch) error {
	keep, why := make([]bool, len(b.out)), make([]error, len(b.out))
	spread(len(b.out), func(i int) { keep[i], why[i] = l.x.Bool(b.out[i]) })
	if l.wait {
		for _, err := range why {
			if err != nil {
				return err
			}
		}
	}
	kept := 0
	for i := range keep {
		switch {
		case why[i] != nil:
			b.die(i, l.step, why[i])
		case keep[i]:
			kept++
		default:
			b.filtered++
		}
	}
	if kept < len(b.out) {
		b.replace(kept, func(i int) []*event.Event {
			if keep[i] {
				return b.out[i : i+1]
			}
			return nil
		})
	}
	return nil
}

// stepLink is code of the user's own.
type stepLink struct {
	step string
	s    Step
	wait bool
}

func (l *stepLink) name() string                    { return l.step }
func (l *stepLink) close(ctx context.Context) error { return l.s.Close(ctx) }

func (l *stepLink) process(ctx context.Context, b *batch) error {
	if len(b.out) == 0 {
		return nil
	}
	outcomes, err := l.call(ctx, b.out)
	if _, ok := err.(*panicked); ok { //nolint:errorlint // made by call, never wrapped
		outcomes, err = l.alone(ctx, b.out)
	}
	if err != nil {
		return err
	}
	n := 0
	for _, o := range outcomes {
		if o.Refused != nil && l.wait {
			return o.Refused
		}
		n += len(o.Events)
	}
	for i, o := range outcomes {
		switch {
		case o.Refused != nil:
			b.die(i, l.step, o.Refused)
			outcomes[i].Events = nil
		case len(o.Events) == 0:
			b.filtered++
		}
		for _, e := range outcomes[i].Events {
			e.Repeat = b.out[i].Repeat
		}
	}
	b.replace(n, func(i int) []*event.Event { return outcomes[i].Events })
	b.number()
	return nil
}

type panicked struct{ error }

// call gives the step copies: it may change what it gets, and may have to be called again with the same.
func (l *stepLink) call(ctx context.Context, events []*event.Event) (outcomes []Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			outcomes, err = nil, &panicked{fmt.Errorf("the function failed inside: %.300s", fmt.Sprint(p))}
		}
	}()
	outcomes, err = l.s.Process(ctx, copies(events))
	if err == nil && len(outcomes) != len(events) {
		err = fault.Newf("bridge.Process", fault.Unavailable, "the function gave %d outcomes for %d events", len(outcomes), len(events))
	}
	return outcomes, err
}

// alone finds the event that makes a step panic.
func (l *stepLink) alone(ctx context.Context, events []*event.Event) ([]Outcome, error) {
	outcomes := make([]Outcome, len(events))
	for i := range events {
		one, err := l.call(ctx, events[i:i+1])
		if q, ok := err.(*panicked); ok { //nolint:errorlint // as above
			err, one = nil, []Outcome{{Refused: q.error}}
		}
		if err != nil {
			return nil, err
		}
		outcomes[i] = one[0]
	}
	return outcomes, nil
}

// copies returns events that may be changed, with bodies that may not.
func copies(events []*event.Event) []*event.Event {
	properties := 0
	for _, e := range events {
		properties += len(e.Properties) + len(e.System)
	}
	out, all, list := make([]*event.Event, len(events)), make([]event.Event, len(events)), make([]event.Property, 0, properties)
	take := func(from []event.Property) []event.Property {
		if len(from) == 0 {
			return nil
		}
		begin := len(list)
		list = append(list, from...)
		return list[begin:len(list):len(list)]
	}
	for i, e := range events {
		all[i] = *e
		all[i].Properties, all[i].System = take(e.Properties), take(e.System)
		out[i] = &all[i]
	}
	return out
}

// contractLink lets nothing by that is not agreed.
type contractLink struct{ c Contract }

func (l *contractLink) name() string                { return AtContract }
func (l *contractLink) close(context.Context) error { return nil }

func (l *contractLink) process(_ context.Context, b *batch) error {
	out := copies(b.out)
	broken := 0
	for i, e := range out {
		if err := safely("the check of the contract", func() error { return l.c.Apply(e) }); err != nil {
			b.die(i, AtContract, err)
			out[i] = nil
			broken++
		}
	}
	if broken == 0 {
		b.out = out
		return nil
	}
	b.replace(len(out)-broken, func(i int) []*event.Event {
		if out[i] == nil {
			return nil
		}
		return out[i : i+1]
	})
	return nil
}
