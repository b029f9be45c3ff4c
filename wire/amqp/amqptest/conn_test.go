package amqptest_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// pair gives both ends of a connection, raw.
func pair(t *testing.T) (ctx context.Context, us, them *amqptest.Conn) {
	t.Helper()
	a, b := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	us, them = amqptest.New(a), amqptest.New(b)
	t.Cleanup(func() {
		cancel()
		_ = us.Close()
		_ = them.Close()
	})
	return ctx, us, them
}

// script runs a peer beside the test and waits for it.
func script(t *testing.T, f func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestExpectingFrames(t *testing.T) {
	ctx, us, them := pair(t)
	script(t, func() error {
		for _, p := range []amqp.Performative{nil, &amqp.Open{ContainerID: "c"}, &amqp.End{}, &amqp.Begin{}, nil, &amqp.Close{}} {
			if err := them.Send(ctx, 3, p, nil); err != nil {
				return err
			}
		}
		if err := them.Send(ctx, 3, nil, nil); err != nil {
			return err
		}
		return them.Close()
	})
	open, f, err := amqptest.Expect[*amqp.Open](ctx, us)
	if err != nil || open.ContainerID != "c" || f.Channel != 3 {
		t.Fatal(open, f, err)
	}
	if _, _, err := amqptest.Expect[*amqp.Begin](ctx, us); err == nil || !strings.Contains(err.Error(), "*amqp.End") {
		t.Fatal(err)
	}
	if _, _, err := amqptest.Await[*amqp.Close](ctx, us); err != nil {
		t.Fatal(err)
	}
	if err := us.ExpectEnd(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := amqptest.Await[*amqp.Close](ctx, us); err == nil {
		t.Fatal("there came something after the end")
	}
}

func TestAFrameIsNotTheEnd(t *testing.T) {
	ctx, us, them := pair(t)
	script(t, func() error { return them.Send(ctx, 0, &amqp.Close{}, nil) })
	if err := us.ExpectEnd(ctx); err == nil {
		t.Error("a close was taken for the end")
	}
}

func TestAMessageInManyFrames(t *testing.T) {
	ctx, us, them := pair(t)
	message := []byte("0123456789")
	script(t, func() error {
		tr := amqp.Transfer{Handle: 7, DeliveryID: amqp.Some[uint32](1), DeliveryTag: []byte{1}, MessageFormat: amqp.Some[uint32](0), Settled: amqp.Some(true)}
		return them.SendMessage(ctx, 2, tr, message, 4)
	})
	var got []byte
	for i, want := range []string{"0123", "4567", "89"} {
		p, f, err := amqptest.Expect[*amqp.Transfer](ctx, us)
		if err != nil || string(f.Payload) != want || p.Handle != 7 || p.More != (i < 2) || p.DeliveryID.Set != (i == 0) {
			t.Fatal(i, p, f, err)
		}
		got = append(got, f.Payload...)
	}
	if !bytes.Equal(got, message) {
		t.Error(got)
	}
}

func TestAChallengeIsAnswered(t *testing.T) {
	ctx, us, them := pair(t)
	script(t, func() error {
		h, err := them.ReadHeader(ctx)
		if err != nil {
			return err
		}
		if err := them.Write(ctx, h[:]); err != nil {
			return err
		}
		if err := them.Send(ctx, 0, &amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"TPM"}}, nil); err != nil {
			return err
		}
		init, _, err := amqptest.Expect[*amqp.SASLInit](ctx, them)
		if err != nil {
			return err
		}
		if err := them.Send(ctx, 0, &amqp.SASLChallenge{Challenge: init.InitialResponse}, nil); err != nil {
			return err
		}
		answer, _, err := amqptest.Expect[*amqp.SASLResponse](ctx, them)
		if err != nil {
			return err
		}
		code := amqp.SASLAuth
		if string(answer.Response) == "in!" {
			code = amqp.SASLOK
		}
		return them.Send(ctx, 0, &amqp.SASLOutcome{Code: code}, nil)
	})
	err := us.Authenticate(ctx, amqptest.SASL{Mechanism: "TPM", Initial: []byte("in"), Answer: func(c []byte) ([]byte, error) { return append(c, '!'), nil }})
	if err != nil {
		t.Error(err)
	}
	if len(us.Mechanisms) != 1 || us.Mechanisms[0] != "TPM" {
		t.Error(us.Mechanisms)
	}
}

func TestAnotherHeaderIsAnError(t *testing.T) {
	ctx, us, them := pair(t)
	script(t, func() error {
		if _, err := them.ReadHeader(ctx); err != nil {
			return err
		}
		return them.WriteHeader(ctx, amqp.ProtocolSASL)
	})
	if err := us.Header(ctx, amqp.ProtocolAMQP); err == nil || !strings.Contains(err.Error(), "41 4d 51 50 03") {
		t.Error(err)
	}
}

// A server that keeps to nothing is found out.
func TestAClientHoldsItsPeerToTheRules(t *testing.T) {
	receive := func(ctx context.Context, them *amqptest.Conn, then ...amqp.Performative) error {
		h, err := them.ReadHeader(ctx)
		if err != nil {
			return err
		}
		if err := them.Write(ctx, h[:]); err != nil {
			return err
		}
		for {
			f, err := them.Next(ctx)
			if err != nil {
				return err
			}
			switch p := f.Performative.(type) {
			case *amqp.Open:
				err = them.Send(ctx, 0, &amqp.Open{ContainerID: "c"}, nil)
			case *amqp.Begin:
				err = them.Send(ctx, 0, &amqp.Begin{RemoteChannel: amqp.Some[uint16](0)}, nil)
			case *amqp.Attach:
				p.Role = !p.Role
				err = them.Send(ctx, 0, p, nil)
			case *amqp.Flow: // of the receiver's one credit
				for _, p := range then {
					if err := them.Send(ctx, 0, p, nil); err != nil {
						return err
					}
				}
			}
			if err != nil {
				return err
			}
		}
	}
	good := func() *amqp.Transfer {
		return &amqp.Transfer{DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{1}, MessageFormat: amqp.Some[uint32](0), Settled: amqp.Some(true)}
	}
	noTag := good()
	noTag.DeliveryTag = nil
	for name, frames := range map[string][]amqp.Performative{
		"without credit":       {good(), good()},
		"without a tag":        {noTag},
		"on a link that isn't": {&amqp.Transfer{Handle: 9}},
		"a second answer":      {&amqp.Attach{Name: "x"}},
		"an error":             {&amqp.Close{Error: amqp.Errorf(amqp.ConditionInternalError, "without credit")}},
	} {
		ctx, us, them := pair(t)
		script(t, func() error {
			if err := receive(ctx, them, frames...); ctx.Err() != nil {
				return err
			}
			return nil // the client has hung up
		})
		c, err := amqptest.Connect(ctx, us.NetConn(), amqptest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Receiver(ctx, "x", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.WaitEnd(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
		<-c.Done()
		c.Abort()
		if c.Err() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
