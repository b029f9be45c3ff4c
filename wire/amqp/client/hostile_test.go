package client_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

// hostile is a peer that opens as it should, with a sender's and a receiver's link, and then says what it likes.
func hostile(t testing.TB, deaf bool) (c *client.Conn, to *client.Sender, from *client.Receiver, peer *amqptest.Conn) {
	t.Helper()
	near, far := net.Pipe()
	peer = amqptest.New(far)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		_, err := peer.ReadHeader(ctx)
		must(err)
		must(peer.WriteHeader(ctx, amqp.ProtocolSASL))
		must(peer.Send(ctx, 0, &amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"ANONYMOUS"}}, nil))
		_, _, err = amqptest.Expect[*amqp.SASLInit](ctx, peer)
		must(err)
		must(peer.Send(ctx, 0, &amqp.SASLOutcome{}, nil))
		_, err = peer.ReadHeader(ctx)
		must(err)
		_, _, err = amqptest.Expect[*amqp.Open](ctx, peer)
		must(err)
		must(peer.WriteHeader(ctx, amqp.ProtocolAMQP))
		must(peer.Send(ctx, 0, &amqp.Open{ContainerID: "h"}, nil))
		_, _, err = amqptest.Expect[*amqp.Begin](ctx, peer)
		must(err)
		must(peer.Send(ctx, 0, &amqp.Begin{RemoteChannel: amqp.Some(uint16(0)), IncomingWindow: 1 << 31, OutgoingWindow: 100}, nil))
		for range 2 {
			a, _, err := amqptest.Await[*amqp.Attach](ctx, peer)
			must(err)
			if err != nil {
				return
			}
			a.Role = !a.Role
			a.InitialDeliveryCount = amqp.Some(uint32(0))
			must(peer.Send(ctx, 0, a, nil))
			if a.Role == amqp.RoleReceiver {
				must(peer.Send(ctx, 0, &amqp.Flow{
					NextIncomingID: amqp.Some(uint32(0)), IncomingWindow: 1 << 31, Handle: amqp.Some(a.Handle), DeliveryCount: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(1 << 31)),
				}, nil))
			}
		}
	}()
	c, err := client.Connect(ctx, near, client.Config{MaxFrame: 1024}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if to, err = s.Sender(ctx, client.SenderConfig{Target: "x"}); err != nil {
		t.Fatal(err)
	}
	if from, err = s.Receiver(ctx, client.ReceiverConfig{Source: "x", Prefetch: 4, PrefetchBytes: 4000, MaxMessage: 3000}); err != nil {
		t.Fatal(err)
	}
	<-opened
	go func() { // it reads whatever is said to it
		for !deaf {
			if _, err := peer.Next(context.Background()); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		c.Abort()
		_ = peer.Close()
	})
	return c, to, from, peer
}

func first(settled bool, id uint32, more bool) amqp.Transfer {
	return amqp.Transfer{
		Handle: 1, DeliveryID: amqp.Some(id), DeliveryTag: []byte{1}, MessageFormat: amqp.Some(uint32(0)), Settled: amqp.Some(settled), More: more,
	}
}

// A peer that breaks a rule ends the connection, and nobody waits for ever.
func TestRulesThatPeersBreak(t *testing.T) {
	frame := func(p amqp.Performative, payload ...byte) []byte {
		return amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, payload)
	}
	twice := func(b []byte, n int) (all []byte) {
		for range n {
			all = append(all, b...)
		}
		return all
	}
	transfer := func(t amqp.Transfer, size int) []byte { return amqp.AppendTransfer(nil, 0, &t, make([]byte, size)) }
	for name, b := range map[string][]byte{
		"a frame too large":           {0, 1, 0, 0, 2, 0, 0, 0},
		"SASL again":                  amqp.AppendFrame(nil, amqp.FrameSASL, 0, &amqp.SASLOutcome{}, nil),
		"a second open":               frame(&amqp.Open{ContainerID: "h"}),
		"a session nobody began":      frame(&amqp.Begin{RemoteChannel: amqp.Some(uint16(7))}),
		"its own session":             amqp.AppendFrame(nil, amqp.FrameAMQP, 3, &amqp.Begin{}, nil),
		"an unknown channel":          amqp.AppendFrame(nil, amqp.FrameAMQP, 9, &amqp.Flow{}, nil),
		"a link nobody attached":      frame(&amqp.Attach{Name: "other", Handle: 9}),
		"a link attached twice":       frame(&amqp.Attach{Name: "x", Handle: 1, Role: amqp.RoleReceiver}),
		"an unknown handle":           frame(&amqp.Detach{Handle: 9}),
		"a flow of nothing":           frame(&amqp.Flow{NextIncomingID: amqp.Some(uint32(0)), Handle: amqp.Some(uint32(9))}),
		"a transfer on a sender":      transfer(amqp.Transfer{Handle: 0, DeliveryID: amqp.Some(uint32(0))}, 1),
		"a transfer without an id":    transfer(amqp.Transfer{Handle: 1}, 1),
		"more than it has credit for": twice(transfer(first(true, 0, false), 1), 5),
		"a message too large":         append(transfer(first(true, 0, true), 900), twice(transfer(amqp.Transfer{Handle: 1, More: true}, 900), 3)...),
		"junk":                        {0, 0, 0, 12, 2, 0, 0, 0, 1, 2, 3, 4},
		"a close":                     frame(&amqp.Close{Error: amqp.Errorf(amqp.ConditionInternalError, "Oh.")}),
		"an end":                      frame(&amqp.End{}),
		"its own detach, twice":       twice(frame(&amqp.Detach{Handle: 1, Closed: true}), 2),
	} {
		t.Run(name, func(t *testing.T) {
			c, to, from, peer := hostile(t, false)
			outcome := make(chan error, 1)
			if err := to.Start(t.Context(), []byte("m"), 0, func(err error) { outcome <- err }); err != nil {
				t.Fatal(err)
			}
			if err := peer.Write(t.Context(), b); err != nil && name != "junk" {
				t.Logf("write: %v", err) // it may be cut before it has said all
			}
			wantKind(t, <-outcome, fault.Unavailable)
			for err := error(nil); err == nil; {
				_, err = from.Next(t.Context(), nil, 10, 1<<20)
			}
			if name != "an end" {
				<-c.Done()
				if c.Err() == nil {
					t.Error("no error")
				}
			}
		})
	}
}

// Dispositions of any range cost what is under way, and those of nothing are not heard.
func TestWideDispositions(t *testing.T) {
	_, to, _, peer := hostile(t, false)
	began := time.Now()
	for range 200 {
		if err := peer.Send(t.Context(), 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: 5, Last: amqp.Some(uint32(3)), Settled: true, State: amqp.Accepted{}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	outcome := make(chan error, 1)
	if err := to.Start(t.Context(), []byte("m"), 0, func(err error) { outcome <- err }); err != nil {
		t.Fatal(err)
	}
	if err := peer.Send(t.Context(), 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: 0xfffffff0, Last: amqp.Some(uint32(4)), State: amqp.Accepted{}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-outcome; err != nil {
		t.Error(err)
	}
}

// A peer that asks without end and reads no answers is given up.
func TestAPeerThatDoesNotRead(t *testing.T) {
	c, _, _, peer := hostile(t, true)
	b := amqp.AppendFlow(nil, 0, &amqp.Flow{NextIncomingID: amqp.Some(uint32(0)), IncomingWindow: 1, Echo: true})
	for range 10 {
		b = append(b, b...)
	}
	for peer.Write(t.Context(), b) == nil {
		if c.Err() != nil {
			break
		}
	}
	<-c.Done()
	wantKind(t, c.Err(), fault.Unavailable)
	if !strings.Contains(fault.Message(c.Err()), "does not read") {
		t.Errorf("%v", c.Err())
	}
}

func FuzzPeer(f *testing.F) {
	f.Add(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Flow{NextIncomingID: amqp.Some(uint32(0)), IncomingWindow: 9, Handle: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(1)), Drain: true, Echo: true}, nil))
	t1 := first(false, 0, true)
	f.Add(append(amqp.AppendTransfer(nil, 0, &t1, []byte("abc")), amqp.AppendTransfer(nil, 0, &amqp.Transfer{Handle: 1, Aborted: true})...))
	t2 := first(true, 1, false)
	f.Add(amqp.AppendTransfer(nil, 0, &t2, []byte("abc")))
	f.Add(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Detach{Handle: 1}, nil))
	f.Add(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Close{}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, to, from, peer := hostile(t, false)
		_ = to.Start(t.Context(), []byte("m"), 0, func(error) {})
		read := make(chan struct{})
		go func() {
			defer close(read)
			for err := error(nil); err == nil; {
				_, err = from.Next(context.Background(), nil, 10, 1<<20)
			}
		}()
		_ = peer.Write(t.Context(), b)
		_ = peer.Close()
		<-c.Done()
		<-read
		c.Abort()
	})
}
