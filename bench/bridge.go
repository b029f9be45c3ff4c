package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var bridgeMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"none", "no step, 256 B", "/s", false},
	{"noneCPU", "  processor time of an event, the carrier's alone", "µs", true},
	{"bloblang", "a mapping", "/s", false},
	{"bloblangCPU", "  processor time of an event", "µs", true},
	{"wasm", "a WebAssembly function", "/s", false},
	{"wasmCPU", "  processor time of an event", "µs", true},
	{"contract", "a contract of five fields", "/s", false},
	{"contractCPU", "  processor time of an event", "µs", true},
	{"both", "a mapping and a contract", "/s", false},
	{"bothCPU", "  processor time of an event", "µs", true},
	{"way50", "on the way at 2,000 a second, from the sender to the far reader, p50", "ms", true},
	{"way99", "  p99", "ms", true},
	{"direct50", "  without a bridge, from the sender to a reader of the source, p50", "ms", true},
	{"direct99", "  p99", "ms", true},
	{"drain", "a backlog, drained while the memory is watched", "/s", false},
	{"drained", "  events", "", false},
	{"heapFirst", "  live heap, mean of the first quarter", "MB", true},
	{"heapLast", "  mean of the last quarter", "MB", true},
	{"rssFirst", "  resident, mean of the first quarter", "MB", true},
	{"rssLast", "  mean of the last quarter", "MB", true},
	{"rssMost", "  resident, the most", "MB", true},
}

// Steps of pipelines, which are also what is measured of each.
const (
	stepNone     = "none"
	stepMapping  = "bloblang"
	stepWASM     = "wasm"
	stepContract = "contract"
	stepBoth     = "both" // a mapping, and a contract behind it
)

const (
	crossingMost  = 600_000 // a second: no way is quicker, so this many times the seconds are enough
	crossingBatch = 1000
)

// crossing is one way from a source to a destination with steps between, by its name.
type crossing string

func (c crossing) name() string  { return string(c) }
func (crossing) needs() []string { return []string{"go"} }
func (crossing) start(context.Context, string, *processes) (way, error) {
	return way{}, nil // see bridgeSuite
}

// ends tells whether it goes from a namespace to a namespace.
func (c crossing) ends() bool { return c == crossingBridge || c == crossingSame }

const (
	crossingBridge crossing = "isthmus"
	crossingSame   crossing = "benthos, same ends"
	crossingFiles  crossing = "benthos, files"
	crossingMemory crossing = "benthos, memory"
)

func (c crossing) steps() []string {
	if c == crossingBridge {
		return []string{stepNone, stepMapping, stepWASM, stepContract, stepBoth}
	}
	return []string{stepNone, stepMapping, stepWASM}
}

type bridgeSuite struct {
	*binaries
	backlog int64
}

// measure takes all figures of one way: namespaces of their own, where there are any, and a process of its own that carries the events.
func (bs bridgeSuite) measure(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "isthmus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &processes{dir: dir, pids: map[string]func() int{}}
	defer p.stop()
	module, err := bs.wasm(ctx)
	if err != nil {
		return err
	}
	b := &bridgeRun{
		how: s.(crossing), dir: dir, p: p, seconds: seconds, events: int64(crossingMost * (1.5*seconds + 0.5)), add: r.adder(s),
		drain: bs.backlog, drained: len(r.Samples[s.name()]["drain"]) > 0,
	}
	if err := b.all(ctx, module); err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	return nil
}

// wasm builds the example of a function.
func (b *binaries) wasm(ctx context.Context) (string, error) {
	if err := b.folder(); err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "fahrenheit.wasm")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-o", path, "./examples/functions/fahrenheit")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if words, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the function: %w: %s", err, words)
	}
	return path, nil
}

// bridgeRun is one round of one way.
type bridgeRun struct {
	how       crossing
	dir       string
	p         *processes
	seconds   float64
	events    int64 // of the source
	add       func(key string, v float64, f figures)
	drain     int64
	drained   bool // in a round before
	near, far door
	carrier   *carrierHalf
}

func (b *bridgeRun) all(ctx context.Context, module string) error {
	o := carryOrder{How: b.how, Module: module, From: "source", Seconds: b.seconds, Events: b.events}
	if b.how.ends() {
		near, err := b.namespace(ctx, "near", "source", "through", "backlog")
		if err != nil {
			return err
		}
		far, err := b.namespace(ctx, "far", append(b.how.steps(), "through", "backlog")...)
		if err != nil {
			return err
		}
		b.near, b.far, o.Near, o.Far = near, far, near, far
	}
	if b.how != crossingMemory {
		if err := fill(ctx, b.dir, b.near, "source", b.events); err != nil {
			return fmt.Errorf("filling the source: %w", err)
		}
	}
	in, out, err := b.p.half(ctx, "carrier", "serve", "bridge", b.dir)
	if err != nil {
		return err
	}
	b.carrier = &carrierHalf{in, out}
	for _, step := range b.how.steps() {
		o.Step, o.To = step, step
		a, err := b.carrier.order(o)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		b.add(step, a.PerSecond, figures{})
		b.add(step+"CPU", a.CPU, figures{})
	}
	if b.how != crossingBridge {
		return nil
	}
	if err := b.way(ctx, o); err != nil || b.drained {
		return err
	}
	return b.empty(ctx, o)
}

// namespace starts one with event hubs, in a process of its own.
func (b *bridgeRun) namespace(ctx context.Context, name string, hubs ...string) (door, error) {
	o, err := startEvents(ctx, b.p, name, filepath.Join(b.dir, name), hubs)
	return door{Addr: o.AMQP, CA: o.CA, Host: eventsHost, User: o.Policy, Key: o.Key}, err
}

// way measures how long events are on their way when they are few.
func (b *bridgeRun) way(ctx context.Context, o carryOrder) error {
	var sources []string
	for i := range eventPartitions {
		sources = append(sources, fmt.Sprintf("through/ConsumerGroups/$Default/Partitions/%d", i))
	}
	l := eventLoad{
		Mode: "through", Client: "raw", Door: b.near, Target: "through", Reader: b.far, Sources: sources, Filter: "amqp.annotation.x-opt-offset > '@latest'",
		Senders: eventDevices, Window: 50, Body: 256, Seconds: b.seconds, Rate: 2000,
	}
	o.Step, o.From, o.To, o.Stay = stepNone, "through", "through", true
	if _, err := b.carrier.order(o); err != nil {
		return fmt.Errorf("on the way: %w", err)
	}
	f, err := holdEvents(ctx, "", l, func() error { return nil })
	if err != nil {
		return err
	}
	b.add("way50", f.MedianRTT/1000, f)
	b.add("way99", f.P99RTT/1000, figures{})
	if _, err := b.carrier.order(carryOrder{}); err != nil {
		return err
	}
	l.Reader = b.near
	if f, err = holdEvents(ctx, "", l, func() error { return nil }); err != nil {
		return err
	}
	b.add("direct50", f.MedianRTT/1000, f)
	b.add("direct99", f.P99RTT/1000, figures{})
	return nil
}

// empty drains a backlog with a mapping, in a process of its own, and looks at that one's memory.
func (b *bridgeRun) empty(ctx context.Context, o carryOrder) error {
	if err := fill(ctx, b.dir, b.near, "backlog", b.drain); err != nil {
		return fmt.Errorf("filling the backlog: %w", err)
	}
	in, out, err := b.p.half(ctx, "drain", "serve", "bridge", b.dir)
	if err != nil {
		return err
	}
	o.Step, o.From, o.To, o.Events, o.Drain = stepMapping, "backlog", "backlog", b.drain, true
	a, err := (&carrierHalf{in, out}).order(o)
	if err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	quarter := max(1, len(a.Memory)/4)
	first, last := mean(a.Memory[:quarter]), mean(a.Memory[len(a.Memory)-quarter:])
	most := 0.0
	for _, m := range a.Memory {
		most = max(most, m.ResidentMB)
		fmt.Fprintf(os.Stderr, "\rdraining: %4.0f s %10d events, live heap %6.1f MB, resident %6.1f MB\n", m.Second, m.Events, m.HeapMB, m.ResidentMB)
	}
	for key, v := range map[string]float64{
		"drain": a.PerSecond, "drained": float64(b.drain), "heapFirst": first.HeapMB, "heapLast": last.HeapMB, "rssFirst": first.ResidentMB, "rssLast": last.ResidentMB, "rssMost": most,
	} {
		b.add(key, v, figures{})
	}
	return nil
}

func mean(list []memory) (m memory) {
	for _, x := range list {
		m.HeapMB += x.HeapMB / float64(len(list))
		m.ResidentMB += x.ResidentMB / float64(len(list))
	}
	return m
}

// carrierHalf is a running `serve bridge`.
type carrierHalf struct {
	in  io.Writer
	out *bufio.Reader
}

func (c *carrierHalf) order(o carryOrder) (a carryAnswer, err error) {
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return a, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("the carrier ended: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// bridgeEvent is the ith event of a source: JSON of 256 bytes, as a machine says it.
func bridgeEvent(b []byte, i int64) []byte {
	b = fmt.Appendf(b, `{"device":"press-%03d","at":"2026-11-22T12:%02d:%02d.%03dZ","celsius":%d.%d,"pressure":1013.%d,"state":"running","vibration":{"x":0.0%d,"y":0.12,"z":0.031},"note":"`,
		i/100%1000, i/60000%60, i/1000%60, i%1000, 20+i%60, i%10, i%97, i%89)
	return append(append(b, bytes.Repeat([]byte("x"), 256-len(b)-2)...), `"}`...)
}

// pressOf is the partition key of the ith event.
func pressOf(i int64) string { return fmt.Sprintf("press-%03d", i/100%1000) }

// indented is a text as a block of YAML.
func indented(text string) string { return "|\n  " + strings.ReplaceAll(text, "\n", "\n  ") }
