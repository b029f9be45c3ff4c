package amqpdoor_test

import (
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// tcp connects over loopback.
func (w *world) tcp() *client {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.over(a, b)
	c.put("Manage||")
	return c
}

func benchmarkIn(b *testing.B, events int) {
	w := newWorld(b, amqpdoor.Config{}, clock.System{})
	s := w.tcp().sender("telemetry/Partitions/0", nil)
	message, format := encoded(b, strings.Repeat("x", 256)), uint32(0)
	if events > 1 {
		all := make([][]byte, events)
		for i := range all {
			all[i] = message
		}
		message, format = batch(b, nil, all...), batchFormat
	}
	outcomes := make(chan amqp.State, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range b.N {
			if o := <-outcomes; o != (amqp.Accepted{}) {
				b.Errorf("outcome %v", o)
				return
			}
		}
	}()
	for range b.N {
		if err := s.Start(w.ctx, message, format, func(o amqp.State) { outcomes <- o }); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkInSingle(b *testing.B) { benchmarkIn(b, 1) }
func BenchmarkInBatch(b *testing.B)  { benchmarkIn(b, 100) }

func BenchmarkOut(b *testing.B) {
	w := newWorld(b, amqpdoor.Config{}, clock.System{})
	c := w.tcp()
	s := c.sender("telemetry/Partitions/0", nil)
	const stored = 50_000
	all := make([][]byte, 500)
	for i := range all {
		all[i] = encoded(b, strings.Repeat("x", 256))
	}
	for range stored / len(all) {
		w.send(s, all...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		r := c.receiver(first+"0", "", 2000, nil)
		for range stored {
			if _, err := r.Next(w.ctx); err != nil {
				b.Fatal(err)
			}
			if n++; n == b.N {
				break
			}
		}
		b.StopTimer()
		if err := r.Detach(w.ctx); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLinks says what a receiver costs that waits: 200 on each of 10 connections, whose other ends keep nothing.
func BenchmarkLinks(b *testing.B) {
	w := newWorld(b, amqpdoor.Config{Readers: 1 << 20}, clock.System{})
	w.trust = eventhub.Claim{Rights: eventhub.Listen}
	const connections, links = 10, 200
	var all []*amqptest.Conn
	for range connections {
		near, far := net.Pipe()
		w.served.Go(func() { _ = w.engine.Serve(w.ctx, far, w) })
		c, err := amqptest.Dial(w.ctx, near, amqptest.Options{Hostname: host})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		if _, err := c.Begin(w.ctx, 0); err != nil {
			b.Fatal(err)
		}
		all = append(all, c)
	}
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before, goroutines := measure(), runtime.NumGoroutine()
	for _, c := range all {
		for h := range uint32(links) {
			if _, err := c.Attach(w.ctx, 0, amqptest.ReceiverFrom("r", h, first+"0")); err != nil {
				b.Fatal(err)
			}
			if err := c.Send(w.ctx, 0, &amqp.Flow{
				NextIncomingID: amqp.Some(uint32(0)), IncomingWindow: 5000, OutgoingWindow: 100, Handle: amqp.Some(h), DeliveryCount: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(300)),
			}, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		runtime.Gosched() // nothing is timed
	}
	b.ReportMetric(float64(measure()-before)/(connections*links), "B/link")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/(connections*links), "goroutines/link")
	runtime.KeepAlive(all)
}
