package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Names of the places of a bridge that are no steps, as status, dead letters and metrics speak of them.
const (
	AtSource      = "source"
	AtContract    = "contract"
	AtDestination = "destination"
	AtDeadLetters = "dead-letters"
	AtCheckpoint  = "checkpoint"
)

// Dead is an event that goes no further. Event is as it was read, whatever the steps before made of it.
type Dead struct {
	Event  *event.Event
	Step   string
	Reason string
}

// batch is events on their way through a lane.
type batch struct {
	in       []*event.Event // as they were read; never changed but for Repeat
	out      []*event.Event // what has become of them so far
	from     []int32        // out[i] came from in[from[i]]; nil: from in[i]
	dead     []Dead
	died     []bool // by index of in: it has a letter; nil: none has
	filtered int64
	dropped  int64
	next     int64 // the sequence number behind the last event
	began    time.Time

	// land is called once when the batch is done with: it moves the position past it and counts, as one change of the account.
	land func(count func(s *checkpoint.State))
}

// source is the index in b.in of what out[i] came from.
func (b *batch) source(i int) int {
	if b.from == nil {
		return i
	}
	return int(b.from[i])
}

// die notes a dead letter for what out[i] came from, once for each event.
func (b *batch) die(i int, step string, reason error) {
	at := b.source(i)
	if b.died == nil {
		b.died = make([]bool, len(b.in))
	}
	if b.died[at] {
		return
	}
	b.died[at] = true
	b.dead = append(b.dead, Dead{Event: b.in[at], Step: step, Reason: reasonOf(reason)})
}

// reasonOf is what stands in a dead letter: the words of a fault, the text of any other error.
func reasonOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Internal && f.Message != "" {
		return f.Message
	}
	return fmt.Sprintf("%.1000s", err.Error())
}

// replace puts what became of each event in its place. n is how many events there are afterwards.
func (b *batch) replace(n int, outcome func(i int) []*event.Event) {
	out, from := make([]*event.Event, 0, n), make([]int32, 0, n)
	for i := range b.out {
		for _, e := range outcome(i) {
			out, from = append(out, e), append(from, int32(b.source(i)))
		}
	}
	b.out, b.from = out, from
}

// number gives the events that came from one event of the source their indexes. Rows of windows are told apart by their names.
func (b *batch) number() {
	for i := 0; i < len(b.out); {
		j := i + 1
		for j < len(b.out) && b.from[j] == b.from[i] {
			j++
		}
		for k := i; k < j; k++ {
			o := &b.out[k].Origin
			*o = b.in[b.from[i]].Origin
			if o.Index = k - i; o.Name != "" && k > i {
				o.Name = fmt.Sprintf("%s/%d", o.Name, k-i)
			}
		}
		i = j
	}
}

// link is one thing that is done with batches. An error means that nothing was done: the same batch comes again.
type link interface {
	name() string
	process(ctx context.Context, b *batch) error
	close(ctx context.Context) error
}

// ChainArgs is what a chain is made of.
type ChainArgs struct {
	Bridge   string // uid
	Name     string // ot/ot-cloud/telemetry
	Lane     string
	Steps    []resource.BridgeStep // none with a window
	Contract Contract              // nil: everything may cross
	Step     func(ctx context.Context, args StepArgs) (Step, error)
	End      func(endpoint, secret string) (*end.End, error)
	Modules  string // the folder of WebAssembly modules
	Log      *slog.Logger
	Clock    clock.Clock
}

// Chain is steps and the contract behind them, without anything around: what becomes of events and why, and nothing of where they come
// from and go to. One goroutine at a time uses it.
type Chain struct{ links []link }

// NewChain makes the steps ready. Invalid: the manifest, a file it names or this process is wrong; the words name the step.
func NewChain(ctx context.Context, args ChainArgs) (_ *Chain, err error) {
	c := &Chain{}
	defer func() {
		if err != nil {
			_ = c.Close(ctx) // what matters is the error
		}
	}()
	for i := range args.Steps {
		l, err := newLink(ctx, &args, &args.Steps[i])
		if err != nil {
			return nil, &stepError{step: args.Steps[i].Name, err: err}
		}
		c.links = append(c.links, l)
	}
	if args.Contract != nil {
		c.links = append(c.links, &contractLink{args.Contract})
	}
	return c, nil
}

// stepError says at which step something went wrong.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return "step " + e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func newLink(ctx context.Context, args *ChainArgs, s *resource.BridgeStep) (link, error) {
	wait := s.OnError == resource.ErrorWait
	switch {
	case s.Mapping != "":
		m, err := message.CompileMapping(s.Mapping)
		return &mappingLink{s.Name, m, wait}, err
	case s.Filter != "":
		x, err := message.Compile(s.Filter)
		return &filterLink{s.Name, x, wait}, err
	case s.Window != nil:
		return nil, fault.New("bridge.NewChain", fault.Invalid, "a window is no link of a chain")
	}
	a := StepArgs{Bridge: args.Bridge, Name: args.Name, Lane: args.Lane, Step: *s, Modules: args.Modules, Log: args.Log, Clock: args.Clock}
	if s.HTTP != nil {
		e, err := args.End(s.HTTP.Endpoint, s.HTTP.Secret)
		if err != nil {
			return nil, err
		}
		a.End = e
	}
	if args.Step == nil {
		return nil, fault.New("bridge.NewChain", fault.Invalid, "this process runs no functions").Advise("use the full program, isthmus bridge run")
	}
	step, err := args.Step(ctx, a)
	if err != nil {
		return nil, err
	}
	return &stepLink{s.Name, step, wait}, nil
}

// Process takes a batch through all steps and the contract. out is what may cross, dead what goes no further; the events given are not
// changed. An error is trouble with a function, or with an event at a step that waits: nothing is known of the batch then.
func (c *Chain) Process(ctx context.Context, events []*event.Event) (out []*event.Event, dead []Dead, filtered int64, err error) {
	b := &batch{in: events, out: events}
	for _, l := range c.links {
		if err := l.process(ctx, b); err != nil {
			return nil, nil, 0, &stepError{step: l.name(), err: err}
		}
	}
	return b.out, b.dead, b.filtered, nil
}

// Close closes the functions.
func (c *Chain) Close(ctx context.Context) error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, l.close(ctx))
	}
	return errors.Join(errs...)
}
