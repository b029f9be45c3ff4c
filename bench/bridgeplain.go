package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/eventhubs"
	"github.com/isthmus-io/isthmus/bridge/function"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// benthos carries events by streams of Benthos that know nothing of bridges: one stream with one thread for each partition, as bridges have
// lanes, its own mapping, messages in batches of 1,000.
func (o *carryOrder) benthos(ctx context.Context, dir string, n int) (carrying, error) {
	c := &plainStreams{env: service.NewEnvironment(), functions: function.New(), dir: dir, n: n, order: o, life: ctx}
	c.life, c.end = context.WithCancel(ctx)
	err := c.open()
	for i := 0; err == nil && i < eventPartitions; i++ {
		err = c.start(i)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

type plainStreams struct {
	env         *service.Environment
	functions   *function.Functions
	dir         string
	n           int
	order       *carryOrder
	source      bridge.Source
	destination bridge.Destination

	life    context.Context //nolint:containedctx // inputs end with it, and streams with their inputs
	end     context.CancelFunc
	ended   sync.WaitGroup
	arrived atomic.Int64
	failed  atomic.Pointer[error]
}

func (c *plainStreams) count() (int64, error) {
	if err := c.failed.Load(); err != nil {
		return 0, *err
	}
	return c.arrived.Load(), nil
}

func (c *plainStreams) stop() {
	c.end()
	c.ended.Wait()
	if c.source != nil {
		_ = c.source.Close()
	}
	if c.destination != nil {
		_ = c.destination.Close()
	}
	_ = c.functions.Close(context.Background())
}

func (c *plainStreams) open() (err error) {
	spec := func() *service.ConfigSpec { return service.NewConfigSpec().Field(service.NewIntField("partition")) }
	input := func(p *service.ParsedConfig, _ *service.Resources) (service.BatchInput, error) {
		i, err := p.FieldInt("partition")
		return &plainInput{c: c, partition: i}, err
	}
	output := func(p *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
		i, err := p.FieldInt("partition")
		return &plainOutput{c: c, partition: i}, service.BatchPolicy{}, 1, err
	}
	step := func(*service.ParsedConfig, *service.Resources) (service.BatchProcessor, error) {
		steps, err := c.order.steps()
		if err != nil {
			return nil, err
		}
		s, err := c.functions.Step(context.Background(), bridge.StepArgs{Step: steps[0], Modules: filepath.Dir(c.order.Module)})
		return &plainFunction{s}, err
	}
	if c.order.How == crossingSame {
		near, err := c.order.Near.end(c.order.From)
		if err != nil {
			return err
		}
		far, err := c.order.Far.end(c.order.To)
		if err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if c.source, err = eventhubs.NewSource(near, resource.BridgeSource{EventHub: c.order.From}, log, clock.System{}); err != nil {
			return err
		}
		if c.destination, err = eventhubs.NewDestination(far, "bench-"+strconv.Itoa(c.n), resource.EventHubDestination{Name: c.order.To}, log, clock.System{}); err != nil {
			return err
		}
	}
	return errors.Join(
		c.env.RegisterBatchInput("bench_in", spec(), input), c.env.RegisterBatchOutput("bench_out", spec(), output),
		c.env.RegisterBatchProcessor("bench_function", service.NewConfigSpec(), step))
}

// end is a door as a bridge's parts see it.
func (d door) end(hub string) (*end.End, error) {
	pem, err := os.ReadFile(d.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &end.End{
		BridgeEnd: plan.BridgeEnd{Name: hub, Open: true, Type: resource.TypeEventHubs, HostName: d.Host, Ports: []uint16{5671}, Served: true},
		TLS:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", d.Addr)
		},
		Secret: sas.EventHubs{HostName: d.Host, Policy: d.User, Key: d.Key}.String(),
	}, nil
}

func (c *plainStreams) start(partition int) error {
	b := c.env.NewStreamBuilder()
	b.SetThreads(1)
	b.SetLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	all := []error{
		b.SetMetricsYAML("none: {}"), b.AddInputYAML(fmt.Sprintf("bench_in: {partition: %d}", partition)), b.AddOutputYAML(fmt.Sprintf("bench_out: {partition: %d}", partition)),
	}
	switch c.order.Step {
	case stepMapping:
		all = append(all, b.AddProcessorYAML("mapping: "+indented(benchMapping)))
	case stepWASM:
		all = append(all, b.AddProcessorYAML("bench_function: {}"))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	s, err := b.Build()
	if err != nil {
		return err
	}
	c.ended.Go(func() {
		if err := s.Run(context.WithoutCancel(c.life)); err != nil {
			c.failed.Store(&err)
		}
	})
	return nil
}

// plainInput gives the same events again and again, or the lines of a file, or the events of a partition.
type plainInput struct {
	c         *plainStreams
	partition int
	bodies    [][]byte
	file      *os.File
	lines     *bufio.Reader
	reader    bridge.Reader
}

func (p *plainInput) Connect(ctx context.Context) (err error) {
	if p.c.source != nil {
		p.reader, err = p.c.source.Read(ctx, strconv.Itoa(p.partition), bridge.Earliest(), 1)
		return err
	}
	if p.c.order.How == crossingFiles {
		if p.file, err = os.Open(lineFile(p.c.dir, p.partition)); err == nil {
			p.lines = bufio.NewReaderSize(p.file, 64<<10)
		}
		return err
	}
	for i := range int64(crossingBatch) {
		p.bodies = append(p.bodies, bridgeEvent(nil, i))
	}
	return nil
}

func (p *plainInput) ReadBatch(context.Context) (service.MessageBatch, service.AckFunc, error) {
	if p.c.life.Err() != nil {
		return nil, nil, service.ErrEndOfInput
	}
	out := make(service.MessageBatch, 0, crossingBatch)
	switch {
	case p.lines != nil:
		for len(out) < crossingBatch {
			line, err := p.lines.ReadBytes('\n')
			if err != nil {
				break
			}
			out = append(out, service.NewMessage(line[:len(line)-1]))
		}
		if len(out) == 0 {
			return nil, nil, service.ErrEndOfInput
		}
	case p.reader == nil:
		for i, b := range p.bodies {
			m := service.NewMessage(b)
			m.MetaSetMut("key", pressOf(int64(i)))
			out = append(out, m)
		}
	default:
		events, err := p.reader.Next(p.c.life, crossingBatch, 1<<20)
		if p.c.life.Err() != nil {
			return nil, nil, service.ErrEndOfInput
		}
		if err != nil {
			return nil, nil, err
		}
		for _, e := range events {
			m := service.NewMessage(e.Body)
			m.MetaSetMut("key", e.Key)
			out = append(out, m)
		}
	}
	return out, func(context.Context, error) error { return nil }, nil
}

func (p *plainInput) Close(context.Context) error {
	if p.reader != nil {
		return p.reader.Close()
	}
	if p.file != nil {
		return p.file.Close()
	}
	return nil
}

// plainOutput drops what it gets, or writes it to a file and syncs that, or to an event hub.
type plainOutput struct {
	c         *plainStreams
	partition int
	file      *os.File
	lines     []byte
	sequence  int64
}

func (p *plainOutput) Connect(context.Context) (err error) {
	if p.c.order.How == crossingFiles {
		p.file, err = os.Create(filepath.Join(p.c.dir, fmt.Sprintf("out-%s-%d", p.c.order.Step, p.partition)))
	}
	return err
}

func (p *plainOutput) WriteBatch(ctx context.Context, list service.MessageBatch) error {
	p.lines = p.lines[:0]
	var events []*event.Event
	for _, m := range list {
		body, err := m.AsBytes()
		if err != nil {
			return err
		}
		switch {
		case p.file != nil:
			p.lines = append(append(p.lines, body...), '\n')
		case p.c.destination != nil:
			key, _ := m.MetaGet("key")
			events = append(events, &event.Event{Origin: event.Origin{Partition: strconv.Itoa(p.partition), Sequence: p.sequence}, Body: body, Key: key})
			p.sequence++
		}
	}
	var err error
	switch {
	case p.file != nil:
		if _, err = p.file.Write(p.lines); err == nil {
			err = syncData(p.file)
		}
	case p.c.destination != nil:
		err = p.c.destination.Write(ctx, strconv.Itoa(p.partition), events)
	}
	if err == nil {
		p.c.arrived.Add(int64(len(list)))
	}
	return err
}

func (p *plainOutput) Close(context.Context) error {
	if p.file != nil {
		return p.file.Close()
	}
	return nil
}

// plainFunction is the function as a processor.
type plainFunction struct{ step bridge.Step }

func (p *plainFunction) ProcessBatch(ctx context.Context, list service.MessageBatch) ([]service.MessageBatch, error) {
	events := make([]*event.Event, len(list))
	for i, m := range list {
		body, err := m.AsBytes()
		if err != nil {
			return nil, err
		}
		key, _ := m.MetaGet("key")
		events[i] = &event.Event{Origin: event.Origin{Partition: "0", Sequence: int64(i)}, Body: body, Key: key}
	}
	outcomes, err := p.step.Process(ctx, events)
	if err != nil {
		return nil, err
	}
	var out service.MessageBatch
	for i, o := range outcomes {
		if o.Refused != nil {
			return nil, o.Refused
		}
		for _, e := range o.Events {
			m := list[i].Copy()
			m.SetBytes(e.Body)
			out = append(out, m)
		}
	}
	return []service.MessageBatch{out}, nil
}

func (p *plainFunction) Close(ctx context.Context) error { return p.step.Close(ctx) }
