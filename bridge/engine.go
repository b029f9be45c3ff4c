package bridge

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
)

// Names of the components that streams are made of. The engine's environment has no other inputs, processors and outputs.
const (
	inputName     = "isthmus_lane"
	processorName = "isthmus_step"
	outputName    = "isthmus_end"
)

// engine builds and runs the streams of lanes. A batch of events is one message of a stream, which carries it in its context: what happens
// to the events in it is the business of links.
type engine struct {
	env *service.Environment
	log *slog.Logger

	mu    sync.Mutex // guards the fields below
	lanes map[string]*running
	last  int
}

// running is a lane whose stream runs.
type running struct {
	*lane
	ctx context.Context
}

func newEngine(log *slog.Logger) (*engine, error) {
	g := &engine{env: service.NewEnvironment(), log: slog.New(&quiet{log.Handler()}), lanes: map[string]*running{}}
	g.env = g.env.WithBuffers("none").WithCaches().WithInputs().WithOutputs().WithProcessors().WithRateLimits().WithMetrics("none").WithTracers("none").WithScanners()
	g.env.UseBloblangEnvironment(message.Language())
	spec := func() *service.ConfigSpec { return service.NewConfigSpec().Field(service.NewStringField("lane")) }
	err := g.env.RegisterBatchInput(inputName, spec(), func(c *service.ParsedConfig, _ *service.Resources) (service.BatchInput, error) {
		l, err := g.lane(c)
		return &streamInput{l}, err
	})
	if err != nil {
		return nil, err
	}
	err = g.env.RegisterBatchProcessor(processorName, spec().Field(service.NewIntField("link")), func(c *service.ParsedConfig, _ *service.Resources) (service.BatchProcessor, error) {
		l, err := g.lane(c)
		if err != nil {
			return nil, err
		}
		i, err := c.FieldInt("link")
		if err != nil || i < 0 || i >= len(l.chain.links) {
			return nil, fault.New("bridge.engine", fault.Internal, "no such link").Because(err)
		}
		return &streamStep{l, l.chain.links[i]}, nil
	})
	if err != nil {
		return nil, err
	}
	err = g.env.RegisterBatchOutput(outputName, spec(), func(c *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
		l, err := g.lane(c)
		return &streamOutput{l}, service.BatchPolicy{}, 1, err
	})
	return g, err
}

func (g *engine) lane(c *service.ParsedConfig) (*running, error) {
	id, err := c.FieldString("lane")
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	l, ok := g.lanes[id]
	if !ok {
		return nil, fault.New("bridge.engine", fault.Internal, "no such lane")
	}
	return l, nil
}

// carry runs a lane's stream until ctx ends.
func (g *engine) carry(ctx context.Context, l *lane) error {
	g.mu.Lock()
	g.last++
	id := strconv.Itoa(g.last)
	g.lanes[id] = &running{lane: l, ctx: ctx}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.lanes, id)
	}()
	s, err := g.build(id, len(l.chain.links))
	if err != nil {
		return err
	}
	// The stream ends because its input does: what is under way has left it when Run returns.
	return s.Run(context.WithoutCancel(ctx))
}

func (g *engine) build(id string, links int) (*service.Stream, error) {
	b := g.env.NewStreamBuilder()
	b.SetLogger(g.log)
	b.SetThreads(1)
	b.SetHTTPMux(noPaths{}) // or it makes a server, which it does not start
	b.SetEnvVarLookupFunc(func(string) (string, bool) { return "", false })
	lane := "{lane: '" + id + "'}"
	for _, err := range []error{
		b.SetMetricsYAML("none: {}"), b.SetTracerYAML("none: {}"), b.SetBufferYAML("none: {}"), b.AddInputYAML(inputName + ": " + lane), b.AddOutputYAML(outputName + ": " + lane),
	} {
		if err != nil {
			return nil, err
		}
	}
	for i := range links {
		if err := b.AddProcessorYAML(processorName + ": {lane: '" + id + "', link: " + strconv.Itoa(i) + "}"); err != nil {
			return nil, err
		}
	}
	return b.Build()
}

// noPaths serves none of what streams have to tell.
type noPaths struct{}

// HandleFunc does nothing.
func (noPaths) HandleFunc(string, func(http.ResponseWriter, *http.Request)) {}

// carried is the context of a message that stands for a batch.
type carried struct {
	context.Context
	b *batch
}

type batchKey struct{}

// Value gives the batch.
func (c *carried) Value(key any) any {
	if key == (batchKey{}) {
		return c.b
	}
	return c.Context.Value(key)
}

func batchOf(list service.MessageBatch) *batch {
	b, _ := list[0].Context().Value(batchKey{}).(*batch)
	return b
}

type streamInput struct{ *running }

// Connect has nothing to do: the partition connects when it reads.
func (*streamInput) Connect(context.Context) error { return nil }

// ReadBatch gives one batch as one message. Whether it went well is told to the batch itself, so there is nothing to acknowledge.
func (s *streamInput) ReadBatch(context.Context) (service.MessageBatch, service.AckFunc, error) {
	var b *batch
	err := s.run.guard(AtSource, func() (err error) {
		b, err = s.in.next(s.ctx)
		return err
	})
	if err != nil {
		return nil, nil, service.ErrEndOfInput
	}
	m := service.NewMessageWithContext(&carried{s.ctx, b}, nil)
	return service.MessageBatch{m}, func(context.Context, error) error { return nil }, nil
}

// Close closes what is read.
func (s *streamInput) Close(context.Context) error {
	s.in.close()
	return nil
}

type streamStep struct {
	*running
	link link
}

// ProcessBatch does one thing with a batch. Once the run has ended it drops it.
func (s *streamStep) ProcessBatch(_ context.Context, list service.MessageBatch) ([]service.MessageBatch, error) {
	if err := s.process(s.ctx, s.link, batchOf(list)); err != nil {
		return nil, nil
	}
	return []service.MessageBatch{list}, nil
}

// Close has nothing to do: the run closes chains.
func (*streamStep) Close(context.Context) error { return nil }

type streamOutput struct{ *running }

// Connect has nothing to do: destinations connect when they are written to.
func (*streamOutput) Connect(context.Context) error { return nil }

// WriteBatch brings a batch to where it goes.
func (s *streamOutput) WriteBatch(_ context.Context, list service.MessageBatch) error {
	return s.run.guard(AtDestination, func() error { return s.out.put(s.ctx, batchOf(list)) })
}

// Close has nothing to do: the run closes destinations.
func (*streamOutput) Close(context.Context) error { return nil }

// quiet says what streams log at the level of details: what matters to people a bridge says itself.
type quiet struct{ slog.Handler }

// Enabled tells whether details are.
func (q *quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle makes details of all.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

// WithAttrs keeps what is logged quiet.
func (q *quiet) WithAttrs(a []slog.Attr) slog.Handler { return &quiet{q.Handler.WithAttrs(a)} }

// WithGroup does too.
func (q *quiet) WithGroup(name string) slog.Handler { return &quiet{q.Handler.WithGroup(name)} }
