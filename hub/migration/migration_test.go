package migration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"os"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/migration"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func samples(t testing.TB) []migration.Source {
	t.Helper()
	names, err := filepath.Glob("../azureexport/testdata/*.*")
	if err != nil || len(names) < 15 {
		t.Fatal(names, err)
	}
	var out []migration.Source
	for _, n := range names {
		out = append(out, migration.Source{Name: filepath.Base(n), Open: func() (io.ReadCloser, error) { return os.Open(n) }})
	}
	return out
}

func text(s string) migration.Source {
	return migration.Source{Name: "text", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}
}

func plan(t testing.TB, sources ...migration.Source) *migration.Plan {
	t.Helper()
	p := migration.New()
	for _, s := range sources {
		in, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		p.Begin(s)
		if err := azureexport.Read(in, func(at azureexport.At, thing azureexport.Thing) error { p.See(at, thing); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// world is a hub and a provisioning service.
type world struct {
	t   testing.TB
	hub *hubclient.Client
	dps *provisioningclient.Client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	h := hubtest.Start(t, hubtest.Options{Full: true})
	hub, err := hubclient.New(hubclient.Config{Socket: h.Admin, Hub: hubtest.Contoso}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	p := provisioningtest.Start(t, provisioningtest.Options{})
	socket := filepath.Join(t.TempDir(), "dps.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: httpdoor.New(httpdoor.Config{Local: true, Service: httpdoor.Named(p.Server)}, p.Server, hubtest.Silent(), clock.System{}), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	dps, err := provisioningclient.New(provisioningclient.Config{Socket: socket}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dps.Close()
		_ = srv.Close()
		<-served
	})
	return &world{t, hub, dps}
}

// run brings sources, and returns what came of it and what failed.
func (w *world) run(cfg migration.Config, sources ...migration.Source) (migration.Result, []string) {
	w.t.Helper()
	var failures []string
	cfg.Provisioning = func() (migration.Provisioning, error) { return w.dps, nil }
	cfg.Failed = func(f migration.Failure) error {
		failures = append(failures, fmt.Sprintf("%s %s: %s", f.Part, f.Name, fault.Message(f.Err)))
		return nil
	}
	got, err := plan(w.t, sources...).Run(w.t.Context(), cfg, w.hub, clock.System{})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(failures)
	return got, failures
}

func (w *world) device(name string) hubclient.Device {
	w.t.Helper()
	d, err := w.hub.Device(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

var expectedFailures = []string{
	`authorities old-ca: the certificate itself of authority "old-ca" is not in the export`,
	"enrollments enrollment press-9: its certificate is not in the export",
}

func TestAWholePlant(t *testing.T) {
	w := newWorld(t)
	want := migration.Result{
		migration.Settings:    {Changed: 2, Same: 7},                                                                                  // shown three times; the fallback is on already
		migration.Authorities: {Created: 1, Same: 2, Failed: 1}, migration.Identities: {Created: 17, Changed: 4, Same: 4, NewKeys: 2}, /* the runtimes' modules come with their devices */
		migration.Configurations: {Created: 3}, migration.Routing: {Created: 9, Same: 18}, migration.Groups: {Created: 1, Same: 1}, migration.Enrollments: {Created: 6, Failed: 1},
	}
	tried, failures := w.run(migration.Config{Trial: true}, samples(t)...)
	if !slices.Equal(failures, expectedFailures) {
		t.Errorf("the trial fails at %q", failures)
	}
	if s, err := w.hub.Statistics(t.Context()); err != nil || s.Total != 0 {
		t.Fatalf("a trial made %d devices, %v", s.Total, err)
	}
	got, failures := w.run(migration.Config{}, samples(t)...)
	if !slices.Equal(failures, expectedFailures) || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%v\nwant\n%v", failures, got, want)
	}
	if a, b := tried[migration.Identities], got[migration.Identities]; a.Created+a.Changed+a.Same != b.Created+b.Changed+b.Same || tried.Failed() != got.Failed() {
		t.Errorf("the trial foresaw %v, it was %v", tried, got)
	}
	w.checkPlant()
	again, failures := w.run(migration.Config{}, samples(t)...)
	for part, o := range again {
		if o.Created != 0 || o.Changed != 0 || o.NewKeys != 0 || o.Kept != 0 {
			t.Errorf("done again %s: %+v", part, o)
		}
	}
	if !slices.Equal(failures, expectedFailures) {
		t.Errorf("done again it fails at %q", failures)
	}
	w.checkPlant()
	overwritten, _ := w.run(migration.Config{Mode: hubclient.ImportCreateOrUpdate}, samples(t)...)
	for part, o := range overwritten {
		if o.Created != 0 || o.Changed != 0 || o.NewKeys != 0 || o.Kept != 0 {
			t.Errorf("done again in another mode %s: %+v", part, o)
		}
	}
}

// checkPlant looks at what only works out when everything came together.
func (w *world) checkPlant() {
	w.t.Helper()
	ctx := w.t.Context()
	if s, err := w.hub.Statistics(ctx); err != nil || s.Total != 14 || s.Disabled != 2 {
		w.t.Errorf("%+v, %v", s, err)
	}
	for name, key := range map[string]string{
		"pump-1": "pump-1-primary", "mixer-1": "mixer-1-primary", "valve-9": "valve-9-primary", "gateway-hall3/filter": "filter-primary", "gateway-hall5/opcua": "opc-primary", "robot-1": "robot-1-primary",
	} {
		b, err := json.Marshal(w.device(name).Authentication.Keys.Primary)
		raw := []byte{}
		if err == nil {
			err = json.Unmarshal(b, &raw) // base64, as JSON has bytes
		}
		if err != nil || !strings.HasPrefix(string(raw), key) {
			w.t.Errorf("%s has the key %q, %v", name, raw, err)
		}
	}
	robot, cell, hall := w.device("robot-1"), w.device("gateway-cell"), w.device("gateway-hall6")
	if robot.Scope != hall.Scope || !slices.Equal(cell.ParentScopes, []string{hall.Scope}) || w.device("pump-1").Scope != w.device("gateway-hall3").Scope {
		w.t.Errorf("robot in %s, cell behind %v, hall %s", robot.Scope, cell.ParentScopes, hall.Scope)
	}
	if a := w.device("camera-7").Authentication; a.Type != "selfSigned" || a.Thumbprints.Primary != "5F1C7E0B2A94D3386E10C4A7D9B2F06E81A35C77" {
		w.t.Errorf("camera-7 proves itself by %+v", a)
	}
	twin, err := w.hub.Twin(ctx, "mixer-1")
	if err != nil || string(twin.Tags) != `{"hall":5}` || !strings.HasPrefix(string(twin.Properties.Desired), `{"speed":40,`) || !strings.HasPrefix(string(twin.Properties.Reported), `{"speed":38,`) {
		w.t.Errorf("mixer-1 has %s, %v", twin.Tags, err)
	}
	if m, err := w.hub.Twin(ctx, "gateway-hall5/opcua"); err != nil || !strings.Contains(string(m.Properties.Desired), "opc.tcp://10.5.0.9:4840") {
		w.t.Errorf("opcua has %s, %v", m.Properties.Desired, err)
	}
	r, err := w.hub.Routing(ctx)
	if err != nil || len(r.Endpoints) != 4 || len(r.Routes) != 4 || len(r.Enrichments) != 1 || !r.Fallback {
		w.t.Errorf("%+v, %v", r, err)
	}
	c, err := w.hub.CommandSettings(ctx)
	if err != nil || *c.DefaultTTLSeconds != 7200 || *c.MaxDeliveryCount != 15 || *c.FeedbackTTLSeconds != 108_000 {
		w.t.Errorf("%+v, %v", c, err)
	}
	if a, err := w.hub.Authorities(ctx); err != nil || len(a) != 1 || !a[0].Verified {
		w.t.Errorf("%+v, %v", a, err)
	}
	e, err := w.dps.Mechanism(ctx, "hall-4", true)
	if err != nil || !strings.HasPrefix(e.SymmetricKey.Primary, "aGFsbC00LXByaW1hcnk") { // hall-4-primary
		w.t.Errorf("group hall-4 proves itself by %+v, %v", e, err)
	}
	if e, err := w.dps.Enrollment(ctx, "press-6", false); err != nil || e.Status != "disabled" {
		w.t.Errorf("%+v, %v", e, err)
	}
}

func TestTheOrderOfFilesIsAllTheSame(t *testing.T) {
	w := newWorld(t)
	list := samples(t)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	t.Log(names)
	if _, failures := w.run(migration.Config{}, list...); !slices.Equal(failures, expectedFailures) {
		t.Errorf("it fails at %q", failures)
	}
	w.checkPlant()
}

func TestWhatIsThereIsLeftAloneUnlessAskedFor(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	list := samples(t)
	w.run(migration.Config{}, list...)
	d := w.device("pump-2")
	d.Status, d.StatusReason = "enabled", "repaired"
	if _, err := w.hub.Update(ctx, d, hubclient.Any); err != nil {
		t.Fatal(err)
	}
	c, err := w.hub.Configuration(ctx, "interval-hall3")
	if err != nil {
		t.Fatal(err)
	}
	c.Priority = 99
	if _, err := w.hub.UpdateConfiguration(ctx, c, hubclient.Any); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub.PutRoute(ctx, hubclient.Route{Name: "hot", Source: "DeviceMessages", Condition: "true", Endpoints: []string{"events"}}); err != nil {
		t.Fatal(err)
	}
	e, err := w.dps.Enrollment(ctx, "press-6", false)
	if err != nil {
		t.Fatal(err)
	}
	e.Status = "enabled"
	if _, err := w.dps.PutEnrollment(ctx, e, provisioningclient.Any); err != nil {
		t.Fatal(err)
	}
	got, _ := w.run(migration.Config{}, list...)
	for _, part := range []migration.Part{migration.Identities, migration.Configurations, migration.Enrollments} {
		if got[part].Kept != 1 || got[part].Changed != 0 {
			t.Errorf("%s: %+v", part, got[part])
		}
	}
	if w.device("pump-2").Status != "enabled" {
		t.Error("it was changed")
	}
	got, _ = w.run(migration.Config{Mode: hubclient.ImportUpdate}, list...)
	for _, part := range []migration.Part{migration.Identities, migration.Configurations, migration.Enrollments} {
		if got[part].Changed != 1 || got[part].Kept != 0 {
			t.Errorf("%s: %+v", part, got[part])
		}
	}
	w.checkPlant()
	if err := w.hub.Delete(ctx, "pump-2", hubclient.Any); err != nil {
		t.Fatal(err)
	}
	if got, _ = w.run(migration.Config{Mode: hubclient.ImportUpdate, Only: []migration.Part{migration.Identities}}, list...); got[migration.Identities].Absent != 1 || len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// flaky is a hub that fails at times.
type flaky struct {
	migration.Hub
	calls int
	fail  func(call int) error
}

func (f *flaky) Import(ctx context.Context, mode string, trial bool, list []json.RawMessage) ([]hubclient.Imported, error) {
	f.calls++
	if err := f.fail(f.calls); err != nil {
		return nil, err
	}
	return f.Hub.Import(ctx, mode, trial, list)
}

// hasty is a clock on which no pause takes time.
type hasty struct{ clock.System }

func (hasty) After(time.Duration) (<-chan time.Time, func()) {
	c := make(chan time.Time, 1)
	c <- time.Time{}
	return c, func() {}
}

// fleet is a file of many devices.
func fleet(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":"sensor-%06d","status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"MTExMTExMTExMTExMTExMTExMTExMTE=","secondaryKey":"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="}},"tags":{"hall":%d},"properties":{"desired":{"interval":10,"$metadata":{"$lastUpdated":"2026-01-01T00:00:00Z"},"$version":2},"reported":{"firmware":"1.2.%d"}}}`+"\n", i, i%9, i)
	}
	return b.String()
}

func TestAnImportThatWasInterruptedIsBegunAnew(t *testing.T) {
	w := newWorld(t)
	p := plan(t, text(fleet(950)))
	gone := fault.New("test", fault.Unavailable, "the hub is gone")
	slow := code.With(fault.New("test", fault.Exhausted, "too fast"), code.Throttled)
	f := &flaky{Hub: w.hub, fail: func(call int) error {
		switch {
		case call < 10:
			return slow // as often as it says so
		case call == 12, call == 13:
			return gone // for a moment
		case call >= 16:
			return gone
		}
		return nil
	}}
	got, err := p.Run(t.Context(), migration.Config{}, f, hasty{})
	if !errors.Is(err, gone) || got[migration.Identities].Created != 400 {
		t.Fatalf("%+v, %v", got, err)
	}
	if s, err := w.hub.Statistics(t.Context()); err != nil || s.Total != 400 {
		t.Fatalf("%+v, %v", s, err)
	}
	var last [2]int
	got, err = p.Run(t.Context(), migration.Config{Progress: func(_ migration.Part, done, of int) { last = [2]int{done, of} }}, w.hub, hasty{})
	if o := got[migration.Identities]; err != nil || o.Created != 550 || o.Same != 400 || last != [2]int{950, 950} {
		t.Fatalf("%+v, %v, progress %v", got, err, last)
	}
}

func TestWhatFailsKeepsNobodyElseOut(t *testing.T) {
	w := newWorld(t)
	got, failures := w.run(migration.Config{}, text(fleet(150)+`{"id":"not an id","status":"enabled"}
nonsense
{"id":"nobody","moduleId":"m","status":"enabled"}
{"id":"deep","tags":{"a.b":1}}
{"id":"last","status":"enabled"}
`))
	if o := got[migration.Identities]; o.Created != 151 || o.Failed != 4 || o.NewKeys != 1 {
		t.Errorf("%+v", o)
	}
	if len(failures) != 4 || !strings.Contains(strings.Join(failures, "\n"), "text, line 152: ") {
		t.Errorf("%q", failures)
	}
	cause := errors.New("the disk is full")
	cfg := migration.Config{Failed: func(migration.Failure) error { return cause }}
	if _, err := plan(t, text(`{"id":"not an id","status":"enabled"}`)).Run(t.Context(), cfg, w.hub, clock.System{}); !errors.Is(err, cause) {
		t.Errorf("a failure that cannot be written down ends nothing: %v", err)
	}
	// Without a provisioning service its enrollments fail, and nothing else.
	got, err := plan(t, samples(t)...).Run(t.Context(), migration.Config{}, w.hub, clock.System{})
	if err != nil || got[migration.Enrollments].Failed != 1 || got[migration.Identities].Created == 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOneThatIsRefusedWithAllIsFoundOut(t *testing.T) {
	w := newWorld(t)
	picky := &picky{w.hub}
	var failed []string
	cfg := migration.Config{Failed: func(f migration.Failure) error { failed = append(failed, f.Name); return nil }}
	got, err := plan(t, text(fleet(120))).Run(t.Context(), cfg, picky, clock.System{})
	if o := got[migration.Identities]; err != nil || o.Created != 119 || o.Failed != 1 || !slices.Equal(failed, []string{"sensor-000071"}) {
		t.Errorf("%+v, %v, %q", got, err, failed)
	}
}

// picky refuses a request that names a certain device.
type picky struct{ migration.Hub }

func (p *picky) Import(ctx context.Context, mode string, trial bool, list []json.RawMessage) ([]hubclient.Imported, error) {
	for _, one := range list {
		if strings.Contains(string(one), "sensor-000071") {
			return nil, fault.New("test", fault.TooLarge, "too large")
		}
	}
	return p.Hub.Import(ctx, mode, trial, list)
}

// TestMoreRoutesThanThereMayBe: what has no room fails, and the rest goes on.
func TestMoreRoutesThanThereMayBe(t *testing.T) {
	w := newWorld(t)
	var routes []string
	for i := range 105 {
		routes = append(routes, fmt.Sprintf(`{"name":"r%d","source":"DeviceMessages","condition":"true","endpointNames":["events"],"isEnabled":true}`, i))
	}
	got, failures := w.run(migration.Config{}, text(`[{"type":"Microsoft.Devices/IotHubs","name":"h","properties":{"routing":{"routes":[`+strings.Join(routes, ",")+`]}}},
{"type":"Microsoft.Devices/IotHubs/EventHubEndpoints/ConsumerGroups","name":"dashboard","eventHubEndpointName":"events"}]`))
	if o := got[migration.Routing]; o.Created != 100 || o.Failed != 5 || got[migration.Groups].Created != 1 || len(failures) != 5 {
		t.Errorf("%+v, %q", got, failures)
	}
}

func BenchmarkImport(b *testing.B) {
	w := newWorld(b)
	p := plan(b, text(fleet(b.N)))
	b.ResetTimer()
	got, err := p.Run(b.Context(), migration.Config{}, w.hub, clock.System{})
	if err != nil || got[migration.Identities].Created != b.N {
		b.Fatal(got, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "devices/s")
	b.StopTimer()
	from := time.Now()
	if got, err = p.Run(b.Context(), migration.Config{}, w.hub, clock.System{}); err != nil || got[migration.Identities].Same != b.N {
		b.Fatal(got, err)
	}
	b.ReportMetric(float64(b.N)/time.Since(from).Seconds(), "again/s")
}
