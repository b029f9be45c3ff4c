package job_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// containers keeps blobs in memory.
type containers struct {
	mu    sync.Mutex // guards the field below
	blobs map[string][]byte
}

func (c *containers) Check(*hub.Hub, string) error { return nil }

func (c *containers) Reader(_ context.Context, _ *hub.Hub, container, blob string) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.blobs[container+"/"+blob]
	if !ok {
		return nil, fault.Newf("containers.Reader", fault.NotFound, "no blob %s", blob)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (c *containers) Writer(_ context.Context, _ *hub.Hub, container, blob string) (io.WriteCloser, error) {
	return &writer{c: c, name: container + "/" + blob}, nil
}

type writer struct {
	bytes.Buffer
	c    *containers
	name string
}

func (w *writer) Close() error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.blobs[w.name] = w.Bytes()
	return nil
}

// runner is a scheduler that runs until stop.
type runner struct {
	*job.Scheduler
	stop func()
}

func run(t *testing.T, w *hubtest.World, cfg job.Config, clk clock.Clock) *runner {
	t.Helper()
	cfg.Look = 10 * time.Millisecond
	s := job.New(cfg, w.Server, slog.New(slog.DiscardHandler), clk)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &runner{s, stop}
}

// until asks for a job until it is as wanted.
func (r *runner) until(t *testing.T, h *hub.Hub, id string, wanted func(job.Job) bool) job.Job {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		changed := r.Changed()
		j, err := r.Get(t.Context(), h, id)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(j) {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("job %s is %+v", id, j)
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Millisecond): // wanted may have moved the clock
		}
	}
}

func ended(j job.Job) bool { return !j.Ended.IsZero() }

// device is connected and answers methods.
type device struct {
	session *hub.Session
	answer  func(hub.MethodCall) (int, string) // status 0 is silence
	called  chan hub.MethodCall
}

func (d *device) DesiredChanged(int64, json.RawMessage) {}
func (d *device) CommandsWaiting()                      {}
func (d *device) MethodCalled(c hub.MethodCall) {
	d.called <- c
	if status, body := d.answer(c); status != 0 {
		go d.session.AnswerMethod(c.ID, status, []byte(body)) // a receiver must not wait
	}
}

func connect(t *testing.T, w *hubtest.World, id string, answer func(hub.MethodCall) (int, string)) *device {
	t.Helper()
	made := w.Device(hubtest.Contoso, id)
	d := &device{answer: answer, called: make(chan hub.MethodCall, 10)}
	s, err := w.Hub(hubtest.Contoso).Connect(t.Context(), hub.Request{
		Device: id, Token: w.Token(hubtest.Contoso, made), Door: "test", Receiver: d, Cut: func(hub.Cause) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.session = s
	s.Listen(hub.Methods, true)
	t.Cleanup(s.End)
	return d
}

func TestTwinsOfManyAreUpdated(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	for i := range 40 {
		w.Device(hubtest.Contoso, fmt.Sprintf("d%02d", i))
		if i%2 == 0 {
			if _, err := h.PatchTwin(ctx, hub.Name{Device: fmt.Sprintf("d%02d", i)}, []byte(`{"tags":{"plant":"43"}}`), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := run(t, w, job.Config{AtOnce: 7}, clock.System{})
	_, err := s.Create(ctx, h, job.Job{ID: "j", Type: job.UpdateTwin, Condition: "tags.plant = '43'", Twin: json.RawMessage(`{"properties":{"desired":{"rate":5}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	j := s.until(t, h, "j", ended)
	if want := (job.Statistics{Devices: 20, Succeeded: 20}); j.Status != job.Completed || j.Statistics != want || j.Started.IsZero() {
		t.Errorf("%+v", j)
	}
	for id, want := range map[string]string{"d00": `{"rate":5}`, "d01": `{}`} {
		if twin, err := h.Twin(ctx, hub.Name{Device: id}); err != nil || twin.Desired.Text != want {
			t.Errorf("%s has %s, %v", id, twin.Desired.Text, err)
		}
	}
}

func TestMethodsOfManyAreCalled(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	connect(t, w, "good", func(c hub.MethodCall) (int, string) { return 200, `{"said":` + string(c.Payload) + `}` })
	connect(t, w, "mute", func(hub.MethodCall) (int, string) { return 200, "" })
	w.Device(hubtest.Contoso, "offline")
	s := run(t, w, job.Config{}, clock.System{})
	if _, err := s.Create(ctx, h, job.Job{ID: "m", Type: job.CallMethod, Condition: "*", Method: &job.Method{Name: "reboot", Payload: json.RawMessage(`{"in":5}`)}}); err != nil {
		t.Fatal(err)
	}
	j := s.until(t, h, "m", ended)
	if want := (job.Statistics{Devices: 3, Succeeded: 2, Failed: 1}); j.Status != job.Completed || j.Statistics != want {
		t.Errorf("%+v", j)
	}
	byName := map[string]hubstore.JobDevice{}
	for _, status := range []string{"completed", "failed"} {
		list, err := w.Server.Store().JobDevices(ctx, h.ID(), "m", status, hub.Name{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			byName[d.Device] = d
		}
	}
	if got := byName["good"].Outcome; !strings.Contains(got, `"payload":{"said":{"in":5}}`) || !strings.Contains(got, `"status":200`) {
		t.Errorf("good: %s", got)
	}
	if got := byName["mute"].Outcome; !strings.Contains(got, `"payload":null`) {
		t.Errorf("mute: %s", got)
	}
	if got := byName["offline"].Error; !strings.Contains(got, "404103") {
		t.Errorf("offline: %s", got)
	}
}

func TestJobsThatAreRefused(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	s := job.New(job.Config{Open: 1}, w.Server, slog.New(slog.DiscardHandler), clock.System{}) // does not run
	good := job.Job{ID: "j", Type: job.UpdateTwin, Twin: json.RawMessage(`{"tags":{}}`)}
	for name, change := range map[string]func(*job.Job){
		"no id":               func(j *job.Job) { j.ID = "" },
		"an id with a slash":  func(j *job.Job) { j.ID = "a/b" },
		"no type":             func(j *job.Job) { j.Type = "x" },
		"no twin":             func(j *job.Job) { j.Twin = nil },
		"no method":           func(j *job.Job) { j.Type = job.CallMethod },
		"a method of no name": func(j *job.Job) { j.Type, j.Method = job.CallMethod, &job.Method{} },
		"a twin of nobody":    func(j *job.Job) { j.Twin = json.RawMessage(`{"tags":{"a.b":1}}`) },
		"a wrong method":      func(j *job.Job) { j.Type, j.Method = job.CallMethod, &job.Method{Name: "a/b"} },
		"a method's ages":     func(j *job.Job) { j.Type, j.Method = job.CallMethod, &job.Method{Name: "a", Response: 1 << 60} },
		"a wrong condition":   func(j *job.Job) { j.Condition = "tags.x = " },
		"for ever":            func(j *job.Job) { j.Limit = 31 * 24 * time.Hour },
		"the far future":      func(j *job.Job) { j.Starts = time.Now().Add(400 * 24 * time.Hour) },
		"import of nothing":   func(j *job.Job) { j.Type = job.Import },
		"no containers":       func(j *job.Job) { j.Type, j.Transfer = job.Export, &job.Transfer{To: "c"} },
	} {
		j := good
		change(&j)
		if _, err := s.Create(ctx, h, j); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Get(ctx, h, "j"); code.Of(err) != code.JobNotFound {
		t.Errorf("nobody's job: %v", err)
	}
	if _, err := s.Create(ctx, h, good); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, h, job.Job{ID: "k", Type: job.UpdateTwin, Twin: good.Twin}); code.Of(err) != code.JobQuotaExceeded {
		t.Errorf("too many: %v", err)
	}
	s = job.New(job.Config{}, w.Server, slog.New(slog.DiscardHandler), clock.System{})
	if _, err := s.Create(ctx, h, good); code.Of(err) != code.JobAlreadyExists {
		t.Errorf("twice: %v", err)
	}
}

func TestScheduledCancelledAndOver(t *testing.T) {
	fake := clock.NewFake(time.Now())
	w := hubtest.Start(t, hubtest.Options{Clock: fake})
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	silent := connect(t, w, "silent", func(hub.MethodCall) (int, string) { return 0, "" })
	s := run(t, w, job.Config{}, fake)
	tick := func(d time.Duration) { fake.Advance(d) }
	twin := json.RawMessage(`{"tags":{"a":1}}`)
	later, err := s.Create(ctx, h, job.Job{ID: "later", Type: job.UpdateTwin, Twin: twin, Starts: fake.Now().Add(time.Hour)})
	if err != nil || later.Status != job.Scheduled {
		t.Fatalf("%+v, %v", later, err)
	}
	if _, err := s.Create(ctx, h, job.Job{ID: "never", Type: job.UpdateTwin, Twin: twin, Starts: fake.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if never, err := s.Cancel(ctx, h, "never"); err != nil || never.Status != job.Cancelled {
		t.Errorf("%+v, %v", never, err)
	}
	if _, err := s.Create(ctx, h, job.Job{ID: "over", Type: job.CallMethod, Method: &job.Method{Name: "m", Response: 300}, Limit: time.Minute}); err != nil {
		t.Fatal(err)
	}
	<-silent.called
	if j, err := s.Get(ctx, h, "later"); err != nil || j.Status != job.Scheduled {
		t.Errorf("before its time: %+v, %v", j, err)
	}
	over := s.until(t, h, "over", func(j job.Job) bool { tick(time.Second); return ended(j) })
	if over.Status != job.Failed || over.Statistics.Failed != 1 || !strings.Contains(over.Failure, "time") {
		t.Errorf("%+v", over)
	}
	if _, err := s.Create(ctx, h, job.Job{ID: "stopped", Type: job.CallMethod, Method: &job.Method{Name: "m", Response: 300}}); err != nil {
		t.Fatal(err)
	}
	<-silent.called
	if j, err := s.Cancel(ctx, h, "stopped"); err != nil || j.Status != job.Cancelled {
		t.Errorf("%+v, %v", j, err)
	}
	s.until(t, h, "stopped", func(j job.Job) bool { return j.Statistics.Running == 0 })
	tick(time.Hour)
	done := s.until(t, h, "later", func(j job.Job) bool { tick(time.Second); return ended(j) })
	if done.Status != job.Completed || done.Statistics.Succeeded != 1 {
		t.Errorf("%+v", done)
	}
	if j, err := s.Get(ctx, h, "never"); err != nil || j.Status != job.Cancelled || !j.Started.IsZero() {
		t.Errorf("a cancelled job ran: %+v, %v", j, err)
	}
}

// TestAJobOutlivesItsProcess: what was pending is done by the next one; a method that was being called is not called again.
func TestAJobOutlivesItsProcess(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	a := connect(t, w, "a", func(hub.MethodCall) (int, string) { return 0, "" })
	b := connect(t, w, "b", func(hub.MethodCall) (int, string) { return 200, "{}" })
	first := run(t, w, job.Config{AtOnce: 1}, clock.System{})
	if _, err := first.Create(ctx, h, job.Job{ID: "j", Type: job.CallMethod, Method: &job.Method{Name: "m", Response: 300}}); err != nil {
		t.Fatal(err)
	}
	<-a.called
	first.stop()
	if j, err := first.Get(ctx, h, "j"); err != nil || j.Status != job.Running || j.Statistics.Running != 1 || j.Statistics.Pending != 1 {
		t.Fatalf("%+v, %v", j, err)
	}
	s := run(t, w, job.Config{AtOnce: 1}, clock.System{})
	j := s.until(t, h, "j", ended)
	if want := (job.Statistics{Devices: 2, Succeeded: 1, Failed: 1}); j.Status != job.Completed || j.Statistics != want {
		t.Errorf("%+v", j)
	}
	<-b.called
	if len(a.called) != 0 || len(b.called) != 0 {
		t.Error("a method was called twice")
	}
}

func TestExportedIsImported(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	from, to, ctx := w.Hub(hubtest.Contoso), w.Hub(hubtest.Fabrikam), t.Context()
	for _, d := range []hubstore.Device{
		{ID: "plain", StatusReason: "spare", Status: hubstore.Disabled},
		{ID: "edge", Edge: true},
		{ID: "edge", Module: "m", ManagedBy: "me"},
		{ID: "x509", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: strings.Repeat("ab", 32)},
		{ID: "ca", AuthType: hub.AuthCertificateAuthority},
	} {
		if _, err := from.CreateDevice(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := from.PatchTwin(ctx, hub.Name{Device: "edge", Module: "m"}, []byte(`{"tags":{"a":{"b":[1,"x"]}},"properties":{"desired":{"rate":0.5}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := to.CreateDevice(ctx, hubstore.Device{ID: "ca"}); err != nil { // in the way
		t.Fatal(err)
	}
	blobs := &containers{blobs: map[string][]byte{}}
	s := run(t, w, job.Config{Containers: blobs}, clock.System{})
	if _, err := s.Create(ctx, from, job.Job{ID: "out", Type: job.Export, Transfer: &job.Transfer{To: "c"}}); err != nil {
		t.Fatal(err)
	}
	if j := s.until(t, from, "out", ended); j.Status != job.Completed {
		t.Fatalf("%+v", j)
	}
	if _, err := s.Create(ctx, to, job.Job{ID: "in", Type: job.Import, Transfer: &job.Transfer{From: "c", To: "c"}}); err != nil {
		t.Fatal(err)
	}
	j := s.until(t, to, "in", ended)
	if j.Status != job.Failed || !strings.Contains(j.Failure, "1 identities were not imported") || !strings.Contains(string(blobs.blobs["c/importErrors.log"]), `device "ca"`) {
		t.Errorf("%+v\n%s", j, blobs.blobs["c/importErrors.log"])
	}
	for _, n := range []hub.Name{{Device: "plain"}, {Device: "edge"}, {Device: "edge", Module: "m"}, {Device: "edge", Module: "$edgeHub"}, {Device: "x509"}} {
		a, err := from.Twin(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		b, err := to.Twin(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		x, y := a.Device.Device, b.Device.Device
		y.Hub, y.Generation, y.ETag, y.Created, y.StatusChanged = x.Hub, x.Generation, x.ETag, x.Created, x.StatusChanged
		if x != y || a.Tags != b.Tags || a.Desired.Text != b.Desired.Text {
			t.Errorf("%s\nwas  %+v %s %s\nis   %+v %s %s", n, x, a.Tags, a.Desired.Text, y, b.Tags, b.Desired.Text)
		}
	}
	if _, err := s.Create(ctx, from, job.Job{ID: "bare", Type: job.Export, Transfer: &job.Transfer{To: "bare", ExcludeKeys: true}}); err != nil {
		t.Fatal(err)
	}
	s.until(t, from, "bare", ended)
	d, err := from.Device(ctx, "plain")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(blobs.blobs["bare/devices.txt"]); strings.Contains(text, d.PrimaryKey) || !strings.Contains(text, `"id":"plain"`) {
		t.Errorf("keys are excluded: %s", text)
	}
}
