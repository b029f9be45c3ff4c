package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers what it is asked with the same body.
type server struct {
	cfg  exchange.Config
	node *exchange.Node
}

func (s *server) Mechanisms() []amqp.Symbol                               { return nil }
func (s *server) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, nil }
func (s *server) Open(context.Context, *engine.Conn) (engine.Handler, error) {
	s.node = exchange.New(s.cfg, func(_ context.Context, m *amqp.Message) *amqp.Message {
		return &amqp.Message{HasValue: true, Value: m.Value}
	})
	return s, nil
}
func (s *server) Attach(l *engine.Link) { s.node.Attach(l) }
func (s *server) Ended(error)           { s.node.Wait() }

func serve(t *testing.T, cfg exchange.Config) (*server, *amqptest.Client) {
	t.Helper()
	a, b := net.Pipe()
	s := &server{cfg: cfg}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = engine.New(engine.Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil).Serve(context.Background(), b, s)
	}()
	c, err := amqptest.Connect(t.Context(), a, amqptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Abort()
		<-served
		if n := s.node.Links(); n != 0 {
			t.Errorf("%d links are kept", n)
		}
	})
	return s, c
}

func session(t *testing.T, c *amqptest.Client) *amqptest.Session {
	t.Helper()
	s, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sender(t *testing.T, s *amqptest.Session) *amqptest.Sender {
	t.Helper()
	l, err := s.Sender(t.Context(), "$cbs", nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// receiver attaches one with a name and a target address; nil is none.
func receiver(t *testing.T, s *amqptest.Session, name string, target any) *amqptest.Receiver {
	t.Helper()
	l, err := s.Receiver(t.Context(), "$cbs", 10, func(a *amqp.Attach) {
		a.Name, a.SndSettleMode = name, amqp.Some(amqp.SenderSettled)
		a.Target.Address = target
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func message(t *testing.T, id any, replyTo string, value any) []byte {
	t.Helper()
	b, err := (&amqp.Message{Properties: &amqp.Properties{MessageID: id, ReplyTo: replyTo}, HasValue: true, Value: value}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answers(t *testing.T, r *amqptest.Receiver, id, value any) {
	t.Helper()
	d, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if !d.Settled || m.Properties == nil || !reflect.DeepEqual(m.Properties.CorrelationID, id) || m.Value != value {
		t.Errorf("answered with %+v, %v, settled %v", m.Properties, m.Value, d.Settled)
	}
}

func TestAnIDComesBackAsItIs(t *testing.T) {
	_, c := serve(t, exchange.Config{})
	s := session(t, c)
	r, l := receiver(t, s, "r", "x"), sender(t, s)
	for _, id := range []any{"text", uint64(1), uint64(1) << 60, amqp.UUID{1, 2}, []byte("binary")} {
		if err := l.SendAccepted(t.Context(), message(t, id, "x", "v"), 0); err != nil {
			t.Fatal(err)
		}
		answers(t, r, id, "v")
	}
}

// Case 6: one SDK replies to the name of its link, whose target has no address, another to a target that is named oddly.
func TestCase06WhereAnswersGo(t *testing.T) {
	_, c := serve(t, exchange.Config{})
	a, b := session(t, c), session(t, c)
	names, targets := receiver(t, a, "my-link", nil), receiver(t, b, "other", "$cbs$$cbs-reply-to-1")
	fromA, fromB := sender(t, a), sender(t, b)
	for i := range 3 {
		id := fmt.Sprint(i)
		if err := fromA.SendAccepted(t.Context(), message(t, id, "my-link", "a"), 0); err != nil {
			t.Fatal(err)
		}
		answers(t, names, id, "a")
		if err := fromB.SendAccepted(t.Context(), message(t, id, "$cbs$$cbs-reply-to-1", "b"), 0); err != nil {
			t.Fatal(err)
		}
		answers(t, targets, id, "b")
	}
	if err := fromA.SendAccepted(t.Context(), message(t, "n", "", "a"), 0); err != nil { // nothing is said: the session decides
		t.Fatal(err)
	}
	answers(t, names, "n", "a")
	second := receiver(t, a, "second", "two")
	if err := fromA.SendAccepted(t.Context(), message(t, "o", "my-link", "a"), 0); err != nil { // several in one session: reply-to decides
		t.Fatal(err)
	}
	answers(t, names, "o", "a")
	if err := fromA.SendAccepted(t.Context(), message(t, "p", "unknown", "a"), 0); err != nil {
		t.Fatal(err)
	}
	answers(t, second, "p", "a")
	alone := sender(t, session(t, c)) // a session without a link to answer to
	if err := alone.SendAccepted(t.Context(), message(t, "q", "two", "a"), 0); err != nil {
		t.Fatal(err)
	}
	answers(t, second, "q", "a")
}

func TestARequestWaitsForItsReplyLink(t *testing.T) {
	_, c := serve(t, exchange.Config{})
	s := session(t, c)
	l := sender(t, s)
	outcome := make(chan amqp.State, 1)
	if err := l.Start(t.Context(), message(t, "1", "r", "v"), 0, func(o amqp.State) { outcome <- o }); err != nil {
		t.Fatal(err)
	}
	answers(t, receiver(t, s, "r", nil), "1", "v")
	if o := <-outcome; o != (amqp.Accepted{}) {
		t.Errorf("outcome %v", o)
	}
}

func TestARequestDoesNotWaitForEver(t *testing.T) {
	_, c := serve(t, exchange.Config{Within: time.Millisecond})
	if err := sender(t, session(t, c)).SendAccepted(t.Context(), message(t, "1", "", "v"), 0); err != nil {
		t.Error(err)
	}
	s := session(t, c) // a session that ends before its answer takes nothing with it
	if err := sender(t, s).Start(t.Context(), message(t, "1", "", "v"), 0, func(amqp.State) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.End(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeAnsweredIsRejected(t *testing.T) {
	_, c := serve(t, exchange.Config{MaxRequest: 1000})
	l := sender(t, session(t, c))
	for want, m := range map[amqp.Symbol][]byte{
		amqp.ConditionDecodeError: []byte("junk"), amqp.ConditionInvalidField: message(t, nil, "r", "v"), amqp.ConditionMessageSizeExceeded: message(t, "1", "", string(make([]byte, 2000))),
	} {
		err := l.SendAccepted(t.Context(), m, 0)
		if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestLinksAreBounded(t *testing.T) {
	_, c := serve(t, exchange.Config{Replies: 2})
	s := session(t, c)
	receiver(t, s, "a", nil)
	r := receiver(t, s, "b", nil)
	third, err := s.Receiver(t.Context(), "$cbs", 1, nil)
	if err == nil {
		err = third.WaitEnd(t.Context())
	}
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != amqp.ConditionResourceLimitExceeded {
		t.Errorf("%v", err)
	}
	if err := r.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	receiver(t, s, "c", nil)
}
