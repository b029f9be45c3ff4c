package file_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

const host = "contoso.azure-devices.net"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub with files, and no door.
type world struct {
	t      *testing.T
	dir    string
	clock  *clock.Fake
	server *hub.Server
	files  *file.Service
	hub    *hub.Hub
	other  *hub.Hub
}

func start(t *testing.T, cfg file.Config) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: clock.NewFake(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC))}
	log := slog.New(slog.DiscardHandler)
	var err error
	w.server, err = hub.New(t.Context(), hub.Config{Dir: filepath.Join(w.dir, "hub")}, nil, log, w.clock, nil)
	must(t, err)
	t.Cleanup(func() { must(t, w.server.Close()) })
	must(t, w.server.SetHubs([]plan.Hub{
		{ID: "uid-1", Name: "ot/a/contoso", HostNames: []string{host}, Public: resource.PublicEnabled},
		{ID: "uid-2", Name: "ot/a/fabrikam", HostNames: []string{"fabrikam.azure-devices.net"}, Public: resource.PublicEnabled},
	}))
	w.hub, _ = w.server.ByHost(host)
	w.other, _ = w.server.ByName("uid-2")
	cfg.Blobs.Dir = filepath.Join(w.dir, "files")
	w.files, err = file.New(t.Context(), cfg, w.server, log, w.clock, nil)
	must(t, err)
	t.Cleanup(func() { must(t, w.files.Close()) })
	for _, id := range []string{"d", "e"} {
		_, err := w.hub.CreateDevice(t.Context(), hubstore.Device{ID: id})
		must(t, err)
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) begin(device, name string) file.Grant {
	w.t.Helper()
	g, err := w.files.Begin(w.t.Context(), w.hub, device, name, host+":8443")
	must(w.t, err)
	return g
}

// admit asks for what a request with this path and query may do.
func (w *world) admit(h *hub.Hub, path, query, token string, needs azureblob.Rights) (file.Access, error) {
	w.t.Helper()
	q, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
	must(w.t, err)
	return w.files.Admit(w.t.Context(), h, path, q, token, needs)
}

func (w *world) write(g file.Grant, content string) {
	w.t.Helper()
	a, err := w.admit(w.hub, "/"+g.Container+"/"+azureblob.EscapePath(g.Blob), g.Query, "", azureblob.Write)
	must(w.t, err)
	_, err = w.files.Blobs().Put(w.t.Context(), a.Upload, a.Blob, blob.Properties{}, int64(len(content)), strings.NewReader(content))
	must(w.t, err)
}

func (w *world) done(g file.Grant, device string) error {
	return w.files.Done(w.t.Context(), w.hub, device, g.Correlation, file.Outcome{Success: true, Status: 201})
}

func (w *world) receive() *file.Notification {
	w.t.Helper()
	n, err := w.files.Receive(w.t.Context(), w.hub, 0)
	must(w.t, err)
	return n
}

func wants(t *testing.T, err error, kind fault.Kind, c code.Code) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || code.Of(err) != c || fault.Message(err) == "" {
		t.Errorf("got %v, code %v, want %v and %v", err, code.Of(err), kind, c)
	}
}

func TestUploadThroughItsLife(t *testing.T) {
	w := start(t, file.Config{})
	arrived := w.files.Arrived(w.hub)
	g := w.begin("d", "logs/a b#1.txt")
	if g.Host != host+":8443" || g.Container != "uploads" || g.Blob != "d/logs/a b#1.txt" || !strings.HasPrefix(g.Query, "?sv=") || len(g.Correlation) > 64 {
		t.Errorf("granted %+v", g)
	}
	wants(t, w.done(g, "d"), fault.Precondition, code.ArgumentInvalid) // nothing was sent
	w.write(g, "the content")
	wants(t, w.done(g, "e"), fault.Invalid, code.ArgumentInvalid) // it is not this device's
	must(t, w.done(g, "d"))
	must(t, w.done(g, "d")) // the answer was lost
	select {
	case <-arrived:
	default:
		t.Error("nobody is told that a notification came")
	}
	n := w.receive()
	if n == nil {
		t.Fatal("there is no notification")
	}
	b, err := json.Marshal(n)
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(b, &got))
	for key, want := range map[string]any{
		"deviceId": "d", "blobUri": "https://" + host + "/uploads/d/logs/a%20b%231.txt", "blobName": "d/logs/a b#1.txt", "blobSizeInBytes": 11.0, "enqueuedTimeUtc": "2026-11-22T09:00:00.0000000Z",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["lastUpdatedTime"])); err != nil || len(got) != 6 {
		t.Errorf("%s", b)
	}
	if w.receive() != nil {
		t.Error("there are two")
	}
	must(t, w.files.Complete(t.Context(), w.hub, n.Lock))
	wants(t, w.files.Complete(t.Context(), w.hub, n.Lock), fault.Precondition, code.MessageLockLost)
	if len(w.files.Blobs().Waiting()) != 0 {
		t.Errorf("something waits: %v", w.files.Blobs().Waiting())
	}
	if _, err := w.admit(w.hub, "/uploads/d/logs/a%20b%231.txt", g.Query, "", azureblob.Write); fault.KindOf(err) != fault.Expired {
		t.Errorf("the grant outlives its upload: %v", err)
	}
}

func TestAFailureIsNotNews(t *testing.T) {
	w := start(t, file.Config{})
	g := w.begin("d", "x")
	must(t, w.files.Done(t.Context(), w.hub, "d", g.Correlation, file.Outcome{Status: 403, Description: "no\nway"}))
	if w.receive() != nil {
		t.Error("services are told of a file that is not there")
	}
	quiet, err := w.files.SetSettings(t.Context(), w.hub, []byte(`{"notifications":false,"lockSeconds":30}`), "a test")
	if err != nil || quiet.Notifications || quiet.LockSeconds != 30 || quiet.GrantSeconds != 3600 {
		t.Errorf("set to %+v, %v", quiet, err)
	}
	g = w.begin("d", "x")
	w.write(g, "x")
	must(t, w.done(g, "d"))
	if w.receive() != nil {
		t.Error("services are told although the hub does not want it")
	}
	for _, text := range []string{`{`, `{"lockSeconds":4}`, `{"lockSeconds":301}`, `{"unknown":1}`, `[]`} {
		_, err := w.files.SetSettings(t.Context(), w.hub, []byte(text), "a test")
		wants(t, err, fault.Invalid, code.ArgumentInvalid)
	}
}

func TestTenAtATime(t *testing.T) {
	w := start(t, file.Config{})
	var first file.Grant
	for i := range 10 {
		g := w.begin("d", fmt.Sprint(i))
		if i == 0 {
			first = g
		}
	}
	_, err := w.files.Begin(t.Context(), w.hub, "d", "eleven", host)
	wants(t, err, fault.Exhausted, code.ActiveUploadsExceeded)
	w.begin("e", "another device's")
	must(t, w.files.Done(t.Context(), w.hub, "d", first.Correlation, file.Outcome{}))
	last := w.begin("d", "after one ended")
	w.clock.Advance(time.Hour)
	for i := range 10 {
		w.begin("d", fmt.Sprint("when all were over ", i))
	}
	wants(t, w.done(last, "d"), fault.Expired, code.ArgumentInvalid)
}

func TestNamesThatAreRefused(t *testing.T) {
	w := start(t, file.Config{})
	for _, name := range []string{"", "/x", "x/", "a//b", "../e/x", "a/../../x", ".", "..", "a\nb", `a\b`, "a\x00", strings.Repeat("x", 1023)} {
		_, err := w.files.Begin(t.Context(), w.hub, "d", name, host)
		wants(t, err, fault.Invalid, code.ArgumentInvalid)
	}
	for _, id := range []string{"", "x", "!", strings.Repeat("A", 43), w.begin("d", "x").Correlation[:42]} {
		wants(t, w.files.Done(t.Context(), w.hub, "d", id, file.Outcome{Success: true}), fault.Invalid, code.ArgumentInvalid)
	}
}

func TestWhatAGrantIsGoodFor(t *testing.T) {
	w := start(t, file.Config{})
	g := w.begin("d", "50%41 a+b.txt")
	mine := "/uploads/d/50%2541%20a+b.txt"
	for what, path := range map[string]string{
		"encoded": mine, "slashes encoded": "/uploads/d%2F50%2541%20a%2Bb.txt", "as it is": "/uploads/d/50%41 a+b.txt", "in part, which Node sends": "/uploads/d/50%41%20a+b.txt", "the container's case": strings.Replace(mine, "uploads", "Uploads", 1),
	} {
		a, err := w.admit(w.hub, path, g.Query+"&comp=block&blockid=QQ%3D%3D", "", azureblob.Create|azureblob.Write)
		if err != nil || a.Blob != (blob.Ref{Hub: "uid-1", Container: "uploads", Name: "d/50%41 a+b.txt"}) || a.Upload.ID != g.Correlation || a.Device != "d" {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	for what, c := range map[string]struct {
		h           *hub.Hub
		path, query string
		needs       azureblob.Rights
		want        fault.Kind
	}{
		"reading":           {w.hub, mine, g.Query, azureblob.Read, fault.Denied},
		"deleting":          {w.hub, mine, g.Query, azureblob.Delete, fault.Denied},
		"another blob":      {w.hub, "/uploads/d/x", g.Query, azureblob.Write, fault.Unauthenticated},
		"another device's":  {w.hub, strings.Replace(mine, "/d/", "/e/", 1), g.Query, azureblob.Write, fault.Unauthenticated},
		"another hub":       {w.other, mine, g.Query, azureblob.Write, fault.Unauthenticated},
		"more rights":       {w.hub, mine, strings.Replace(g.Query, "sp=cw", "sp=rcw", 1), azureblob.Read, fault.Unauthenticated},
		"longer":            {w.hub, mine, strings.Replace(g.Query, "2026", "2027", 1), azureblob.Write, fault.Unauthenticated},
		"another container": {w.hub, "/other" + mine[8:], g.Query, azureblob.Write, fault.NotFound},
		"no signature":      {w.hub, mine, "", azureblob.Write, fault.Unauthenticated},
		"steps up":          {w.hub, "/uploads/d/../e/x", g.Query, azureblob.Write, fault.Unauthenticated},
	} {
		if _, err := w.admit(c.h, c.path, c.query, "", c.needs); fault.KindOf(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
	d, err := w.hub.Device(t.Context(), "d")
	must(t, err)
	d.Status = hubstore.Disabled
	_, err = w.hub.UpdateDevice(t.Context(), d.Device, hub.AnyETag)
	must(t, err)
	if _, err := w.admit(w.hub, mine, g.Query, "", azureblob.Write); fault.KindOf(err) != fault.Denied {
		t.Errorf("of a device that is disabled: %v", err)
	}
	must(t, w.hub.DeleteDevice(t.Context(), "d", hub.AnyETag))
	if _, err := w.admit(w.hub, mine, g.Query, "", azureblob.Write); fault.KindOf(err) != fault.Expired {
		t.Errorf("of a device that is gone: %v", err)
	}
	_, err = w.hub.CreateDevice(t.Context(), hubstore.Device{ID: "d"})
	must(t, err)
	if _, err := w.admit(w.hub, mine, g.Query, "", azureblob.Write); fault.KindOf(err) != fault.Expired {
		t.Errorf("of an earlier device of the same name: %v", err)
	}
	w.clock.Advance(time.Hour)
	if _, err := w.admit(w.hub, mine, g.Query, "", azureblob.Write); fault.KindOf(err) != fault.Expired {
		t.Errorf("after its time: %v", err)
	}
}

func TestLinksAreForReading(t *testing.T) {
	w := start(t, file.Config{})
	_, _, err := w.files.Link(t.Context(), w.hub, "d/x", host, 0)
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("to nothing: %v", err)
	}
	g := w.begin("d", "x")
	w.write(g, "x")
	link, expires, err := w.files.Link(t.Context(), w.hub, "d/x", host, time.Minute)
	must(t, err)
	u, err := url.Parse(link)
	if err != nil || u.Host != host || u.Path != "/uploads/d/x" || !expires.Equal(w.clock.Now().Add(time.Minute)) {
		t.Errorf("%s until %s, %v", link, expires, err)
	}
	if a, err := w.admit(w.hub, u.EscapedPath(), u.RawQuery, "", azureblob.Read); err != nil || a.Upload != (blob.Upload{}) {
		t.Errorf("reading: %+v, %v", a, err)
	}
	for _, needs := range []azureblob.Rights{azureblob.Create | azureblob.Write, azureblob.Delete} {
		if _, err := w.admit(w.hub, u.EscapedPath(), u.RawQuery, "", needs); fault.KindOf(err) != fault.Denied {
			t.Errorf("%q: %v", needs, err)
		}
	}
	w.clock.Advance(time.Minute)
	if _, err := w.admit(w.hub, u.EscapedPath(), u.RawQuery, "", azureblob.Read); fault.KindOf(err) != fault.Expired {
		t.Errorf("after its end: %v", err)
	}
	for _, lasts := range []time.Duration{-time.Second, 8 * 24 * time.Hour} {
		if _, _, err := w.files.Link(t.Context(), w.hub, "d/x", host, lasts); fault.KindOf(err) != fault.Invalid {
			t.Errorf("for %v: %v", lasts, err)
		}
	}
}

func TestNotificationsAreGivenOutOneAtATime(t *testing.T) {
	w := start(t, file.Config{MaxNotifications: 3})
	_, err := w.files.SetSettings(t.Context(), w.hub, []byte(`{"maxDeliveries":2,"lockSeconds":60}`), "a test")
	must(t, err)
	for i := range 5 {
		g := w.begin("d", fmt.Sprint(i))
		w.write(g, "x")
		must(t, w.done(g, "d"))
	}
	if n, err := w.files.Waiting(t.Context(), w.hub); n != 3 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
	two, three := w.receive(), w.receive()
	if two.BlobName != "d/2" || three.BlobName != "d/3" || two.Deliveries != 1 {
		t.Errorf("the oldest first: %+v, %+v", two, three)
	}
	must(t, w.files.Abandon(t.Context(), w.hub, two.Lock))
	again := w.receive()
	if again.BlobName != "d/2" || again.Deliveries != 2 || again.Lock == two.Lock {
		t.Errorf("given back: %+v", again)
	}
	wants(t, w.files.Complete(t.Context(), w.hub, two.Lock), fault.Precondition, code.MessageLockLost)
	must(t, w.files.Complete(t.Context(), w.hub, three.Lock))
	w.clock.Advance(61 * time.Second) // the lock of the one which has been given out twice ends
	if n := w.receive(); n == nil || n.BlobName != "d/4" {
		t.Errorf("one that nobody completes is dropped, then came %+v", n)
	}
	if n, err := w.files.Waiting(t.Context(), w.hub); n != 1 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
	w.clock.Advance(time.Hour)
	if n := w.receive(); n != nil {
		t.Errorf("after its time: %+v", n)
	}
}

// What is over goes away by itself, and what is not stays.
func TestSweep(t *testing.T) {
	w := start(t, file.Config{})
	old := w.begin("d", "old")
	w.clock.Advance(59 * time.Minute)
	young := w.begin("d", "young")
	for _, g := range []file.Grant{old, young} {
		must(t, w.files.Blobs().Stage(t.Context(), blob.Upload{Hub: "uid-1", ID: g.Correlation}, "a", 1, strings.NewReader("x")))
	}
	w.clock.Advance(2 * time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.files.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); len(w.files.Blobs().Waiting()) > 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nothing is taken away")
		}
	}
	stop()
	must(t, <-ended)
	if got := w.files.Blobs().Waiting(); len(got) != 1 || got[0].ID != young.Correlation {
		t.Errorf("left: %v", got)
	}
	wants(t, w.done(old, "d"), fault.Expired, code.ArgumentInvalid)
}

// Another process, or the same after a restart, knows the grants of the first.
func TestARestartForgetsNothing(t *testing.T) {
	w := start(t, file.Config{})
	g := w.begin("d", "x")
	up := blob.Upload{Hub: "uid-1", ID: g.Correlation}
	must(t, w.files.Blobs().Stage(t.Context(), up, "a", 1, strings.NewReader("x")))
	again, err := file.New(t.Context(), file.Config{Blobs: blob.Config{Dir: filepath.Join(w.dir, "files")}}, w.server, slog.New(slog.DiscardHandler), w.clock, nil)
	must(t, err)
	defer func() { must(t, again.Close()) }()
	q, err := url.ParseQuery(g.Query[1:])
	must(t, err)
	a, err := again.Admit(t.Context(), w.hub, "/uploads/d/x", q, "", azureblob.Write)
	must(t, err)
	_, err = again.Blobs().Commit(t.Context(), a.Upload, a.Blob, blob.Properties{}, []string{"a"})
	must(t, err)
	must(t, again.Done(t.Context(), w.hub, "d", g.Correlation, file.Outcome{Success: true}))
	if n := w.receive(); n == nil || n.BlobName != "d/x" {
		t.Errorf("got %+v", n)
	}
}

func TestNotificationsAreWaitedFor(t *testing.T) {
	w := start(t, file.Config{})
	timers := w.clock.Timers()
	wait := func(sleeps bool) <-chan error {
		done := make(chan error, 1)
		go func() { done <- w.files.Wait(t.Context(), w.hub) }()
		for sleeps && w.clock.Timers() == timers && len(done) == 0 {
			runtime.Gosched()
		}
		return done
	}
	done := wait(false)
	g := w.begin("d", "a.txt")
	w.write(g, "the content")
	must(t, w.done(g, "d"))
	must(t, <-done)
	n := w.receive()
	done = wait(true)
	must(t, w.files.Abandon(t.Context(), w.hub, n.Lock))
	must(t, <-done)
	w.receive()
	done = wait(true)
	w.clock.Advance(time.Minute) // the lock ends
	must(t, <-done)
	if n := w.receive(); n == nil || n.Deliveries != 3 {
		t.Fatalf("%+v", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.files.Wait(ctx, w.hub); fault.KindOf(err) != fault.Timeout {
		t.Errorf("%v", err)
	}
}
