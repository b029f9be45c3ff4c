package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

var eventMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"links", "resident memory of an idle link, 200 connections of 10", "kB", true},
	{"in", "in, one by one, 256 B", "/s", false},
	{"inCPU", "  processor time of an event", "µs", true},
	{"inPlain", "  without TLS", "/s", false},
	{"inGo", "  sent by go-amqp", "/s", false},
	{"inSDK", "  sent by azeventhubs, 64 at once", "/s", false},
	{"batch", "in, in batches of 100, 256 B", "/s", false},
	{"batchCPU", "  processor time of an event", "µs", true},
	{"batchGo", "  sent by go-amqp", "/s", false},
	{"batchSDK", "  sent by azeventhubs, 16 batches at once", "/s", false},
	{"out", "out, from the beginning, 256 B", "/s", false},
	{"outCPU", "  processor time of an event", "µs", true},
	{"outGo", "  read by go-amqp", "/s", false},
	{"outSDK", "  read by azeventhubs", "/s", false},
	{"in4k", "in, one by one, 4 kB", "/s", false},
	{"batch4k", "in, in batches of 100, 4 kB", "/s", false},
	{"out4k", "out, from the beginning, 4 kB", "/s", false},
	{"oneP50", "one in flight, until it is acknowledged, p50", "ms", true},
	{"oneP99", "  p99", "ms", true},
	{"throughMost", "from a sender to a reader, the most", "/s", false},
	{"throughLow50", "  100 a second, p50", "ms", true},
	{"throughLow99", "  p99", "ms", true},
	{"throughSame50", "  2,000 a second, p50", "ms", true},
	{"throughSame99", "  p99", "ms", true},
	{"throughHalf50", "  half of its most, p50", "ms", true},
	{"throughHalf99", "  p99", "ms", true},
	{"mqttMost", "from a device over MQTT to the built-in endpoint, the most", "/s", false},
	{"mqttLow50", "  100 a second, p50", "ms", true},
	{"mqttLow99", "  p99", "ms", true},
	{"mqttSame50", "  2,000 a second, p50", "ms", true},
	{"mqttSame99", "  p99", "ms", true},
	{"mqttHalf50", "  half of its most, p50", "ms", true},
	{"mqttHalf99", "  p99", "ms", true},
	{"deviceMost", "from a device over AMQP to the built-in endpoint, the most", "/s", false},
	{"deviceLow50", "  100 a second, p50", "ms", true},
	{"deviceLow99", "  p99", "ms", true},
	{"deviceSame50", "  2,000 a second, p50", "ms", true},
	{"deviceSame99", "  p99", "ms", true},
	{"deviceHalf50", "  half of its most, p50", "ms", true},
	{"deviceHalf99", "  p99", "ms", true},
}

const (
	eventConnections = 200
	eventLinks       = 10 // of each
	eventSenders     = 4  // each a connection of its own
	eventWindow      = 250
	eventDevices     = 20
)

// bus is what a running subject offers to senders and readers of events.
type bus struct {
	secure, plain door
	target        func(topic string) string   // where senders of a topic send
	sources       func(topic string) []string // what all of it is read from
	onlyNew       string                      // a filter for readers who want nothing but what comes from now on
	unread        bool                        // it cannot be relied on to be read
	keeps         bool                        // what was read is still there
	links         bool                        // its idle links are measured
	batches       bool                        // it takes batches apart
	sdk           bool                        // the SDK of Event Hubs can talk to it
	hub           *deviceBus
}

// deviceBus is a hub with devices, and its built-in endpoint.
type deviceBus struct {
	mqtt, amqp string
	reader     door
	sources    []string
}

// eventBus is a subject that events go through.
type eventBus interface {
	subject
	serve(ctx context.Context, dir string, p *processes) (*bus, error)
}

// topics are what a subject has to have: one for each measurement, so that none finds what another left.
func topics() []string {
	return []string{"idle", "in", "plain", "go", "sdk", "batch", "gobatch", "sdkbatch", "one", "through", "in4k", "batch4k"}
}

type eventSuite struct{ *binaries }

// measure takes all figures of one subject in a process of its own. What fills the disk most comes last.
func (es eventSuite) measure(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "isthmus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &processes{dir: dir, pids: map[string]func() int{}}
	defer p.stop()
	at, err := s.(eventBus).serve(ctx, dir, p)
	if err == nil {
		err = es.all(ctx, &eventRun{at: at, p: p, seconds: seconds, add: r.adder(s)})
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	return nil
}

// eventRun is one round of one subject.
type eventRun struct {
	at      *bus
	p       *processes
	seconds float64
	add     func(key string, v float64, f figures)
}

func (es eventSuite) all(ctx context.Context, e *eventRun) error {
	sdk, err := es.eventLoad(ctx)
	if err != nil {
		return err
	}
	for _, part := range []func() error{
		func() error { return e.links(ctx) },
		func() error { return e.one(ctx) },
		func() error { return e.ways(ctx) },
		func() error { return e.small(ctx, sdk) },
		func() error { return e.large(ctx) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// events is what a load of this program does with events of a size, one by one.
func events(body int) eventLoad {
	return eventLoad{Client: "raw", Senders: eventSenders, Window: eventWindow, Body: body, Batch: 1}
}

// batches is the same in batches of 100, fewer of which are in flight.
func batches(l eventLoad) eventLoad {
	l.Batch, l.Window = 100, min(l.Window, 16)
	return l
}

// ways measures how long events are on their way.
func (e *eventRun) ways(ctx context.Context) error {
	l := eventLoad{Client: "raw", Door: e.at.secure, Target: e.at.target("through"), Reader: e.at.secure, Sources: e.at.sources("through"), Filter: e.at.onlyNew}
	if err := e.through(ctx, "through", l); err != nil || e.at.hub == nil {
		return err
	}
	h := e.at.hub
	for _, way := range []struct{ key, client, addr string }{{"mqtt", "mqtt", h.mqtt}, {"device", "device", h.amqp}} {
		l := eventLoad{Client: way.client, Door: door{Addr: way.addr, CA: h.reader.CA, Host: hubHost}, Reader: h.reader, Sources: h.sources, Filter: e.at.onlyNew}
		if err := e.through(ctx, way.key, l); err != nil {
			return err
		}
	}
	return nil
}

// small sends and reads events of 256 bytes, from this program and from the other load, which may not be there.
func (e *eventRun) small(ctx context.Context, other string) error {
	type step struct {
		key, topic, program string
		l                   eventLoad
		skip                bool
	}
	plain, byGo, bySDK := events(256), events(256), events(256)
	plain.Door = e.at.plain
	byGo.Client = "go-amqp"
	bySDK.Client, bySDK.Senders, bySDK.Window = "azeventhubs", 1, 64
	count := map[string]int64{}
	for _, s := range []step{
		{"in", "in", "", events(256), false},
		{"inPlain", "plain", "", plain, false},
		{"inGo", "go", other, byGo, other == ""},
		{"inSDK", "sdk", other, bySDK, other == "" || !e.at.sdk},
		{"batch", "batch", "", batches(events(256)), !e.at.batches},
		{"batchGo", "gobatch", other, batches(byGo), other == "" || !e.at.batches},
		{"batchSDK", "sdkbatch", other, batches(bySDK), other == "" || !e.at.sdk},
	} {
		if s.skip {
			continue
		}
		n, err := e.in(ctx, s.key, s.topic, s.program, s.l)
		if err != nil {
			return err
		}
		count[s.topic] = n
	}
	read, again := "in", "go" // what was read of a queue is gone
	if e.at.batches {
		read = "batch"
	}
	if e.at.keeps {
		again = read
	}
	if err := e.out(ctx, "out", read, "", "raw", count[read]); err != nil || other == "" {
		return err
	}
	if err := e.out(ctx, "outGo", again, other, "go-amqp", count[again]); err != nil || !e.at.sdk {
		return err
	}
	return e.out(ctx, "outSDK", again, other, "azeventhubs", count[again])
}

// large sends and reads events of 4 kB.
func (e *eventRun) large(ctx context.Context) error {
	topic := "in4k"
	count, err := e.in(ctx, topic, topic, "", events(4096))
	if err == nil && e.at.batches {
		topic = "batch4k"
		count, err = e.in(ctx, topic, topic, "", batches(events(4096)))
	}
	if err != nil {
		return err
	}
	return e.out(ctx, "out4k", topic, "", "raw", count)
}

// settle waits until the subject has done what it does behind the back of who waits for it, so that it is not the next one's.
func (e *eventRun) settle() {
	const look, most = 250 * time.Millisecond, 5 * time.Second
	before := e.p.cpuSeconds()
	for until := time.Now().Add(most); time.Now().Before(until); {
		time.Sleep(look)
		now := e.p.cpuSeconds()
		if now-before < look.Seconds()/10 {
			return
		}
		before = now
	}
}

// in sends for as long as a measurement takes and returns how many were acknowledged in all. program is who sends: this program when empty.
func (e *eventRun) in(ctx context.Context, key, topic, program string, l eventLoad) (int64, error) {
	l.Mode, l.Target, l.Topic, l.Seconds = "in", e.at.target(topic), topic, e.seconds
	if l.Door == (door{}) {
		l.Door = e.at.secure
	}
	e.settle()
	var cpu float64
	f, err := holdEvents(ctx, program, l, func() error {
		cpu = e.p.cpuSeconds()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	e.add(key, f.Messages, f)
	if (key == "in" || key == "batch") && f.All > 0 {
		e.add(key+"CPU", (e.p.cpuSeconds()-cpu)*1e6/float64(f.All), figures{})
	}
	return f.All, nil
}

// out reads a topic from the beginning, all of it or for as long as a measurement takes.
func (e *eventRun) out(ctx context.Context, key, topic, program, client string, count int64) error {
	if e.at.unread {
		return nil
	}
	l := eventLoad{Mode: "out", Client: client, Reader: e.at.secure, Sources: e.at.sources(topic), Topic: topic, Count: count, Seconds: e.seconds}
	e.settle()
	var cpu float64
	f, err := holdEvents(ctx, program, l, func() error {
		cpu = e.p.cpuSeconds()
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	e.add(key, f.Messages, f)
	if key == "out" && f.All > 0 {
		e.add(key+"CPU", (e.p.cpuSeconds()-cpu)*1e6/float64(f.All), figures{})
	}
	return nil
}

func (e *eventRun) one(ctx context.Context) error {
	l := eventLoad{Mode: "in", Client: "raw", Door: e.at.secure, Target: e.at.target("one"), Senders: 1, Window: 1, Body: 256, Batch: 1, Seconds: e.seconds}
	f, err := holdEvents(ctx, "", l, func() error { return nil })
	if err != nil {
		return fmt.Errorf("one: %w", err)
	}
	e.add("oneP50", f.MedianRTT/1000, f)
	e.add("oneP99", f.P99RTT/1000, figures{})
	return nil
}

// links holds connections with receivers on them, to which nothing comes.
func (e *eventRun) links(ctx context.Context) error {
	if !e.at.links {
		return nil
	}
	l := eventLoad{Mode: "links", Client: "raw", Reader: e.at.secure, Sources: e.at.sources("idle"), Senders: eventConnections, Window: eventLinks}
	before := sum(e.p.residentKiB())
	_, err := holdEvents(ctx, "", l, func() error {
		time.Sleep(settleIdle)
		e.add("links", float64(sum(e.p.residentKiB())-before)*1.024/(eventConnections*eventLinks), figures{})
		return nil
	})
	if err != nil {
		err = fmt.Errorf("links: %w", err)
	}
	return err
}

// through measures how long an event takes from its sender's hand to its reader's: with as many as go through, and at three rates.
func (e *eventRun) through(ctx context.Context, key string, l eventLoad) error {
	if e.at.unread {
		return nil
	}
	l.Mode, l.Senders, l.Window, l.Body, l.Seconds = "through", eventDevices, 50, 256, e.seconds
	once := func(rate float64) (figures, error) {
		e.settle()
		l.Rate = rate
		f, err := holdEvents(ctx, "", l, func() error { return nil })
		if err != nil {
			err = fmt.Errorf("%s at %g a second: %w", key, rate, err)
		}
		return f, err
	}
	most, err := once(0)
	if err != nil {
		return err
	}
	e.add(key+"Most", most.Messages, most)
	for _, at := range []struct {
		name string
		rate float64
	}{{"Low", 100}, {"Same", 2000}, {"Half", most.Messages / 2}} {
		f, err := once(at.rate)
		if err != nil {
			return err
		}
		e.add(key+at.name+"50", f.MedianRTT/1000, f)
		e.add(key+at.name+"99", f.P99RTT/1000, figures{})
	}
	return nil
}

// holdEvents starts a load, calls once it is connected, and has it run. program is the load that is no part of this one.
func holdEvents(ctx context.Context, other string, l eventLoad, connected func() error) (figures, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return figures{}, err
	}
	cmd, err := program(ctx, "", "drive", "events")
	if err != nil {
		return figures{}, err
	}
	if other != "" {
		cmd.Path, cmd.Args = other, []string{other}
	}
	return hold(cmd, string(text), func(again func(string) error) error {
		if err := connected(); err != nil {
			return err
		}
		return again("")
	})
}
