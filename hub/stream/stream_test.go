package stream_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device accepts every stream, unless it refuses.
type device struct {
	session *hub.Session
	refuses bool
	asked   chan hub.StreamRequest
}

func (d *device) DesiredChanged(int64, json.RawMessage) {}
func (d *device) MethodCalled(hub.MethodCall)           {}
func (d *device) CommandsWaiting()                      {}
func (d *device) StreamRequested(r hub.StreamRequest) {
	refuses := d.refuses
	go func() { // a receiver must not wait
		d.session.AnswerStream(r.ID, !refuses)
		d.asked <- r
	}()
}

type world struct {
	t       *testing.T
	server  *hub.Server
	hub     *hub.Hub
	gateway *stream.Gateway
	clock   *clock.Fake
	device  *device
	shut    atomic.Bool // the side from which ends come
}

func newWorld(t *testing.T, cfg stream.Config) *world {
	t.Helper()
	fake := clock.NewFake(time.Now())
	all := hubtest.Start(t, hubtest.Options{Clock: fake})
	w := &world{t: t, server: all.Server, hub: all.Hub(hubtest.Contoso), gateway: stream.New(cfg, hubtest.Silent(), fake), clock: fake, device: &device{asked: make(chan hub.StreamRequest, 100)}}
	d := all.Device(hubtest.Contoso, "d")
	s, err := w.hub.Connect(t.Context(), hub.Request{Device: "d", Token: all.Token(hubtest.Contoso, d), Receiver: w.device, Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.End)
	w.device.session = s
	s.Listen(hub.Streams, true)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.gateway.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open() (stream.Answer, error) {
	return w.gateway.Open(w.t.Context(), w.hub, stream.Request{To: hub.Name{Device: "d"}, Name: "ssh", Host: hubtest.Contoso, Response: time.Minute, By: hub.PolicyService})
}

// bridge is the id in an address.
func bridge(address string) string { return address[strings.LastIndexByte(address, '/')+1:] }

// join brings an end, and returns what the peer of its connection reads and writes.
func (w *world) join(all *sync.WaitGroup, address, token string) net.Conn {
	w.t.Helper()
	place, err := w.gateway.Reserve(w.hub, bridge(address), token)
	if err != nil {
		w.t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	all.Go(func() { place.Join(context.Background(), theirs, func(context.Context) bool { return !w.shut.Load() }) })
	return ours
}

func TestBytesPassBothWays(t *testing.T) {
	w := newWorld(t, stream.Config{})
	grant, err := w.open()
	if err != nil || !grant.Accepted {
		t.Fatalf("%+v, %v", grant, err)
	}
	asked := <-w.device.asked
	if asked.URL != grant.URL || asked.Token == grant.Token || asked.Name != "ssh" || !strings.HasPrefix(grant.URL, "wss://"+hubtest.Contoso+"/") {
		t.Errorf("the device was asked %+v, the service was told %+v", asked, grant)
	}
	var all sync.WaitGroup
	defer all.Wait()
	service := w.join(&all, grant.URL, grant.Token)
	for name, token := range map[string]string{"used": grant.Token, "forged": grant.Token + "A", "empty": "", "other": strings.ToUpper(asked.Token)} {
		if _, err := w.gateway.Reserve(w.hub, bridge(grant.URL), token); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	ours := w.join(&all, asked.URL, asked.Token)
	for _, way := range [][2]net.Conn{{service, ours}, {ours, service}} {
		all.Go(func() { _, _ = way[0].Write([]byte("hello")) })
		got := make([]byte, 5)
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Read(make([]byte, 1)); err == nil {
		t.Error("one end closed and the other is open")
	}
	all.Wait()
	if n := w.gateway.Count(w.hub.ID()); n != 0 {
		t.Errorf("%d streams are left", n)
	}
	if _, err := w.gateway.Reserve(w.hub, bridge(grant.URL), asked.Token); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("after its end: %v", err)
	}
}

func TestEndsThatDoNotMeet(t *testing.T) {
	w := newWorld(t, stream.Config{})
	grant, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	service := w.join(&all, grant.URL, grant.Token)
	for w.gateway.Count(w.hub.ID()) > 0 { // Run has to begin to wait before the clock moves
		w.clock.Advance(30 * time.Second)
	}
	all.Wait()
	if _, err := service.Read(make([]byte, 1)); err == nil {
		t.Error("the end that came is held for ever")
	}
	if _, err := w.gateway.Reserve(w.hub, bridge(grant.URL), (<-w.device.asked).Token); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("too late: %v", err)
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	w := newWorld(t, stream.Config{Open: 2, EachSecond: 3, Bytes: 10})
	for name, c := range map[string]struct {
		change func(*stream.Request)
		want   code.Code
	}{
		"a slash in the name": {func(r *stream.Request) { r.Name = "a/b" }, code.ArgumentInvalid},
		"for ever":            {func(r *stream.Request) { r.Response = time.Hour }, code.ArgumentInvalid},
	} {
		r := stream.Request{To: hub.Name{Device: "d"}, Name: "ssh", Host: "h"}
		c.change(&r)
		if _, err := w.gateway.Open(t.Context(), w.hub, r); code.Of(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		w.clock.Advance(time.Second)
	}
	if _, err := w.gateway.Open(t.Context(), w.hub, stream.Request{To: hub.Name{Device: "nobody"}, Name: "ssh"}); code.Of(err) != code.DeviceNotFound {
		t.Errorf("nobody: %v", err)
	}
	w.device.session.Listen(hub.Streams, false)
	w.clock.Advance(time.Second)
	if _, err := w.open(); code.Of(err) != code.DeviceNotOnline {
		t.Errorf("it does not listen: %v", err)
	}
	w.device.session.Listen(hub.Streams, true)
	w.device.refuses = true
	w.clock.Advance(time.Second)
	if grant, err := w.open(); err != nil || grant.Accepted || grant.Token != "" || w.gateway.Count(w.hub.ID()) != 0 {
		t.Errorf("it refuses: %+v, %v", grant, err)
	}
	w.device.refuses = false
	w.clock.Advance(time.Second)
	for range 2 {
		if _, err := w.open(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.open(); code.Of(err) != code.Throttled {
		t.Errorf("a third one: %v", err)
	}
	if _, err := w.open(); code.Of(err) != code.Throttled {
		t.Errorf("too many a second: %v", err)
	}
}

func TestTheDaysBytes(t *testing.T) {
	w := newWorld(t, stream.Config{Bytes: 10})
	grant, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	asked := <-w.device.asked
	service, ours := w.join(&all, grant.URL, grant.Token), w.join(&all, asked.URL, asked.Token)
	all.Go(func() { _, _ = service.Write(make([]byte, 11)) })
	if _, err := io.ReadAll(ours); err != nil {
		t.Errorf("the end is not an end: %v", err)
	}
	all.Wait()
	if _, err := w.open(); code.Of(err) != code.QuotaExceeded {
		t.Errorf("more on the same day: %v", err)
	}
	w.clock.Advance(24 * time.Hour)
	if _, err := w.open(); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// A stream is no way to keep what was taken away.
func TestAStreamEndsWithWhatItStandsOn(t *testing.T) {
	asks := atomic.Bool{}
	for name, take := range map[string]func(w *world){
		"the device is disabled": func(w *world) {
			d, err := w.hub.Device(t.Context(), "d")
			if err != nil {
				t.Fatal(err)
			}
			d.Status = hubstore.Disabled
			if _, err := w.hub.UpdateDevice(t.Context(), d.Device, hub.AnyETag); err != nil {
				t.Fatal(err)
			}
		},
		"the device is deleted, and made again": func(w *world) {
			if err := w.hub.DeleteDevice(t.Context(), "d", hub.AnyETag); err != nil {
				t.Fatal(err)
			}
			if _, err := w.hub.CreateDevice(t.Context(), hubstore.Device{ID: "d"}); err != nil {
				t.Fatal(err)
			}
		},
		"its key is renewed": func(w *world) {
			if _, err := w.hub.RenewDeviceKey(t.Context(), "d", hub.Primary, "a test"); err != nil {
				t.Fatal(err)
			}
		},
		"the side of an end is closed": func(w *world) { w.shut.Store(true) },
		"the service has lost its key": func(*world) { asks.Store(false) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, stream.Config{})
			asks.Store(true)
			grant, err := w.gateway.Open(t.Context(), w.hub, stream.Request{
				To: hub.Name{Device: "d"}, Name: "ssh", Host: hubtest.Contoso, Response: time.Minute, Stands: func(context.Context) bool { return asks.Load() },
			})
			if err != nil {
				t.Fatal(err)
			}
			asked := <-w.device.asked
			var all sync.WaitGroup
			defer all.Wait()
			service, ours := w.join(&all, grant.URL, grant.Token), w.join(&all, asked.URL, asked.Token)
			w.device.session.End() // which alone ends no stream
			all.Go(func() { _, _ = service.Write([]byte("x")) })
			if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(2 * time.Minute)
			take(w)
			for w.gateway.Count(w.hub.ID()) > 0 { // Run has to begin to wait before the clock moves
				w.clock.Advance(time.Second)
			}
			for _, end := range []net.Conn{service, ours} {
				if _, err := end.Read(make([]byte, 1)); err == nil {
					t.Error("an end is open")
				}
			}
		})
	}
}
