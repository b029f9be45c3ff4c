package connection_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/connection/connectiontest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// overAMQP opens a connection to a hub that is driven by the test.
func overAMQP(t *testing.T, o connectiontest.Options, change func(*server, *connection.Hello), drive func(context.Context, *connectiontest.Hub)) (*connection.Conn, *sink, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	s := newServer(t, func(c *tls.Conn) {
		hub, err := connectiontest.Meet(ctx, c, o)
		if err == nil && hub != nil && drive != nil {
			drive(ctx, hub)
		}
	})
	t.Cleanup(cancel) // before the server waits
	h, k := hello(), newSink()
	if change != nil {
		change(s, &h)
	}
	c, err := s.way(func(c *connection.Config) { c.Protocol = connection.AMQP }).Open(ctx, h, k)
	if err == nil {
		t.Cleanup(func() { c.Cut(); <-c.Done() })
	}
	return c, k, err
}

func mustOpen(t *testing.T, o connectiontest.Options, drive func(context.Context, *connectiontest.Hub)) (*connection.Conn, *sink) {
	t.Helper()
	c, k, err := overAMQP(t, o, nil, drive)
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

// publish writes a message as soon as there is leave.
func publish(t *testing.T, c *connection.Conn, k *sink, bag string, body []byte, id uint16) {
	t.Helper()
	err := c.Publish("press 1", []byte(bag), body, id, false)
	if errors.Is(err, connection.ErrNotNow) {
		<-k.ready
		err = c.Publish("press 1", []byte(bag), body, id, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatAHubSeesOverAMQP(t *testing.T) {
	type seen struct {
		hub     *connectiontest.Hub
		message connectiontest.Message
		end     error
	}
	got := make(chan seen, 1)
	c, k := mustOpen(t, connectiontest.Options{Idle: 60_000}, func(ctx context.Context, h *connectiontest.Hub) {
		m, err := h.Receive(ctx)
		if err == nil {
			err = h.Settle(ctx, m.ID, m.ID, amqp.Accepted{})
		}
		if err == nil {
			_, err = h.Receive(ctx)
		}
		got <- seen{h, m, err}
	})
	if beat := c.Beat(); beat != 30*time.Second {
		t.Errorf("a frame each %v", beat)
	}
	bag := "%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid=7f0c&%24.mid=m%201&line=a%20%26%C3%A9&empty=&none&long=" + strings.Repeat("%20x", 200)
	publish(t, c, k, bag, []byte("body"), 7)
	if id := <-k.acks; id != 7 || c.Heard().IsZero() {
		t.Errorf("acknowledged %d, heard %v", id, c.Heard())
	}
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-c.Done()
	if err := <-k.ended; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("ended with %v", err)
	}
	now := <-got
	if o := now.hub.Open; o.Hostname != host || o.ContainerID != "press 1" || o.IdleTimeout.Value != 120_000 || !errors.Is(now.end, net.ErrClosed) {
		t.Errorf("%+v, %v", o, now.end)
	}
	if a := now.hub.Events; a.Target.Address != "/devices/press 1/messages/events" || a.SndSettleMode.Value != amqp.SenderUnsettled {
		t.Errorf("%+v", a)
	}
	token := now.hub.Tokens[0]
	if token.Value != "SharedAccessSignature x" || token.Properties.To != "$cbs" || fmt.Sprint(token.ApplicationProperties) !=
		"[{operation put-token} {type servicebus.windows.net:sastoken} {name "+host+"%2Fdevices%2Fpress+1}]" {
		t.Errorf("%+v %v", token.Properties, token.ApplicationProperties)
	}
	m := now.message
	if p := m.Properties; p.To != "/devices/press 1/messages/events" || p.ContentType != "application/json" || p.ContentEncoding != "utf-8" || p.CorrelationID != "7f0c" || p.MessageID != "m 1" {
		t.Errorf("%+v", p)
	}
	want := amqp.Map{{Key: "line", Value: "a &é"}, {Key: "empty", Value: ""}, {Key: "none", Value: ""}, {Key: "long", Value: strings.Repeat(" x", 200)}}
	if fmt.Sprint(m.ApplicationProperties) != fmt.Sprint(want) || len(m.Data) != 1 || string(m.Data[0]) != "body" {
		t.Errorf("%v, %q", m.ApplicationProperties, m.Data)
	}
	if err := c.Publish("press 1", nil, nil, 8, false); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestDispositionsComeInRangesAndInAnyOrder(t *testing.T) {
	c, k := mustOpen(t, connectiontest.Options{}, func(ctx context.Context, h *connectiontest.Hub) {
		var ids []uint32
		for range 8 {
			m, err := h.Receive(ctx)
			if err != nil {
				return
			}
			ids = append(ids, m.ID)
		}
		_ = h.Settle(ctx, ids[2], ids[3], amqp.Accepted{})
		_ = h.Send(ctx, 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: ids[0], State: amqp.Received{}}, nil) // says nothing yet
		_ = h.Settle(ctx, ids[4], ids[4], amqp.Rejected{Error: &amqp.Error{Condition: "com.microsoft:device-container-throttled", Description: "slow down. Tracking ID: 1"}})
		_ = h.Settle(ctx, ids[5], ids[5], amqp.Released{})
		_ = h.Settle(ctx, ids[6], ids[6], amqp.Rejected{Error: &amqp.Error{Condition: amqp.ConditionResourceLimitExceeded}})
		_ = h.Settle(ctx, ids[7], ids[7], amqp.Rejected{})
		_ = h.Settle(ctx, ids[0]-5, ids[7]+5, amqp.Accepted{}) // what is settled stays what it was
		_, _ = h.Receive(ctx)
	})
	for id := range uint16(8) {
		publish(t, c, k, "", []byte("x"), 10+id)
	}
	for _, want := range []uint16{12, 13, 10, 11} {
		if id := <-k.acks; id != want {
			t.Errorf("acknowledged %d, want %d", id, want)
		}
	}
	for _, want := range []struct {
		id    uint16
		again bool
		says  string
	}{
		{14, true, "slow down (com.microsoft:device-container-throttled)"}, {15, true, "gave a message back"}, {16, false, "quota is used up: amqp:resource-limit-exceeded"},
		{17, false, "it gave no reason"},
	} {
		if r := <-k.refused; r.id != want.id || r.again != want.again || !strings.Contains(fault.Message(r.err), want.says) {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
}

func TestNothingIsSentWithoutLeave(t *testing.T) {
	step := make(chan struct{})
	var frames []int
	c, k := mustOpen(t, connectiontest.Options{NoCredit: true, Window: 4, MaxFrame: 512}, func(ctx context.Context, h *connectiontest.Hub) {
		<-step
		_ = h.Grant(ctx, 1)
		m, _ := h.Receive(ctx)
		_ = h.Settle(ctx, m.ID, m.ID, amqp.Accepted{})
		<-step
		_ = h.Grant(ctx, 5) // the window was closed as well
		m, _ = h.Receive(ctx)
		frames = append(frames, m.Frames)
		_ = h.Settle(ctx, m.ID, m.ID, amqp.Accepted{})
		_, _ = h.Receive(ctx)
	})
	send := func(id uint16, size int) error {
		return c.Publish("press 1", nil, bytes.Repeat([]byte("x"), size), id, false)
	}
	if err := send(1, 1); !errors.Is(err, connection.ErrNotNow) {
		t.Fatalf("without credit: %v", err)
	}
	step <- struct{}{}
	<-k.ready
	if err := send(1, 1); err != nil {
		t.Fatal(err)
	}
	<-k.acks
	if err := send(2, 1000); !errors.Is(err, connection.ErrNotNow) {
		t.Fatalf("without credit: %v", err)
	}
	step <- struct{}{}
	<-k.ready
	if err := send(2, 1000); err != nil {
		t.Fatal(err)
	}
	if id := <-k.acks; id != 2 || frames[0] != 3 {
		t.Errorf("%d came in %v frames", id, frames)
	}
	if err := send(3, 1000); !errors.Is(err, connection.ErrNotNow) {
		t.Errorf("beyond the window: %v", err)
	}
}

func TestWhatIsTooLargeIsNotSent(t *testing.T) {
	c, _ := mustOpen(t, connectiontest.Options{MaxMessage: 1000}, func(ctx context.Context, h *connectiontest.Hub) { _, _ = h.Receive(ctx) })
	if err := c.Publish("press 1", nil, make([]byte, 1000), 1, false); fault.KindOf(err) != fault.TooLarge || !strings.Contains(fault.Message(err), "the hub's link takes 1000") {
		t.Errorf("%v", err)
	}
}

func TestTokensAreRenewedOnTheConnection(t *testing.T) {
	c, k := mustOpen(t, connectiontest.Options{Token: func(token string) (int32, string) {
		if token == "bad" {
			return 401, "InvalidSignature. Tracking ID: 7"
		}
		return 202, "Accepted"
	}}, func(ctx context.Context, h *connectiontest.Hub) {
		for {
			m, err := h.Receive(ctx)
			if err != nil {
				return
			}
			_ = h.Settle(ctx, m.ID, m.ID, amqp.Accepted{})
		}
	})
	for id := range uint16(3) {
		if done, err := c.Renew("good"); err != nil || done || !c.Renews() {
			t.Fatal(done, err)
		}
		<-k.renewed
		publish(t, c, k, "", nil, id)
		if got := <-k.acks; got != id {
			t.Errorf("acknowledged %d", got)
		}
	}
	if _, err := c.Renew("bad"); err != nil {
		t.Fatal(err)
	}
	if err := <-k.ended; fault.Message(err) != "the hub ended the connection: InvalidSignature (amqp:unauthorized-access)" || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestHubsThatAskAreAnswered(t *testing.T) {
	got, looked := make(chan *amqp.Flow, 2), make(chan struct{})
	c, k := mustOpen(t, connectiontest.Options{}, func(ctx context.Context, h *connectiontest.Hub) {
		_ = h.Send(ctx, 0, nil, nil)
		echo, drain := h.EventsFlow(9), h.EventsFlow(9)
		echo.Echo, drain.Drain = true, true
		for _, f := range []*amqp.Flow{echo, drain} {
			_ = h.Send(ctx, 0, f, nil)
			for {
				x, err := h.Next(ctx)
				if err != nil {
					close(got)
					return
				}
				if flow, ok := x.Performative.(*amqp.Flow); ok {
					got <- flow
					break
				}
			}
		}
		<-looked
		_ = h.Send(ctx, 0, &amqp.Detach{Handle: 12, Closed: true, Error: &amqp.Error{Condition: amqp.ConditionStolen, Description: "another one came"}}, nil)
		_, _ = h.Receive(ctx)
	})
	if f := <-got; f == nil || f.LinkCredit.Value != 9 || f.DeliveryCount.Value != 0 || f.Drain || f.Handle.Value != 2 {
		t.Fatalf("%+v", f)
	}
	if f := <-got; f == nil || f.LinkCredit.Value != 0 || f.DeliveryCount.Value != 9 || !f.Drain {
		t.Fatalf("%+v", f)
	}
	if err := c.Publish("press 1", nil, nil, 1, false); !errors.Is(err, connection.ErrNotNow) {
		t.Errorf("after draining: %v", err)
	}
	close(looked)
	if err := <-k.ended; !strings.HasSuffix(fault.Message(err), "the hub ended the link: another one came (amqp:link:stolen)") {
		t.Errorf("%v", err)
	}
}

func TestCertificatesNeedNoToken(t *testing.T) {
	var tokens int
	c, k, err := overAMQP(t, connectiontest.Options{}, func(s *server, h *connection.Hello) {
		cert := s.issue(t, "press-1")
		h.Certificate, h.Token = &cert, ""
	}, func(ctx context.Context, h *connectiontest.Hub) {
		m, _ := h.Receive(ctx)
		tokens = len(h.Tokens)
		_ = h.Settle(ctx, m.ID, m.ID, amqp.Accepted{})
		_, _ = h.Receive(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, k, "", nil, 3)
	if id := <-k.acks; id != 3 || tokens != 0 {
		t.Errorf("acknowledged %d with %d tokens", id, tokens)
	}
}

func TestOpenSaysWhatIsWrongOverAMQP(t *testing.T) {
	no := func(condition amqp.Symbol) *amqp.Error {
		return &amqp.Error{Condition: condition, Description: "no. Tracking ID: 9"}
	}
	for name, c := range map[string]struct {
		o    connectiontest.Options
		kind fault.Kind
		says string
	}{
		"no such hub":    {connectiontest.Options{Close: no(amqp.ConditionNotFound)}, fault.Unauthenticated, "the hub refused the device: no (amqp:not-found)"},
		"closing":        {connectiontest.Options{Close: no(amqp.ConditionConnectionForced)}, fault.Unavailable, "the hub cannot serve the device now: no (amqp:connection:forced)"},
		"no reason":      {connectiontest.Options{Close: &amqp.Error{}}, fault.Unavailable, "cannot serve the device now"},
		"a wrong token":  {connectiontest.Options{Token: func(string) (int32, string) { return 401, "wrong" }}, fault.Unauthenticated, "the hub refused the device: wrong (amqp:unauthorized-access)"},
		"no words":       {connectiontest.Options{Token: func(string) (int32, string) { return 500, "" }}, fault.Unavailable, "$cbs answered with code 500"},
		"a refused link": {connectiontest.Options{Refuse: no(amqp.ConditionUnauthorizedAccess)}, fault.Unauthenticated, "the hub refused the device: no"},
		"a busy link":    {connectiontest.Options{Refuse: no("com.microsoft:timeout")}, fault.Unavailable, "cannot serve the device now: no (com.microsoft:timeout)"},
	} {
		_, _, err := overAMQP(t, c.o, nil, nil)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		answer string
		kind   fault.Kind
		says   string
	}{
		"a web server": {"HTTP/1.1 400 Bad Request\r\n\r\n", fault.Unavailable, "the hub sent what is no AMQP"},
		"SASL only":    {"AMQP\x03\x01\x00\x00", fault.Unavailable, "the hub sent what is no AMQP"},
		"a huge frame": {"AMQP\x00\x01\x00\x00\xff\xff\xff\xff\x02\x00\x00\x00", fault.Unavailable, "the hub sent what is no AMQP"},
		"nothing":      {"", fault.Unavailable, "closed the connection without an answer"},
	} {
		s := newServer(t, func(conn *tls.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(c.answer))
		})
		_, err := s.way(func(c *connection.Config) { c.Protocol = connection.AMQP }).Open(t.Context(), hello(), newSink())
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(conn *tls.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		cancel()
		_, _ = conn.Read(make([]byte, 4096))
	})
	_, err := s.way(func(c *connection.Config) { c.Protocol = connection.AMQP }).Open(ctx, hello(), newSink())
	if fault.KindOf(err) != fault.Timeout || !strings.Contains(fault.Message(err), "did not answer in AMQP in time") {
		t.Errorf("silence: %v", err)
	}
}
