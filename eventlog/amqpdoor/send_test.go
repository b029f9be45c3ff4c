package amqpdoor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestCase12NoStallOverManySends(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s := c.sender("telemetry/Partitions/0", nil)
	if s.Peer().MaxMessageSize.Value != 1<<20 {
		t.Errorf("max-message-size %v", s.Peer().MaxMessageSize)
	}
	const n = 10_000
	m := encoded(t, "x")
	outcomes := make(chan amqp.State, n)
	for range n {
		if err := s.Start(w.ctx, m, 0, func(o amqp.State) { outcomes <- o }); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if o := <-outcomes; o != (amqp.Accepted{}) {
			t.Fatalf("outcome %v", o)
		}
	}
	if i, _ := w.log.Info("s/telemetry", 0); i.Next != n {
		t.Errorf("%d are stored", i.Next)
	}
}

func TestCase13Batches(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s, r := c.sender("telemetry/Partitions/1", nil), c.receiver(first+"1", "", 100, nil)
	n := int64(0)
	for _, size := range []int{1, 2, 500} {
		events := make([][]byte, size)
		for i := range events {
			events[i] = encoded(t, strconv.FormatInt(n+int64(i), 10))
		}
		w.send(s, events...)
		for range events {
			if _, m := w.next(r); sequence(m) != n || string(m.Data[0]) != strconv.FormatInt(n, 10) {
				t.Fatalf("event %d is %d: %q", n, sequence(m), m.Data)
			}
			n++
		}
	}
}

func TestCase14Sizes(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s, r := c.sender("telemetry/Partitions/0", nil), c.receiver(first+"0", "", 10, nil)
	large := strings.Repeat("l", 1_040_000)
	w.send(s, encoded(t, large))
	if _, m := w.next(r); string(m.Data[0]) != large {
		t.Errorf("%d bytes came back", len(m.Data[0]))
	}
	err := s.SendAccepted(w.ctx, batch(t, nil, encoded(t, large), encoded(t, large)), batchFormat)
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != amqp.ConditionMessageSizeExceeded {
		t.Errorf("2 MB: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("the link ended: %v", err)
	}
	w.send(s, encoded(t, "after"))
}

func TestCase15EverythingComesBack(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s, r := c.sender("telemetry/Partitions/0", nil), c.receiver(first+"0", "", 10, nil)
	for name, m := range map[string]*amqp.Message{
		"data": {Data: [][]byte{{0, 1}, {2}}}, "value": {HasValue: true, Value: amqp.Map{{Key: "k", Value: int8(-1)}}}, "sequence": {Sequence: []amqp.List{{"a", uint16(1)}}},
		"rich": {
			Header: &amqp.Header{Durable: true, TTL: amqp.Some(uint32(5))}, MessageAnnotations: amqp.Map{{Key: amqp.Symbol("x-own"), Value: amqp.UUID{1}}},
			Properties:            &amqp.Properties{MessageID: uint64(7), CorrelationID: amqp.UUID{2}, UserID: []byte("u"), To: "t", Subject: "s", GroupSequence: amqp.Some(uint32(9))},
			ApplicationProperties: amqp.Map{{Key: "bool", Value: true}, {Key: "double", Value: math.Pi}, {Key: "time", Value: amqp.Timestamp(1)}, {Key: "char", Value: amqp.Char('ß')}, {Key: "null", Value: nil}},
			Data:                  [][]byte{{}}, Footer: amqp.Map{{Key: amqp.Symbol("f"), Value: int64(1)}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			w.send(s, b)
			_, got := w.next(r)
			var own amqp.Map
			for _, p := range got.MessageAnnotations {
				if k, _ := p.Key.(amqp.Symbol); !strings.HasPrefix(string(k), "x-opt-") {
					own = append(own, p)
				}
			}
			got.MessageAnnotations = own
			if again, err := got.Append(nil); err != nil || string(again) != string(b) {
				t.Errorf("%v\nsent %x\ngot  %x", err, b, again)
			}
		})
	}
}

func TestCase16Partitions(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s := c.sender("telemetry", nil)
	// abs(h % 4) of the published vectors.
	for key, h := range map[string]int{"a": -16220, "pk1": 13741, "device-1": 26788, "abcdefghijklm": -31855} {
		want := h % 4
		if want < 0 {
			want = -want
		}
		before, _ := w.log.Info("s/telemetry", want)
		annotation := amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: key}
		if err := s.SendAccepted(w.ctx, batch(t, amqp.Map{annotation}, encoded(t, key, annotation), encoded(t, key, annotation)), batchFormat); err != nil {
			t.Fatal(err)
		}
		if after, _ := w.log.Info("s/telemetry", want); after.Next != before.Next+2 {
			t.Errorf("%s is not in partition %d", key, want)
			continue
		}
		r := c.receiver(first+strconv.Itoa(want), "x-opt-sequence-number >= '"+strconv.FormatInt(before.Next, 10)+"'", 1, nil)
		if _, m := w.next(r); m.MessageAnnotations.Get("x-opt-partition-key") != key {
			t.Errorf("annotations %v", m.MessageAnnotations)
		}
		if err := r.Detach(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	var before, after [4]int64
	for p := range before {
		i, _ := w.log.Info("s/telemetry", p)
		before[p] = i.Next
	}
	for range 8 {
		w.send(s, encoded(t, "in turn"))
	}
	for p := range after {
		i, _ := w.log.Info("s/telemetry", p)
		after[p] = i.Next - before[p]
	}
	if after != [4]int64{2, 2, 2, 2} {
		t.Errorf("eight events without a key are in %v", after)
	}
	w.send(c.sender("telemetry/Partitions/3", nil), encoded(t, "there"))
	if i, _ := w.log.Info("s/telemetry", 3); i.Next != before[3]+3 {
		t.Error("an event sent to a partition is elsewhere")
	}
}

func producer(properties ...amqp.Pair) func(*amqp.Attach) {
	return func(a *amqp.Attach) {
		a.DesiredCapabilities = []amqp.Symbol{"com.microsoft:georeplication", "com.microsoft:idempotent-producer"}
		a.Properties = properties
	}
}

func stamp(id int64, epoch int16, sequence int32) []amqp.Pair {
	return []amqp.Pair{
		{Key: amqp.Symbol("com.microsoft:producer-id"), Value: id}, {Key: amqp.Symbol("com.microsoft:producer-epoch"), Value: epoch},
		{Key: amqp.Symbol("com.microsoft:producer-sequence-number"), Value: sequence},
	}
}

func TestCase23IdempotentProducers(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	state := func(s *amqptest.Sender) (id int64, epoch int16, last int32) {
		t.Helper()
		p := s.Peer().Properties
		id, ok1 := p.Get("com.microsoft:producer-id").(int64)
		epoch, ok2 := p.Get("com.microsoft:producer-epoch").(int16)
		last, ok3 := p.Get("com.microsoft:producer-sequence-number").(int32)
		if !ok1 || !ok2 || !ok3 {
			t.Fatalf("properties %v", p)
		}
		return id, epoch, last
	}
	s := c.sender("telemetry/Partitions/0", producer())
	id, epoch, last := state(s)
	if id < 1 || last != -1 {
		t.Fatalf("producer %d, epoch %d, last %d", id, epoch, last)
	}
	send := func(s *amqptest.Sender, id int64, epoch int16, from int32, n int) error {
		events := make([][]byte, n)
		for i := range events {
			events[i] = encoded(t, fmt.Sprint(from+int32(i)), stamp(id, epoch, from+int32(i))...)
		}
		return s.SendAccepted(w.ctx, batch(t, stamp(id, epoch, from), events...), batchFormat)
	}
	stored := func(want int64) {
		t.Helper()
		if i, _ := w.log.Info("s/telemetry", 0); i.Next != want {
			t.Errorf("%d are stored, want %d", i.Next, want)
		}
	}
	wants := func(err error, condition amqp.Symbol) {
		t.Helper()
		if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Condition != condition {
			t.Errorf("%v, want %s", err, condition)
		}
	}
	if err := send(s, id, epoch, 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := send(s, id, epoch, 0, 3); err != nil { // again
		t.Fatal(err)
	}
	stored(3)
	wants(send(s, id, epoch, 5, 1), "com.microsoft:out-of-order-sequence")
	wants(send(s, id+1, epoch, 3, 1), "com.microsoft:argument-error")
	stored(3)

	// It comes back, and knows of nothing that was stored: what it sends again must bear the same numbers.
	back := c.sender("telemetry/Partitions/0", producer(stamp(id, epoch, -1)...))
	if i, e, l := state(back); i != id || e != epoch || l != -1 {
		t.Errorf("producer %d, epoch %d, last %d", i, e, l)
	}
	if err := send(back, id, epoch, 0, 3); err != nil {
		t.Error(err)
	}
	stored(3)
	// Another takes it over with a new epoch.
	newer := c.sender("telemetry/Partitions/0", producer(stamp(id, epoch+1, 2)...))
	if _, e, l := state(newer); e != epoch+1 || l != 2 {
		t.Errorf("epoch %d, last %d", e, l)
	}
	wants(send(back, id, epoch, 3, 1), "com.microsoft:producer-epoch-stolen")
	if err := send(newer, id, epoch+1, 3, 2); err != nil {
		t.Error(err)
	}
	stored(5)
	if e := c.refusedSender("telemetry/Partitions/0", producer(stamp(id, epoch, 4)...)); e.Condition != "com.microsoft:producer-epoch-stolen" {
		t.Errorf("refused with %v", e)
	}
	if i, _, l := state(c.sender("telemetry/Partitions/0", producer(stamp(id+100, 1, 4)...))); i == id || l != -1 {
		t.Errorf("an unknown producer is %d with last %d", i, l)
	}
	if i, _, l := state(c.sender("telemetry/Partitions/0", producer(amqp.Pair{Key: amqp.Symbol("com.microsoft:producer-id")}))); i < 1 || l != -1 {
		t.Errorf("null properties give %d with last %d", i, l)
	}
	if e := c.refusedSender("telemetry", producer()); e.Condition != amqp.ConditionNotAllowed {
		t.Errorf("refused with %v", e)
	}
	// On other links numbers mean nothing, and nobody sees them later.
	if err := send(c.sender("telemetry/Partitions/0", nil), id, epoch, 77, 1); err != nil {
		t.Error(err)
	}
	r := c.receiver(first+"0", "x-opt-sequence-number > '4'", 1, nil)
	if _, m := w.next(r); m.MessageAnnotations.Get("com.microsoft:producer-id") != nil {
		t.Errorf("annotations %v", m.MessageAnnotations)
	}
}

// What the log or the event hub says comes out as the condition of the door's table; nothing hangs.
func TestCase24Rejections(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	e := w.dir.entities["telemetry"]
	c := w.all()
	s := c.sender("telemetry", nil)
	for kind, want := range map[fault.Kind]amqp.Symbol{
		fault.Exhausted: "com.microsoft:server-busy", fault.Unavailable: "com.microsoft:server-busy", fault.Timeout: "com.microsoft:timeout",
		fault.Internal: amqp.ConditionInternalError, fault.Denied: amqp.ConditionUnauthorizedAccess, fault.TooLarge: amqp.ConditionMessageSizeExceeded,
	} {
		var err error = fault.New("test", kind, "words")
		e.fails.Store(&err)
		got, ok := errors.AsType[*amqp.Error](s.SendAccepted(w.ctx, encoded(t, "x"), 0))
		if !ok || got.Condition != want {
			t.Errorf("%s: %v", kind, got)
		}
		if kind == fault.Denied && !strings.HasPrefix(got.Description, "Unauthorized access. 'Send' claim(s) are required") {
			t.Errorf("read only: %s", got.Description)
		}
	}
	e.fails.Store(nil)
	for name, m := range map[string]struct {
		format  uint32
		payload []byte
	}{
		"no message":     {0, []byte("hello")},
		"no batch":       {batchFormat, encoded(t, "x")},
		"strange format": {99, encoded(t, "x")},
		"a long key":     {0, encoded(t, "x", amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: strings.Repeat("k", 200)})},
		"empty":          {batchFormat, batch(t, nil)},
	} {
		got, ok := errors.AsType[*amqp.Error](s.SendAccepted(w.ctx, m.payload, m.format))
		if !ok || got.Condition != "com.microsoft:argument-error" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if err := s.SendAccepted(w.ctx, encoded(t, "x"), 0); err != nil {
		t.Error(err)
	}
}

func TestSettledTransfersAreTakenToo(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	s := c.sender("telemetry/Partitions/0", nil)
	for range 2500 { // more than the credit of one grant
		if err := s.Start(w.ctx, encoded(t, "x"), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.log.Wait(context.Background(), "s/telemetry", 0, 2499); err != nil {
		t.Error(err)
	}
	_ = eventlog.MaxBatchEvents
}
