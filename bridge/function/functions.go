package function

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/tetratelabs/wazero"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Functions makes steps. It keeps modules compiled, so that the lanes of a process compile one only once.
type Functions struct {
	cache  wazero.CompilationCache
	looks  bool // modules themselves look whether they are to end; otherwise the runtime does
	config func() wazero.RuntimeConfig
}

// New returns a maker of steps; the caller closes it when all of them are closed.
func New() *Functions {
	compiles := runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" // what is interpreted looks at once
	return &Functions{cache: wazero.NewCompilationCache(), config: wazero.NewRuntimeConfig, looks: compiles}
}

// Close forgets the compiled modules.
func (f *Functions) Close(ctx context.Context) error { return f.cache.Close(ctx) }

// Step makes the step of one lane. Invalid: the manifest, the module or this process is wrong; waiting does not mend it.
func (f *Functions) Step(ctx context.Context, args bridge.StepArgs) (bridge.Step, error) {
	if args.Log == nil {
		args.Log = slog.New(slog.DiscardHandler)
	}
	if args.Clock == nil {
		args.Clock = clock.System{}
	}
	switch {
	case args.Step.HTTP != nil && args.End != nil:
		return newHTTP(args), nil
	case args.Step.WASM != nil:
		w, err := f.newWASM(ctx, args)
		if err != nil {
			return nil, err
		}
		return w, nil
	}
	return nil, fault.Newf("function.Step", fault.Invalid, "step %s is no function", args.Step.Name)
}

const usualBatch = 100

// chunks calls with some of the events at a time, and joins the outcomes.
func chunks(batch []*event.Event, most int, call func([]*event.Event) ([]bridge.Outcome, error)) ([]bridge.Outcome, error) {
	if most <= 0 {
		most = usualBatch
	}
	if len(batch) <= most {
		return call(batch)
	}
	out := make([]bridge.Outcome, 0, len(batch))
	for from := 0; from < len(batch); from += most {
		some, err := call(batch[from:min(from+most, len(batch))])
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// refuse is an event that a function does not take.
func refuse(format string, args ...any) bridge.Outcome {
	return bridge.Outcome{Refused: fault.New("function", fault.Invalid, fmt.Sprintf(format, args...))}
}
