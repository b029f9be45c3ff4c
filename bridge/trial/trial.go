package trial

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/contract"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/function"
	"github.com/isthmus-io/isthmus/bridge/window"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Args is what is tried.
type Args struct {
	Name       string // of the bridge: ot/ot-cloud/telemetry
	Spec       resource.BridgeSpec
	Contract   *plan.Contract    // nil: none. A key to hash with is made where it has none
	Functions  map[string]string // by the name of a step, the URL of a service that stands in for its endpoint
	Modules    string            // the folder of WebAssembly modules
	References string            // the folder of reference tables
	Log        *slog.Logger      // may be nil
}

// Result is how one test went.
type Result struct {
	Bridge   string        `json:"bridge"`
	Test     string        `json:"test"`
	Passed   bool          `json:"passed"`
	Problems []string      `json:"problems,omitempty"` // what is not as expected, in words
	Took     time.Duration `json:"took"`               // nanoseconds
}

// begin is when the first event comes in.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// lane is the partition.
const lane = "0"

// Run tries all tests, in order. The error is about the manifest, which no test could pass: an expression that cannot be read, a module that
// is not there, a function that nothing stands in for.
func Run(ctx context.Context, args Args) ([]Result, error) {
	if args.Log == nil {
		args.Log = slog.New(slog.DiscardHandler)
	}
	functions := function.New()
	defer functions.Close(ctx) //nolint:errcheck // it only forgets
	t := &trial{args: args, functions: functions}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	out := make([]Result, 0, len(args.Spec.Tests))
	if len(args.Spec.Tests) == 0 { // what can be wrong without a test is told all the same
		_, err := t.one(ctx, nil)
		return out, err
	}
	for i := range args.Spec.Tests {
		test := &args.Spec.Tests[i]
		r := Result{Bridge: args.Name, Test: test.Name}
		since := time.Now()
		got, err := t.one(ctx, test.Input)
		if err != nil {
			return out, err
		}
		got.sort()
		r.Problems = got.against(test)
		r.Passed, r.Took = len(r.Problems) == 0, time.Since(since)
		out = append(out, r)
	}
	return out, nil
}

// trial is what all tests of a bridge share.
type trial struct {
	args      Args
	functions *function.Functions
	contract  bridge.Contract
	steps     []resource.BridgeStep
	window    int // its index among the steps; -1 without one
}

// got is what became of a test's input.
type got struct {
	sent     []*event.Event
	dead     []bridge.Dead
	filtered int64
}

// sort puts dead letters into the order of their events, and those of rows behind them.
func (g *got) sort() {
	slices.SortStableFunc(g.dead, func(a, b bridge.Dead) int {
		x, y := &a.Event.Origin, &b.Event.Origin
		if x.Name != "" || y.Name != "" {
			return cmp.Compare(min(len(x.Name), 1), min(len(y.Name), 1))
		}
		return cmp.Compare(x.Sequence, y.Sequence)
	})
}

func (t *trial) prepare() error {
	t.steps = slices.Clone(t.args.Spec.Steps)
	t.window = slices.IndexFunc(t.steps, func(s resource.BridgeStep) bool { return s.Window != nil })
	for i := range t.steps {
		if err := t.stand(&t.steps[i]); err != nil {
			return err
		}
	}
	if c := t.args.Contract; c != nil {
		own := *c
		if len(own.HashKey) == 0 {
			own.HashKey = []byte("the key that trials hash with, 32")
		}
		x, err := contract.Compile(&own)
		if err != nil {
			return err
		}
		t.contract = x
	}
	return nil
}

// one takes the input of one test through everything.
func (t *trial) one(ctx context.Context, input []resource.TestEvent) (out got, err error) {
	in, err := events(input)
	if err != nil {
		return out, err
	}
	if t.window < 0 {
		err = t.through(ctx, t.steps, t.contract, in, &out, func(list []*event.Event) { out.sent = list })
		return out, err
	}
	var rows []*event.Event
	if err := t.through(ctx, t.steps[:t.window], nil, in, &out, func(list []*event.Event) { rows = list }); err != nil {
		return out, err
	}
	if rows, err = t.aggregate(ctx, rows, &out); err != nil {
		return out, err
	}
	err = t.through(ctx, t.steps[t.window+1:], t.contract, rows, &out, func(list []*event.Event) { out.sent = list })
	return out, err
}

// through takes events through steps, and the contract if there is one.
func (t *trial) through(ctx context.Context, steps []resource.BridgeStep, c bridge.Contract, in []*event.Event, out *got, then func([]*event.Event)) (err error) {
	chain, err := bridge.NewChain(ctx, bridge.ChainArgs{
		Bridge: "trial", Name: t.args.Name, Lane: lane, Steps: steps, Contract: c, Step: t.functions.Step, End: t.end,
		Modules: t.args.Modules, Log: t.args.Log, Clock: clock.System{},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chain.Close(ctx)) }()
	if len(in) == 0 {
		then(nil)
		return nil
	}
	list, dead, filtered, err := chain.Process(ctx, in)
	if err != nil {
		return err
	}
	out.dead, out.filtered = append(out.dead, dead...), out.filtered+filtered
	then(list)
	return nil
}

// aggregate returns the rows of the window.
func (t *trial) aggregate(ctx context.Context, in []*event.Event, out *got) ([]*event.Event, error) {
	step := t.steps[t.window]
	references, err := t.references()
	if err != nil {
		return nil, err
	}
	w, err := window.New(ctx, bridge.WindowArgs{
		Bridge: "trial", Name: t.args.Name, Step: step, References: references, End: t.end, Folder: t.args.References, Lanes: []string{lane},
		Log: t.args.Log, Clock: clock.System{}, Changed: func() {},
	})
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // nothing is kept
	slices.SortStableFunc(in, func(a, b *event.Event) int { return cmp.Compare(a.Origin.Sequence, b.Origin.Sequence) })
	if err := w.Add(lane, in); err != nil {
		refused, ok := errors.AsType[*event.Refused](err)
		if !ok {
			return nil, fault.Wrap("trial.aggregate", fault.Internal, err, "")
		}
		for i := range in {
			if err := refused.At[i]; err != nil {
				out.dead = append(out.dead, bridge.Dead{Event: in[i], Step: step.Name, Reason: fault.Message(err)})
			}
		}
	}
	now := begin
	for range maxQuiet / quietStep {
		if w.Counts().Open == 0 {
			break
		}
		w.Idle(lane, now)
		now = now.Add(quietStep)
	}
	if _, err := w.Snapshot(); err != nil { // rows that were closed by idleness are given after one
		return nil, err
	}
	return w.Closed(0, maxRows), nil
}

const (
	quietStep = 10 * time.Second
	maxQuiet  = 70 * 24 * time.Hour // longer than any window and what it waits for late events
	maxRows   = 1 << 20
)
