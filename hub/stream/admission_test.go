package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// journal keeps what it is told, each record checked as the control plane does.
type journal struct {
	t  *testing.T
	mu sync.Mutex
	in []session.Record
}

func (j *journal) Note(r session.Record) {
	if err := r.Check(); err != nil {
		j.t.Errorf("%+v: %v", r, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.in = append(j.in, r)
}

func (j *journal) last() session.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.in) == 0 {
		return session.Record{}
	}
	return j.in[len(j.in)-1]
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.in)
}

const alice = "spiffe://isthmus/tenant/ot/person/alice/"

// granted is a world whose hub asks for grants, and the one target that the plan has.
func granted(t *testing.T, cfg stream.Config) (*world, *journal, plan.Target) {
	t.Helper()
	j := &journal{t: t}
	cfg.Journal = j
	w := newWorld(t, cfg)
	p := plan.Hub{ID: w.hub.ID(), Name: w.hub.Name(), HostNames: w.hub.HostNames(), Public: resource.PublicEnabled, LinkKey: []byte("key")}
	if err := w.server.SetHubs([]plan.Hub{p}); err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now()
	target := plan.Target{
		ID: "target-uid", Name: "ot/ot-cloud/press-ssh", Device: &plan.TargetDevice{Hub: w.hub.ID(), Device: "d", Stream: "ssh"},
		Grants: []plan.Grant{{ID: "g1", Person: alice, Name: "alice of ot", From: now, Until: now.Add(time.Hour)}},
	}
	return w, j, target
}

func (w *world) openBy(grant string, change func(*stream.Request)) (stream.Answer, error) {
	r := stream.Request{
		To: hub.Name{Device: "d"}, Name: "ssh", Host: hubtest.Contoso, Response: time.Minute, By: streamkey.Policy(grant), From: "192.0.2.7:4000",
	}
	if change != nil {
		change(&r)
	}
	return w.gateway.Open(w.t.Context(), w.hub, r)
}

// both brings both ends of an accepted stream.
func (w *world) both(all *sync.WaitGroup, a stream.Answer) (service, device net.Conn) {
	w.t.Helper()
	asked := <-w.device.asked
	return w.join(all, a.URL, a.Token), w.join(all, asked.URL, asked.Token)
}

func TestWhoHasNoGrant(t *testing.T) {
	w, j, target := granted(t, stream.Config{})
	other := target
	other.ID, other.Device = "other-uid", &plan.TargetDevice{Hub: "another-hub", Device: "d", Stream: "ssh"}
	other.Grants = []plan.Grant{{ID: "g2", Person: alice, From: w.clock.Now(), Until: w.clock.Now().Add(time.Hour)}}
	nights := target
	hours := resource.WorkingHours{Days: []string{w.clock.Now().UTC().Add(-48 * time.Hour).Weekday().String()[:3]}, From: "01:00", To: "02:00", TimeZone: "UTC"}
	nights.Grants = []plan.Grant{{ID: "g3", Person: alice, From: w.clock.Now(), Until: w.clock.Now().Add(time.Hour), Hours: &hours}}
	recorded := target
	recorded.Record = &plan.Recording{}
	recorded.Grants = []plan.Grant{{ID: "g4", Person: alice, From: w.clock.Now(), Until: w.clock.Now().Add(time.Hour)}}
	agents := plan.Target{ID: "agents", Address: "127.0.0.1:22", Grants: []plan.Grant{{ID: "g5", From: w.clock.Now(), Until: w.clock.Now().Add(time.Hour)}}}
	for name, c := range map[string]struct {
		grant  string
		change func(*stream.Request)
		at     time.Duration
		end    session.End
		says   string
	}{
		"a key":             {"", func(r *stream.Request) { r.By = hub.PolicyService }, 0, session.NoGrant, "open streams to people with a grant"},
		"no such grant":     {"g9", nil, 0, session.NoGrant, "grant g9 lets nobody in"},
		"of another hub":    {"g2", nil, 0, session.NoGrant, "lets nobody in"},
		"of an agent":       {"g5", nil, 0, session.NoGrant, "lets nobody in"},
		"another stream":    {"g1", func(r *stream.Request) { r.Name = "telnet" }, 0, session.NoGrant, "is for the stream ssh of device \"d\""},
		"another device":    {"g1", func(r *stream.Request) { r.To.Device = "e" }, 0, session.NoGrant, "is for the stream ssh of device \"d\""},
		"a module":          {"g1", func(r *stream.Request) { r.To.Module = "m" }, 0, session.NoGrant, "is for the stream ssh of device \"d\""},
		"too early":         {"g1", nil, -time.Minute, session.NotNow, "lets people in from"},
		"too late":          {"g1", nil, time.Hour, session.NotNow, "lets people in from"},
		"outside its hours": {"g3", nil, 0, session.NotNow, "within its working hours, 01:00 to 02:00 UTC"},
		"to be recorded":    {"g4", nil, 0, session.NotRecordable, "are recorded"},
	} {
		w.gateway.SetTargets([]plan.Target{target, other, nights, recorded, agents})
		w.gateway.SetOffset(c.at)
		before := j.count()
		_, err := w.openBy(c.grant, c.change)
		if fault.KindOf(err) != fault.Denied || code.Of(err).Status != 403 || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		r := j.last()
		if j.count() != before+1 || r.Phase != session.Refused || r.End != c.end || r.From != "192.0.2.7:4000" || r.Grant != c.grant || !strings.Contains(r.Words, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
		if c.grant == "" && (r.Person != "" || !strings.HasPrefix(r.Words, "policy service: ")) {
			t.Errorf("%s: %+v", name, r)
		}
		w.clock.Advance(time.Second)
	}
	if n := w.gateway.Count(w.hub.ID()); n != 0 || len(w.device.asked) > 0 {
		t.Errorf("%d streams; the device was asked %d times", n, len(w.device.asked))
	}
}

func TestOneGrantDoesNotTakeEverybodysTurn(t *testing.T) {
	w, _, target := granted(t, stream.Config{GrantedEachSecond: 10})
	w.gateway.SetTargets([]plan.Target{target})
	throttled := 0
	for range 100 { // by one that was revoked, whose key is still good
		if _, err := w.openBy("g9", nil); fault.KindOf(err) == fault.Exhausted {
			throttled++
		}
	}
	if throttled < 90 {
		t.Errorf("%d of 100 were told to wait", throttled)
	}
	if _, err := w.openBy("g1", nil); err != nil {
		t.Errorf("another's grant: %v", err)
	}
	w.clock.Advance(time.Second)
	for range 100 { // by one who comes through this process, into a stream of a device that there is not
		_, _ = w.gateway.Dial(t.Context(), w.hub, stream.Request{To: hub.Name{Device: "e"}, Name: "ssh", Host: hubtest.Contoso})
	}
	if _, err := w.openBy("g1", nil); err != nil {
		t.Errorf("another's grant: %v", err)
	}
}

func TestAGrantsStream(t *testing.T) {
	w, j, target := granted(t, stream.Config{Bytes: 1})
	target.Limits.Each = 2
	w.gateway.SetTargets([]plan.Target{target})
	var all sync.WaitGroup
	defer all.Wait()
	answer, err := w.openBy("g1", nil)
	if err != nil || !answer.Accepted {
		t.Fatalf("%+v, %v", answer, err)
	}
	service, device := w.both(&all, answer)
	all.Go(func() { _, _ = service.Write([]byte("hello")) })
	if _, err := io.ReadFull(device, make([]byte, 5)); err != nil {
		t.Fatalf("what a grant's streams carry counts to the day's bytes: %v", err)
	}
	opened := j.last()
	if opened.Phase != session.Opened || opened.Grant != "g1" || opened.Target != "target-uid" || opened.To != hubtest.Contoso+"/d/ssh" {
		t.Errorf("%+v", opened)
	}
	if p, ok := identity.ID(opened.Person).Person(); !ok || p.Name != "alice" || p.Tenant != "ot" {
		t.Errorf("the person is %q", opened.Person)
	}
	if _, err := w.openBy("g1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.openBy("g1", nil); code.Of(err) != code.Throttled || j.last().End != session.TooMany {
		t.Errorf("a third one: %v", err)
	}
	w.clock.Advance(time.Minute)
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Read(make([]byte, 1)); err == nil {
		t.Error("one end closed and the other is open")
	}
	for j.last().Phase != session.Ended && j.last().End != session.Unreachable {
		w.clock.Advance(time.Second) // the second stream, for which nobody came, ends then
	}
	all.Wait()
	for _, r := range j.in {
		if r.Session == opened.Session && r.Phase == session.Ended && (r.Sent != 5 || r.Received != 0 || r.End != session.EndClosed || r.At.Sub(r.Opened) < time.Minute) {
			t.Errorf("%+v", r)
		}
	}
}

// What ends a stream by a grant: each of these, and within a second of the clock.
func TestWhatEndsAGrantsStream(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, target *plan.Target)
		after  time.Duration // by the clock
		want   session.End
	}{
		"revoked":        {func(w *world, _ *plan.Target) { w.gateway.SetTargets(nil) }, 0, session.EndRevoked},
		"another device": {func(w *world, t *plan.Target) { t.Device.Device = "e"; w.gateway.SetTargets([]plan.Target{*t}) }, 0, session.EndRevoked},
		"to be recorded": {func(w *world, t *plan.Target) { t.Record = &plan.Recording{}; w.gateway.SetTargets([]plan.Target{*t}) }, 0, session.EndRevoked},
		"shortened": {func(w *world, t *plan.Target) {
			t.Grants[0].Until = w.clock.Now()
			w.gateway.SetTargets([]plan.Target{*t})
		}, 0, session.EndExpired},
		"expired":          {func(*world, *plan.Target) {}, time.Hour, session.EndExpired},
		"the clock is off": {func(w *world, _ *plan.Target) { w.gateway.SetOffset(59 * time.Minute) }, time.Minute, session.EndExpired},
		"idle":             {func(w *world, t *plan.Target) { t.Limits.IdleMinutes = 5; w.gateway.SetTargets([]plan.Target{*t}) }, 5 * time.Minute, session.EndIdle},
		"long enough":      {func(w *world, t *plan.Target) { t.Limits.TotalMinutes = 9; w.gateway.SetTargets([]plan.Target{*t}) }, 9 * time.Minute, session.EndTotal},
	} {
		t.Run(name, func(t *testing.T) {
			w, j, target := granted(t, stream.Config{})
			if c.want != session.EndExpired { // the clock may run ahead of who looks at it
				target.Grants[0].Until = w.clock.Now().AddDate(10, 0, 0)
			}
			w.gateway.SetTargets([]plan.Target{target})
			answer, err := w.openBy("g1", nil)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			defer all.Wait()
			service, device := w.both(&all, answer)
			all.Go(func() { _, _ = service.Write([]byte("x")) })
			if _, err := io.ReadFull(device, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			begun := w.clock.Now()
			c.change(w, &target)
			for c.after > 0 && w.gateway.Count(w.hub.ID()) > 0 { // Run has to begin to wait before the clock moves
				w.clock.Advance(time.Second)
			}
			for _, end := range []net.Conn{service, device} {
				if _, err := end.Read(make([]byte, 1)); err == nil {
					t.Error("an end is open")
				}
			}
			all.Wait()
			r := j.last()
			if r.Phase != session.Ended || r.End != c.want || r.Sent != 1 {
				t.Errorf("%+v", r)
			}
			if took := w.clock.Now().Sub(begun); took < c.after {
				t.Errorf("it ended after %v", took)
			}
		})
	}
}

func TestWhatIsWrittenDownWithoutBytes(t *testing.T) {
	w, j, target := granted(t, stream.Config{})
	w.gateway.SetTargets([]plan.Target{target})
	w.device.refuses = true
	if a, err := w.openBy("g1", nil); err != nil || a.Accepted || j.last().End != session.RejectedThere {
		t.Errorf("it refuses: %+v, %v, %+v", a, err, j.last())
	}
	<-w.device.asked
	w.device.session.Listen(hub.Streams, false)
	if _, err := w.openBy("g1", nil); code.Of(err) != code.DeviceNotOnline || j.last().End != session.Unreachable || !strings.Contains(j.last().Words, "not connected") {
		t.Errorf("offline: %v, %+v", err, j.last())
	}
	before := j.count()
	if _, err := w.openBy("g1", func(r *stream.Request) { r.Name = strings.Repeat("x", 129) }); fault.KindOf(err) != fault.Invalid || j.count() != before {
		t.Errorf("a name that cannot be: %v", err)
	}
}

// near is the service's end in this process.
func (w *world) near(ctx context.Context) (net.Conn, error) {
	return w.gateway.Dial(ctx, w.hub, stream.Request{To: hub.Name{Device: "d"}, Name: "ssh", Host: hubtest.Contoso})
}

func TestTheServicesEndInThisProcess(t *testing.T) {
	w, j, _ := granted(t, stream.Config{})
	var all sync.WaitGroup
	defer all.Wait()
	type dialled struct {
		net.Conn
		error
	}
	got := make(chan dialled, 1)
	all.Go(func() { c, err := w.near(context.Background()); got <- dialled{c, err} })
	asked := <-w.device.asked
	device := w.join(&all, asked.URL, asked.Token)
	near := <-got
	if near.error != nil {
		t.Fatal(near.error)
	}
	if _, half := near.Conn.(interface{ CloseWrite() error }); half {
		t.Error("it can end one way though the device's end cannot")
	}
	for _, way := range [][2]net.Conn{{near.Conn, device}, {device, near.Conn}} {
		all.Go(func() { _, _ = way[0].Write([]byte("hello")) })
		if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
			t.Error(err)
		}
	}
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if _, err := device.Read(make([]byte, 1)); err == nil {
		t.Error("the device's end is open")
	}
	all.Wait()
	if w.gateway.Count(w.hub.ID()) != 0 || j.count() != 0 {
		t.Errorf("%d streams, %d records: who dials writes them", w.gateway.Count(w.hub.ID()), j.count())
	}
}

func TestWhatDialSays(t *testing.T) {
	w, _, _ := granted(t, stream.Config{})
	w.device.refuses = true
	if _, err := w.near(t.Context()); fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "said no") {
		t.Errorf("it refuses: %v", err)
	}
	<-w.device.asked
	w.device.refuses = false
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-w.device.asked; cancel(errors.New("enough")) }()
	if _, err := w.near(ctx); fault.KindOf(err) != fault.Timeout {
		t.Errorf("the caller did not wait: %v", err)
	}
	done := make(chan error, 1)
	go func() { _, err := w.near(context.Background()); done <- err }()
	<-w.device.asked
	for w.gateway.Count(w.hub.ID()) > 0 {
		w.clock.Advance(time.Second)
	}
	if err := <-done; fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "did not come for it") {
		t.Errorf("it does not come: %v", err)
	}
	w.device.session.Listen(hub.Streams, false)
	if _, err := w.near(t.Context()); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Message(err), "not connected") {
		t.Errorf("offline: %v", err)
	}
}

// Where both ends can, one way ends and the other goes on.
func TestOneWayEndsBeforeTheOther(t *testing.T) {
	w, j, target := granted(t, stream.Config{})
	target.Limits.BytesPerSecond = 1 << 20
	w.gateway.SetTargets([]plan.Target{target})
	answer, err := w.openBy("g1", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := <-w.device.asked
	var all sync.WaitGroup
	service, device := w.tcp(&all, answer.URL, answer.Token), w.tcp(&all, asked.URL, asked.Token)
	body := strings.Repeat("x", 50_000)
	if _, err := io.WriteString(service, body); err != nil {
		t.Fatal(err)
	}
	if err := service.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(device); string(got) != body || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := io.WriteString(device, "thanks"); err != nil {
		t.Fatal(err)
	}
	if err := device.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(service); string(got) != "thanks" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	all.Wait()
	if r := j.last(); r.End != session.EndClosed || r.Sent != 50_000 || r.Received != 6 {
		t.Errorf("%+v", r)
	}
}

// tcp is join with a connection of which one way can end.
func (w *world) tcp(all *sync.WaitGroup, address, token string) *net.TCPConn {
	w.t.Helper()
	place, err := w.gateway.Reserve(w.hub, bridge(address), token)
	if err != nil {
		w.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer ln.Close()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = ours.Close() })
	all.Go(func() { place.Join(context.Background(), theirs, func(context.Context) bool { return true }) })
	return ours.(*net.TCPConn)
}

func TestSlowStreamsAreSlow(t *testing.T) {
	w, _, target := granted(t, stream.Config{})
	target.Limits.BytesPerSecond = 1000
	w.gateway.SetTargets([]plan.Target{target})
	answer, err := w.openBy("g1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	service, device := w.both(&all, answer)
	begun := w.clock.Now()
	done := make(chan struct{})
	all.Go(func() {
		for range 5 {
			_, _ = service.Write(make([]byte, 1000))
		}
		_ = service.Close()
	})
	all.Go(func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, device)
	})
	for {
		select {
		case <-done:
			if took := w.clock.Now().Sub(begun); took < 3*time.Second {
				t.Errorf("5000 bytes took %v of 5 s", took)
			}
			all.Wait()
			return
		default:
			w.clock.Advance(100 * time.Millisecond)
		}
	}
}
