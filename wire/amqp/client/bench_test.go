package client_test

import (
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func encoded(t testing.TB, body []byte) []byte {
	t.Helper()
	b, err := (&amqp.Message{Data: [][]byte{body}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func benchSession(b *testing.B, s *server) *client.Session {
	near, far := loopback(b)
	start(b, engine.Config{}, s, near, far)
	c, err := client.Connect(b.Context(), near, client.Config{}, clock.System{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Abort)
	session, err := c.Session(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return session
}

// BenchmarkReceive reads settled messages of 300 bytes over loopback with TLS, as fast as our engine sends them in the same process.
func BenchmarkReceive(b *testing.B) {
	m := encoded(b, make([]byte, 295))
	s := &server{send: func(l *engine.Link) {
		for l.Send(l.Context(), engine.Outgoing{Parts: [][]byte{m}, Settled: true}) == nil {
		}
	}}
	r, err := benchSession(b, s).Receiver(b.Context(), client.ReceiverConfig{Source: "x", Prefetch: 4000})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var list [][]byte
	for n := 0; n < b.N; n += len(list) {
		if list, err = r.Next(b.Context(), list[:0], 1000, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func benchmarkSend(b *testing.B, size int) {
	m := encoded(b, make([]byte, size))
	s := &server{take: func(d *engine.Delivery) { d.Accept() }, accept: engine.Accept{MaxMessage: 1 << 20}}
	to, err := benchSession(b, s).Sender(b.Context(), client.SenderConfig{Target: "x"})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	done := func(err error) {
		if err != nil {
			b.Error(err)
		}
		all.Done()
	}
	for range b.N {
		all.Add(1)
		if err := to.Start(b.Context(), m, 0, done); err != nil {
			b.Fatal(err)
		}
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkSend300(b *testing.B)  { benchmarkSend(b, 295) }
func BenchmarkSend256K(b *testing.B) { benchmarkSend(b, 256<<10) }
