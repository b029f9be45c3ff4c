package bridge_test

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	benchEvents = 1000
	benchText   = `root = this
root.fahrenheit = this.temperature * 1.8 + 32`
)

// benchBody has 256 bytes.
var benchBody = []byte(`{"device":"press-4","temperature":21.5,"pressure":1013.25,"ok":true,"pad":"` + strings.Repeat("x", 256-77) + `"}`)

// spring is a source that gives the same events again and again, until it has given as many as it is to.
type spring struct {
	left atomic.Int64
	seq  int64
}

func (s *spring) Partitions(context.Context) ([]string, error) { return []string{"0"}, nil }
func (s *spring) Close() error                                 { return nil }
func (s *spring) End() (int64, time.Time)                      { return s.seq, time.Time{} }

func (s *spring) Read(context.Context, string, bridge.Position, int64) (bridge.Reader, error) {
	return s, nil
}

func (s *spring) Next(ctx context.Context, maxEvents, _ int) ([]*event.Event, error) {
	n := min(int64(maxEvents), s.left.Load())
	if n <= 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.left.Add(-n)
	all, out, now := make([]event.Event, n), make([]*event.Event, n), time.Now()
	for i := range all {
		all[i] = event.Event{Origin: event.Origin{Partition: "0", Sequence: s.seq, Enqueued: now}, Body: benchBody}
		out[i] = &all[i]
		s.seq++
	}
	return out, nil
}

// drain counts what comes.
type drain struct {
	left atomic.Int64
	done chan struct{}
}

func (d *drain) Close() error { return nil }

func (d *drain) Write(_ context.Context, _ string, batch []*event.Event) error {
	if d.left.Add(-int64(len(batch))) == 0 {
		close(d.done)
	}
	return nil
}

// step is a function that does nothing but be called.
type echo struct{}

func (echo) Close(context.Context) error { return nil }

func (echo) Process(_ context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	out := make([]bridge.Outcome, len(batch))
	for i := range batch {
		out[i].Events = batch[i : i+1]
	}
	return out, nil
}

func benchBridge(b *testing.B, steps ...resource.BridgeStep) {
	b.SetBytes(int64(len(benchBody)))
	b.ReportAllocs()
	s, d := &spring{}, &drain{done: make(chan struct{})}
	s.left.Store(int64(b.N))
	d.left.Store(int64(b.N))
	w := newWorld(b, 1)
	w.cfg.Source = func(*end.End, resource.BridgeSource, *slog.Logger, clock.Clock) (bridge.Source, error) { return s, nil }
	w.cfg.Destination = func(context.Context, bridge.DestinationArgs) (bridge.Destination, error) { return d, nil }
	w.cfg.Step = func(context.Context, bridge.StepArgs) (bridge.Step, error) { return echo{}, nil }
	b.ResetTimer()
	w.start(telemetry(steps...))
	<-d.done
	b.StopTimer()
	w.stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkNone(b *testing.B)     { benchBridge(b) }
func BenchmarkBloblang(b *testing.B) { benchBridge(b, mapping("f", benchText)) }
func BenchmarkFunction(b *testing.B) {
	benchBridge(b, resource.BridgeStep{Name: "w", WASM: &resource.WASMFunction{Module: "x", SHA256: "y"}})
}

// plainSource and plainSink are what the two are for a stream of Benthos without us.
type plainSource struct{ left int64 }

func (s *plainSource) Connect(context.Context) error { return nil }
func (s *plainSource) Close(context.Context) error   { return nil }

func (s *plainSource) ReadBatch(context.Context) (service.MessageBatch, service.AckFunc, error) {
	n := min(benchEvents, s.left)
	if n <= 0 {
		return nil, nil, service.ErrEndOfInput
	}
	s.left -= n
	out := make(service.MessageBatch, n)
	for i := range out {
		out[i] = service.NewMessage(benchBody)
		out[i].MetaSetMut("sequence", strconv.Itoa(i))
	}
	return out, func(context.Context, error) error { return nil }, nil
}

type plainSink struct{ bytes int }

func (s *plainSink) Connect(context.Context) error { return nil }
func (s *plainSink) Close(context.Context) error   { return nil }

func (s *plainSink) WriteBatch(_ context.Context, list service.MessageBatch) error {
	for _, m := range list {
		body, err := m.AsBytes()
		if err != nil {
			return err
		}
		s.bytes += len(body)
	}
	return nil
}

func benchPlain(b *testing.B, text string) {
	b.SetBytes(int64(len(benchBody)))
	b.ReportAllocs()
	env := service.NewEnvironment()
	if err := env.RegisterBatchInput("plain_in", service.NewConfigSpec(), func(*service.ParsedConfig, *service.Resources) (service.BatchInput, error) {
		return &plainSource{left: int64(b.N)}, nil
	}); err != nil {
		b.Fatal(err)
	}
	if err := env.RegisterBatchOutput("plain_out", service.NewConfigSpec(), func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
		return &plainSink{}, service.BatchPolicy{}, 1, nil
	}); err != nil {
		b.Fatal(err)
	}
	sb := env.NewStreamBuilder()
	sb.SetThreads(1)
	sb.SetLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	for _, err := range []error{sb.SetMetricsYAML("none: {}"), sb.AddInputYAML("plain_in: {}"), sb.AddOutputYAML("plain_out: {}")} {
		if err != nil {
			b.Fatal(err)
		}
	}
	if text != "" {
		if err := sb.AddProcessorYAML("mapping: |\n  " + strings.ReplaceAll(text, "\n", "\n  ")); err != nil {
			b.Fatal(err)
		}
	}
	s, err := sb.Build()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if err := s.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPlainBenthosNone(b *testing.B)     { benchPlain(b, "") }
func BenchmarkPlainBenthosBloblang(b *testing.B) { benchPlain(b, benchText) }
