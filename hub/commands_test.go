package hub_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
)

// send queues a message named after its id, and returns it as it is there.
func (w *world) send(n hub.Name, id string, more ...func(*hub.Command)) hub.Command {
	w.t.Helper()
	c := hub.Command{MessageID: id, Body: []byte(id), Ack: hub.AckFull}
	for _, f := range more {
		f(&c)
	}
	c, err := w.hub().SendCommand(w.t.Context(), n, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) receive(n hub.Name) *hub.Command {
	w.t.Helper()
	c, err := w.hub().ReceiveCommand(w.t.Context(), n, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) sweep() {
	w.t.Helper()
	if err := w.hub().Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) depth(n hub.Name) int {
	w.t.Helper()
	d, err := w.hub().Depth(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// feedback takes all that is there, as "id Status" in the order it came.
func (w *world) feedback() (out []string) {
	w.t.Helper()
	s := w.hub().CommandSettings()
	now := s
	now.FeedbackDelay = 0
	if err := w.hub().SetCommandSettings(w.t.Context(), now); err != nil {
		w.t.Fatal(err)
	}
	for {
		b, err := w.hub().ReceiveFeedback(w.t.Context(), 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if b == nil {
			break
		}
		for _, f := range b.Records {
			out = append(out, f.OriginalMessageID+" "+f.Status)
		}
		if err := w.hub().CompleteFeedback(w.t.Context(), b.Lock); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.hub().SetCommandSettings(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func wantFeedback(t *testing.T, w *world, want ...string) {
	t.Helper()
	if got := w.feedback(); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("feedback %q, want %q", got, want)
	}
}

func TestACommandArrivesAsItWasSent(t *testing.T) { // C21
	for _, n := range []hub.Name{device, module} {
		w := newWorld(t)
		p := w.play(n, hub.Commands)
		if !p.told() || p.next() != nil {
			t.Error("whoever begins to listen looks once, and finds nothing")
		}
		full := hub.Command{
			MessageID: "m", CorrelationID: "c", UserID: "u", To: "/Devices/D/messages/deviceBound", ContentType: "application/json", ContentEncoding: "utf-8", Ack: "Positive",
			Expires: start.Add(time.Minute), Properties: map[string]string{"k": "v", "empty": "", "ünicode": "é\n"}, Body: []byte{0, 255},
		}
		sent, err := w.hub().SendCommand(t.Context(), n, full)
		if err != nil {
			t.Fatal(err)
		}
		full.Ack, full.Sequence, full.Enqueued = "positive", sent.Sequence, start
		if !reflect.DeepEqual(sent, full) {
			t.Errorf("queued %+v, want %+v", sent, full)
		}
		plain := w.send(n, "", func(c *hub.Command) { c.Ack = "" })
		if plain.Ack != hub.AckNone || plain.To != "/"+strings.ReplaceAll("devices/"+n.String(), "/m", "/modules/m")+"/messages/devicebound" || !plain.Expires.Equal(start.Add(time.Hour)) || plain.Sequence <= sent.Sequence {
			t.Errorf("without anything: %+v", plain)
		}
		if !p.told() || w.depth(n) != 2 {
			t.Error("the session is not told")
		}
		for _, want := range []hub.Command{full, plain} {
			got := p.next()
			if got == nil || got.Lock == "" {
				t.Fatalf("given %+v", got)
			}
			want.Lock = got.Lock
			if len(want.Body) == 0 {
				want.Body = got.Body
			}
			if len(got.Body) != len(want.Body) || !reflect.DeepEqual(*got, want) {
				t.Errorf("given %+v, want %+v", *got, want)
			}
			if err := wait(p.Complete, got.Lock); err != nil {
				t.Error(err)
			}
			if err := wait(p.Complete, got.Lock); code.Of(err) != code.MessageLockLost {
				t.Errorf("twice: %v", err)
			}
		}
		if p.next() != nil || w.depth(n) != 0 {
			t.Error("something is left")
		}
		wantFeedback(t, w, "m Success")
		p.End()
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	for _, c := range []struct {
		name string
		to   hub.Name
		c    hub.Command
		want code.Code
	}{
		{"no such device", hub.Name{Device: "x"}, hub.Command{}, code.DeviceNotFound},
		{"no such module", hub.Name{Device: "d", Module: "x"}, hub.Command{}, code.ModuleNotFound},
		{"a strange ack", device, hub.Command{Ack: "maybe"}, code.ArgumentInvalid},
		{"too large", device, hub.Command{Body: make([]byte, hub.MaxCommand)}, code.MessageTooLarge},
		{"too many properties", device, hub.Command{Properties: map[string]string{"k": strings.Repeat("x", hub.MaxCommand)}}, code.MessageTooLarge},
		{"a property without a name", device, hub.Command{Properties: map[string]string{"": "x"}}, code.ArgumentInvalid},
		{"no text", device, hub.Command{Properties: map[string]string{"x": "\xff"}}, code.ArgumentInvalid},
		{"a zero byte", device, hub.Command{MessageID: "a\x00"}, code.ArgumentInvalid},
	} {
		if _, err := w.hub().SendCommand(t.Context(), c.to, c.c); err == nil || code.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want.Name)
		}
	}
	if _, err := w.hub().PurgeCommands(t.Context(), hub.Name{Device: "x"}); code.Of(err) != code.DeviceNotFound {
		t.Errorf("purge of nobody: %v", err)
	}
	for _, lock := range []time.Duration{-1, time.Second, 301 * time.Second} {
		if _, err := w.hub().ReceiveCommand(t.Context(), device, lock); code.Of(err) != code.ArgumentInvalid {
			t.Errorf("lock of %v: %v", lock, err)
		}
	}
	// As large as it may be, with the longest life there is.
	c := w.send(device, "m", func(c *hub.Command) {
		c.To, c.Expires = "t", start.Add(time.Hour*24*365)
		c.Body = make([]byte, hub.MaxCommand-2)
	})
	if !c.Expires.Equal(start.Add(48 * time.Hour)) {
		t.Errorf("it expires %v", c.Expires)
	}
}

func TestTheQueueIsFiftyDeep(t *testing.T) { // C24
	w := newWorld(t)
	w.identity(module)
	for i := range hub.MaxQueue {
		w.send(device, fmt.Sprint(i), func(c *hub.Command) {
			if i == 7 {
				c.Expires = start.Add(time.Minute)
			}
		})
	}
	_, err := w.hub().SendCommand(t.Context(), device, hub.Command{})
	if code.Of(err) != code.QueueDepthExceeded || fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" {
		t.Errorf("one more: %v", err)
	}
	w.send(module, "another queue")
	w.clock.Advance(time.Minute)
	w.send(device, "in its place")
	if _, err := w.hub().SendCommand(t.Context(), device, hub.Command{}); code.Of(err) != code.QueueDepthExceeded {
		t.Errorf("one more: %v", err)
	}
	wantFeedback(t, w, "7 Expired")
	if c := w.receive(device); c.MessageID != "0" || w.depth(device) != hub.MaxQueue { // what somebody has counts
		t.Errorf("%+v, %d deep", c, w.depth(device))
	}
}

func TestWhatTheSenderHears(t *testing.T) { // C22, C27
	for _, ack := range []string{hub.AckNone, hub.AckPositive, hub.AckNegative, hub.AckFull} {
		w := newWorld(t)
		w.identity(device)
		ids := []string{"done", "refused", "late", "purged"}
		for _, id := range ids {
			w.send(device, id, func(c *hub.Command) {
				if c.Ack = ack; id == "late" {
					c.Expires = start.Add(time.Minute)
				}
			})
		}
		if err := w.hub().CompleteCommand(t.Context(), device, strings.ToUpper(w.receive(device).Lock)); err != nil {
			t.Error(err)
		}
		if err := w.hub().RejectCommand(t.Context(), device, w.receive(device).Lock); err != nil {
			t.Error(err)
		}
		w.clock.Advance(time.Minute)
		w.sweep()
		if n, err := w.hub().PurgeCommands(t.Context(), device); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		all := []string{"done Success", "refused Rejected", "late Expired", "purged Purged"}
		wantFeedback(t, w, map[string][]string{hub.AckPositive: all[:1], hub.AckNegative: all[1:], hub.AckFull: all}[ack]...)
	}
}

func TestTenAbandonsAreTheEnd(t *testing.T) { // C22, C23
	w := newWorld(t)
	w.identity(device)
	w.send(device, "a")
	w.send(device, "b")
	for i := range 10 {
		c := w.receive(device)
		if c.MessageID != "a" || c.DeliveryCount != i {
			t.Fatalf("the %dth time %+v", i+1, c)
		}
		if err := w.hub().AbandonCommand(t.Context(), device, c.Lock); err != nil {
			t.Fatal(err)
		}
		if err := w.hub().AbandonCommand(t.Context(), device, c.Lock); code.Of(err) != code.MessageLockLost {
			t.Errorf("twice: %v", err)
		}
	}
	wantFeedback(t, w, "a DeliveryCountExceeded")
	if c := w.receive(device); c.MessageID != "b" {
		t.Errorf("%+v", c)
	}
}

func TestALockLapses(t *testing.T) { // C23
	w := newWorld(t)
	p := w.play(device, hub.Commands)
	defer p.End()
	w.send(device, "a", func(c *hub.Command) { c.Expires = start.Add(65 * time.Second) })
	first := w.receive(device)
	if p.next() != nil || w.receive(device) != nil {
		t.Error("two have it")
	}
	w.clock.Advance(time.Minute - 1)
	p.told()
	w.sweep()
	if p.told() || p.next() != nil {
		t.Error("it came back too early")
	}
	w.clock.Advance(1)
	if err := w.hub().CompleteCommand(t.Context(), device, first.Lock); code.Of(err) != code.MessageLockLost || fault.KindOf(err) != fault.Precondition {
		t.Errorf("too late: %v", err)
	}
	w.sweep()
	if !p.told() {
		t.Error("the session is not told that it came back")
	}
	again := p.next()
	if again == nil || again.DeliveryCount != 1 || again.Lock == first.Lock {
		t.Fatalf("%+v", again)
	}
	w.clock.Advance(time.Hour) // expired meanwhile, but somebody has it
	w.sweep()
	if err := wait(p.Abandon, again.Lock); err != nil {
		t.Error(err)
	}
	if p.next() != nil {
		t.Error("it is expired")
	}
	wantFeedback(t, w, "a Expired")
}

func TestWhatASessionHadComesAgain(t *testing.T) { // C10, C25, C26
	w := newWorld(t)
	ids := func(p *player) (out []string, locks []string) {
		for c := p.next(); c != nil; c = p.next() {
			out = append(out, fmt.Sprint(c.MessageID, c.DeliveryCount))
			locks = append(locks, c.Lock)
		}
		return out, locks
	}
	first := w.play(device, 0)
	for _, id := range []string{"a", "b", "c"} {
		w.send(device, id)
	}
	if first.told() {
		t.Error("it does not listen yet")
	}
	first.Listen(hub.Commands, true)
	if !first.told() {
		t.Error("it listens and is not told")
	}
	got, locks := ids(first)
	if strings.Join(got, " ") != "a0 b0 c0" {
		t.Errorf("first %q", got)
	}
	if err := wait(first.Complete, locks[0]); err != nil {
		t.Error(err)
	}
	// It comes again with a new token before its old connection is noticed to be gone.
	second := w.play(device, hub.Commands)
	if first.cuts.last() != hub.TakenOver {
		t.Error("the old one stays")
	}
	if err := wait(first.Complete, locks[1]); err != nil { // on its way already, and nobody else was given it
		t.Error(err)
	}
	if first.next() != nil {
		t.Error("a session that was taken over is given something")
	}
	got, again := ids(second)
	if strings.Join(got, " ") != "c1" {
		t.Errorf("second %q", got)
	}
	if err := wait(first.Complete, locks[2]); code.Of(err) != code.MessageLockLost {
		t.Errorf("somebody else has it: %v", err)
	}
	first.End()
	if err := wait(second.Complete, again[0]); err != nil { // the end of the old one took nothing away
		t.Error(err)
	}
	wantFeedback(t, w, "a Success", "b Success", "c Success")

	w.send(device, "d")
	if got, _ := ids(second); strings.Join(got, " ") != "d0" {
		t.Errorf("%q", got)
	}
	second.End()
	third := w.play(device, hub.Commands)
	defer third.End()
	until(t, "what the session had comes back", func() bool { return w.receive(device) != nil })
}

func TestTheQueueSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	p := w.play(device, hub.Commands)
	for _, id := range []string{"lent", "given", "waiting"} {
		w.send(device, id)
	}
	lent, given := w.receive(device), p.next()
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	p = w.play(device, hub.Commands)
	defer p.End()
	if err := w.hub().CompleteCommand(t.Context(), device, given.Lock); code.Of(err) != code.MessageLockLost {
		t.Errorf("the lock of a session of the process before: %v", err)
	}
	if c := p.next(); c == nil || c.MessageID != "given" || c.DeliveryCount != 1 {
		t.Errorf("%+v", c)
	}
	if c := p.next(); c == nil || c.MessageID != "waiting" || c.DeliveryCount != 0 {
		t.Errorf("%+v", c)
	}
	if err := w.hub().CompleteCommand(t.Context(), device, lent.Lock); err != nil {
		t.Errorf("a lock that has not lapsed: %v", err)
	}
	if c := w.send(device, "x"); c.Sequence != 4 {
		t.Errorf("numbered %d", c.Sequence)
	}
}

func TestPurgeTakesWhatIsBeingDelivered(t *testing.T) { // C27
	w := newWorld(t)
	p := w.play(device, hub.Commands)
	defer p.End()
	w.send(device, "a")
	w.send(device, "b")
	c := p.next()
	if n, err := w.hub().PurgeCommands(t.Context(), device); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := w.hub().PurgeCommands(t.Context(), device); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if err := wait(p.Complete, c.Lock); code.Of(err) != code.MessageLockLost {
		t.Errorf("completed: %v", err)
	}
	wantFeedback(t, w, "a Purged", "b Purged")
}

func TestADeletedDeviceTakesItsQueueAlong(t *testing.T) {
	w := newWorld(t)
	w.identity(module)
	w.send(device, "a")
	w.send(module, "b")
	if err := w.hub().DeleteDevice(t.Context(), "d", hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	w.identity(module)
	if w.depth(device) != 0 || w.depth(module) != 0 {
		t.Error("the next one of the same name has its messages")
	}
	wantFeedback(t, w, "a Purged", "b Purged")
}

func TestCommandSettings(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	ctx := t.Context()
	s := w.hub().CommandSettings()
	if s != hub.DefaultCommandSettings() || s.Check() != nil {
		t.Errorf("to begin with %+v", s)
	}
	for name, spoil := range map[string]func(*hub.CommandSettings){
		"defaultTtl":            func(s *hub.CommandSettings) { s.DefaultTTL = 49 * time.Hour },
		"maxDelivery":           func(s *hub.CommandSettings) { s.MaxDeliveryCount = 0 },
		"lockDuration":          func(s *hub.CommandSettings) { s.Lock = 4 * time.Second },
		"feedbackTtl":           func(s *hub.CommandSettings) { s.FeedbackTTL = time.Second },
		"feedbackLock":          func(s *hub.CommandSettings) { s.FeedbackLock = time.Hour },
		"feedbackMaxDelivery":   func(s *hub.CommandSettings) { s.FeedbackDeliveries = 101 },
		"feedbackDelayInSecond": func(s *hub.CommandSettings) { s.FeedbackDelay = time.Millisecond },
	} {
		bad := s
		spoil(&bad)
		if err := w.hub().SetCommandSettings(ctx, bad); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.UnmarshalJSON([]byte(`{"maxDeliveryCount":1,"lockDurationInSeconds":5,"defaultTtlInSeconds":120}`)); err != nil {
		t.Fatal(err)
	}
	if s.UnmarshalJSON([]byte(`{"maxDeliveries":1}`)) == nil {
		t.Error("an unknown name is taken")
	}
	if err := w.hub().SetCommandSettings(ctx, s); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if got := w.hub().CommandSettings(); got != s || got.MaxDeliveryCount != 1 || got.FeedbackTTL != time.Hour {
			t.Errorf("they are %+v", got)
		}
	}
	check()
	if c := w.send(device, "a"); !c.Expires.Equal(start.Add(2 * time.Minute)) {
		t.Errorf("%+v", c)
	}
	c := w.receive(device)
	w.clock.Advance(5 * time.Second)
	w.sweep()
	if err := w.hub().CompleteCommand(ctx, device, c.Lock); code.Of(err) != code.MessageLockLost {
		t.Error(err)
	}
	wantFeedback(t, w, "a DeliveryCountExceeded")
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	check()
}

func TestWhatCouldNotBeGivenBackIsGivenBackLater(t *testing.T) {
	w := newWorld(t)
	p := w.play(device, hub.Commands)
	defer p.End()
	w.send(device, "a")
	if p.next() == nil || w.receive(device) != nil {
		t.Fatal("the session does not have it")
	}
	p.Owe()
	w.sweep()
	if c := w.receive(device); c == nil || c.DeliveryCount != 1 {
		t.Errorf("%+v", c)
	}
}

// TestTakeoversCompleteEachCommandOnce lets sessions of one device push each other out while messages come and are completed.
func TestTakeoversCompleteEachCommandOnce(t *testing.T) { // C10, gotcha 25
	w := newWorld(t)
	w.unlimited()
	w.identity(device)
	s := w.hub().CommandSettings()
	s.MaxDeliveryCount = 100
	if err := w.hub().SetCommandSettings(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	const messages, sessions = 150, 25
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; i < messages; {
			_, err := w.hub().SendCommand(t.Context(), device, hub.Command{MessageID: fmt.Sprint(i)})
			switch {
			case err == nil:
				i++
			case code.Of(err) != code.QueueDepthExceeded:
				t.Error(err)
				return
			}
		}
	})
	var mu sync.Mutex
	completed := map[string]int{}
	drain := func(p *player) {
		for {
			c, err := p.NextCommand(t.Context())
			if err != nil {
				t.Error(err)
			}
			if c == nil {
				return
			}
			p.Complete(c.Lock, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					completed[c.MessageID]++
				} else if code.Of(err) != code.MessageLockLost {
					t.Error(err)
				}
			})
		}
	}
	for range sessions {
		p := w.play(device, hub.Commands)
		all.Go(func() {
			drain(p)
			p.End()
		})
	}
	last := w.play(device, hub.Commands)
	defer last.End()
	until(t, "everything is delivered", func() bool {
		drain(last)
		mu.Lock()
		defer mu.Unlock()
		return len(completed) == messages
	})
	all.Wait()
	for id, n := range completed {
		if n != 1 {
			t.Errorf("%s was completed %d times", id, n)
		}
	}
	if w.depth(device) != 0 {
		t.Errorf("%d are left", w.depth(device))
	}
}

func TestRunSettlesWhatExpires(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	w.send(device, "a", func(c *hub.Command) { c.Expires = start.Add(time.Minute) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	until(t, "it gets rid of what is expired", func() bool {
		w.clock.Advance(time.Second)
		return w.depth(device) == 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantFeedback(t, w, "a Expired")
}
