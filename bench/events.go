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
	small := eventLoad{Client: "raw", Senders: eventSenders, Window: eventWindow, Body: 256, Batch: 1}
	with := func(l eventLoad, change func(*eventLoad)) eventLoad {
		change(&l)
		return l
	}
	inGo := with(small, func(l *eventLoad) { l.Client = "go-amqp" })
	inSDK := with(small, func(l *eventLoad) { l.Client, l.Senders, l.Window = "azeventhubs", 1, 64 })
	batch := func(l eventLoad) eventLoad {
		l.Batch, l.Window = 100, min(l.Window, 16)
		return l
	}
	if e.at.links {
		if err := e.links(ctx); err != nil {
			return err
		}
	}
	if err := e.one(ctx); err != nil {
		return err
	}
	if err := e.through(ctx, "through", eventLoad{Door: e.at.secure, Target: e.at.target("through"), Reader: e.at.secure, Sources: e.at.sources("through"), Filter: e.at.onlyNew, Client: "raw"}); err != nil {
		return err
	}
	if h := e.at.hub; h != nil {
		for _, way := range []struct{ key, client, addr string }{{"mqtt", "mqtt", h.mqtt}, {"device", "device", h.amqp}} {
			l := eventLoad{Client: way.client, Door: door{Addr: way.addr, CA: h.reader.CA, Host: hubHost}, Reader: h.reader, Sources: h.sources, Filter: e.at.onlyNew}
			if err := e.through(ctx, way.key, l); err != nil {
				return err
			}
		}
	}
	count, err := e.in(ctx, "in", "in", "", small)
	if err != nil {
		return err
	}
	read := "in"
	if _, err := e.in(ctx, "inPlain", "plain", "", with(small, func(l *eventLoad) { l.Door = e.at.plain })); err != nil {
		return err
	}
	sentGo, err := e.in(ctx, "inGo", "go", sdk, inGo)
	if err != nil {
		return err
	}
	if e.at.sdk {
		if _, err := e.in(ctx, "inSDK", "sdk", sdk, inSDK); err != nil {
			return err
		}
		if _, err := e.in(ctx, "batchSDK", "sdkbatch", sdk, batch(inSDK)); err != nil {
			return err
		}
	}
	if e.at.batches {
		read = "batch"
		if count, err = e.in(ctx, "batch", "batch", "", batch(small)); err != nil {
			return err
		}
		if _, err := e.in(ctx, "batchGo", "gobatch", sdk, batch(inGo)); err != nil {
			return err
		}
	}
	if err := e.out(ctx, "out", read, "", "raw", count); err != nil {
		return err
	}
	if e.at.sdk {
		if err := e.out(ctx, "outSDK", read, sdk, "azeventhubs", count); err != nil {
			return err
		}
	}
	if !e.at.keeps {
		read, count = "go", sentGo
	}
	if err := e.out(ctx, "outGo", read, sdk, "go-amqp", count); err != nil {
		return err
	}
	large := with(small, func(l *eventLoad) { l.Body = 4096 })
	if count, err = e.in(ctx, "in4k", "in4k", "", large); err != nil {
		return err
	}
	read = "in4k"
	if e.at.batches {
		read = "batch4k"
		if count, err = e.in(ctx, "batch4k", read, "", batch(large)); err != nil {
			return err
		}
	}
	return e.out(ctx, "out4k", read, "", "raw", count)
}

// in sends for as long as a measurement takes and returns how many were acknowledged in all. program is who sends: this program when empty.
func (e *eventRun) in(ctx context.Context, key, topic, program string, l eventLoad) (int64, error) {
	l.Mode, l.Target, l.Topic, l.Seconds = "in", e.at.target(topic), topic, e.seconds
	if l.Door == (door{}) {
		l.Door = e.at.secure
	}
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
