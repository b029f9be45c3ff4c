package cbs_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a connection whose every link leads to $cbs.
type server struct {
	node *cbs.Node
	mu   sync.Mutex // guards the field below
	got  []cbs.Token
}

func (s *server) Mechanisms() []amqp.Symbol                               { return nil }
func (s *server) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, nil }
func (s *server) Open(context.Context, *engine.Conn) (engine.Handler, error) {
	s.node = cbs.New(func(_ context.Context, t cbs.Token) cbs.Result {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, t)
		if t.Text == "bad" {
			return cbs.Result{Code: 401, Description: "InvalidSignature", Condition: amqp.ConditionUnauthorizedAccess}
		}
		return cbs.Result{Code: 202, Description: "Accepted"}
	})
	return s, nil
}
func (s *server) Attach(l *engine.Link) { s.node.Attach(l) }
func (s *server) Ended(error)           { s.node.Wait() }

func serve(t testing.TB) (*server, *amqptest.Client) {
	t.Helper()
	a, b := net.Pipe()
	s := &server{}
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
	})
	return s, c
}

func request(operation, kind, audience string, body any) amqp.Message {
	return amqp.Message{
		ApplicationProperties: amqp.Map{{Key: "operation", Value: operation}, {Key: "type", Value: kind}, {Key: "name", Value: audience}},
		HasValue:              true, Value: body,
	}
}

func TestTokens(t *testing.T) {
	s, c := serve(t)
	session, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.Requester(t.Context(), "$cbs")
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		ask       amqp.Message
		code      int32
		condition any
	}{
		"good":          {request("put-token", "jwt", "sb://h/e", "token"), 202, nil},
		"binary":        {request("put-token", "jwt", "sb://h/e", []byte("token")), 202, nil},
		"bad":           {request("put-token", "jwt", "sb://h/e", "bad"), 401, amqp.ConditionUnauthorizedAccess},
		"no token":      {request("put-token", "jwt", "sb://h/e", nil), 400, amqp.ConditionInvalidField},
		"a number":      {request("put-token", "jwt", "sb://h/e", int64(1)), 400, amqp.ConditionInvalidField},
		"no audience":   {request("put-token", "jwt", "", "token"), 400, amqp.ConditionInvalidField},
		"no operation":  {request("", "jwt", "a", "token"), 400, amqp.ConditionInvalidField},
		"another":       {request("READ", "jwt", "a", "token"), 400, amqp.ConditionInvalidField},
		"delete":        {request("delete-token", "jwt", "a", nil), 501, amqp.ConditionNotImplemented},
		"data":          {amqp.Message{Data: [][]byte{[]byte("x")}}, 400, amqp.ConditionInvalidField},
		"nothing in it": {amqp.Message{}, 400, amqp.ConditionInvalidField},
	} {
		answer, err := r.Ask(t.Context(), x.ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		code, words := amqptest.Status(answer)
		if code != x.code || words == "" || answer.ApplicationProperties.Get("error-condition") != x.condition {
			t.Errorf("%s: %v", name, answer.ApplicationProperties)
		}
		if _, isInt := answer.ApplicationProperties.Get("status-code").(int32); !isInt || !answer.HasValue {
			t.Errorf("%s: the status is a %T", name, answer.ApplicationProperties.Get("status-code"))
		}
	}
	if len(s.got) != 3 || s.got[0].Kind != "jwt" || s.got[0].Audience != "sb://h/e" {
		t.Errorf("put %+v", s.got)
	}
}

func TestAddress(t *testing.T) {
	for address, want := range map[string]bool{"$cbs": true, "/$CBS": true, "cbs": false, "$management": false, "": false} {
		if cbs.Is(address) != want {
			t.Errorf("%q", address)
		}
	}
}

func FuzzRequests(f *testing.F) {
	seed := request("put-token", "jwt", "sb://h/e", "token")
	seed.Properties = &amqp.Properties{MessageID: "1", ReplyTo: "x"}
	b, err := seed.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("junk"))
	_, c := serve(f)
	session, err := c.Session(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	r, err := session.Receiver(f.Context(), "$cbs", 100, nil)
	if err != nil {
		f.Fatal(err)
	}
	sender, err := session.Sender(f.Context(), "$cbs", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		state, err := sender.Send(t.Context(), message, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, rejected := state.(amqp.Rejected); rejected { // then there is no answer
			return
		}
		d, err := r.Next(t.Context())
		if err != nil || !d.Settled {
			t.Fatal(err)
		}
		answer, err := d.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := amqptest.Status(answer); code < 200 || code > 599 {
			t.Errorf("%v", answer.ApplicationProperties)
		}
	})
}
