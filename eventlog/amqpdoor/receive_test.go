package amqpdoor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestCase17Positions(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	clk := clock.NewFake(at)
	w := newWorld(t, amqpdoor.Config{}, clk)
	c := w.all()
	s := c.sender("telemetry/Partitions/0", nil)
	offsets := make([]int64, 10)
	for i := range offsets {
		w.send(s, encoded(t, strconv.Itoa(i)))
		info, _ := w.log.Info("s/telemetry", 0)
		offsets[i] = info.LastOffset
		clk.Advance(time.Second)
	}
	at5 := at.Add(5 * time.Second).UnixMilli()
	for filter, want := range map[string]int64{
		"":                                                0,
		"x-opt-offset > '-1'":                             0,
		"x-opt-offset >= '-1'":                            0,
		"x-opt-offset > '@latest'":                        10,
		"x-opt-sequence-number >= '@latest'":              10,
		"x-opt-sequence-number > '-1'":                    0,
		"x-opt-sequence-number > '4'":                     5,
		"x-opt-sequence-number >= '4'":                    4,
		"x-opt-sequence-number > '9'":                     10,
		"x-opt-sequence-number >= '9'":                    9,
		fmt.Sprintf("x-opt-offset > '%d'", offsets[4]):    5,
		fmt.Sprintf("x-opt-offset >= '%d'", offsets[4]):   4,
		fmt.Sprintf("x-opt-offset > '%d'", offsets[4]+1):  5, // between two
		fmt.Sprintf("x-opt-offset > '%d'", offsets[9]):    10,
		fmt.Sprintf("x-opt-enqueued-time > '%d'", at5):    6,
		fmt.Sprintf("x-opt-enqueued-time >= '%d'", at5):   5,
		fmt.Sprintf("x-opt-enqueued-time > '%d'", at5-1):  5,
		"x-opt-enqueued-time > '0'":                       0,
		"x-opt-enqueued-time >= '-9000000000000000000'":   0,
		fmt.Sprintf("x-opt-enqueued-time > '%d'", at5*10): 10,
		"x-opt-enqueued-time > '9223372036854775807'":     10,
	} {
		r := c.receiver(first+"0", filter, 1, nil)
		if want == 10 { // nothing is there yet
			w.send(c.sender("telemetry/Partitions/0", nil), encoded(t, "later"))
			info, _ := w.log.Info("s/telemetry", 0)
			_, m := w.next(r)
			if sequence(m) != info.Next-1 && !strings.Contains(filter, "'9'") && !strings.Contains(filter, strconv.FormatInt(offsets[9], 10)) {
				t.Errorf("%s: begins at %d, not at the newest %d", filter, sequence(m), info.Next-1)
			}
			if sequence(m) < 10 {
				t.Errorf("%s: begins at %d", filter, sequence(m))
			}
		} else if _, m := w.next(r); sequence(m) != want {
			t.Errorf("%s: begins at %d, want %d", filter, sequence(m), want)
		}
		if err := r.Detach(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	info, _ := w.log.Info("s/telemetry", 0)
	last, end := strconv.FormatInt(info.Next-1, 10), strconv.FormatInt(info.LastOffset, 10)
	for filter, want := range map[string]string{
		"x-opt-sequence-number > '1000000'": "The supplied sequence number '1000000' is invalid. The last sequence number in the system is '" + last + "'",
		"x-opt-offset > '100000000'":        "The supplied offset '100000000' is invalid. The last offset in the system is '" + end + "'",
		"x-opt-offset > '1:2:3'":            "The filter ",
	} {
		if e := c.refused(first+"0", filter, nil); e.Condition != "com.microsoft:argument-error" || !strings.HasPrefix(e.Description, want) {
			t.Errorf("%s: %v", filter, e)
		}
	}
	if e := c.refused(first+"1", "x-opt-sequence-number > '0'", nil); !strings.HasSuffix(e.Description, "is '-1'") {
		t.Errorf("an empty partition: %v", e)
	}
}

func TestCase18DeliveriesAreSettled(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	const n = 1000
	w.fill(0, n)
	for _, mode := range []uint8{amqp.SenderUnsettled, amqp.SenderSettled, amqp.SenderMixed} {
		c := w.all()
		r := c.receiver(first+"0", "", 10, func(a *amqp.Attach) { a.SndSettleMode = amqp.Some(mode) })
		if r.Peer().SndSettleMode.Value != mode {
			t.Errorf("settle mode %v is answered with %v", mode, r.Peer().SndSettleMode)
		}
		for i := range int64(n) {
			if d, m := w.next(r); !d.Settled || sequence(m) != i {
				t.Fatalf("event %d is %d, settled %v", i, sequence(m), d.Settled)
			}
		}
		if err := c.Close(w.ctx); err != nil {
			t.Error(err)
		}
	}
	c := w.all() // by hand, and never more than was asked for
	r := c.receiver(first+"0", "", 0, nil)
	for i := range 20 {
		r.Grant(5, false)
		for range 5 {
			w.next(r)
		}
		if r.Credit() != 0 || r.Waiting() != 0 {
			t.Fatalf("after %d: %d wait, credit %d", i*5+5, r.Waiting(), r.Credit())
		}
	}
}

func TestDraining(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	w.fill(0, 3)
	c := w.all()
	r := c.receiver(first+"0", "", 0, nil)
	r.Grant(10, true)
	if err := r.Drained(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := r.Waiting(); n != 3 {
		t.Errorf("drained with %d events of 3", n)
	}
	for range 3 {
		w.next(r)
	}
	r.Grant(10, true) // nothing is there
	if err := r.Drained(w.ctx); err != nil {
		t.Fatal(err)
	}
	r.Grant(1, false)
	w.send(c.sender("telemetry/Partitions/0", nil), encoded(t, "new"))
	if _, m := w.next(r); sequence(m) != 3 {
		t.Errorf("event %d", sequence(m))
	}
	r.Grant(5, false) // waiting already when the drain comes
	r.Grant(0, true)
	if err := r.Drained(w.ctx); err != nil {
		t.Fatal(err)
	}
}

func TestCase22RuntimeMetricWhenDesired(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	w.fill(0, 5)
	c := w.all()
	r := c.receiver(first+"0", "", 1, func(a *amqp.Attach) {
		a.DesiredCapabilities = []amqp.Symbol{"com.microsoft:georeplication", "com.microsoft:enable-receiver-runtime-metric"}
	})
	info, _ := w.log.Info("s/telemetry", 0)
	_, m := w.next(r)
	if m.DeliveryAnnotations.Get("last_enqueued_sequence_number") != int64(4) || m.DeliveryAnnotations.Get("last_enqueued_offset") != strconv.FormatInt(info.LastOffset, 10) ||
		m.DeliveryAnnotations.Get("last_enqueued_time_utc") != amqp.Timestamp(info.LastEnqueued.UnixMilli()) || m.DeliveryAnnotations.Get("runtime_info_retrieval_time_utc") == nil {
		t.Errorf("annotations %v", m.DeliveryAnnotations)
	}
	if _, m := w.next(c.receiver(first+"0", "", 1, nil)); m.DeliveryAnnotations != nil {
		t.Errorf("annotations %v nobody asked for", m.DeliveryAnnotations)
	}
}

func TestCase20Epochs(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	w.fill(0, 3)
	c, other := w.all(), w.all() // one connection each, of one door
	one := c.receiver(first+"0", "", 1, epoch(1, "one"))
	w.next(one)
	stolen := func(err error, want string) {
		t.Helper()
		if e := c.asError(err); e.Condition != amqp.ConditionStolen || e.Description != want {
			t.Errorf("%v\nwant %s", e, want)
		}
	}
	stolen(other.refused(first+"0", "", epoch(0, "LosesBecauseOfLowOwnerLevel")), "Receiver 'one' with a higher epoch '1' already exists. Receiver 'LosesBecauseOfLowOwnerLevel' with epoch 0 cannot be created. "+
		"Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.")
	stolen(other.refused("TELEMETRY/ConsumerGroups/$default/Partitions/0", "", epoch(-1, "plain")), "At least one receiver for the endpoint is created with epoch of '1', and so non-epoch receiver is not allowed. "+
		"Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.")
	if err := one.Err(); err != nil {
		t.Fatalf("case 21: who was refused has hurt who was there: %v", err)
	}
	w.next(one)
	other.receiver("telemetry/ConsumerGroups/analytics/Partitions/0", "", 1, epoch(0, "elsewhere")) // another group, another place
	other.receiver(first+"1", "", 1, nil)
	equal := other.receiver(first+"0", "", 1, epoch(1, "equal"))
	stolen(one.WaitEnd(w.ctx), "New receiver 'equal' with higher epoch of '1' is created hence current receiver 'one' with epoch '1' is getting disconnected. "+
		"If you are recreating the receiver, make sure a higher epoch is used.")
	higher := c.receiver(first+"0", "", 1, epoch(7, "higher"))
	stolen(equal.WaitEnd(w.ctx), "New receiver 'higher' with higher epoch of '7' is created hence current receiver 'equal' with epoch '1' is getting disconnected. "+
		"If you are recreating the receiver, make sure a higher epoch is used.")
	if err := higher.Detach(w.ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		c.receiver(first+"0", "", 1, epoch(-1, fmt.Sprint("r", i)))
	}
	e := other.refused(first+"0", "", nil)
	if e.Condition != amqp.ConditionResourceLimitExceeded || e.Description != "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5. List of connected receivers - r0, r1, r2, r3, r4." {
		t.Errorf("%v", e)
	}
}

func TestAnEpochOustsThoseWithout(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	a, b := c.receiver(first+"0", "", 1, nil), c.receiver(first+"0", "", 1, nil)
	c.receiver(first+"0", "", 1, epoch(0, "x"))
	for _, r := range []*amqptest.Receiver{a, b} {
		if e := c.asError(r.WaitEnd(w.ctx)); e.Condition != amqp.ConditionStolen {
			t.Errorf("%v", e)
		}
	}
}

func TestCase21APlaceIsFreeWhenItsConnectionDies(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	c.receiver(first+"0", "", 1, epoch(9, "dies"))
	c.Abort()
	c = w.all()
	for { // the door hears of it when the pipe is closed, and no later
		r, err := c.session.Receiver(w.ctx, first+"0", 1, epoch(1, "next"))
		if err == nil && r.Err() == nil {
			if s, err := c.Session(w.ctx); err != nil || s.End(w.ctx) != nil { // whatever was on its way has come
				t.Fatal(err)
			}
		}
		if err == nil && r.Err() == nil {
			break
		}
		if err == nil {
			err = r.Err()
		}
		if e := c.asError(err); e.Condition != amqp.ConditionStolen {
			t.Fatal(e)
		}
	}
	if n := w.door.Taken(); n != 1 {
		t.Errorf("%d places are taken", n)
	}
	if err := c.Close(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.served.Wait()
	if n := w.door.Taken(); n != 0 {
		t.Errorf("%d places are taken when all are gone", n)
	}
}

func TestWhoFallsBehindRetentionGoesOn(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	w.fill(0, 10)
	c := w.all()
	r := c.receiver(first+"0", "", 0, nil)
	r.Grant(2, false)
	w.next(r)
	w.next(r)
	if err := w.log.Trim("s/telemetry", 0, 6); err != nil {
		t.Fatal(err)
	}
	info, _ := w.log.Info("s/telemetry", 0)
	r.Grant(1, false)
	if _, m := w.next(r); sequence(m) != 6 || info.First != 6 {
		t.Errorf("goes on with %d: %+v", sequence(m), info)
	}
}

// Device events of a hub are plain in the log, and come out as IoT Hub's.
func TestCase26DeviceEventsComeOut(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	w.dir.entities["telemetry"].devices = true
	if _, err := w.log.AppendTo(w.ctx, "s/telemetry", 0, "dev-1", eventlog.Event{
		Body: []byte("{}"), Properties: map[string]string{"p": "v"}, System: map[string]string{"message-id": "m", "iothub-connection-device-id": "dev-1"},
	}); err != nil {
		t.Fatal(err)
	}
	c := w.all()
	_, m := w.next(c.receiver(first+"0", "", 1, nil))
	if m.Properties == nil || m.Properties.MessageID != "m" || m.ApplicationProperties.Get("p") != "v" || string(m.Data[0]) != "{}" ||
		m.MessageAnnotations.Get("iothub-connection-device-id") != "dev-1" || m.MessageAnnotations.Get("iothub-enqueuedtime") == nil {
		t.Errorf("%+v", m)
	}
}

// Many receivers, each event once to each and in order, while senders send and receivers come and go.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{Readers: 100}, clock.System{})
	const senders, each, readers = 4, 250, 6
	var all sync.WaitGroup
	connected := make([]*client, readers)
	for i := range connected {
		connected[i] = w.all()
	}
	for _, c := range connected {
		all.Go(func() {
			r, err := c.session.Receiver(w.ctx, first+"0", 30, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range int64(senders * each) {
				d, err := r.Next(w.ctx)
				if err != nil {
					t.Error(err)
					return
				}
				m, err := d.Decode()
				if err != nil || sequence(m) != i {
					t.Errorf("event %d is %v, %v", i, m, err)
					return
				}
			}
		})
	}
	from := make([]*client, senders)
	for i := range from {
		from[i] = w.all()
	}
	for _, c := range from {
		all.Go(func() {
			s, err := c.session.Sender(w.ctx, "telemetry/Partitions/0", nil)
			if err != nil {
				t.Error(err)
				return
			}
			b := encoded(t, "x")
			for range each {
				if err := s.SendAccepted(w.ctx, b, 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A receiver that gives ever more credit, as one SDK does while it waits, costs no more than another.
func TestCase19CreditIsLeaveAndNoBuffer(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	c := w.all()
	r := c.receiver(first+"0", "", 0, nil)
	for range 1000 {
		r.Grant(1_000_000, false)
	}
	w.send(c.sender("telemetry/Partitions/0", nil), encoded(t, "x"))
	if _, m := w.next(r); sequence(m) != 0 {
		t.Errorf("event %d", sequence(m))
	}
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("another event, or %v", err)
	}
}

// A message of more frames than the peer's window has goes out as the window opens.
func TestASmallWindow(t *testing.T) {
	w := newWorld(t, amqpdoor.Config{}, clock.System{})
	large := strings.Repeat("l", 300_000)
	w.send(w.all().sender("telemetry/Partitions/0", nil), encoded(t, large))
	w.trust = eventhub.Claim{Rights: eventhub.Listen}
	a, b := net.Pipe()
	w.served.Go(func() { _ = w.engine.Serve(w.ctx, b, w) })
	c, err := amqptest.Dial(w.ctx, a, amqptest.Options{Hostname: host})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	say := func(p amqp.Performative) {
		t.Helper()
		if err := c.Send(w.ctx, 0, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	const window = 2
	say(&amqp.Begin{IncomingWindow: window, OutgoingWindow: 100})
	begin, _, err := amqptest.Expect[*amqp.Begin](w.ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Attach(w.ctx, 0, amqptest.ReceiverFrom("r", 0, first+"0")); err != nil {
		t.Fatal(err)
	}
	next := begin.NextOutgoingID
	flow := func() {
		say(&amqp.Flow{NextIncomingID: amqp.Some(next), IncomingWindow: window, OutgoingWindow: 100, Handle: amqp.Some(uint32(0)), DeliveryCount: amqp.Some(uint32(0)), LinkCredit: amqp.Some(uint32(1))})
	}
	flow()
	var message []byte
	for more := true; more; next++ {
		transfer, f, err := amqptest.Await[*amqp.Transfer](w.ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		message = append(message, f.Payload...)
		if more = transfer.More; more && (next-begin.NextOutgoingID)%window == window-1 {
			next++
			say(&amqp.Flow{NextIncomingID: amqp.Some(next), IncomingWindow: window, OutgoingWindow: 100})
			next--
		}
	}
	if m, err := amqp.Unmarshal(message); err != nil || string(m.Data[0]) != large {
		t.Errorf("%d bytes, %v", len(message), err)
	}
}
