package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// told is the receiver of a device that keeps what it is told.
type told struct {
	mu      sync.Mutex // guards the field below
	desired []string
}

func (r *told) DesiredChanged(version int64, patch json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.desired = append(r.desired, fmt.Sprintf("%d %s", version, patch))
}

func (r *told) MethodCalled(hub.MethodCall) {}
func (r *told) CommandsWaiting()            {}

func (r *told) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.desired...)
}

// listener connects a device that keeps what it is told.
func (w *world) listener(n hub.Name, key string) (*hub.Session, *told) {
	w.t.Helper()
	path := "/devices/" + n.Device
	if n.IsModule() {
		path += "/modules/" + n.Module
	}
	token, err := sas.Sign(host+path, key, "", start.Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	r := &told{}
	s, err := w.hub().Connect(w.t.Context(), hub.Request{Device: n.Device, Module: n.Module, Token: token, Side: public, Door: "test", ModelID: "dtmi:a;1", Receiver: r, Cut: func(hub.Cause) {}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.End)
	return s, r
}

type answer struct {
	version int64
	err     error
}

func report(s *hub.Session, patch string) answer {
	done := make(chan answer, 1)
	s.PatchReported([]byte(patch), func(v int64, err error) { done <- answer{v, err} })
	return <-done
}

func (w *world) twinJSON(n hub.Name) map[string]any {
	w.t.Helper()
	t, err := w.hub().Twin(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := t.JSON()
	if err != nil {
		w.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
	return out
}

// C29: what the device reads is what services read, less metadata.
func TestADeviceReadsItsTwin(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	if _, err := w.hub().PatchTwin(t.Context(), d.Name(), []byte(`{"tags":{"secret":1},"properties":{"desired":{"rate":5,"o":{"x":[1]}}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if a := report(s, `{"fw":"1"}`); a != (answer{2, nil}) {
		t.Fatalf("%+v", a)
	}
	got, err := s.Twin(t.Context())
	if want := `{"desired":{"o":{"x":[1]},"rate":5,"$version":2},"reported":{"fw":"1","$version":2}}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	whole := w.twinJSON(d.Name())
	for _, part := range whole["properties"].(map[string]any) {
		if part.(map[string]any)["$metadata"] == nil {
			t.Errorf("no metadata in %v", part)
		}
		delete(part.(map[string]any), "$metadata")
	}
	back, err := json.Marshal(whole["properties"])
	if err != nil || string(back) != `{"desired":{"$version":2,"o":{"x":[1]},"rate":5},"reported":{"$version":2,"fw":"1"}}` {
		t.Errorf("%s, %v", back, err)
	}
	for key, want := range map[string]any{
		"deviceId": "a", "etag": "AAAAAAAAAAI=", "deviceEtag": d.ETag, "status": "enabled", "statusUpdateTime": "0001-01-01T00:00:00", "connectionState": "Connected",
		"authenticationType": "sas", "version": 4.0, "cloudToDeviceMessageCount": 0.0, "modelId": "dtmi:a;1", "lastActivityTime": "2026-11-22T03:00:00.0000000Z",
	} {
		if whole[key] != want {
			t.Errorf("%s is %v, want %v", key, whole[key], want)
		}
	}
}

// C30, C32: one version a patch, in order; a bad one changes nothing.
func TestReportedPatches(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	answers := make(chan string, 8)
	patches := []string{`{"a":1,"b":{"c":1,"d":2}}`, `{"b":{"c":null}}`, `{"a.b":1}`, `{"big":"` + strings.Repeat("x", 5000) + `"}`, `{"a":null}`, `nonsense`, `{}`}
	for i, p := range patches {
		s.PatchReported([]byte(p), func(v int64, err error) { answers <- fmt.Sprint(i, v, code.Of(err).Number, err == nil) })
	}
	for i, want := range []string{"0 2 500001 true", "1 3 500001 true", "2 0 400004 false", "3 0 400004 false", "4 4 500001 true", "5 0 400004 false", "6 5 500001 true"} {
		if got := <-answers; got != want {
			t.Errorf("answer %d is %q, want %q", i, got, want)
		}
	}
	if got, err := s.Twin(t.Context()); err != nil || !strings.Contains(string(got), `"reported":{"b":{"d":2},"$version":5}`) {
		t.Errorf("%s, %v", got, err)
	}
	if a := report(s, strings.Repeat(`{"k":`, 1000)); fault.KindOf(a.err) != fault.Invalid || !strings.Contains(fault.Message(a.err), "nested deeper") {
		t.Error(a.err)
	}
	if a := report(s, `{"a":"`+strings.Repeat("x", 200_000)+`"}`); code.Of(a.err) != code.ArgumentInvalid {
		t.Error(a.err)
	}
	for i := range 9 {
		a := report(s, fmt.Sprintf(`{"k%d":%q}`, i, strings.Repeat("x", 4096)))
		if full := i == 7; full != (a.err != nil) && i < 8 || full && (!strings.Contains(fault.Message(a.err), "properties.reported would have") || code.Of(a.err) != code.ArgumentInvalid) {
			t.Errorf("patch %d of 4 KB: %v", i, a.err)
		}
	}
}

// What was still to be read of a connection when the device came back does not undo what it says now.
func TestReportsOfAnOlderSessionComeTooLate(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	old, _ := w.listener(d.Name(), d.PrimaryKey)
	if a := report(old, `{"n":1}`); a.err != nil || a.version != 2 {
		t.Fatal(a)
	}
	now, _ := w.listener(d.Name(), d.PrimaryKey)
	if a := report(now, `{"n":3}`); a.err != nil || a.version != 3 {
		t.Fatal(a)
	}
	if a := report(old, `{"n":2}`); fault.KindOf(a.err) != fault.Precondition || !strings.Contains(fault.Message(a.err), "connected again") {
		t.Errorf("the older session's patch: %v", a.err)
	}
	old.End()
	now.End() // with nobody after it, what a device said before it went counts
	if a := report(now, `{"n":4}`); a.err != nil || a.version != 4 {
		t.Error(a)
	}
}

// C31, C33: services change desired properties; a device that listens is told in order.
func TestDesiredChangesReachWhoListens(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	s, r := w.listener(d.Name(), d.PrimaryKey)
	patch := func(body, ifMatch string) (hub.Twin, error) {
		return w.hub().PatchTwin(t.Context(), d.Name(), []byte(body), ifMatch)
	}
	if _, err := patch(`{"properties":{"desired":{"early":1}}}`, ""); err != nil {
		t.Fatal(err)
	}
	s.Listen(hub.DesiredProperties, true)
	first, err := patch(`{"properties":{"desired":{"a":1,"early":null}}}`, `"AAAAAAAAAAI="`)
	if err != nil || first.ETag() != "AAAAAAAAAAM=" || first.Device.ETag != d.ETag {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := patch(`{"tags":{"t":1}}`, "*"); err != nil {
		t.Fatal(err)
	}
	_, err = patch(`{"properties":{"desired":{"a":2}}}`, first.ETag())
	if code.Of(err) != code.PreconditionFailed || fault.Next(err) == "" {
		t.Errorf("a stale etag: %v", err)
	}
	if a := report(s, `{"r":1}`); a.err != nil {
		t.Fatal(a.err)
	}
	now := w.twinJSON(d.Name())["etag"].(string)
	if _, err := w.hub().ReplaceTwin(t.Context(), d.Name(), []byte(`{"properties":{"desired":{"b":{"c":null,"d":1}}}}`), now); err != nil {
		t.Errorf("the etag moved with a report: %v", err)
	}
	s.Listen(hub.DesiredProperties, false)
	if _, err := patch(`{"properties":{"desired":{"late":1}}}`, ""); err != nil {
		t.Fatal(err)
	}
	want := []string{`3 {"a":1,"early":null,"$version":3}`, `4 {"b":{"d":1},"$version":4}`}
	if got := r.all(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, body := range []string{`{"tags":{"a b":1}}`, `[]`, `{"properties":{"desired":[]}}`, "\xff"} {
		if _, err := patch(body, ""); code.Of(err) != code.ArgumentInvalid || fault.Message(err) == "" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// C34: a module's twin is its own.
func TestModulesHaveTwinsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	m, err := w.hub().CreateDevice(t.Context(), hubstore.Device{ID: "a", Module: "m"})
	if err != nil {
		t.Fatal(err)
	}
	ds, dr := w.listener(d.Name(), d.PrimaryKey)
	ms, mr := w.listener(m.Name(), m.PrimaryKey)
	ds.Listen(hub.DesiredProperties, true)
	ms.Listen(hub.DesiredProperties, true)
	if _, err := w.hub().PatchTwin(t.Context(), m.Name(), []byte(`{"properties":{"desired":{"of":"module"}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if a := report(ms, `{"r":1}`); a != (answer{2, nil}) {
		t.Errorf("%+v", a)
	}
	if got, err := ds.Twin(t.Context()); err != nil || string(got) != `{"desired":{"$version":1},"reported":{"$version":1}}` || len(dr.all()) != 0 {
		t.Errorf("the device's: %s, %v, told %v", got, err, dr.all())
	}
	if len(mr.all()) != 1 {
		t.Errorf("the module is told %v", mr.all())
	}
	got := w.twinJSON(m.Name())
	if got["moduleId"] != "m" || got["capabilities"] != nil {
		t.Errorf("%v", got)
	}
	for _, n := range []hub.Name{{Device: "a", Module: "none"}, {Device: "none"}, {Device: "none", Module: "m"}} {
		_, read := w.hub().Twin(t.Context(), n)
		_, written := w.hub().PatchTwin(t.Context(), n, []byte(`{"tags":{"a":1}}`), "")
		if code.Of(read) != code.DeviceNotFound || code.Of(written) != code.DeviceNotFound || fault.KindOf(read) != fault.NotFound {
			t.Errorf("%v: %v, %v", n, read, written)
		}
	}
	if err := w.hub().DeleteIdentity(t.Context(), m.Name(), "*"); err != nil {
		t.Fatal(err)
	}
	if a := report(ms, `{"r":2}`); fault.KindOf(a.err) != fault.NotFound {
		t.Errorf("a report of who is gone: %+v", a)
	}
	again, err := w.hub().CreateDevice(t.Context(), hubstore.Device{ID: "a", Module: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.twinJSON(again.Name()); got["version"] != 2.0 {
		t.Errorf("a new identity has an old twin: %v", got)
	}
}

func TestAnIdentityIsMadeWithItsFirstTwin(t *testing.T) {
	w := newWorld(t)
	first, err := w.hub().FirstTwin([]byte(`{"deviceId":"elsewhere","tags":{"t":1},"properties":{"desired":{"d":1,"$version":7},"reported":{"r":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub().ChangeDevices(t.Context(), []hub.Change{{Device: hubstore.Device{ID: "a"}, Twin: first}}); err != nil {
		t.Fatal(err)
	}
	got, err := w.hub().Twin(t.Context(), hub.Name{Device: "a"})
	if err != nil || got.Tags != `{"t":1}` || got.Desired.Text != `{"d":1}` || got.Reported.Text != `{"r":1}` || got.Version != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.hub().FirstTwin([]byte(`{"tags":{"$x":1}}`)); code.Of(err) != code.ArgumentInvalid {
		t.Error(err)
	}
}

func TestTwinsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	for i := range 5 {
		if a := report(s, fmt.Sprintf(`{"n":%d}`, i)); a.err != nil {
			t.Fatal(a.err)
		}
	}
	if _, err := w.hub().PatchTwin(t.Context(), d.Name(), []byte(`{"properties":{"desired":{"n":1}}}`), ""); err != nil {
		t.Fatal(err)
	}
	before, err := w.hub().Twin(t.Context(), d.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.End()
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	after, err := w.hub().Twin(t.Context(), d.Name())
	if err != nil || after.Document != before.Document || after.Reported.Version != 6 || after.Desired.Version != 2 || after.Model != "dtmi:a;1" {
		t.Errorf("%+v then %+v, %v", before, after, err)
	}
	s, _ = w.listener(d.Name(), d.PrimaryKey)
	if a := report(s, `{"n":9}`); a != (answer{7, nil}) {
		t.Errorf("%+v", a)
	}
}

// Devices report and services patch, all at once: nothing is lost, versions have no gaps, and each device hears of each version once, in order.
func TestManyChangeTwinsAtOnce(t *testing.T) {
	const devices, each = 8, 40
	w := newWorld(t)
	var all sync.WaitGroup
	type outcome struct {
		n        hub.Name
		receiver *told
		mu       sync.Mutex // guards the field below
		versions []int64
	}
	outcomes := make([]*outcome, devices)
	for i := range devices {
		d, _ := w.device(fmt.Sprintf("d%d", i))
		s, r := w.listener(d.Name(), d.PrimaryKey)
		s.Listen(hub.DesiredProperties, true)
		o := &outcome{n: d.Name(), receiver: r}
		outcomes[i] = o
		all.Go(func() {
			var answered sync.WaitGroup
			for k := range each {
				answered.Add(1)
				s.PatchReported(fmt.Appendf(nil, `{"k%d":%d,"last":%d}`, k, k, k), func(v int64, err error) {
					defer answered.Done()
					if err != nil {
						t.Error(err)
					}
					o.mu.Lock()
					defer o.mu.Unlock()
					o.versions = append(o.versions, v)
				})
			}
			answered.Wait()
		})
		for range 2 { // two services, who race
			all.Go(func() {
				for k := range each / 4 {
					if _, err := w.hub().PatchTwin(t.Context(), o.n, fmt.Appendf(nil, `{"properties":{"desired":{"n":%d}}}`, k), ""); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	for _, o := range outcomes {
		for i, v := range o.versions {
			if v != int64(i)+2 {
				t.Fatalf("%v: report %d got version %d", o.n, i, v)
			}
		}
		heard := o.receiver.all()
		if len(heard) != each/2 {
			t.Errorf("%v was told %d times", o.n, len(heard))
		}
		for i, line := range heard {
			if !strings.HasPrefix(line, fmt.Sprintf("%d ", i+2)) {
				t.Fatalf("%v: told %q as number %d", o.n, line, i)
			}
		}
		got, err := w.hub().Twin(t.Context(), o.n)
		if err != nil || got.Version != 2+each+each/2 || !strings.Contains(got.Reported.Text, fmt.Sprintf(`"last":%d`, each-1)) || strings.Count(got.Reported.Text, `"k`) != each {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestAReportToAStoreThatIsClosedIsAnswered(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := report(s, `{"a":1}`); a.err == nil {
			t.Errorf("%+v", a)
		}
	}
}

// With one device that has more under way than it may, others go on.
func TestAFloodOfReportsIsBounded(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("flood")
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	release, entered := make(chan struct{}), make(chan struct{})
	var hold sync.WaitGroup
	hold.Go(func() {
		err := w.server.Store().Write(t.Context(), func(*hubstore.Tx) error {
			close(entered)
			<-release
			return errors.New("nothing written")
		})
		if err == nil {
			t.Error("the store wrote")
		}
	})
	<-entered
	var mu sync.Mutex
	submitted, answered := 0, 0
	var flood sync.WaitGroup
	full := make(chan struct{})
	flood.Go(func() {
		for i := range 200 {
			if i == 64 {
				close(full) // the next one waits
			}
			s.PatchReported([]byte(`{"a":1}`), func(_ int64, err error) {
				mu.Lock()
				defer mu.Unlock()
				answered++
				if err != nil {
					t.Error(err)
				}
			})
			mu.Lock()
			submitted++
			mu.Unlock()
		}
	})
	<-full
	mu.Lock()
	if submitted > 64 || answered != 0 {
		t.Errorf("%d submitted, %d answered while the store was held", submitted, answered)
	}
	mu.Unlock()
	close(release)
	hold.Wait()
	flood.Wait()
	if a := report(s, `{"a":2}`); a != (answer{202, nil}) {
		t.Errorf("%+v", a)
	}
	if answered != 200 {
		t.Errorf("%d answered", answered)
	}
}
