package engine

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// What a stranger may do before anybody knows who he is costs little, whatever he says.

// readAll reads what comes and forgets it.
func readAll(c *amqptest.Conn) { go func() { _, _ = io.Copy(io.Discard, c.NetConn()) }() }

// bursts writes frames and waits until all of them were worked on.
func bursts(t *testing.T, h *house, c *amqptest.Conn, frames []byte, done func(*Conn) bool) time.Duration {
	t.Helper()
	began := time.Now()
	if err := c.Write(soon(t), frames); err != nil {
		t.Fatal(err)
	}
	for tick := time.Tick(time.Millisecond); ; {
		h.mu.Lock()
		conn := h.conn
		h.mu.Unlock()
		conn.mu.Lock()
		over := done(conn)
		conn.mu.Unlock()
		if over {
			return time.Since(began)
		}
		if <-tick; time.Since(began) > time.Minute {
			t.Fatal("it takes too long")
		}
	}
}

// A peer whose channels cannot be ours makes us look for free ones: that is quick among 5,000.
func TestAFreeChannelIsFoundQuickly(t *testing.T) {
	begins := func(first uint16) time.Duration {
		h := &house{}
		c := h.raw(t, newEngine(Config{MaxSessions: 5000}), amqptest.Options{Open: &amqp.Open{ChannelMax: some(uint16(4998))}})
		readAll(c)
		var out []byte
		for n := range uint16(4998) {
			out = amqp.AppendFrame(out, amqp.FrameAMQP, (n+first)%5000, &amqp.Begin{IncomingWindow: 1, OutgoingWindow: 1}, nil)
		}
		return bursts(t, h, c, out, func(c *Conn) bool { return c.lastID == 4998 })
	}
	plain := begins(0) // its numbers are ours: what this machine needs without looking
	if took := begins(4999); took > 5*time.Second && took > 250*plain {
		t.Errorf("4,998 sessions took %v, and %v without looking", took, plain)
	}
}

// Attaches that unfold into many times their size are forgotten once they were answered.
func TestARefusedLinkKeepsNothingOfItsAttach(t *testing.T) {
	const sessions, links = 12, 250
	h := &house{attach: func(l *Link) {
		if l.Name() == "kept" {
			l.Accept(Accept{})
		} else {
			l.Refuse(amqp.Errorf(amqp.ConditionUnauthorizedAccess, "no"))
		}
	}}
	nothings := make(amqp.List, 2000) // of one byte each, and much more in memory
	for i := range nothings {
		nothings[i] = amqp.List{}
	}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{Open: &amqp.Open{Properties: amqp.Map{{Key: amqp.Symbol("x"), Value: nothings}}}})
	readAll(c)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range uint16(sessions) {
		out := amqp.AppendFrame(nil, amqp.FrameAMQP, n, &amqp.Begin{IncomingWindow: 1, OutgoingWindow: 1}, nil)
		for handle := range uint32(links) {
			a := amqptest.ReceiverFrom("refused", handle, "queue")
			if handle%2 == 0 {
				a.Name = "kept"
			}
			a.Properties = amqp.Map{{Key: amqp.Symbol("x"), Value: nothings}}
			a.Source.Filter = a.Properties
			a.Target.DynamicNodeProperties = a.Properties
			out = amqp.AppendFrame(out, amqp.FrameAMQP, n, a, nil)
		}
		bursts(t, h, c, out, func(c *Conn) bool { return c.state != opened || c.links == (int(n)+1)*links })
	}
	h.mu.Lock()
	open, links2 := h.conn.PeerOpen(), h.links
	h.links = nil
	h.mu.Unlock()
	n := len(links2)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d links keep %d bytes", n, grown)
	}
	for _, l := range links2[:2] {
		if l.Address() != "queue" || l.Peer().Properties != nil {
			t.Errorf("%+v", l.Peer())
		}
	}
	if open.Properties != nil {
		t.Errorf("%+v", open)
	}
}

// An open is not longer than there is anything to say in it.
func TestALongOpenIsRefused(t *testing.T) {
	h := &house{}
	c := amqptest.New(h.serving(t, newEngine(Config{})))
	if err := c.Header(soon(t), amqp.ProtocolAMQP); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(soon(t), 0, &amqp.Open{ContainerID: string(make([]byte, 20_000))}, nil); err != nil {
		t.Fatal(err)
	}
	hears(t, c, "open frame=65536 channels=4999 idle=240000", "close amqp:connection:framing-error")
}

// A peer that is restrained makes the connection hold little, and as much as others once it is not.
func TestARestrainedPeer(t *testing.T) {
	kept := make(chan *Delivery, 100)
	h := &house{
		open: func(_ context.Context, c *Conn) error {
			c.Restrain(true)
			return nil
		},
		attach: func(l *Link) { l.Accept(Accept{Receive: func(d *Delivery) { kept <- d }}) },
	}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	hears(t, c, "flow next=0 link=0 count=0 credit=1000")
	for id := range uint32(6) {
		burst(t, c, say{p: transfer(0, id, false), payload: 60_000})
	}
	first, second := <-kept, <-kept
	burst(t, c, say{p: &amqp.Flow{Echo: true}})
	select {
	case <-kept:
		t.Fatal("a third message was taken in")
	case <-time.After(50 * time.Millisecond):
	}
	h.mu.Lock()
	conn := h.conn
	h.mu.Unlock()
	conn.Restrain(false)
	for range 4 {
		(<-kept).Accept()
	}
	first.Accept()
	second.Accept()
}

// Sessions that were refused and links are bounded even for a peer that does not listen.
func TestAPeerThatDoesNotListen(t *testing.T) {
	restrain := func(_ context.Context, c *Conn) error {
		c.Restrain(true)
		return nil
	}
	c := (&house{open: restrain}).raw(t, newEngine(Config{MaxSessions: 8}), amqptest.Options{})
	var out []byte
	for n := range uint16(17) {
		out = amqp.AppendFrame(out, amqp.FrameAMQP, n, &amqp.Begin{IncomingWindow: 1, OutgoingWindow: 1}, nil)
	}
	if err := c.Write(soon(t), out); err != nil {
		t.Fatal(err)
	}
	end, _, err := amqptest.Await[*amqp.Close](soon(t), c)
	if err != nil || end.Error == nil || end.Error.Condition != amqp.ConditionResourceLimitExceeded {
		t.Errorf("%v, %v", end, err)
	}
	c = (&house{open: restrain}).raw(t, newEngine(Config{}), amqptest.Options{})
	out = nil
	for n := range uint16(3) {
		out = amqp.AppendFrame(out, amqp.FrameAMQP, n, &amqp.Begin{IncomingWindow: 1, OutgoingWindow: 1}, nil)
		for handle := range uint32(200) {
			out = amqp.AppendFrame(out, amqp.FrameAMQP, n, amqptest.ReceiverFrom("r", handle, "queue"), nil)
		}
	}
	if err := c.Write(soon(t), out); err != nil {
		t.Fatal(err)
	}
	if end, _, err = amqptest.Await[*amqp.Close](soon(t), c); err != nil || end.Error == nil || end.Error.Condition != amqp.ConditionResourceLimitExceeded {
		t.Errorf("%v, %v", end, err)
	}
}
