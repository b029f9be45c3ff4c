package engine

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// burst says frames in one write.
func burst(t testing.TB, c *amqptest.Conn, says ...say) {
	t.Helper()
	var out []byte
	for _, s := range says {
		out = amqp.AppendFrame(out, amqp.FrameAMQP, s.channel, s.p, make([]byte, s.payload))
	}
	if err := c.Write(soon(t), out); err != nil {
		t.Fatal(err)
	}
}

func TestMoreThanTheWindow(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{Window: 2}), amqptest.Options{})
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	hears(t, c, "flow next=0 link=0 count=0 credit=1000")
	burst(t, c, say{p: transfer(0, 0, true)}, say{p: transfer(0, 1, true)})
	hears(t, c, "flow next=2")
	burst(t, c, say{p: transfer(0, 2, true)}, say{p: transfer(0, 3, true)}, say{p: transfer(0, 4, true)})
	hears(t, c, "end amqp:session:window-violation")
}

// What is not settled is bounded: beyond it the peer is not read, until something is settled.
func TestUnsettledMessagesHoldThePeerUp(t *testing.T) {
	kept := make(chan *Delivery, 100)
	h := &house{attach: func(l *Link) { l.Accept(Accept{Receive: func(d *Delivery) { kept <- d }}) }}
	c := h.raw(t, newEngine(Config{MaxUnsettledBytes: 3 * (4096 + perDelivery)}), amqptest.Options{})
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	hears(t, c, "flow next=0 link=0 count=0 credit=1000")
	for id := range uint32(10) {
		burst(t, c, say{p: transfer(0, id, id == 1), payload: 4000})
	}
	var hand []*Delivery
	for range 3 {
		hand = append(hand, <-kept)
	}
	burst(t, c, say{p: &amqp.Flow{Echo: true}}) // the answer shows how far it has come
	for id := range 7 {
		hand[0].Accept()
		hand = append(hand[1:], <-kept)
		if len(kept) > 0 {
			t.Fatalf("with %d settled there are more than three", id+1)
		}
	}
	for _, d := range hand {
		d.Accept()
	}
	settled := map[uint32]bool{}
	for len(settled) < 9 {
		f := must[amqptest.Frame](t)(c.Next(soon(t)))
		for _, f := range apart(f) {
			if d, ok := f.Performative.(*amqp.Disposition); ok {
				settled[d.First] = true
			}
		}
	}
	if settled[1] {
		t.Error("what came settled was settled")
	}
}

func TestOneWhoSettlesNothingEndsTheConnection(t *testing.T) {
	h := &house{}
	h.attach = func(l *Link) {
		var kept []*Delivery
		l.Accept(Accept{Receive: func(d *Delivery) { kept = append(kept, d) }})
		l.OnEnd(func() {
			for _, d := range kept {
				d.Accept()
			}
		})
	}
	bubble(t, h, Config{MaxUnsettledBytes: 5000, IdleTimeout: time.Minute}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		must[*amqp.Attach](t)(c.Attach(t.Context(), 0, sends))
		start := time.Now()
		for id := range uint32(2) {
			if err := c.Send(t.Context(), 0, transfer(0, id, false), make([]byte, 4000)); err != nil {
				t.Fatal(err)
			}
		}
		closed, _, err := amqptest.Await[*amqp.Close](t.Context(), c)
		if err != nil || closed.Error == nil || closed.Error.Condition != amqp.ConditionResourceLimitExceeded || time.Since(start) != time.Minute {
			t.Errorf("%+v, %v after %v", closed, err, time.Since(start))
		}
		_ = near.Close()
		<-h.serve
		h.conn.clean(t)
	})
}

// A peer that asks and does not read is not read either.
func TestAnswersAreBounded(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		echo := amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Flow{Echo: true}, nil)
		var asked int
		for {
			_ = near.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := near.Write(echo); err != nil {
				break
			}
			asked++
		}
		h.conn.mu.Lock()
		if queued := h.conn.queued(); queued > replyMost+1000 {
			t.Errorf("%d bytes wait after %d questions", queued, asked)
		}
		h.conn.mu.Unlock()
	})
}

// A range of dispositions costs what it finds.
func TestLedger(t *testing.T) {
	var l ledger
	link := &Link{}
	base := uint32(1<<32 - 50)
	var want []uint32
	for i := range uint32(100) {
		if i%3 == 0 {
			continue // sent settled
		}
		l.push(entry{id: base + i, link: link})
		want = append(want, base+i)
	}
	if n := len(l.take(nil, base-100, base-1)); n != 0 {
		t.Errorf("%d before the first", n)
	}
	if n := len(l.take(nil, base+100, base+1<<30)); n != 0 {
		t.Errorf("%d behind the last", n)
	}
	if got := l.take(nil, base+10, base+10); len(got) != 1 || got[0].id != base+10 {
		t.Errorf("one: %v", got)
	}
	if got := l.take(nil, base+10, base+20); len(got) != 7 || got[0].id != base+11 {
		t.Errorf("some: %v", got)
	}
	got := l.take(nil, base-1<<30, base+1<<30)
	if len(got) != len(want)-8 || l.live != 0 || len(l.entries) != 0 {
		t.Errorf("the rest: %d, live %d", len(got), l.live)
	}
	// The oldest stays; what came after it does not pile up.
	l.push(entry{id: 0, link: link})
	for id := uint32(1); id < 100000; id++ {
		l.push(entry{id: id, link: link})
		l.take(nil, id, id)
	}
	if len(l.entries) > 200 || l.live != 1 {
		t.Errorf("%d entries, %d live", len(l.entries), l.live)
	}
	if got := l.take(nil, 0, 1<<31-1); len(got) != 1 {
		t.Errorf("%d", len(got))
	}
}

// Whatever the size of a message, no frame is larger than the peer takes, and none but the last smaller.
func TestFramesAreAsLargeAsThePeerTakesThem(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(512))}})
	c.Limit(512)
	l := receiving(t, h, c, 1<<20, 1<<20, nil)
	for size := 470; size < 1000; size++ {
		if err := l.Send(soon(t), Outgoing{Parts: [][]byte{make([]byte, size)}, Settled: true}); err != nil {
			t.Fatal(err)
		}
		got, frames := 0, 0
		for more := true; more; frames++ {
			tr, f, err := amqptest.Expect[*amqp.Transfer](soon(t), c)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			more = tr.More
			got += len(f.Payload)
		}
		if got != size || frames > 1+size/486 {
			t.Fatalf("%d bytes came as %d in %d frames", size, got, frames)
		}
	}
}

func TestSendWaitsUntilThePeerReads(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		must[*amqp.Attach](t)(c.Attach(t.Context(), 0, amqptest.ReceiverFrom("r", 1, "queue")))
		give(t, c, 1<<20, 1<<20, false)
		l := h.link(t)
		sent := make(chan int, 100)
		go func() {
			for n := range 100 {
				if l.Send(t.Context(), Outgoing{Parts: [][]byte{make([]byte, 10000)}, Settled: true}) == nil {
					sent <- n
				}
			}
		}()
		synctest.Wait()
		if n := len(sent); n < sendMost/10000 || n > sendMost/10000+2 {
			t.Errorf("%d messages were taken in before the peer read one", n)
		}
		for range 100 {
			if _, _, err := amqptest.Expect[*amqp.Transfer](t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(sent) != 100 {
			t.Errorf("%d were sent", len(sent))
		}
	})
}
