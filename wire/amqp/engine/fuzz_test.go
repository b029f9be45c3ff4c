package engine

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// dice gives numbers out of bytes; zeros when they are used up.
type dice struct{ b []byte }

func (d *dice) next() byte {
	if len(d.b) == 0 {
		return 0
	}
	n := d.b[0]
	d.b = d.b[1:]
	return n
}

// number is mostly small, sometimes near an end.
func (d *dice) number() uint32 {
	switch n := d.next(); {
	case n < 200:
		return uint32(n % 8)
	case n < 220:
		return -uint32(n % 8)
	case n < 230:
		return 1<<31 + uint32(n%4)
	default:
		return uint32(n)<<8 | uint32(d.next())
	}
}

func (d *dice) maybe() amqp.Optional[uint32] {
	if d.next()%4 == 0 {
		return amqp.Optional[uint32]{}
	}
	return some(d.number())
}

func (d *dice) yes() bool { return d.next()%2 == 1 }

func (d *dice) error() *amqp.Error {
	if d.yes() {
		return nil
	}
	return &amqp.Error{Condition: "x:y"}
}

func (d *dice) state() amqp.State {
	switch d.next() % 6 {
	case 0:
		return amqp.Accepted{}
	case 1:
		return amqp.Rejected{Error: d.error()}
	case 2:
		return amqp.Received{}
	case 3:
		return amqp.Modified{}
	case 4:
		return amqp.OtherState{Described: amqp.Described{Descriptor: uint64(0x34), Value: amqp.List{[]byte{1}}}}
	}
	return nil
}

var addresses = []string{"queue", "nowhere", "later", "keeps", "sends", "leaves", "hangs up", ""}

// performative is any, with fields that often make sense.
func (d *dice) performative() (p amqp.Performative, payload int) {
	switch n := d.next(); {
	case n < 20:
		return &amqp.Begin{RemoteChannel: amqp.Optional[uint16]{Set: d.next() == 9}, NextOutgoingID: d.number(), IncomingWindow: d.number(), HandleMax: d.maybe()}, 0
	case n < 60:
		a := &amqp.Attach{Name: "l", Handle: d.number(), Role: amqp.Role(d.yes()), InitialDeliveryCount: d.maybe(), Coordinator: d.next() == 9}
		address := addresses[d.next()%8]
		a.Source, a.Target = &amqp.Source{Address: address, Dynamic: d.next() == 9}, &amqp.Target{Address: address}
		a.SndSettleMode = amqp.Some(d.next() % 3)
		return a, 0
	case n < 100:
		return &amqp.Flow{NextIncomingID: d.maybe(), IncomingWindow: d.number(), Handle: d.maybe(), DeliveryCount: d.maybe(), LinkCredit: d.maybe(), Drain: d.yes(), Echo: d.yes()}, 0
	case n < 180:
		t := &amqp.Transfer{Handle: d.number(), DeliveryID: d.maybe(), DeliveryTag: []byte{1}, More: d.yes(), Aborted: d.next()%16 == 1, Resume: d.next()%32 == 1, State: d.state()}
		t.Settled = some(d.yes())
		return t, int(d.next()) * 8
	case n < 210:
		return &amqp.Disposition{Role: amqp.Role(d.next()%4 > 0), First: d.number(), Last: d.maybe(), Settled: d.yes(), State: d.state()}, 0
	case n < 230:
		return &amqp.Detach{Handle: d.number(), Closed: d.yes(), Error: d.error()}, 0
	case n < 240:
		return &amqp.End{Error: d.error()}, 0
	case n < 244:
		return &amqp.Close{Error: d.error()}, 0
	case n < 246:
		return &amqp.Open{ContainerID: "x", MaxFrameSize: d.maybe(), IdleTimeout: d.maybe()}, 0
	}
	return nil, 0
}

// restless does something different with each link.
type restless struct {
	house
	opened, told atomic.Int32
	work         sync.WaitGroup
	kept         sync.Map // *Link by *Delivery
}

func (h *restless) Open(ctx context.Context, c *Conn) (Handler, error) {
	_, err := h.house.Open(ctx, c)
	return h, err
}

func (h *restless) Attach(l *Link) {
	h.opened.Add(1)
	l.OnEnd(func() { h.told.Add(1) })
	done := func(amqp.State) {}
	switch l.Address() {
	case "nowhere":
		l.Refuse(&amqp.Error{Condition: amqp.ConditionNotFound})
	case "later":
		h.work.Go(func() { l.Accept(Accept{Credit: 1}) })
	case "keeps":
		l.Accept(Accept{Credit: 100, Receive: func(d *Delivery) {
			h.kept.Store(d, l)
			if l.Context().Err() != nil { // it ended meanwhile
				h.settleAll(l)
			}
		}})
		h.work.Go(func() {
			<-l.Context().Done()
			h.settleAll(l)
		})
	case "sends":
		l.Accept(Accept{})
		h.work.Go(func() {
			for l.Send(l.Context(), Outgoing{Parts: [][]byte{make([]byte, 700)}, Done: done}) == nil { //nolint:revive // until it ends
			}
		})
	case "leaves":
		l.Accept(Accept{Credit: 3, Receive: func(d *Delivery) { d.Link().Detach(nil); d.Accept() }})
		l.TrySend(Outgoing{Done: done})
		h.work.Go(func() {
			ctx, cancel := context.WithTimeout(l.Context(), time.Millisecond)
			defer cancel()
			_ = l.Send(ctx, Outgoing{Parts: [][]byte{make([]byte, 9000)}, Done: done})
			l.Detach(&amqp.Error{Condition: "x:left"})
		})
	case "hangs up":
		l.Accept(Accept{Receive: func(d *Delivery) { d.Reject(nil); l.Conn().Close(nil) }})
	case "":
		l.Accept(Accept{})
		l.Idle()
	default:
		l.Accept(Accept{Receive: func(d *Delivery) { d.Accept() }})
	}
}

func (h *restless) settleAll(l *Link) {
	h.kept.Range(func(d, of any) bool {
		if of == l && h.kept.CompareAndDelete(d, of) {
			d.(*Delivery).Release()
		}
		return true
	})
}

// FuzzAnyFrames says frames of any kind in any order. Whatever they are, the connection ends when the peer has gone, everybody is told
// once, and nothing is left.
func FuzzAnyFrames(f *testing.F) {
	for i := range 40 {
		seed := make([]byte, 300)
		for j := range seed {
			seed[j] = byte((i + 3) * (j + 7) * (i ^ j))
		}
		f.Add(seed)
	}
	e := newEngine(Config{Window: 20, MaxMessage: 4000, MaxUnsettledBytes: 20000, MaxSessions: 3, MaxUnsettled: 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		h := &restless{house: house{ended: make(chan error, 2)}}
		served := make(chan error, 1)
		go func() { served <- e.Serve(context.Background(), far, h) }()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := amqptest.Dial(ctx, near, amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(512))}}); err != nil {
			t.Fatal(err)
		}
		_ = near.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = io.Copy(io.Discard, near) }()
		d := &dice{b: b}
		out := amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Begin{IncomingWindow: 10}, nil)
		for range 200 {
			if len(d.b) == 0 {
				break
			}
			channel := uint16(0)
			if d.next() > 240 {
				channel = uint16(d.number())
			}
			p, payload := d.performative()
			out = amqp.AppendFrame(out, amqp.FrameAMQP, channel, p, make([]byte, payload))
			if d.next() == 255 && len(out) > 0 {
				out[len(out)-1] ^= d.next() // a byte that is wrong, in the frame or the payload
			}
		}
		_, _ = near.Write(out) // it may be closed before all of it is read
		_ = near.Close()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection does not end")
		}
		h.work.Wait()
		if h.opened.Load() != h.told.Load() || len(h.ended) != 1 {
			t.Errorf("%d links, %d told, %d ends of the connection", h.opened.Load(), h.told.Load(), len(h.ended))
		}
		h.conn.clean(t)
	})
}

// clean fails when a connection that is over holds anything.
func (c *Conn) clean(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != 0 || c.whole != 0 || len(c.sessions) != 0 || len(c.waiting) != 0 || c.writing {
		t.Errorf("held %d bytes of %d messages, %d sessions, %d wait, writing %t", c.held, c.whole, len(c.sessions), len(c.waiting), c.writing)
	}
}

// FuzzAnyBytes says anything from the first byte on.
func FuzzAnyBytes(f *testing.F) {
	header := func(id byte) []byte {
		h := amqp.ProtocolHeader(id)
		return h[:]
	}
	open := amqp.AppendFrame(header(0), 0, 0, &amqp.Open{ContainerID: "x"}, nil)
	f.Add(header(0))
	f.Add(header(2))
	f.Add(open)
	f.Add(amqp.AppendFrame(header(3), 1, 0, &amqp.SASLInit{Mechanism: "X"}, nil))
	f.Add(amqp.AppendFrame(open, 0, 0, &amqp.Begin{}, nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(binary.BigEndian.AppendUint32(open, 1<<31))
	e := newEngine(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		h := &house{mechanisms: []amqp.Symbol{"X"}, ended: make(chan error, 2)}
		h.authenticate = func(ctx context.Context, x *SASL) (any, error) {
			r, err := x.Challenge(ctx, []byte("?"))
			return string(r), err
		}
		served := make(chan error, 1)
		go func() { served <- e.Serve(context.Background(), far, h) }()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		_, _ = near.Write(b)
		_ = near.Close()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection does not end")
		}
		if len(h.ended) > 1 {
			t.Error("ended twice")
		}
	})
}
