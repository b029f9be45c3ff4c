package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// routed is a server with an event log of its own, in memory, that runs until the test ends.
type routed struct {
	t      testing.TB
	server *hub.Server
	hub    *hub.Hub
	clock  clock.Clock
	stop   func()
}

func newRouted(t testing.TB, cfg hub.Config, clk clock.Clock) *routed {
	t.Helper()
	return newRoutedOn(t, cfg, clk, func(l hub.EventLog) hub.EventLog { return l })
}

func newRoutedOn(t testing.TB, cfg hub.Config, clk clock.Clock, on func(hub.EventLog) hub.EventLog) *routed {
	t.Helper()
	log, err := eventlog.Open(eventlog.Config{Dir: "log", FS: vfs.NewMem(), Partitions: 2}, slog.New(slog.DiscardHandler), clk, nil)
	check(t, err)
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "hub")
	}
	s, err := hub.New(t.Context(), cfg, on(log), slog.New(slog.DiscardHandler), clk, nil)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	logCtx, cancelLog := context.WithCancel(context.Background())
	var running, logging sync.WaitGroup
	logging.Go(func() { check(t, log.Run(logCtx)) })
	running.Go(func() { check(t, s.Run(ctx)) })
	check(t, s.SetHubs([]plan.Hub{one, two}))
	r := &routed{t: t, server: s, clock: clk}
	r.hub, _ = s.ByHost(host)
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		cancelLog()
		logging.Wait()
		check(t, log.Close())
		check(t, s.Close())
	})
	t.Cleanup(r.stop)
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err, fault.Next(err))
	}
}

func (r *routed) connect(id string) *hub.Session {
	r.t.Helper()
	d, err := r.hub.Device(context.Background(), id)
	if fault.KindOf(err) == fault.NotFound {
		d, err = r.hub.CreateDevice(context.Background(), hubstore.Device{ID: id})
	}
	check(r.t, err)
	token, err := sas.Sign(host+"/devices/"+id, d.PrimaryKey, "", r.clock.Now().Add(time.Hour))
	check(r.t, err)
	s, err := r.hub.Connect(context.Background(), hub.Request{Device: id, Token: token, Side: public, Door: "test", Cut: func(hub.Cause) {}})
	check(r.t, err)
	return s
}

// send submits a message and waits for the answer.
func send(s *hub.Session, body string, properties map[string]string) error {
	answer := make(chan error, 1)
	s.Submit([]byte(body), s.Label(properties, map[string]string{hub.ContentType: "application/json", hub.ContentEncoding: "utf-8"}),
		func(_ eventlog.Position, err error) { answer <- err })
	return <-answer
}

// bodies are those an endpoint's stream holds.
func (r *routed) events(endpoint string) []eventlog.Event {
	r.t.Helper()
	s, err := r.hub.Stream(endpoint)
	check(r.t, err)
	n, err := s.Partitions(context.Background())
	check(r.t, err)
	var out []eventlog.Event
	for p := range n {
		list, err := s.Events(context.Background(), p, 0, 10_000)
		check(r.t, err)
		out = append(out, list...)
	}
	return out
}

func (r *routed) bodies(endpoint string) string {
	r.t.Helper()
	var out []string
	for _, e := range r.events(endpoint) {
		out = append(out, string(e.Body))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func route1(name, condition string, endpoints ...string) route.Route {
	return route.Route{Name: name, Source: hub.DeviceMessages, Condition: condition, Endpoints: endpoints, Enabled: true}
}

func TestMessagesGoWhereRoutesSay(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	s := r.connect("sensor-1")
	defer s.End()
	check(t, send(s, `1`, nil))
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "cold", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutRoute(ctx, route1("hot", "level = 'critical'", "hot"), "test"))
	check(t, r.hub.PutRoute(ctx, route1("cold", "$body > 5", "cold", "events"), "test"))
	check(t, send(s, `2`, nil))                                            // none: the fallback
	check(t, send(s, `3`, map[string]string{"level": "critical"}))         // hot
	check(t, send(s, `7`, map[string]string{"level": "critical"}))         // all three
	check(t, r.hub.PutRoute(ctx, route1("cold", "$body > 8", "cold"), "")) // changed
	check(t, send(s, `8`, nil))
	check(t, r.hub.SubmitAll(s.Identity, []hub.Message{{Body: []byte(`9`), System: map[string]string{hub.ContentType: "application/json", hub.ContentEncoding: "utf-8"}}}))
	check(t, r.hub.SetFallback(ctx, false, "test"))
	check(t, send(s, `4`, nil)) // nowhere, and acknowledged all the same
	for endpoint, want := range map[string]string{"events": "1 2 7 8", "hot": "3 7", "cold": "7 9"} {
		if got := r.bodies(endpoint); got != want {
			t.Errorf("%s holds %q, want %q", endpoint, got, want)
		}
	}
	for _, e := range r.events("hot") {
		if e.System["iothub-connection-device-id"] != "sensor-1" || e.System["iothub-message-source"] != "Telemetry" || e.PartitionKey != "sensor-1" {
			t.Errorf("stamps %v, key %q", e.System, e.PartitionKey)
		}
	}
	x, err := r.hub.Why(ctx, hub.Name{Device: "sensor-1"})
	check(t, err)
	if len(x.Routes) != 2 || x.Fallback {
		t.Errorf("why: %+v", x)
	}
}

// halfLog refuses what goes to one stream.
type halfLog struct {
	hub.EventLog
	refuses string
}

func (l halfLog) AppendAsync(stream, key string, e eventlog.Event, done func(eventlog.Position, error)) {
	if strings.HasSuffix(stream, l.refuses) {
		done(eventlog.Position{}, fault.New("test", fault.Exhausted, "the disk is full"))
		return
	}
	l.EventLog.AppendAsync(stream, key, e, done)
}

// A message for two endpoints is acknowledged when both have it, whichever answers first.
func TestAMessageIsDurableWhereverItGoes(t *testing.T) {
	for _, refuses := range []string{"/hot", "/cold"} {
		r := newRoutedOn(t, hub.Config{}, clock.System{}, func(l hub.EventLog) hub.EventLog { return halfLog{l, refuses} })
		check(t, r.hub.PutEndpoint(t.Context(), hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"))
		check(t, r.hub.PutEndpoint(t.Context(), hub.Endpoint{Name: "cold", Kind: hub.StreamEndpoint}, "test"))
		check(t, r.hub.PutRoute(t.Context(), route1("both", "", "hot", "cold", "events"), "test"))
		s := r.connect("sensor-1")
		if err := send(s, "1", nil); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("without %s: %v", refuses, err)
		}
		if err := r.hub.SubmitAll(s.Identity, []hub.Message{{Body: []byte("1")}}); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("without %s over HTTPS: %v", refuses, err)
		}
		s.End()
		r.stop()
	}
}

func TestRoutesComeBackAfterARestart(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "hub")
	r := newRouted(t, hub.Config{Dir: dir}, clock.System{})
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutRoute(ctx, route1("all", "", "hot"), "test"))
	check(t, r.hub.PutEnrichment(ctx, route.Enrichment{Key: "hub", Value: "$iothubname", Endpoints: []string{"hot"}}, "test"))
	_, err := r.hub.SetLimits(ctx, []byte(`{"device":{"messages":{"perSecond":7,"burst":9}}}`), "test")
	check(t, err)
	limits := r.hub.Limits()
	r.stop()
	r = newRouted(t, hub.Config{Dir: dir}, clock.System{})
	if r.hub.Limits() != limits {
		t.Errorf("limits %+v, want %+v", r.hub.Limits(), limits)
	}
	s := r.connect("sensor-1")
	defer s.End()
	check(t, send(s, `1`, map[string]string{"a": "b"}))
	got := r.events("hot")
	if len(got) != 1 || got[0].Properties["hub"] != "contoso" || got[0].Properties["a"] != "b" || len(r.events("events")) > 0 {
		t.Errorf("%+v", got)
	}
}

// Whatever goes through the twin, routes see what is durable.
func TestRoutesSeeTheTwinAsItIsNow(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "north", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutRoute(ctx, route1("north", "$twin.tags.site = 'north'", "north"), "test"))
	check(t, r.hub.PutEnrichment(ctx, route.Enrichment{Key: "fw", Value: "$twin.properties.reported.fw", Endpoints: []string{"north", "events"}}, "test"))
	s := r.connect("sensor-1")
	defer s.End()
	n := hub.Name{Device: "sensor-1"}
	check(t, send(s, `1`, nil))
	for i, site := range []string{"north", "south", "north"} {
		_, err := r.hub.PatchTwin(ctx, n, fmt.Appendf(nil, `{"tags":{"site":%q}}`, site), "")
		check(t, err)
		check(t, send(s, fmt.Sprint(i+2), nil))
	}
	answered := make(chan error, 1)
	s.PatchReported([]byte(`{"fw":"2.0"}`), func(_ int64, err error) { answered <- err })
	check(t, <-answered)
	check(t, send(s, `5`, nil))
	if got := r.bodies("north"); got != "2 4 5" {
		t.Errorf("north holds %q", got)
	}
	var versions []string
	for _, e := range r.events("north") {
		versions = append(versions, e.Properties["fw"])
	}
	if want := []string{"$twin.properties.reported.fw", "$twin.properties.reported.fw", "2.0"}; !slices.Equal(versions, want) {
		t.Errorf("fw is %v, want %v", versions, want)
	}
}

func TestEventsOfTheHubsOwn(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "own", Kind: hub.StreamEndpoint}, "test"))
	for _, source := range []hub.Source{hub.TwinChangeEvents, hub.DeviceLifecycleEvents, hub.DeviceConnectionStateEvents} {
		check(t, r.hub.PutRoute(ctx, route.Route{Name: string(source), Source: source, Condition: "opType != 'deviceDisconnected'", Endpoints: []string{"own"}, Enabled: true}, "test"))
	}
	s := r.connect("sensor-1") // created, connected
	_, err := r.hub.PatchTwin(ctx, hub.Name{Device: "sensor-1"}, []byte(`{"tags":{"site":"x"}}`), "")
	check(t, err)
	s.End()
	r.hub.Emit(hub.DeviceJobLifecycleEvents, hub.Name{Device: "x"}, []byte(`{}`), nil, nil) // no route: dropped
	check(t, r.hub.DeleteDevice(ctx, "sensor-1", hub.AnyETag))
	stream, err := r.hub.Stream("own")
	check(t, err)
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	seen := map[string]map[string]string{}
	partitions, err := stream.Partitions(ctx)
	check(t, err)
	for len(seen) < 4 && waiting.Err() == nil {
		for p := range partitions {
			list, err := stream.Events(ctx, p, 0, 100)
			check(t, err)
			for _, e := range list {
				seen[e.Properties["opType"]] = map[string]string{
					"source": e.System["iothub-message-source"], "schema": e.Properties["iothub-message-schema"], "device": e.Properties["deviceId"], "hub": e.Properties["hubName"],
					"kind": e.System["content-type"], "encoding": e.System["content-encoding"], "stamp": e.System["iothub-connection-device-id"],
				}
				if e.Properties["operationTimestamp"] == "" || !json.Valid(e.Body) {
					t.Errorf("%s: properties %v, body %s", e.Properties["opType"], e.Properties, e.Body)
				}
			}
		}
	}
	for op, want := range map[string][2]string{
		"createDeviceIdentity": {"deviceLifecycleEvents", "deviceLifecycleNotification"}, "deleteDeviceIdentity": {"deviceLifecycleEvents", "deviceLifecycleNotification"},
		"updateTwin": {"twinChangeEvents", "twinChangeNotification"}, "deviceConnected": {"deviceConnectionStateEvents", "deviceConnectionStateNotification"},
	} {
		got := seen[op]
		if got["source"] != want[0] || got["schema"] != want[1] || got["device"] != "sensor-1" || got["stamp"] != "sensor-1" || got["hub"] != "contoso" ||
			got["kind"] != "application/json" || got["encoding"] != "utf-8" {
			t.Errorf("%s: %v", op, got)
		}
	}
	if len(seen) != 4 || len(r.events("events")) > 0 {
		t.Errorf("events %v; the built-in endpoint holds %d", seen, len(r.events("events")))
	}
}

func TestWhatIsRefusedOfRoutes(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hook", Kind: hub.WebhookEndpoint, URL: "https://x.example/in?a=b", Key: "MDEyMzQ1Njc4OWFiY2RlZg=="}, "test"))
	check(t, r.hub.PutRoute(ctx, route1("all", "", "hot"), "test"))
	for _, c := range []struct {
		words string
		do    func() error
		kind  fault.Kind
	}{
		{"leads to", func() error { return r.hub.PutRoute(ctx, route1("x", "", "nowhere"), "") }, fault.Invalid},
		{"condition of route x", func() error { return r.hub.PutRoute(ctx, route1("x", "a = ", "hot"), "") }, fault.Invalid},
		{"route all leads to", func() error { return r.hub.DeleteEndpoint(ctx, "hot", "") }, fault.Conflict},
		{"no endpoint", func() error { return r.hub.DeleteEndpoint(ctx, "none", "") }, fault.NotFound},
		{"no route", func() error { return r.hub.DeleteRoute(ctx, "none", "") }, fault.NotFound},
		{"which cannot change", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hot", Kind: hub.StorageEndpoint, Bucket: "archive"}, "")
		}, fault.Conflict},
		{"is of kind", func() error { return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: "queue"}, "") }, fault.Invalid},
		{"https", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.WebhookEndpoint, URL: "http://x.example/"}, "")
		}, fault.Invalid},
		{"https", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.WebhookEndpoint, URL: "https://u:p@x.example/"}, "")
		}, fault.Invalid},
		{"no PEM", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.WebhookEndpoint, URL: "https://x.example/", Authority: "x"}, "")
		}, fault.Invalid},
		{"another kind", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.StreamEndpoint, URL: "https://x.example/"}, "")
		}, fault.Invalid},
		{"cannot be", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.StorageEndpoint, Bucket: "../x"}, "")
		}, fault.Invalid},
		{"batchSeconds", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "x", Kind: hub.StorageEndpoint, Bucket: "archive", BatchSeconds: 9999}, "")
		}, fault.Invalid},
		{"is taken", func() error {
			return r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "events", Kind: hub.StreamEndpoint}, "")
		}, fault.Invalid},
		{"half", func() error {
			_, err := r.hub.SetLimits(ctx, []byte(`{"device":{"messages":{"perSecond":1000000}}}`), "")
			return err
		}, fault.Invalid},
		{"no class", func() error { _, err := r.hub.SetLimits(ctx, []byte(`{"device":{"x":{}}}`), ""); return err }, fault.Invalid},
		{"no endpoint", func() error { _, err := r.hub.Stream("none"); return err }, fault.NotFound},
	} {
		err := c.do()
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", c.words, err)
		}
	}
	got, err := r.hub.Routing(ctx)
	check(t, err)
	if len(got.Endpoints) != 2 || got.Endpoints[0].Key != "" || len(got.Routes) != 1 {
		t.Errorf("what is there: %+v", got)
	}
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hook", Kind: hub.WebhookEndpoint, URL: "https://y.example/"}, "test"))
	if e := r.hub.Endpoints()[0]; e.Key != "MDEyMzQ1Njc4OWFiY2RlZg==" || e.URL != "https://y.example/" || e.Attempts != 10 {
		t.Errorf("changed without its key: %+v", e)
	}
}

func TestRoutesAreTried(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	check(t, r.hub.PutEndpoint(ctx, hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"))
	check(t, r.hub.PutRoute(ctx, route1("hot", "x = '1'", "hot"), "test"))
	off := route1("off", "true", "hot")
	off.Enabled = false
	check(t, r.hub.PutRoute(ctx, off, "test"))
	outcomes, endpoints, err := r.hub.TestRoutes(ctx, hub.Sample{Properties: map[string]string{"x": "1"}})
	check(t, err)
	if len(outcomes) != 2 || !outcomes[0].Matches || !strings.Contains(outcomes[1].Why, "not enabled") || !slices.Equal(endpoints, []string{"hot"}) {
		t.Errorf("%+v to %v", outcomes, endpoints)
	}
	o, err := r.hub.TestRoute(route1("", "$twin.tags.x = 'y'"), hub.Sample{Twin: map[string]any{"tags": map[string]any{"x": "y"}}})
	if err != nil || !o.Matches {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := r.hub.TestRoute(route1("t", "x ="), hub.Sample{}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestConsumerGroups(t *testing.T) {
	ctx := t.Context()
	r := newRouted(t, hub.Config{}, clock.System{})
	s := r.connect("sensor-1")
	defer s.End()
	for i := range 5 {
		check(t, send(s, fmt.Sprint(i), nil))
	}
	p := r.events("events")[0].Partition
	_, err := r.hub.CreateConsumerGroup(ctx, "", "alerts-1")
	check(t, err)
	check(t, r.hub.SetCheckpoints(ctx, "events", "alerts-1", "me", map[int]int64{p: 3}))
	check(t, r.hub.SetCheckpoints(ctx, "events", "$default", "", map[int]int64{p: 5}))
	list, err := r.hub.ConsumerGroups(ctx, "")
	check(t, err)
	if len(list) != 2 || list[0].Name != hub.DefaultGroup || list[0].Checkpoints[0].Waiting != 0 || list[1].Checkpoints[0].Next != 3 || list[1].Checkpoints[0].Waiting != 2 {
		t.Errorf("%+v", list)
	}
	for _, c := range []struct {
		words string
		err   error
		kind  fault.Kind
	}{
		{"exists", failure(r.hub.CreateConsumerGroup(ctx, "", "alerts-1")), fault.Conflict},
		{"always there", failure(r.hub.CreateConsumerGroup(ctx, "", "$DEFAULT")), fault.Conflict},
		{"name", failure(r.hub.CreateConsumerGroup(ctx, "", "-x")), fault.Invalid},
		{"name", failure(r.hub.CreateConsumerGroup(ctx, "", "a b")), fault.Invalid},
		{"longer", failure(r.hub.CreateConsumerGroup(ctx, "", strings.Repeat("x", 51))), fault.Invalid},
		{"no endpoint", failure(r.hub.CreateConsumerGroup(ctx, "none", "x")), fault.NotFound},
		{"no consumer group", failure(r.hub.Checkpoints(ctx, "", "x")), fault.NotFound},
		{"no event", r.hub.SetCheckpoints(ctx, "", "alerts-1", "", map[int]int64{p: 6}), fault.Invalid},
		{"no partition", r.hub.SetCheckpoints(ctx, "", "alerts-1", "", map[int]int64{9: 0}), fault.Invalid},
		{"cannot be deleted", r.hub.DeleteConsumerGroup(ctx, "", hub.DefaultGroup), fault.Invalid},
	} {
		if fault.KindOf(c.err) != c.kind || !strings.Contains(fault.Message(c.err), c.words) {
			t.Errorf("%s: %v", c.words, c.err)
		}
	}
	check(t, r.hub.DeleteConsumerGroup(ctx, "", "alerts-1"))
	if list, err := r.hub.ConsumerGroups(ctx, ""); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func failure[T any](_ T, err error) error { return err }

// nowhere makes everything durable at once.
type nowhere struct{ hub.EventLog }

func (nowhere) AppendAsync(_, _ string, _ eventlog.Event, done func(eventlog.Position, error)) {
	done(eventlog.Position{}, nil)
}

// BenchmarkSubmit is the way of a message through the hub, into a log that costs nothing.
func BenchmarkSubmit(b *testing.B) {
	for _, c := range []struct {
		name   string
		routes []route.Route
	}{
		{"no routes", nil},
		{"one route", []route.Route{route1("a", "true", "hot")}},
		{"ten routes", func() (out []route.Route) {
			for i := range 10 {
				out = append(out, route1(fmt.Sprintf("r%d", i), "level = 'low' AND $connectionDeviceId = 'x'", "hot"))
			}
			return out
		}()},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRoutedOn(b, hub.Config{Tenant: limit.Rates{limit.Messages: {PerSecond: 1e9, Burst: 1e9}}}, clock.System{}, func(l hub.EventLog) hub.EventLog { return nowhere{l} })
			check(b, r.hub.PutEndpoint(b.Context(), hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "bench"))
			for _, one := range c.routes {
				check(b, r.hub.PutRoute(b.Context(), one, "bench"))
			}
			_, err := r.hub.SetLimits(b.Context(), []byte(`{"device":{"messages":{"perSecond":1e8}},"hub":{"messages":{"perSecond":1e9}}}`), "bench")
			check(b, err)
			s := r.connect("sensor-1")
			defer s.End()
			body := bytes.Repeat([]byte("x"), 128)
			l := s.Label(map[string]string{"level": "high"}, nil)
			done := func(eventlog.Position, error) {}
			b.ReportAllocs()
			for b.Loop() {
				s.Submit(body, l, done)
			}
		})
	}
}
