package engine

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// bubble runs f in a bubble of time, in which h serves the far end of a pipe.
func bubble(t *testing.T, h *house, cfg Config, f func(t *testing.T, near net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		h.serveOn(t, newEngine(cfg), far)
		f(t, near)
		_ = near.Close()
	})
}

func TestEmptyFramesComeAtHalfThePeersTimeout(t *testing.T) {
	for _, test := range []struct {
		timeout uint32
		every   time.Duration
	}{{1000, 500 * time.Millisecond}, {200, 100 * time.Millisecond}, {30000, 15 * time.Second}} {
		bubble(t, &house{}, Config{}, func(t *testing.T, near net.Conn) {
			c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{Open: &amqp.Open{IdleTimeout: some(test.timeout)}}))
			start := time.Now()
			for n := range 5 {
				f := must[amqptest.Frame](t)(c.Next(t.Context()))
				if at := time.Since(start); f.Performative != nil || at != time.Duration(n+1)*test.every {
					t.Fatalf("%v at %v", f, at)
				}
			}
		})
	}
}

func TestWhatIsSentPutsEmptyFramesOff(t *testing.T) {
	bubble(t, &house{}, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{Open: &amqp.Open{IdleTimeout: some(uint32(1000))}}))
		time.Sleep(400 * time.Millisecond) // in the bubble, where it only moves the clock
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		start := time.Now()
		f := must[amqptest.Frame](t)(c.Next(t.Context()))
		if at := time.Since(start); f.Performative != nil || at != 500*time.Millisecond {
			t.Fatalf("%v at %v", f, at)
		}
	})
}

func TestSilenceEndsTheConnection(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{IdleTimeout: time.Minute}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		for range 3 {
			time.Sleep(50 * time.Second)
			if err := c.Send(t.Context(), 0, nil, nil); err != nil { // an empty frame is a sign of life
				t.Fatal(err)
			}
		}
		start := time.Now()
		closed, _, err := amqptest.Expect[*amqp.Close](t.Context(), c)
		if err != nil || closed.Error == nil || closed.Error.Condition != amqp.ConditionConnectionForced || time.Since(start) != time.Minute {
			t.Fatalf("%+v, %v after %v", closed, err, time.Since(start))
		}
		if err := c.ExpectEnd(t.Context()); err != nil || time.Since(start) != time.Minute+linger {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if e, ok := errors.AsType[*amqp.Error](<-h.serve); !ok || e.Condition != amqp.ConditionConnectionForced {
			t.Errorf("Serve: %v", e)
		}
	})
}

func TestSetupHasItsTime(t *testing.T) {
	patient := func(ctx context.Context, x *SASL) (any, error) {
		for {
			if _, err := x.Challenge(ctx, []byte("more?")); err != nil {
				return nil, err
			}
		}
	}
	for name, say := range map[string]func(t *testing.T, near net.Conn){
		"nothing": func(*testing.T, net.Conn) {},
		"a header": func(t *testing.T, near net.Conn) {
			if err := amqptest.New(near).Header(t.Context(), amqp.ProtocolAMQP); err != nil {
				t.Error(err)
			}
		},
		"no answer to a challenge": func(t *testing.T, near net.Conn) {
			err := amqptest.New(near).Authenticate(t.Context(), amqptest.SASL{Mechanism: "X", Answer: func([]byte) ([]byte, error) { return nil, errors.New("no") }})
			if err == nil {
				t.Error("authenticated")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &house{mechanisms: []amqp.Symbol{"X"}, authenticate: patient}
			bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
				start := time.Now()
				say(t, near)
				if err := <-h.serve; fault.KindOf(err) != fault.Timeout || time.Since(start) != time.Minute {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestAPeerThatDoesNotReadIsCut(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		must[*amqp.Attach](t)(c.Attach(t.Context(), 0, amqptest.ReceiverFrom("r", 1, "queue")))
		if err := c.Send(t.Context(), 0, &amqp.Flow{IncomingWindow: 1 << 30, Handle: some(uint32(1)), LinkCredit: some(uint32(1 << 31))}, nil); err != nil {
			t.Fatal(err)
		}
		l, start := h.link(t), time.Now()
		message := bytes.Repeat([]byte("x"), 10000)
		sent := 0
		var err error
		for err == nil {
			err = l.Send(context.Background(), Outgoing{Parts: [][]byte{message}, Settled: true})
			sent += len(message)
		}
		if took := time.Since(start); took < 15*time.Second || took > 31*time.Second || sent > 2*sendMost+2*len(message) {
			t.Errorf("%v after %v, when %d bytes had been taken in", err, took, sent)
		}
		if err := <-h.serve; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestACloseThatIsNotAnswered(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		start := time.Now()
		h.conn.Close(nil)
		if _, _, err := amqptest.Expect[*amqp.Close](t.Context(), c); err != nil {
			t.Error(err)
		}
		if err := <-h.serve; err != nil || time.Since(start) != linger {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestAForcedEnd: sessions end first, with a condition after which clients come again.
func TestAForcedEnd(t *testing.T) {
	h := &house{}
	bubble(t, h, Config{}, func(t *testing.T, near net.Conn) {
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		must[*amqp.Begin](t)(c.Begin(t.Context(), 3))
		h.conn.Close(&amqp.Error{Condition: amqp.ConditionConnectionForced, Description: "Enough."})
		end, f, err := amqptest.Expect[*amqp.End](t.Context(), c)
		if err != nil || f.Channel != 3 || end.Error == nil || end.Error.Condition != amqp.ConditionDetachForced || end.Error.Description != "Enough." {
			t.Errorf("%+v on channel %d, %v", end, f.Channel, err)
		}
		closed, _, err := amqptest.Expect[*amqp.Close](t.Context(), c)
		if err != nil || closed.Error == nil || closed.Error.Condition != amqp.ConditionConnectionForced {
			t.Errorf("%+v, %v", closed, err)
		}
		if err := c.Send(t.Context(), 3, &amqp.End{}, nil); err != nil {
			t.Error(err)
		}
		if err := c.Send(t.Context(), 0, &amqp.Close{}, nil); err != nil {
			t.Error(err)
		}
		if err := c.ExpectEnd(t.Context()); err != nil {
			t.Error(err)
		}
		<-h.serve
	})
}

// restful is a connection that can tell that something is there to be read.
type restful struct {
	net.Conn
	rested chan time.Time
	ahead  []byte
}

func (r *restful) MayRest() bool { return true }

func (r *restful) Rest() error {
	r.rested <- time.Now()
	b := make([]byte, 1)
	n, err := r.Conn.Read(b)
	r.ahead = b[:n]
	return err
}

func (r *restful) Read(b []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(b, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

func TestAQuietConnectionRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		conn := &restful{Conn: far, rested: make(chan time.Time, 10)}
		h := &house{}
		h.serveOn(t, newEngine(Config{IdleTimeout: time.Minute}), conn)
		c := must[*amqptest.Conn](t)(amqptest.Dial(t.Context(), near, amqptest.Options{}))
		for range 3 {
			start := time.Now()
			if after := (<-conn.rested).Sub(start); after > patience {
				t.Errorf("it rests after %v", after)
			}
			time.Sleep(20 * time.Second)
			if err := c.Send(t.Context(), 0, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		must[*amqp.Begin](t)(c.Begin(t.Context(), 0))
		start := time.Now() // resting is no sign of life
		closed, _, err := amqptest.Expect[*amqp.Close](t.Context(), c)
		if err != nil || closed.Error == nil || time.Since(start) != time.Minute {
			t.Errorf("%+v, %v after %v", closed, err, time.Since(start))
		}
		_ = near.Close()
		<-h.serve
	})
}
