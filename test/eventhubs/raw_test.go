package eventhubs

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// batchFormat is the message-format of a batch of events.
const batchFormat = 0x80013700

// dial connects to the namespace, as far as TLS reaches.
func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := (&tls.Dialer{Config: w.trust(t)}).DialContext(within(t), "tcp", w.amqps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}

// client is a connection that says what a test wants, without a claim.
func (w *world) client(t *testing.T) *amqptest.Client {
	t.Helper()
	c, err := amqptest.Connect(within(t), w.dial(t), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: w.namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

// session is a session of a new connection with a claim for an event hub that ends after life.
func (w *world) session(t *testing.T, hub string, life time.Duration) *amqptest.Session {
	t.Helper()
	c := w.client(t)
	w.claim(t, c, hub, life)
	return begin(t, c)
}

func begin(t *testing.T, c *amqptest.Client) *amqptest.Session {
	t.Helper()
	s, err := c.Session(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claim puts a token for an event hub, in a session of its own, as the Go SDK does.
func (w *world) claim(t *testing.T, c *amqptest.Client, hub string, life time.Duration) {
	t.Helper()
	s := begin(t, c)
	node, err := s.Requester(within(t), "$cbs")
	if err != nil {
		t.Fatal(err)
	}
	if code, words, err := node.PutToken(within(t), "servicebus.windows.net:sastoken", "sb://"+w.namespace+"/"+hub, w.token(t, hub, rootPolicy, life)); code != 202 || err != nil {
		t.Fatalf("the token is answered with %d %s, %v", code, words, err)
	}
	if err := s.End(within(t)); err != nil {
		t.Fatal(err)
	}
}

func sender(t *testing.T, s *amqptest.Session, address string, edit func(*amqp.Attach)) *amqptest.Sender {
	t.Helper()
	l, err := s.Sender(within(t), address, edit)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// from is an edit of a receiver's attach: where it begins to read.
func from(selector string) func(*amqp.Attach) {
	return func(a *amqp.Attach) {
		a.Source.Filter = amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: amqp.Described{Descriptor: uint64(0x468C00000004), Value: selector}}}
	}
}

func receiver(t *testing.T, s *amqptest.Session, hub, partition string, credit uint32, edit func(*amqp.Attach)) *amqptest.Receiver {
	t.Helper()
	l, err := s.Receiver(within(t), hub+"/ConsumerGroups/$default/Partitions/"+partition, credit, edit)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// encode is a message as bytes.
func encode(t *testing.T, m amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// batch is an envelope around events.
func batch(t *testing.T, events ...[]byte) []byte {
	t.Helper()
	return encode(t, amqp.Message{Data: events})
}

func text(t *testing.T, body string) []byte {
	t.Helper()
	return encode(t, amqp.Message{Data: [][]byte{[]byte(body)}})
}

func next(t *testing.T, r *amqptest.Receiver) (*amqptest.Delivery, *amqp.Message) {
	t.Helper()
	d, err := r.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return d, m
}

// condition is that of a peer's error.
func condition(err error) amqp.Symbol {
	if e, ok := err.(*amqp.Error); ok { //nolint:errorlint // it is nothing else
		return e.Condition
	}
	return amqp.Symbol(fmt.Sprint(err))
}

// TestRawClaims: tokens put again keep links, those that end take them away.
func TestRawClaims(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	hub := w.hub(t, 1)
	t.Run("answers", func(t *testing.T) {
		t.Parallel()
		covers(t, "EH06", withRaw)
		covers(t, "EH07", withRaw)
		s := begin(t, w.client(t))
		node, err := s.Requester(within(t), "$cbs")
		if err != nil {
			t.Fatal(err)
		}
		for token, want := range map[string]struct {
			code      int32
			condition amqp.Symbol
		}{
			w.token(t, hub, rootPolicy, time.Hour):    {202, ""},
			w.token(t, hub, rootPolicy, -time.Minute): {401, "amqp:unauthorized-access"},
			"SharedAccessSignature sr=x&sig=x&se=1":   {401, "amqp:unauthorized-access"},
		} {
			a, err := node.Ask(within(t), amqp.Message{
				Value: token, HasValue: true, Properties: &amqp.Properties{MessageID: uint64(7), ReplyTo: "cbs"},
				ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: "amqps://" + w.namespace + ":5671/" + strings.ToUpper(hub)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if code := a.ApplicationProperties.Get("status-code"); code != any(want.code) || a.Properties.CorrelationID != any(uint64(7)) {
				t.Errorf("the answer is %v to %v", a.ApplicationProperties, a.Properties)
			}
			if c, _ := a.ApplicationProperties.Get("error-condition").(amqp.Symbol); c != want.condition {
				t.Errorf("error-condition is %q, want %q", c, want.condition)
			}
		}
	})
	t.Run("lapse", func(t *testing.T) {
		t.Parallel()
		covers(t, "EH10", withRaw)
		s := w.session(t, hub, 2*time.Second)
		out, in := sender(t, s, hub, nil), receiver(t, s, hub, "0", 10, nil)
		begun := time.Now()
		for name, l := range map[string]interface{ WaitEnd(context.Context) error }{"sender": out, "receiver": in} {
			if err := l.WaitEnd(within(t)); condition(err) != "amqp:unauthorized-access" {
				t.Errorf("the %s ends with %v", name, err)
			}
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("they end after %v", took)
		}
	})
	t.Run("renewal", func(t *testing.T) {
		t.Parallel()
		covers(t, "EH10", withRaw)
		c := w.client(t)
		w.claim(t, c, hub, 2*time.Second)
		s := begin(t, c)
		out := sender(t, s, hub, nil)
		w.claim(t, c, hub, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := out.WaitEnd(ctx); ctx.Err() == nil {
			t.Errorf("it ends with %v", err)
		}
		if err := out.SendAccepted(within(t), text(t, "still here"), 0); err != nil {
			t.Error(err)
		}
	})
}

// TestRawCredit: credit comes at once.
func TestRawCredit(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH12", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	quickest := time.Hour
	for range 10 { // one is enough: the others may have had to wait for a processor
		begun := time.Now()
		l := sender(t, s, hub+"/Partitions/0", nil)
		if err := l.SendAccepted(within(t), text(t, "x"), 0); err != nil {
			t.Fatal(err)
		}
		quickest = min(quickest, time.Since(begun))
		if err := l.Detach(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("an event is accepted %v after the attach", quickest)
	}
}

// TestRawEvents: what was sent is what comes, section by section, with nothing but the service's annotations between.
func TestRawEvents(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH13", withRaw)
	covers(t, "EH15", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	events := [][]byte{
		encode(t, amqp.Message{
			Header: &amqp.Header{Durable: true}, Properties: &amqp.Properties{MessageID: "m", GroupSequence: amqp.Some[uint32](7)},
			MessageAnnotations:    amqp.Map{{Key: amqp.Symbol("mine"), Value: int32(5)}, {Key: amqp.Symbol("x-opt-sequence-number"), Value: int64(-7)}, {Key: amqp.Symbol("x-opt-offset"), Value: "forged"}},
			ApplicationProperties: amqp.Map{{Key: "d", Value: amqp.Decimal64{1}}, {Key: "c", Value: amqp.Char('x')}}, Data: [][]byte{[]byte("one"), []byte("two")},
			Footer: amqp.Map{{Key: amqp.Symbol("f"), Value: "foot"}},
		}),
		encode(t, amqp.Message{Sequence: []amqp.List{{int32(1)}, {"a", nil}}}),
		encode(t, amqp.Message{Value: amqp.Map{{Key: "k", Value: amqp.List{true}}}, HasValue: true}),
	}
	if err := sender(t, s, hub+"/Partitions/0", nil).SendAccepted(within(t), batch(t, events...), batchFormat); err != nil {
		t.Fatal(err)
	}
	r := receiver(t, s, hub, "0", 10, nil)
	for i, sent := range events {
		d, got := next(t, r)
		if !d.Settled {
			t.Error("it is to be settled")
		}
		if v := got.MessageAnnotations.Get("x-opt-sequence-number"); v != any(int64(i)) {
			t.Errorf("the sequence number is %v, want %d", v, i)
		}
		if v := got.MessageAnnotations.Get("x-opt-offset"); fmt.Sprintf("%T", v) != "string" || v == "forged" {
			t.Errorf("the offset is %v", v)
		}
		if i == 0 && got.MessageAnnotations.Get("mine") != any(int32(5)) {
			t.Errorf("the annotations are %v", got.MessageAnnotations)
		}
		was, err := amqp.Scan(sent)
		if err != nil {
			t.Fatal(err)
		}
		is, err := amqp.Scan(d.Message)
		if err != nil {
			t.Fatal(err)
		}
		for name, pair := range map[string][2][]byte{
			"header": {was.Header, is.Header}, "properties": {was.Properties, is.Properties}, "application properties": {was.ApplicationProperties, is.ApplicationProperties},
			"body": {was.Body, is.Body}, "footer": {was.Footer, is.Footer},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("event %d: the %s was % x and is % x", i, name, pair[0], pair[1])
			}
		}
	}
}

// TestRawPositions: selectors that no SDK writes.
func TestRawPositions(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH17", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	out := sender(t, s, hub, nil)
	at := make([]int64, 3)
	for i := range at {
		if err := out.SendAccepted(within(t), text(t, fmt.Sprint(i)), 0); err != nil {
			t.Fatal(err)
		}
		r := receiver(t, s, hub, "0", 1, from(fmt.Sprintf("amqp.annotation.x-opt-sequence-number >= '%d'", i)))
		_, got := next(t, r)
		if err := r.Detach(within(t)); err != nil { // five may read at once
			t.Fatal(err)
		}
		when, _ := got.MessageAnnotations.Get("x-opt-enqueued-time").(amqp.Timestamp)
		at[i] = int64(when)
		w.tick(t, at[i])
	}
	for selector, first := range map[string]string{
		"": "0",
		fmt.Sprintf("amqp.annotation.x-opt-enqueued-time >= '%d'", at[1]): "1",
		fmt.Sprintf("amqp.annotation.x-opt-enqueued-time > '%d'", at[1]):  "2",
		"amqp.annotation.x-opt-offset > '-1'":                             "0",
		"amqp.annotation.x-opt-sequence-number>'0'":                       "1",
	} {
		var edit func(*amqp.Attach)
		if selector != "" {
			edit = from(selector)
		}
		r := receiver(t, s, hub, "0", 1, edit)
		if _, got := next(t, r); string(got.Data[0]) != first {
			t.Errorf("%s begins with %s, want %s", selector, got.Data[0], first)
		}
		if err := r.Detach(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, selector := range []string{"x > 1", "amqp.annotation.x-opt-offset > 'abc'", "amqp.annotation.x-opt-sequence-number > '99'", "amqp.annotation.x-opt-offset > '-1' OR 1=1"} {
		_, err := s.Receiver(within(t), hub+"/ConsumerGroups/$Default/Partitions/0", 1, from(selector))
		if condition(err) != "com.microsoft:argument-error" {
			t.Errorf("%s: %v", selector, err)
		}
	}
}

// TestRawTooLarge: what is too large is rejected, and the link goes on.
func TestRawTooLarge(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH14", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	l := sender(t, s, hub, nil)
	if l.Peer().MaxMessageSize.Or(0) != 1048576 {
		t.Errorf("max-message-size is %v", l.Peer().MaxMessageSize)
	}
	if err := l.SendAccepted(within(t), text(t, strings.Repeat("x", 2<<20)), 0); condition(err) != "amqp:link:message-size-exceeded" {
		t.Errorf("2 MB: %v", err)
	}
	if err := l.SendAccepted(within(t), text(t, "small"), 0); err != nil {
		t.Error(err)
	}
}

// TestRawMetric: the end of the partition is told with each event to who desires it, and to nobody else.
func TestRawMetric(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH22", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	if err := sender(t, s, hub, nil).SendAccepted(within(t), batch(t, text(t, "a"), text(t, "b")), batchFormat); err != nil {
		t.Fatal(err)
	}
	_, with := next(t, receiver(t, s, hub, "0", 1, func(a *amqp.Attach) {
		a.DesiredCapabilities = []amqp.Symbol{"com.microsoft:enable-receiver-runtime-metric"}
	}))
	_, without := next(t, receiver(t, s, hub, "0", 1, func(a *amqp.Attach) { a.Name = "another" }))
	for name, kind := range map[string]string{
		"last_enqueued_sequence_number": "int64", "last_enqueued_offset": "string", "last_enqueued_time_utc": "amqp.Timestamp", "runtime_info_retrieval_time_utc": "amqp.Timestamp",
	} {
		if v := with.DeliveryAnnotations.Get(name); fmt.Sprintf("%T", v) != kind {
			t.Errorf("%s is %T %v, want %s", name, v, v, kind)
		}
		if v := without.DeliveryAnnotations.Get(name); v != nil {
			t.Errorf("unasked there is %s: %v", name, v)
		}
	}
}

// TestRawIdempotent: what is sent again is stored once, and what is not the next is refused.
func TestRawIdempotent(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH23", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	attach := func(name string, known amqp.Map) (*amqptest.Sender, amqp.Map) {
		l := sender(t, s, hub+"/Partitions/0", func(a *amqp.Attach) {
			a.Name, a.DesiredCapabilities, a.Properties = name, []amqp.Symbol{"com.microsoft:idempotent-producer"}, known
		})
		return l, l.Peer().Properties
	}
	first, given := attach("first", nil)
	id, _ := given.Get("com.microsoft:producer-id").(int64)
	epoch, isShort := given.Get("com.microsoft:producer-epoch").(int16)
	last, isInt := given.Get("com.microsoft:producer-sequence-number").(int32)
	if id == 0 || !isShort || !isInt {
		t.Fatalf("the ids are %v", given)
	}
	event := func(epoch int16, sequence int32) []byte {
		return encode(t, amqp.Message{Data: [][]byte{fmt.Append(nil, sequence)}, MessageAnnotations: state(id, epoch, sequence)})
	}
	one := batch(t, event(epoch, last+1), event(epoch, last+2))
	for range 2 {
		if err := first.SendAccepted(within(t), one, batchFormat); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.SendAccepted(within(t), batch(t, event(epoch, last+4)), batchFormat); condition(err) != "com.microsoft:out-of-order-sequence" {
		t.Errorf("a gap: %v", err)
	}
	// Who comes back names the last number it knows of, and goes on from there; what it sends again is known.
	back, again := attach("back", state(id, epoch, last))
	if fmt.Sprint(again) != fmt.Sprint(state(id, epoch, last)) {
		t.Fatalf("who comes back is told %v, was told %v", again, given)
	}
	if err := back.SendAccepted(within(t), one, batchFormat); err != nil {
		t.Fatal(err)
	}
	higher := epoch + 1
	second, again := attach("second", state(id, higher, last+2))
	if fmt.Sprint(again) != fmt.Sprint(state(id, higher, last+2)) {
		t.Fatalf("a higher epoch is told %v", again)
	}
	if err := first.SendAccepted(within(t), batch(t, event(epoch, last+3)), batchFormat); condition(err) != "com.microsoft:producer-epoch-stolen" {
		t.Errorf("an old epoch: %v", err)
	}
	if err := second.SendAccepted(within(t), batch(t, event(higher, last+3)), batchFormat); err != nil {
		t.Error(err)
	}
	r := receiver(t, s, hub, "0", 10, nil)
	for i := range 3 {
		if _, got := next(t, r); string(got.Data[0]) != fmt.Sprint(last+1+int32(i)) {
			t.Errorf("event %d is %s", i, got.Data[0])
		}
	}
}

// state is what a producer and the service tell each other.
func state(id int64, epoch int16, last int32) amqp.Map {
	return amqp.Map{
		{Key: amqp.Symbol("com.microsoft:producer-id"), Value: id}, {Key: amqp.Symbol("com.microsoft:producer-epoch"), Value: epoch},
		{Key: amqp.Symbol("com.microsoft:producer-sequence-number"), Value: last},
	}
}

// TestRawBoundlessCredit: credit is leave to send, and nothing is put aside for it.
func TestRawBoundlessCredit(t *testing.T) {
	w := start(t, options{})
	covers(t, "EH19", withRaw)
	hub := w.hub(t, 1)
	s := w.session(t, hub, time.Hour)
	out := sender(t, s, hub, nil)
	large := strings.Repeat("x", 1000000)
	const events = 100
	for range events {
		if err := out.SendAccepted(within(t), text(t, large), 0); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	const readers = 5 // each of them would like 100 MB, and reads nothing
	for i := range readers {
		c := w.dial(t)
		raw, err := amqptest.Dial(within(t), c, amqptest.Options{SASL: amqptest.Plain(rootPolicy, w.key(t, "", rootPolicy)), Hostname: w.namespace})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Begin(within(t), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Attach(within(t), 0, amqptest.ReceiverFrom(fmt.Sprint("r", i), 0, hub+"/ConsumerGroups/$Default/Partitions/0")); err != nil {
			t.Fatal(err)
		}
		flow := &amqp.Flow{NextIncomingID: amqp.Some[uint32](0), IncomingWindow: 1 << 31, NextOutgoingID: 0, OutgoingWindow: 5000, Handle: amqp.Some[uint32](0),
			DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](1 << 31)}
		if err := raw.Send(within(t), 0, flow, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := amqptest.Expect[*amqp.Transfer](within(t), raw); err != nil { // it has begun
			t.Fatal(err)
		}
	}
	if err := out.SendAccepted(within(t), text(t, "others go on"), 0); err != nil {
		t.Error(err)
	}
	if grown := heap() - before; grown > readers*8<<20 {
		t.Errorf("%d readers that read nothing hold %d MB", readers, grown>>20)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
