package engine

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// BenchmarkIn sends messages of 256 bytes through loopback TCP, of which so many at most are not settled.
func BenchmarkIn(b *testing.B) {
	for _, flight := range []int{1, 1000} {
		b.Run(fmt.Sprint("inflight=", flight), func(b *testing.B) { benchmarkIn(b, flight) })
	}
}

func benchmarkIn(b *testing.B, flight int) {
	h := &house{attach: func(l *Link) { l.Accept(Accept{Credit: 2000, Receive: (*Delivery).Accept}) }}
	near := h.serving(b, newEngine(Config{}))
	rawSender(b, near)
	message := make([]byte, 256)
	r := amqp.NewReader(near)
	r.Limit(64 << 10)
	var out []byte
	var d amqp.Disposition
	tag := []byte("0123")
	b.ReportAllocs()
	b.ResetTimer()
	sent, settled := 0, 0
	for settled < b.N {
		out = out[:0]
		for sent < b.N && sent-settled < flight {
			t := amqp.Transfer{DeliveryID: amqp.Some(uint32(sent)), DeliveryTag: tag, MessageFormat: amqp.Some(uint32(0))}
			out = amqp.AppendTransfer(out, 0, &t, message)
			sent++
		}
		if len(out) > 0 {
			if _, err := near.Write(out); err != nil {
				b.Fatal(err)
			}
		}
		for more := true; more; more = r.Buffered() > 0 {
			_, _, body, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if code, _ := amqp.DescriptorOf(body); code == amqp.CodeDisposition {
				if err := d.Decode(body); err != nil {
					b.Fatal(err)
				}
				settled = int(d.Last.Or(d.First)) + 1
			}
		}
	}
}

func rawSender(b testing.TB, near net.Conn) {
	b.Helper()
	ctx := b.Context()
	c, err := amqptest.Dial(ctx, near, amqptest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Begin(ctx, 0); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Attach(ctx, 0, amqptest.SenderTo("s", 0, "queue")); err != nil {
		b.Fatal(err)
	}
	if _, _, err := amqptest.Expect[*amqp.Flow](ctx, c); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOut sends messages of 256 bytes to a peer: settled, or so many at most not settled.
func BenchmarkOut(b *testing.B) {
	b.Run("settled", func(b *testing.B) { benchmarkOut(b, 0) })
	for _, flight := range []int{1, 1000} {
		b.Run(fmt.Sprint("inflight=", flight), func(b *testing.B) { benchmarkOut(b, flight) })
	}
}

func benchmarkOut(b *testing.B, flight int) {
	h := &house{}
	near := h.serving(b, newEngine(Config{MaxUnsettled: flight}))
	ctx := b.Context()
	c := must[*amqptest.Conn](b)(amqptest.Dial(ctx, near, amqptest.Options{}))
	must[*amqp.Begin](b)(c.Begin(ctx, 0))
	must[*amqp.Attach](b)(c.Attach(ctx, 0, amqptest.ReceiverFrom("r", 0, "queue")))
	l := h.link(b)
	flow := func(dst []byte, seen uint32) []byte {
		return amqp.AppendFlow(dst, 0, &amqp.Flow{NextIncomingID: some(seen), IncomingWindow: 5000, Handle: some(uint32(0)), DeliveryCount: some(seen), LinkCredit: some(uint32(5000))})
	}
	out := flow(nil, 0)
	if _, err := near.Write(out); err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 256)
	m := Outgoing{Parts: [][]byte{message[:100], message[100:]}, Settled: flight == 0}
	if !m.Settled {
		m.Done = func(amqp.State) {}
	}
	r := amqp.NewReader(near)
	r.Limit(64 << 10)
	if err := l.Await(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	failed := make(chan error, 1)
	go func() {
		for range b.N {
			if err := l.Send(ctx, m); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	last := uint32(0) // of those that are settled
	for seen := uint32(0); seen < uint32(b.N); {
		_, _, body, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if code, _ := amqp.DescriptorOf(body); code != amqp.CodeTransfer {
			continue
		}
		out = out[:0]
		if seen++; seen%2500 == 0 {
			out = flow(out, seen)
		}
		if !m.Settled && r.Buffered() == 0 {
			d := &amqp.Disposition{Role: amqp.RoleReceiver, First: last, Last: some(seen - 1), Settled: true, State: amqp.Accepted{}}
			out = amqp.AppendDisposition(out, 0, d)
			last = seen
		}
		if len(out) > 0 {
			if _, err := near.Write(out); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIdle tells what connections and links cost that have nothing to say, without what the kernel has for them.
func BenchmarkIdle(b *testing.B) {
	const connections, links = 200, 10
	for range b.N {
		e := newEngine(Config{})
		before := used()
		var peers []net.Conn
		ctx := b.Context()
		for range connections {
			h := &house{}
			near := h.serving(b, e)
			c := must[*amqptest.Conn](b)(amqptest.Dial(ctx, near, amqptest.Options{}))
			must[*amqp.Begin](b)(c.Begin(ctx, 0))
			peers = append(peers, near)
		}
		opened := used()
		for _, near := range peers {
			c := amqptest.New(near)
			for n := range uint32(links) {
				must[*amqp.Attach](b)(c.Attach(ctx, 0, amqptest.ReceiverFrom("name-of-a-receiver", n, "/devices/d/messages/devicebound")))
			}
		}
		after := used()
		b.ReportMetric(float64(opened-before)/connections, "B/connection")
		b.ReportMetric(float64(after-opened)/connections/links, "B/link")
		runtime.KeepAlive(peers)
	}
}

func used() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
