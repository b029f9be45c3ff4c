package amqpdoor_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

func (w *world) command(n hub.Name, c hub.Command) hub.Command {
	w.t.Helper()
	c, err := w.Hub(hubtest.Contoso).SendCommand(w.t.Context(), n, c)
	w.must(err)
	return c
}

func (w *world) depth(n hub.Name) int {
	w.t.Helper()
	count, err := w.Hub(hubtest.Contoso).Depth(w.t.Context(), n)
	w.must(err)
	return count
}

func TestCommandsAsTheyAre(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	sent := w.command(hub.Name{Device: "d"}, hub.Command{
		MessageID: "m", CorrelationID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", UserID: "u", ContentType: "text/plain", ContentEncoding: "utf-8", Ack: "full",
		Expires: time.Now().Add(time.Hour), Properties: map[string]string{"b": "2", "a": ""}, Body: []byte("body"),
	})
	r := c.receives("/devices/d/messages/deviceBound", 10)
	d, m := c.next(r)
	if d.Settled || len(d.Tag) != 16 || d.Format != 0 {
		t.Errorf("settled %v, tag %x, format %d", d.Settled, d.Tag, d.Format)
	}
	if want := (&amqp.Properties{
		MessageID: "m", CorrelationID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", UserID: []byte("u"), To: "/devices/d/messages/devicebound", ContentType: "text/plain",
		ContentEncoding: "utf-8", AbsoluteExpiryTime: amqp.Some(amqp.Timestamp(sent.Expires.UnixMilli())),
	}); !reflect.DeepEqual(m.Properties, want) {
		t.Errorf("properties %+v\nwant %+v", m.Properties, want)
	}
	if want := (amqp.Map{{Key: "a", Value: ""}, {Key: "b", Value: "2"}, {Key: "iothub-ack", Value: "full"}}); !reflect.DeepEqual(m.ApplicationProperties, want) {
		t.Errorf("application properties %v", m.ApplicationProperties)
	}
	lock, _ := m.MessageAnnotations.Get("x-opt-lock-token").(amqp.UUID)
	if want := (amqp.Map{
		{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.Timestamp(sent.Enqueued.UnixMilli())}, {Key: amqp.Symbol("iothub-deliverycount"), Value: uint8(0)},
		{Key: amqp.Symbol("x-opt-sequence-number"), Value: uint64(sent.Sequence)}, {Key: amqp.Symbol("x-opt-lock-token"), Value: lock},
	}); !reflect.DeepEqual(m.MessageAnnotations, want) {
		t.Errorf("annotations %v", m.MessageAnnotations)
	}
	// The tag is the lock, as .NET reads a GUID from bytes.
	g := d.Tag
	if back := (amqp.UUID{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}); back != lock || lock == (amqp.UUID{}) {
		t.Errorf("tag %x, lock %s", d.Tag, amqptext.UUID(lock))
	}
	if string(m.Data[0]) != "body" {
		t.Errorf("body %q", m.Data)
	}
}

func TestCommandsAndWhatBecomesOfThem(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	n := hub.Name{Device: "d"}
	c, _ := w.device("d")
	r := c.receives("/devices/d/messages/devicebound", 10)
	count := func(m *amqp.Message) any { return m.MessageAnnotations.Get("iothub-deliverycount") }
	for i, x := range []struct {
		state amqp.State
		again bool
	}{
		{amqp.Accepted{}, false}, {amqp.Rejected{}, false}, {amqp.Released{}, true}, {amqp.Modified{DeliveryFailed: true}, true},
		{amqp.Modified{UndeliverableHere: true}, true},
	} {
		body := fmt.Sprint(i)
		w.command(n, hub.Command{Body: []byte(body)})
		d, m := c.next(r)
		if string(m.Data[0]) != body || count(m) != uint8(0) {
			t.Fatalf("%d: %q, %v times before", i, m.Data, count(m))
		}
		d.Settle(x.state)
		if x.again {
			d, m = c.next(r)
			if string(m.Data[0]) != body || count(m) != uint8(1) {
				t.Fatalf("%d: %q, %v times before", i, m.Data, count(m))
			}
			d.Settle(amqp.Accepted{})
		}
		eventually(t, "it is settled", func() bool { return w.depth(n) == 0 })
	}
}

// TestARangeSettlesAllInIt: SDKs settle several messages with one frame.
func TestARangeSettlesAllInIt(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	cert := w.Certificate("d", false)
	w.ThumbprintDevice(hubtest.Contoso, "d", cert)
	n := hub.Name{Device: "d"}
	for i := range 5 {
		w.command(n, hub.Command{Body: fmt.Append(nil, i)})
	}
	conn, err := w.DialWith(w.AMQP, hubtest.Contoso, cert)
	w.must(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := amqptest.Dial(ctx, conn, amqptest.Options{Hostname: hubtest.Contoso})
	w.must(err)
	_, err = c.Begin(ctx, 0)
	w.must(err)
	_, err = c.Attach(ctx, 0, amqptest.ReceiverFrom("r", 0, "/devices/d/messages/devicebound"))
	w.must(err)
	w.must(c.Send(ctx, 0, &amqp.Flow{IncomingWindow: 100, OutgoingWindow: 100, Handle: amqp.Some[uint32](0), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](5)}, nil))
	var first uint32
	for i := range 5 {
		x, _, err := amqptest.Await[*amqp.Transfer](ctx, c)
		w.must(err)
		if i == 0 {
			first = x.DeliveryID.Value
		}
	}
	settle := func(from, to uint32, s amqp.State) {
		w.must(c.Send(ctx, 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: first + from, Last: amqp.Some(first + to), Settled: true, State: s}, nil))
	}
	settle(0, 2, amqp.Accepted{})
	eventually(t, "three are settled", func() bool { return w.depth(n) == 2 })
	settle(1, 4, amqp.Rejected{}) // of those that are left
	eventually(t, "all are settled", func() bool { return w.depth(n) == 0 })
}

func TestWhatIsNotSettledComesAgain(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	n := hub.Name{Device: "d"}
	c, dev := w.device("d")
	w.command(n, hub.Command{Body: []byte("x")})
	keeps := c.sends("/devices/d/messages/events") // the session outlives the links below
	for times := range 3 {
		r := c.receives("/devices/d/messages/devicebound", 10)
		_, m := c.next(r)
		if got := m.MessageAnnotations.Get("iothub-deliverycount"); got != uint8(times) {
			t.Errorf("it came %v times before, not %d", got, times)
		}
		if times < 2 {
			c.must(r.Detach(c.ctx))
		}
	}
	c.must(keeps.SendAccepted(c.ctx, text(t, "x"), 0))
	c.Abort() // and the connection
	c = w.dial()
	c.claims("devices/d", w.Token(hubtest.Contoso, dev))
	d, m := c.next(c.receives("/devices/d/messages/devicebound", 10))
	if got := m.MessageAnnotations.Get("iothub-deliverycount"); got != uint8(3) {
		t.Errorf("it came %v times before, not 3", got)
	}
	d.Settle(amqp.Accepted{})
	eventually(t, "it is settled", func() bool { return w.depth(n) == 0 })
}

func TestCommandsWaitForCredit(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	n := hub.Name{Device: "d"}
	c, _ := w.device("d")
	for i := range 5 {
		w.command(n, hub.Command{Body: fmt.Append(nil, i)})
	}
	r := c.receives("/devices/d/messages/devicebound", 0)
	for i := range 5 {
		r.Grant(1, false)
		_, m := c.next(r) // the client fails when one comes without credit
		if string(m.Data[0]) != fmt.Sprint(i) {
			t.Fatalf("%q came instead of %d", m.Data, i)
		}
	}
	r.Grant(10, true) // nothing is left: it comes back
	c.must(r.Drained(c.ctx))
	r.Grant(10, true) // nor is there when nobody fetches any more
	c.must(r.Drained(c.ctx))
	w.command(n, hub.Command{Body: []byte("more")})
	r.Grant(1, false)
	if _, m := c.next(r); string(m.Data[0]) != "more" {
		t.Errorf("%q", m.Data)
	}
}

// TestCommandsThatDoNotFit are rejected, and those behind them come.
func TestCommandsThatDoNotFit(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	n := hub.Name{Device: "d"}
	c, _ := w.device("d")
	w.command(n, hub.Command{Body: make([]byte, 5000)})
	w.command(n, hub.Command{Body: []byte("small")})
	r, err := c.Receiver(c.ctx, "/devices/d/messages/devicebound", 10, func(a *amqp.Attach) { a.MaxMessageSize = amqp.Some[uint64](2000) })
	c.must(err)
	d, m := c.next(r)
	if string(m.Data[0]) != "small" {
		t.Errorf("%d bytes came", len(m.Data[0]))
	}
	d.Settle(amqp.Accepted{})
	eventually(t, "both are settled", func() bool { return w.depth(n) == 0 })
}

// TestOneLinkForCommands: a second one takes the place of the first, on the same connection and on another.
func TestOneLinkForCommands(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	n := hub.Name{Device: "d"}
	c, dev := w.device("d")
	old := c.receives("/devices/d/messages/devicebound", 10)
	r, err := c.Receiver(c.ctx, "/devices/d/messages/devicebound", 10, func(a *amqp.Attach) { a.Name = "another" })
	c.must(err)
	if err := old.WaitEnd(c.ctx); condition(err) != amqp.ConditionStolen {
		t.Errorf("the older link ends with %v", err)
	}
	w.command(n, hub.Command{Body: []byte("x")})
	d, _ := c.next(r)
	d.Settle(amqp.Accepted{})
	eventually(t, "it is settled", func() bool { return w.depth(n) == 0 })
	other := w.dial()
	other.claims("devices/d", w.Token(hubtest.Contoso, dev))
	other.sends("/devices/d/messages/events")
	if err := r.WaitEnd(c.ctx); condition(err) != amqp.ConditionStolen {
		t.Errorf("the older session ends with %v", err)
	}
}

func TestInputsOfModules(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	w.Device(hubtest.Contoso, "d")
	m := w.Module(hubtest.Contoso, "d", "m")
	n := hub.Name{Device: "d", Module: "m"}
	c := w.dial()
	c.claims("devices/d/modules/m", w.ModuleToken(hubtest.Contoso, m))
	s := c.sends("/devices/d/modules/m/messages/events")
	out := amqp.Message{ApplicationProperties: amqp.Map{{Key: "iothub-outputname", Value: "alerts"}, {Key: "k", Value: "v"}}, Data: [][]byte{[]byte("out")}}
	c.must(s.SendAccepted(c.ctx, encode(t, out), 0))
	e := w.Events(hubtest.Contoso, 1)[0]
	if e.System["iothub-outputname"] != "alerts" || e.System["iothub-connection-module-id"] != "m" || len(e.Properties) != 1 {
		t.Errorf("%v %v", e.Properties, e.System)
	}
	r := c.receives("/devices/d/modules/m/messages/events", 10)
	for to, want := range map[string]string{"/devices/d/modules/m/inputs/one": "one", "": "default"} {
		w.command(n, hub.Command{To: to, Body: []byte("in")})
		d, m := c.next(r)
		if got := m.MessageAnnotations.Get("x-opt-input-name"); got != want {
			t.Errorf("%q came to input %v", to, got)
		}
		d.Settle(amqp.Accepted{})
	}
	eventually(t, "all are settled", func() bool { return w.depth(n) == 0 })
}
