package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestSASL(t *testing.T) {
	ask := func(ctx context.Context, x *SASL) (any, error) {
		who := string(x.Initial) + "@" + x.Hostname
		for _, q := range []string{"one", "two"} {
			r, err := x.Challenge(ctx, []byte(q))
			if err != nil {
				return nil, err
			}
			who += "," + string(r)
		}
		return who, nil
	}
	fails := func(err error) func(context.Context, *SASL) (any, error) {
		return func(context.Context, *SASL) (any, error) { return nil, err }
	}
	answer := func(b []byte) ([]byte, error) { return append([]byte("re:"), b...), nil }
	for _, test := range []struct {
		name string
		auth func(context.Context, *SASL) (any, error)
		code amqp.SASLCode
		who  string
	}{
		{"challenges", ask, amqp.SASLOK, "me@host,re:one,re:two"},
		{"a wrong password", fails(fault.New("x", fault.Unauthenticated, "no")), amqp.SASLAuth, ""},
		{"a mechanism nobody knows", fails(fault.New("x", fault.Invalid, "no")), amqp.SASLAuth, ""},
		{"the store is away", fails(fault.New("x", fault.Unavailable, "no")), amqp.SASLSys, ""},
		{"the store is slow", fails(fault.New("x", fault.Timeout, "no")), amqp.SASLSys, ""},
		{"a mistake", fails(errors.New("no")), amqp.SASLSys, ""},
		{"endless", func(ctx context.Context, x *SASL) (any, error) {
			for {
				if _, err := x.Challenge(ctx, nil); err != nil {
					return nil, err
				}
			}
		}, amqp.SASLAuth, ""},
		{"long", func(ctx context.Context, x *SASL) (any, error) { return x.Challenge(ctx, make([]byte, 449)) }, amqp.SASLAuth, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &house{mechanisms: []amqp.Symbol{"X", "PLAIN"}, authenticate: test.auth}
			ctx := soon(t)
			near := h.serving(t, newEngine(Config{}))
			sasl := &amqptest.SASL{Mechanism: "X", Initial: []byte("me"), Hostname: "host", Answer: answer}
			c, err := amqptest.Dial(ctx, near, amqptest.Options{SASL: sasl})
			if test.code == amqp.SASLOK {
				if err != nil || h.conn.Who() != test.who || len(c.Mechanisms) != 2 {
					t.Fatalf("%v; who %v", err, h.conn.Who())
				}
				return
			}
			if r, ok := errors.AsType[*amqptest.Refused](err); !ok || r.Code != test.code {
				t.Errorf("%v, want code %d", err, test.code)
			}
			_ = near.Close()
			if err := <-h.serve; err == nil {
				t.Error("Serve tells of nothing")
			}
		})
	}
}

func TestFirstBytes(t *testing.T) {
	header := func(id byte) string {
		h := amqp.ProtocolHeader(id)
		return string(h[:])
	}
	sasl := header(amqp.ProtocolSASL)
	frame := func(kind byte, p amqp.Performative) string { return string(amqp.AppendFrame(nil, kind, 0, p, nil)) }
	for _, test := range []struct {
		name, says, begins string
		none               bool // no mechanisms
	}{
		{"TLS", header(amqp.ProtocolTLS), sasl, false},
		{"TLS where there is no SASL", header(amqp.ProtocolTLS), header(0), true},
		{"SASL where there is none", sasl, header(0), true},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", sasl, false},
		{"AMQP 0-9-1", "AMQP\x00\x00\x09\x01", sasl, false},
		{"an old version", "AMQP\x00\x00\x09\x00", sasl, false},
		{"SASL twice", sasl + frame(1, &amqp.SASLInit{Mechanism: "X"}) + sasl, sasl, false},
		{"a response first", sasl + frame(1, &amqp.SASLResponse{}), sasl, false},
		{"an open in SASL", sasl + frame(0, &amqp.Open{}), sasl, false},
		{"no frame in SASL", sasl + "rubbish!", sasl, false},
		{"too large in SASL", sasl + "\x00\x01\x00\x00\x02\x01\x00\x00", sasl, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &house{mechanisms: []amqp.Symbol{"X"}}
			if test.none {
				h.mechanisms = nil
			}
			near := h.serving(t, newEngine(Config{}))
			if _, err := io.WriteString(near, test.says); err != nil {
				t.Fatal(err)
			}
			heard, err := io.ReadAll(near)
			if err != nil || !strings.HasPrefix(string(heard), test.begins) {
				t.Errorf("heard %q, %v", heard, err)
			}
			_ = near.Close()
			if err := <-h.serve; fault.KindOf(err) != fault.Invalid {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func TestWhatIsNoOpen(t *testing.T) {
	header := amqp.ProtocolHeader(0)
	for name, test := range map[string]struct {
		says      []byte
		condition amqp.Symbol
	}{
		"begin":      {amqp.AppendFrame(nil, 0, 0, &amqp.Begin{}, nil), amqp.ConditionIllegalState},
		"a SASL one": {amqp.AppendFrame(nil, 1, 0, &amqp.SASLInit{}, nil), amqp.ConditionFramingError},
		"rubbish":    {[]byte("rubbish!"), amqp.ConditionFramingError},
		"malformed":  {[]byte{0, 0, 0, 11, 2, 0, 0, 0, 0, 0x53, 0x10}, amqp.ConditionDecodeError},
		"too large":  {[]byte{0, 2, 0, 0, 2, 0, 0, 0}, amqp.ConditionFramingError},
	} {
		t.Run(name, func(t *testing.T) {
			h := &house{}
			near := h.serving(t, newEngine(Config{}))
			_, _ = near.Write(append(bytes.Clone(header[:]), test.says...))
			ctx := soon(t)
			c := amqptest.New(near)
			if _, err := c.ReadHeader(ctx); err != nil {
				t.Fatal(err)
			}
			if _, _, err := amqptest.Expect[*amqp.Open](ctx, c); err != nil {
				t.Fatal(err)
			}
			closed, _, err := amqptest.Expect[*amqp.Close](ctx, c)
			if err != nil || closed.Error == nil || closed.Error.Condition != test.condition {
				t.Errorf("%+v, %v", closed, err)
			}
		})
	}
}

func TestOpenIsRefused(t *testing.T) {
	for _, test := range []struct {
		err  error
		want amqp.Symbol
	}{
		{&amqp.Error{Condition: "x:moved"}, "x:moved"},
		{fault.New("x", fault.Denied, "no"), amqp.ConditionUnauthorizedAccess},
		{fault.New("x", fault.NotFound, "no such hub"), amqp.ConditionNotFound},
		{fault.New("x", fault.Unavailable, "later"), amqp.ConditionConnectionForced},
		{errors.New("secret"), amqp.ConditionInternalError},
	} {
		h := &house{open: func(context.Context, *Conn) error { return test.err }}
		ctx := soon(t)
		near := h.serving(t, newEngine(Config{}))
		c := must[*amqptest.Conn](t)(amqptest.Dial(ctx, near, amqptest.Options{}))
		closed, _, err := amqptest.Expect[*amqp.Close](ctx, c)
		if err != nil || closed.Error == nil || closed.Error.Condition != test.want || strings.Contains(closed.Error.Description, "secret") {
			t.Errorf("%v: %+v, %v", test.err, closed, err)
		}
		_ = near.Close()
		if err := <-h.serve; !errors.Is(err, test.err) {
			t.Errorf("Serve: %v, want %v", err, test.err)
		}
		if len(h.ended) != 0 {
			t.Error("Ended was told of a connection that was refused")
		}
	}
}

func TestEveryKindOfFaultHasACondition(t *testing.T) {
	for _, kind := range fault.Kinds() {
		if e := conditionOf(fault.New("x", kind, "no")); e.Condition == amqp.ConditionInternalError && kind != fault.Internal {
			t.Errorf("%s has none", kind)
		}
	}
}
