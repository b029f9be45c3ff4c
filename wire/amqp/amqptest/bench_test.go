package amqptest_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// accept is a peer that takes transfers as quickly as it can, and accepts what it has read of them at once.
func accept(conn net.Conn) {
	defer conn.Close()
	r := amqp.NewReader(conn)
	r.Limit(65536)
	h, err := r.ProtocolHeader()
	if err != nil {
		return
	}
	out := h[:]
	var t amqp.Transfer
	var first, next, granted uint32
	r.Waiting = func() {
		if next-first > 0 {
			out = amqp.AppendDisposition(out, 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: first, Last: amqp.Some(next - 1), Settled: true, State: amqp.Accepted{}})
			first = next
		}
		if granted-next < 5000 {
			granted = next + 10000
			out = amqp.AppendFlow(out, 0, &amqp.Flow{
				NextIncomingID: amqp.Some(next), IncomingWindow: 20000, OutgoingWindow: 1, Handle: amqp.Some[uint32](0), DeliveryCount: amqp.Some(next),
				LinkCredit: amqp.Some(granted - next),
			})
		}
		_, _ = conn.Write(out)
		out = out[:0]
	}
	granted = 5000 // none yet: no link
	for {
		kind, _, body, err := r.Next()
		if err != nil {
			return
		}
		switch code, _ := amqp.DescriptorOf(body); code {
		case amqp.CodeTransfer:
			if _, err := t.Decode(body); err != nil {
				return
			}
			next++
		case amqp.CodeOpen:
			out = amqp.AppendFrame(out, kind, 0, &amqp.Open{ContainerID: "peer", MaxFrameSize: amqp.Some[uint32](65536)}, nil)
		case amqp.CodeBegin:
			out = amqp.AppendFrame(out, kind, 0, &amqp.Begin{RemoteChannel: amqp.Some[uint16](0), IncomingWindow: 20000, OutgoingWindow: 1}, nil)
		case amqp.CodeAttach:
			p, _, err := amqp.Decode(kind, body)
			if err != nil {
				return
			}
			a := p.(*amqp.Attach)
			a.Role = !a.Role
			out = amqp.AppendFrame(out, kind, 0, a, nil)
			granted = 0
		case amqp.CodeClose:
			out = amqp.AppendFrame(out, kind, 0, &amqp.Close{}, nil)
		}
	}
}

// What the client itself costs for each message in flight, both ends on this machine.
func BenchmarkSender256(b *testing.B) {
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var peer sync.WaitGroup
	peer.Go(func() {
		if conn, err := l.Accept(); err == nil {
			accept(conn)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := c.Session(ctx)
	if err != nil {
		b.Fatal(err)
	}
	to, err := s.Sender(ctx, "x", nil)
	if err != nil {
		b.Fatal(err)
	}
	message := append([]byte{0x00, 0x53, 0x75, 0xb0, 0, 0, 1, 0}, make([]byte, 256)...)
	var settled sync.WaitGroup
	b.ReportAllocs()
	for b.Loop() {
		settled.Add(1)
		if err := to.Start(ctx, message, 0, func(amqp.State) { settled.Done() }); err != nil {
			b.Fatal(err)
		}
	}
	settled.Wait()
	if err := c.Close(ctx); err != nil {
		b.Fatal(err)
	}
	peer.Wait()
}
