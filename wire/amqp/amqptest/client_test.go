package amqptest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a peer of one client: it accepts everything, answers each message of a sender to the receiver of the same session with the
// same bytes (and the message-id as correlation-id when it can be read), and does what addresses say: "refused", "reject", "drop".
type echo struct {
	c        *amqptest.Conn
	ctx      context.Context
	receiver uint32
	has      bool
	credit   uint32
	count    uint32
	next     uint32
	partly   []byte
	id       uint32
	attach   map[uint32]*amqp.Attach
}

func (e *echo) send(p amqp.Performative, payload []byte) error { return e.c.Send(e.ctx, 0, p, payload) }

func (e *echo) run() error {
	e.attach = map[uint32]*amqp.Attach{}
	for {
		h, err := e.c.ReadHeader(e.ctx)
		if err != nil {
			return err
		}
		if err := e.c.Write(e.ctx, h[:]); err != nil {
			return err
		}
		if h == amqp.ProtocolHeader(amqp.ProtocolAMQP) {
			break
		}
		if err := e.sasl(); err != nil {
			return err
		}
	}
	for {
		f, err := e.c.Next(e.ctx)
		if err != nil {
			return err
		}
		if err := e.answer(f); err != nil {
			return err
		}
	}
}

func (e *echo) sasl() error {
	if err := e.send(&amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"ANONYMOUS", "PLAIN", "EXTERNAL"}}, nil); err != nil {
		return err
	}
	init, _, err := amqptest.Expect[*amqp.SASLInit](e.ctx, e.c)
	if err != nil {
		return err
	}
	code := amqp.SASLOK
	if init.Mechanism == "PLAIN" && string(init.InitialResponse) != "\x00user\x00secret" {
		code = amqp.SASLAuth
	}
	return e.send(&amqp.SASLOutcome{Code: code}, nil)
}

func (e *echo) answer(f amqptest.Frame) error {
	switch p := f.Performative.(type) {
	case *amqp.Open:
		return e.send(&amqp.Open{ContainerID: "echo", MaxFrameSize: amqp.Some[uint32](512), IdleTimeout: amqp.Some[uint32](60000)}, nil)
	case *amqp.Begin:
		return e.send(&amqp.Begin{RemoteChannel: amqp.Some(f.Channel), IncomingWindow: 1 << 20, OutgoingWindow: 1 << 20}, nil)
	case *amqp.Attach:
		answer := *p
		answer.Role = !p.Role
		e.attach[p.Handle] = p
		if p.Target.Address == "refused" {
			answer.Source, answer.Target = nil, nil
			if err := e.send(&answer, nil); err != nil {
				return err
			}
			delete(e.attach, p.Handle)
			return e.send(&amqp.Detach{Handle: p.Handle, Closed: true, Error: amqp.Errorf(amqp.ConditionNotFound, "no")}, nil)
		}
		if err := e.send(&answer, nil); err != nil {
			return err
		}
		if p.Role == amqp.RoleReceiver {
			e.receiver, e.has = p.Handle, true
			return nil
		}
		return e.send(&amqp.Flow{
			NextIncomingID: amqp.Some[uint32](0), IncomingWindow: 1 << 20, OutgoingWindow: 1 << 20, Handle: amqp.Some(p.Handle),
			DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](1000),
		}, nil)
	case *amqp.Flow:
		e.credit = p.DeliveryCount.Value + p.LinkCredit.Value - e.count
		if p.Drain {
			e.count += e.credit
			e.credit = 0
			return e.send(&amqp.Flow{
				NextIncomingID: amqp.Some[uint32](0), IncomingWindow: 1 << 20, OutgoingWindow: 1 << 20, Handle: p.Handle,
				DeliveryCount: amqp.Some(e.count), LinkCredit: amqp.Some[uint32](0),
			}, nil)
		}
		return nil
	case *amqp.Transfer:
		return e.transfer(p, f.Payload)
	case *amqp.Detach:
		if e.attach[p.Handle] == nil {
			return nil
		}
		delete(e.attach, p.Handle)
		return e.send(&amqp.Detach{Handle: p.Handle, Closed: true}, nil)
	case *amqp.End:
		return e.send(&amqp.End{}, nil)
	case *amqp.Close:
		return e.send(&amqp.Close{}, nil)
	}
	return nil
}

func (e *echo) transfer(t *amqp.Transfer, payload []byte) error {
	if len(e.partly) == 0 {
		e.id = t.DeliveryID.Value
	}
	e.partly = append(e.partly, payload...)
	if t.More {
		return nil
	}
	message := e.partly
	e.partly = nil
	var state amqp.State = amqp.Accepted{}
	switch e.attach[t.Handle].Target.Address {
	case "reject":
		state = amqp.Rejected{Error: amqp.Errorf("com.example:no", "no")}
	case "drop":
		delete(e.attach, t.Handle)
		return e.send(&amqp.Detach{Handle: t.Handle, Closed: true, Error: amqp.Errorf(amqp.ConditionDetachForced, "later")}, nil)
	}
	if !t.Settled.Value {
		if err := e.send(&amqp.Disposition{Role: amqp.RoleReceiver, First: e.id, Settled: true, State: state}, nil); err != nil {
			return err
		}
	}
	if !e.has || e.credit == 0 {
		return nil
	}
	if m, err := amqp.Unmarshal(message); err == nil && m.Properties != nil {
		m.Properties.CorrelationID, m.Properties.MessageID = m.Properties.MessageID, nil
		m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: "status-code", Value: int32(202)})
		message, _ = m.Append(nil)
	}
	e.credit--
	e.count++
	out := amqp.Transfer{
		Handle: e.receiver, DeliveryID: amqp.Some(e.next), DeliveryTag: []byte{byte(e.next)}, MessageFormat: amqp.Some[uint32](0), Settled: amqp.Some(true),
	}
	e.next++
	return e.c.SendMessage(e.ctx, 0, out, message, 400)
}

// dial gives a client of an echo. The pipe has room between its ends, as connections have.
func dial(t *testing.T) (context.Context, net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			e := &echo{c: amqptest.New(conn), ctx: ctx}
			err = e.run()
			_ = conn.Close()
		}
		ended <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := <-ended; !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
			t.Logf("the peer ended: %v", err)
		}
		cancel()
		_ = l.Close()
	})
	return ctx, conn
}

func connect(t *testing.T, o amqptest.Options) (context.Context, *amqptest.Client, *amqptest.Session) {
	t.Helper()
	ctx, conn := dial(t)
	c, err := amqptest.Connect(ctx, conn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s, err := c.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, c, s
}

func TestManyMessagesInFlightComeBack(t *testing.T) {
	ctx, _, s := connect(t, amqptest.Options{SASL: amqptest.Anonymous("me")})
	r, err := s.Receiver(ctx, "echo", 2000, nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := s.Sender(ctx, "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 900 // of the 1000 credits
	message := bytes.Repeat([]byte("0123456789"), 200)
	outcomes := make(chan amqp.State, n)
	for range n {
		if err := to.Start(ctx, message, 0, func(s amqp.State) { outcomes <- s }); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		d, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Message, message) {
			t.Fatalf("%d bytes came back, want %d", len(d.Message), len(message))
		}
		if state := <-outcomes; state != (amqp.Accepted{}) {
			t.Fatal(state)
		}
	}
	r.Grant(5, true)
	if err := r.Drained(ctx); err != nil {
		t.Fatal(err)
	}
	if err := to.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.End(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAPeersErrorsComeOut(t *testing.T) {
	ctx, _, s := connect(t, amqptest.Options{SASL: amqptest.Plain("user", "secret")})
	var e *amqp.Error
	if _, err := s.Sender(ctx, "refused", nil); !errors.As(err, &e) || e.Condition != amqp.ConditionNotFound {
		t.Error(err)
	}
	reject, err := s.Sender(ctx, "reject", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := reject.SendAccepted(ctx, []byte("x"), 0); !errors.As(err, &e) || e.Condition != "com.example:no" {
		t.Error(err)
	}
	drop, err := s.Sender(ctx, "drop", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drop.Send(ctx, []byte("x"), 0); !errors.As(err, &e) || e.Condition != amqp.ConditionDetachForced {
		t.Error(err)
	}
}

func TestQuestionsAndAnswers(t *testing.T) {
	ctx, _, s := connect(t, amqptest.Options{SASL: amqptest.External()})
	q, err := s.Requester(ctx, "$cbs")
	if err != nil {
		t.Fatal(err)
	}
	for range 30 { // more than the link's first credit
		if code, _, err := q.PutToken(ctx, "jwt", "amqps://x", "token"); err != nil || code != 202 {
			t.Fatal(code, err)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	o := amqptest.Options{SASL: amqptest.Plain("user", "wrong")}
	ctx, conn := dial(t)
	var refused *amqptest.Refused
	if _, err := amqptest.Dial(ctx, conn, o); !errors.As(err, &refused) || refused.Code != amqp.SASLAuth {
		t.Error(err)
	}
}

func TestADeadlineEndsAWait(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := amqptest.New(a)
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if _, err := c.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
