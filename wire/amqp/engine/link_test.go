package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// receiving attaches a link the peer receives on, and gives credit.
func receiving(t testing.TB, h *house, c *amqptest.Conn, window, credit uint32, edit func(*amqp.Attach)) *Link {
	t.Helper()
	ctx := soon(t)
	must[*amqp.Begin](t)(c.Begin(ctx, 0))
	a := amqptest.ReceiverFrom("r", 1, "queue")
	if edit != nil {
		edit(a)
	}
	must[*amqp.Attach](t)(c.Attach(ctx, 0, a))
	l := h.link(t)
	give(t, c, window, credit, false)
	if credit > 0 {
		if err := l.Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// give gives window and credit from the beginning on.
func give(t testing.TB, c *amqptest.Conn, window, credit uint32, drain bool) {
	t.Helper()
	f := &amqp.Flow{NextIncomingID: some(uint32(0)), IncomingWindow: window, Handle: some(uint32(1)), DeliveryCount: some(uint32(0)), LinkCredit: some(credit), Drain: drain}
	if err := c.Send(soon(t), 0, f, nil); err != nil {
		t.Fatal(err)
	}
}

// hears wants these frames, in short.
func hears(t testing.TB, c *amqptest.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		f, err := c.Next(soon(t))
		if err != nil {
			t.Fatalf("waiting for %q: %v", w, err)
		}
		if got := said(f); got != w {
			t.Fatalf("heard %q, want %q", got, w)
		}
	}
}

func TestEndsAreToldInOrder(t *testing.T) {
	gone := &amqp.Error{Condition: "x:gone"}
	for name, end := range map[string]struct {
		do    func(t *testing.T, l *Link, c *amqptest.Conn)
		cause error
	}{
		"the peer detaches": {func(t *testing.T, _ *Link, c *amqptest.Conn) {
			_ = c.Send(soon(t), 0, &amqp.Detach{Handle: 1, Closed: true, Error: gone}, nil)
		}, gone},
		"the peer ends":       {func(t *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Send(soon(t), 0, &amqp.End{}, nil) }, ErrEnded},
		"the peer closes":     {func(t *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Send(soon(t), 0, &amqp.Close{Error: gone}, nil) }, gone},
		"the peer goes":       {func(_ *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Close() }, fault.OfKind(fault.Unavailable)},
		"we detach":           {func(_ *testing.T, l *Link, _ *amqptest.Conn) { l.Detach(gone); l.Detach(nil) }, gone},
		"we detach, tidily":   {func(_ *testing.T, l *Link, _ *amqptest.Conn) { l.Detach(nil) }, ErrEnded},
		"we close":            {func(_ *testing.T, l *Link, _ *amqptest.Conn) { l.Conn().Close(gone) }, gone},
		"the peer is wrong":   {func(t *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Send(soon(t), 0, &amqp.Detach{Handle: 77}, nil) }, nil},
		"the peer is worse":   {func(t *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Write(soon(t), []byte("rubbish!")) }, nil},
		"the peer misbehaves": {func(t *testing.T, _ *Link, c *amqptest.Conn) { _ = c.Send(soon(t), 0, transfer(1, 0, true), nil) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := &house{}
			c := h.raw(t, newEngine(Config{}), amqptest.Options{})
			l := receiving(t, h, c, 100, 10, nil)
			var mu sync.Mutex
			var told []string
			tell := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, what)
			}
			for range 2 {
				if err := l.Send(soon(t), Outgoing{Done: func(s amqp.State) {
					if s == nil {
						tell("done")
					}
				}}); err != nil {
					t.Fatal(err)
				}
			}
			ctx := l.Context()
			l.OnEnd(func() {
				if ctx.Err() != nil {
					tell("too late")
				}
				tell("end")
			})
			end.do(t, l, c)
			<-ctx.Done()
			tell("context")
			if cause := context.Cause(ctx); end.cause != nil && !errors.Is(cause, end.cause) && cause.Error() != end.cause.Error() {
				t.Errorf("cause %v, want %v", cause, end.cause)
			}
			_ = c.Close()
			<-h.ended
			tell("ended")
			late := make(chan bool)
			l.OnEnd(func() { close(late) })
			<-late
			if want := []string{"done", "done", "end", "context", "ended"}; !slices.Equal(told, want) {
				t.Errorf("told %v", told)
			}
			for _, err := range []error{l.Send(soon(t), Outgoing{}), l.Await(soon(t))} {
				if fault.KindOf(err) != fault.Unavailable {
					t.Errorf("sending on it: %v", err)
				}
			}
			if l.TrySend(Outgoing{}) || l.Credit() != 0 {
				t.Error("it can still be sent on")
			}
			l.Accept(Accept{})
			l.Refuse(nil)
			l.Idle()
			<-l.Flowed()
		})
	}
}

func TestAMessageGivenUpHalfwayIsAborted(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(512))}})
	l := receiving(t, h, c, 2, 10, nil)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		failed <- l.Send(ctx, Outgoing{Parts: [][]byte{make([]byte, 2000)}, Done: func(amqp.State) { t.Error("Done was called") }})
	}()
	hears(t, c, "transfer link=1 id=0 more 486", "transfer link=1 more 491")
	next := make(chan error)
	cancel()
	if err := <-failed; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Send: %v", err)
	}
	go func() { next <- l.Send(soon(t), Outgoing{Settled: true}) }()
	give(t, c, 100, 10, false)
	hears(t, c, "transfer link=1 id=0 aborted 0", "transfer link=1 id=1 settled 0")
	if err := <-next; err != nil {
		t.Error(err)
	}
}

func TestAMessageTheLinkEndsInTheMiddleOf(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(512))}})
	l := receiving(t, h, c, 1, 10, nil)
	told, sent := make(chan amqp.State, 2), make(chan error)
	go func() {
		sent <- l.Send(context.Background(), Outgoing{Parts: [][]byte{make([]byte, 2000)}, Done: func(s amqp.State) { told <- s }})
	}()
	hears(t, c, "transfer link=1 id=0 more 486")
	if err := c.Send(soon(t), 0, &amqp.Detach{Handle: 1, Closed: true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil { // Done has told it
		t.Error(err)
	}
	if s := <-told; s != nil {
		t.Errorf("told %v", s)
	}
	hears(t, c, "detach 1 closed=true")
}

func TestDrain(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	l := receiving(t, h, c, 100, 3, nil)
	flowed := l.Flowed()
	give(t, c, 100, 3, true)
	<-flowed
	if !l.TrySend(Outgoing{Settled: true}) {
		t.Error("a drained link still has its credit")
	}
	l.Idle()
	l.Idle()
	hears(t, c, "transfer link=1 id=0 settled 0", "flow next=0 link=1 count=3 credit=0 drain")
	if l.Credit() != 0 || l.TrySend(Outgoing{}) {
		t.Error("credit that was given back is still there")
	}
	f := &amqp.Flow{IncomingWindow: 100, Handle: some(uint32(1)), DeliveryCount: some(uint32(3)), LinkCredit: some(uint32(1)), Drain: true}
	if err := c.Send(soon(t), 0, f, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Send(soon(t), Outgoing{Settled: true}); err != nil {
		t.Fatal(err)
	}
	hears(t, c, "transfer link=1 id=1 settled 0", "flow next=0 link=1 count=4 credit=0 drain")
	f.DeliveryCount, f.LinkCredit = some(uint32(4)), some(uint32(0))
	if err := c.Send(soon(t), 0, f, nil); err != nil {
		t.Fatal(err)
	}
	hears(t, c, "flow next=0 link=1 count=4 credit=0 drain")
}

func TestCreditIsNoBuffer(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{MaxUnsettled: 2}), amqptest.Options{})
	l := receiving(t, h, c, 1<<31, 1<<31, nil)
	give(t, c, 1<<32-1, 1<<32-1, false) // as large as it gets
	for range 2 {
		if !l.TrySend(Outgoing{Parts: [][]byte{[]byte("x")}}) {
			t.Fatal("two may be unsettled")
		}
	}
	if l.TrySend(Outgoing{}) {
		t.Error("a third was sent")
	}
	hears(t, c, "transfer link=1 id=0 1", "transfer link=1 id=1 1")
	if err := c.Send(soon(t), 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: 0, Last: some(uint32(1<<31 - 1)), State: amqp.Accepted{}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Send(soon(t), Outgoing{}); err != nil {
		t.Error(err)
	}
	hears(t, c, "disposition sender 0 accepted", "disposition sender 1 accepted", "transfer link=1 id=2 0")
}

func TestSettledForAPeerThatAsksForIt(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	l := receiving(t, h, c, 100, 10, func(a *amqp.Attach) { a.SndSettleMode = some(amqp.SenderSettled) })
	told := make(chan amqp.State, 1)
	if err := l.Send(soon(t), Outgoing{Done: func(s amqp.State) { told <- s }}); err != nil {
		t.Fatal(err)
	}
	if s := <-told; s != (amqp.Accepted{}) {
		t.Errorf("told %v", s)
	}
	hears(t, c, "transfer link=1 id=0 settled 0")
}

func TestWhatCannotBeSent(t *testing.T) {
	h := &house{}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	l := receiving(t, h, c, 100, 10, func(a *amqp.Attach) { a.MaxMessageSize = some(uint64(10)) })
	if err := l.Send(soon(t), Outgoing{Parts: [][]byte{make([]byte, 6), make([]byte, 5)}}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("too large for the peer: %v", err)
	}
	if err := l.Send(soon(t), Outgoing{Tag: make([]byte, 33)}); err == nil {
		t.Error("a tag of 33 bytes was sent")
	}
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	if err := h.link(t).Send(soon(t), Outgoing{}); err == nil {
		t.Error("sent on a link the peer sends on")
	}
	if l.Credit() != 10 {
		t.Errorf("credit %d", l.Credit())
	}
}

func TestDecidedLater(t *testing.T) {
	h := &house{attach: func(*Link) {}}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	ctx := soon(t)
	must[*amqp.Begin](t)(c.Begin(ctx, 0))
	for _, p := range []amqp.Performative{amqptest.ReceiverFrom("r", 1, "queue"), gives, sends} { // credit comes before the answer
		if err := c.Send(ctx, 0, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	r, s := h.link(t), h.link(t)
	sent := make(chan error)
	go func() { sent <- r.Send(ctx, Outgoing{Settled: true}) }()
	if r.TrySend(Outgoing{}) || r.Credit() != 0 {
		t.Error("sent before the answer")
	}
	s.Refuse(&amqp.Error{Condition: amqp.ConditionNotFound, Description: "No."})
	hears(t, c, "attach s 0 receiver null", "detach 0 closed=true amqp:not-found")
	r.Accept(Accept{Offered: []amqp.Symbol{"x"}, Properties: amqp.Map{{Key: amqp.Symbol("k"), Value: "v"}}, Source: &amqp.Source{Address: "another"}})
	f, err := c.Next(ctx)
	a, ok := f.Performative.(*amqp.Attach)
	if err != nil || !ok || a.Source.Address != "another" || a.Target == nil || a.Properties.Get("k") != "v" || !a.InitialDeliveryCount.Set || a.MaxMessageSize.Value != 1<<20 {
		t.Fatalf("%+v, %v", f.Performative, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	hears(t, c, "transfer link=1 id=0 settled 0")

	// One who does not wait for the answer.
	for _, p := range []amqp.Performative{&amqp.Detach{Handle: 0, Closed: true}, amqptest.SenderTo("s", 2, "queue"), &amqp.Detach{Handle: 2, Closed: true}} {
		if err := c.Send(ctx, 0, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	gone := h.link(t)
	hears(t, c, "attach s 2 receiver null", "detach 2 closed=true")
	<-gone.Context().Done()
	gone.Accept(Accept{})

	// One who sends before it may.
	for _, p := range []amqp.Performative{amqptest.SenderTo("s", 3, "queue"), transfer(3, 0, false)} {
		if err := c.Send(ctx, 0, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	hears(t, c, "attach s 3 receiver null", "detach 3 closed=true amqp:link:transfer-limit-exceeded")
}

func TestTheServerStops(t *testing.T) {
	h := &house{}
	near, far := pair(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	h.ended, h.serve, h.came = make(chan error, 1), make(chan error, 1), make(chan *Link, 1)
	go func() { h.serve <- newEngine(Config{}).Serve(ctx, far, h) }()
	c := must[*amqptest.Conn](t)(amqptest.Dial(soon(t), near, amqptest.Options{}))
	l := receiving(t, h, c, 1, 1, nil)
	stop()
	<-l.Context().Done()
	hears(t, c, "end amqp:link:detach-forced", "close amqp:connection:forced")
	_ = c.Send(soon(t), 0, &amqp.Close{}, nil)
	if err := c.ExpectEnd(soon(t)); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-h.serve, <-h.ended); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

// Errors and answers that are too long for a peer's frames are cut short.
func TestSmallFrames(t *testing.T) {
	long := strings.Repeat("ü", 2000)
	h := &house{attach: func(l *Link) {
		switch l.Address() {
		case "long error":
			l.Refuse(&amqp.Error{Condition: "x:y", Description: long, Info: amqp.Map{{Key: "k", Value: long}}})
		case "long answer":
			l.Accept(Accept{Properties: amqp.Map{{Key: "k", Value: long}}})
		default:
			l.Accept(Accept{Receive: func(d *Delivery) { d.Reject(&amqp.Error{Condition: "x:y", Description: long}) }})
		}
	}}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(512))}})
	c.Limit(512)
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	for _, p := range []amqp.Performative{
		amqptest.SenderTo("e"+strings.Repeat("x", 600), 0, "long error"), amqptest.ReceiverFrom("a", 1, "long answer"), amqptest.SenderTo("s", 2, "queue"), transfer(2, 0, false),
	} {
		if err := c.Send(soon(t), 0, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	f := must[amqptest.Frame](t)(c.Next(soon(t)))
	if a, ok := f.Performative.(*amqp.Attach); !ok || a.Source != nil {
		t.Errorf("%s", f)
	}
	hears(t, c, "detach 0 closed=true x:y", "attach a 1 sender null", "detach 1 closed=true amqp:frame-size-too-small", "attach s 2 receiver",
		"flow next=0 link=2 count=0 credit=1000", "disposition receiver 0 rejected x:y")
}

// Sent and detached by many at once, for the race detector.
func TestManyAtOnce(t *testing.T) {
	h := &house{}
	client := h.client(t, newEngine(Config{}), amqptest.Options{})
	ctx := soon(t)
	s := must[*amqptest.Session](t)(client.Session(ctx))
	r := must[*amqptest.Receiver](t)(s.Receiver(ctx, "queue", 1000, nil))
	l := h.link(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if err := l.Send(ctx, Outgoing{Parts: [][]byte{[]byte("x")}, Settled: true}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 800 {
		must[*amqptest.Delivery](t)(r.Next(ctx))
	}
	all.Wait()
	for range 4 {
		all.Go(func() { l.Detach(nil) })
		all.Go(func() { l.Conn().Close(nil) })
		all.Go(func() { _ = l.Send(ctx, Outgoing{}) })
	}
	all.Wait()
	select {
	case <-h.ended:
	case <-time.After(20 * time.Second):
		t.Error("the connection does not end")
	}
}

func TestNothingIsReceivedAfterDetach(t *testing.T) {
	received := 0
	h := &house{attach: func(l *Link) {
		l.Accept(Accept{Receive: func(d *Delivery) {
			received++
			d.Accept()
			l.Detach(nil)
		}})
	}}
	c := h.raw(t, newEngine(Config{}), amqptest.Options{})
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	burst(t, c, say{p: transfer(0, 0, false)}, say{p: transfer(0, 1, false)}, say{p: &amqp.Close{}})
	<-h.ended
	if received != 1 {
		t.Errorf("%d messages were received", received)
	}
}
