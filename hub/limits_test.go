package hub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// flood sends as fast as the hub takes it, and returns how many messages that were.
func flood(ctx context.Context, s *hub.Session, body []byte) int {
	n := 0
	for ctx.Err() == nil {
		s.Submit(body, s.Plain(), func(eventlog.Position, error) {})
		n++
	}
	return n
}

// Five devices run away, each for more than the hub has; twenty others send a message each fifty milliseconds. In the time of a bubble
// only waiting takes time, so what a message of theirs took is what it was held back.
func TestARunawaySlowsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoutedOn(t, hub.Config{Limits: limit.Limits{
			Device: limit.Rates{limit.Messages: {PerSecond: 400, Burst: 400}}, Hub: limit.Rates{limit.Messages: {PerSecond: 1000, Burst: 1000}},
		}}, clock.System{}, func(l hub.EventLog) hub.EventLog { return nowhere{l} })
		defer r.stop()
		const seconds = 60
		ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		var all sync.WaitGroup
		var runaway [5]int
		for i := range runaway {
			s := r.connect(fmt.Sprintf("runaway-%d", i))
			defer s.End()
			all.Go(func() { runaway[i] = flood(ctx, s, nil) })
		}
		var mu sync.Mutex
		calm, held, longest := 0, 0, time.Duration(0)
		for i := range 20 {
			s := r.connect(fmt.Sprintf("calm-%d", i))
			defer s.End()
			all.Go(func() {
				for ctx.Err() == nil {
					before := time.Now()
					s.Submit(nil, s.Plain(), func(eventlog.Position, error) {})
					took := time.Since(before)
					mu.Lock()
					calm++
					if took > 0 {
						held++
					}
					longest = max(longest, took)
					mu.Unlock()
					time.Sleep(50*time.Millisecond - took)
				}
			})
		}
		all.Wait()
		total := 0
		for _, n := range runaway {
			total += n
		}
		if want := 20 * 20 * seconds; held > 0 || calm < want {
			t.Errorf("%d of %d messages of calm devices were held back, the longest for %v; without others %d are sent", held, calm, longest, want)
		}
		// What the calm ones leave over, no more and not much less.
		if left := (1000-400)*seconds + 1000; total > left+50 || total < left*9/10 {
			t.Errorf("the runaways sent %d, %d were left over", total, left)
		}
		for i, n := range runaway {
			if share := total / len(runaway); n < share/2 || n > share*2 {
				t.Errorf("runaway %d sent %d of %d: they do not share alike", i, n, total)
			}
		}
		x, err := r.hub.Why(t.Context(), hub.Name{Device: "runaway-0"})
		check(t, err)
		if len(x.Throttling) != 1 || !x.Throttling[0].Now || x.Throttling[0].Class != "messages" || !found(x, "over the limit of messages now") {
			t.Errorf("why: %+v", x)
		}
		if x, err = r.hub.Why(t.Context(), hub.Name{Device: "calm-0"}); err != nil || len(x.Throttling) > 0 {
			t.Errorf("why calm: %+v, %v", x.Throttling, err)
		}
	})
}

func found(x hub.Explanation, words string) bool {
	for _, f := range x.Findings {
		if strings.Contains(f.What, words) {
			return true
		}
	}
	return false
}

// A device that is held back is cut as fast as any other.
func TestADeviceThatIsHeldBackCanBeCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoutedOn(t, hub.Config{Limits: limit.Limits{Device: limit.Rates{limit.Messages: {PerSecond: 0.01, Burst: 1}}}}, clock.System{},
			func(l hub.EventLog) hub.EventLog { return nowhere{l} })
		defer r.stop()
		s := r.connect("d")
		defer s.End()
		check(t, send(s, "1", nil))
		sent := make(chan time.Duration, 1)
		begin := time.Now()
		go func() {
			_ = send(s, "2", nil) // stored or not, it was not acknowledged to anybody who still listens
			sent <- time.Since(begin)
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		d, err := r.hub.Device(t.Context(), "d")
		check(t, err)
		disabled := d.Device
		disabled.Status = hubstore.Disabled
		_, err = r.hub.UpdateDevice(t.Context(), disabled, hub.AnyETag)
		check(t, err)
		if took := <-sent; took > 2*time.Second {
			t.Errorf("it was let go after %v", took)
		}
		x, err := r.hub.Why(t.Context(), hub.Name{Device: "d"})
		check(t, err)
		s.End()
		if !found(x, "is disabled") {
			t.Errorf("%+v", x.Findings)
		}
		if x, err = r.hub.Why(t.Context(), hub.Name{Device: "d"}); err != nil || x.Departure == nil || x.Departure.Why != hub.DeviceDisabled.String() || !x.Departure.ByHub {
			t.Errorf("%+v, %v", x.Departure, err)
		}
	})
}

func TestRefusalsOverALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoutedOn(t, hub.Config{Limits: limit.Limits{
			Device: limit.Rates{limit.Messages: {PerSecond: 1, Burst: 2}, limit.Connects: {PerSecond: 1, Burst: 3}, limit.TwinReads: {PerSecond: 1, Burst: 1}},
			Hub:    limit.Rates{limit.Queries: {PerSecond: 1, Burst: 1}},
		}, Tenant: limit.Rates{limit.Jobs: {PerSecond: 1, Burst: 1}}}, clock.System{}, func(l hub.EventLog) hub.EventLog { return nowhere{l} })
		defer r.stop()
		n := hub.Name{Device: "d"}
		s := r.connect("d")
		s.End()
		four := make([]hub.Message, 2)
		check(t, r.hub.SubmitAll(s.Identity, four))
		for _, c := range []struct {
			what string
			err  error
		}{
			{"device d has", r.hub.SubmitAll(s.Identity, four)},
			{"device d has", again(func() error { return failure(r.hub.Admit(limit.TwinReads, n, 1)) })},
			{"all devices of the hub", again(func() error { return failure(r.hub.Admit(limit.Queries, hub.Name{}, 1)) })},
			{"all hubs of tenant ot", again(func() error { return failure(r.hub.Admit(limit.Jobs, hub.Name{}, 1)) })},
		} {
			if code.Of(c.err) != code.Throttled || fault.KindOf(c.err) != fault.Exhausted || !strings.Contains(strings.ReplaceAll(fault.Message(c.err), `"`, ""), c.what) || fault.Next(c.err) == "" {
				t.Errorf("%s: %v, next %q", c.what, c.err, fault.Next(c.err))
			}
		}
		if wait, err := r.hub.Admit(limit.TwinReads, n, 1); err == nil || wait <= 0 || wait > time.Second {
			t.Errorf("it is to wait %v, %v", wait, err)
		}
		// Of another tenant.
		if other, _ := r.server.ByName("other.azure-devices.net"); other != nil {
			if _, err := other.Admit(limit.Queries, hub.Name{}, 1); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		check(t, r.hub.SubmitAll(s.Identity, four))
		if _, err := r.hub.SetLimits(t.Context(), []byte("null"), "test"); err != nil {
			t.Error(err)
		}
	})
}

func again(do func() error) error {
	if err := do(); err != nil {
		return fault.Wrap("test", fault.Internal, err, "the first was refused")
	}
	return do()
}

func TestWhy(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	n := hub.Name{Device: "sensor-1"}
	why := func() hub.Explanation {
		t.Helper()
		x, err := r.hub.Why(ctx, n)
		check(t, err)
		if len(x.Findings) == 0 {
			t.Errorf("nothing is found: %+v", x)
		}
		return x
	}
	if x := why(); x.Identity != nil || !found(x, "has no device") || !x.Findings[0].Bad || x.Findings[0].Next == "" {
		t.Errorf("unknown: %+v", x)
	}
	s := r.connect("sensor-1")
	s.Listen(hub.Methods, true)
	if x := why(); x.Session == nil || x.Session.Side != "public" || len(x.Session.Listens) != 1 || !found(x, "connected over test") || x.Twin == nil || x.Twin.Version < 1 {
		t.Errorf("connected: %+v", x)
	}
	r.server.Refuse("test", hub.Side{Peer: public.Peer, ServerName: host}, "sensor-1", fault.New("x", fault.Denied, "wrong key").Advise("give it the right one"))
	r.server.Refuse("test", hub.Side{Peer: public.Peer, ServerName: "other.azure-devices.net"}, "sensor-1", fault.New("x", fault.Denied, "of another hub"))
	if x := why(); len(x.Refusals) != 1 || x.Refusals[0].Why != "wrong key" || !found(x, "somebody else called itself") {
		t.Errorf("refused: %+v", x.Refusals)
	}
	s.Leave("it said goodbye")
	s.End()
	if x := why(); x.Session != nil || x.Departure == nil || !found(x, "it said goodbye") || x.Departure.ByHub {
		t.Errorf("gone: %+v", x)
	}
	_, err := r.hub.SendCommand(ctx, n, hub.Command{Body: []byte("x")})
	check(t, err)
	check(t, r.hub.SetFallback(ctx, false, "test"))
	s = r.connect("sensor-1")
	defer s.End()
	if x := why(); x.Commands != 1 || !found(x, "1 cloud-to-device messages wait") || !found(x, "acknowledged and dropped") {
		t.Errorf("waiting: %+v", x)
	}
	check(t, r.hub.PutRoute(ctx, route1("mine", "$connectionDeviceId = 'sensor-1'", "events"), "test"))
	check(t, r.hub.PutRoute(ctx, route1("other", "$twin.tags.site = 'x'", "events"), "test"))
	check(t, r.hub.PutRoute(ctx, route1("level", "level = 'x'", "events"), "test"))
	x := why()
	got := map[string]string{}
	for _, one := range x.Routes {
		got[one.Name] = one.Matches
	}
	if got["mine"] != "yes" || got["other"] != "no" || got["level"] != "by message" || found(x, "dropped") {
		t.Errorf("routes: %v", got)
	}
	if strings.Contains(fmt.Sprintf("%+v", x), "Key") {
		t.Errorf("a key: %+v", x)
	}
	if _, err := r.hub.Why(ctx, hub.Name{Device: "a b"}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
