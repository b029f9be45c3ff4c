package forward_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/forward"
	"github.com/isthmus-io/isthmus/plan"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a hub with an event log in a folder.
type world struct {
	server *hub.Server
	hub    *hub.Hub
	log    *eventlog.Log
	close  func()
	said   *bytes.Buffer // what the forwarders log; nil for nobody wants to know
}

func open(dir string, cfg eventlog.Config) (*world, error) {
	cfg.Dir, cfg.Partitions = filepath.Join(dir, "events"), 2
	log, err := eventlog.Open(cfg, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	s, err := hub.New(ctx, hub.Config{Dir: dir}, log, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &world{server: s, log: log, close: sync.OnceFunc(func() {
		cancel()
		<-ended
		_ = log.Close()
		_ = s.Close()
	})}
	if err := s.SetHubs([]plan.Hub{{ID: "u1", Name: "ot/cloud/contoso", HostNames: []string{"contoso.azure-devices.net"}}}); err != nil {
		return nil, err
	}
	w.hub, _ = s.ByName("u1")
	return w, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := open(filepath.Join(t.TempDir(), "hub"), eventlog.Config{})
	check(t, err)
	t.Cleanup(w.close)
	return w
}

// logger writes to w.said when there is one.
func (w *world) logger() *slog.Logger {
	if w.said == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// put appends events with these bodies, by two devices.
func (w *world) put(endpoint string, bodies ...string) error {
	s, err := w.hub.Stream(endpoint)
	for i := 0; err == nil && i < len(bodies); i++ {
		err = s.Append(context.Background(), "device-"+fmt.Sprint(i%2), eventlog.Event{
			Body: []byte(bodies[i]), System: map[string]string{hub.ContentType: "application/json", hub.ContentEncoding: "utf-8", "iothub-connection-device-id": "device-" + fmt.Sprint(i%2)},
		})
	}
	return err
}

// run runs forwarders until stop.
func (w *world) run(t *testing.T, cfg forward.Config) (stop func()) {
	t.Helper()
	cfg.Look, cfg.Pause = 5*time.Millisecond, 2*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	f := forward.New(cfg, w.server, w.logger(), clock.System{}, nil)
	all.Go(func() { check(t, f.Run(ctx)) })
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// received is one event as a webhook got it.
type received struct {
	ID          string
	Body        json.RawMessage
	Sequence    int64
	Redelivered bool
}

// hook is a webhook that answers as answer says.
type hook struct {
	*httptest.Server
	mu     sync.Mutex // guards the fields below
	got    []received
	answer func(list []received) int
	more   chan struct{}
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{more: make(chan struct{}, 1)}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil { // who sent it was killed, or gave up
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var list []received
		err = json.Unmarshal(body, &list)
		if err != nil || len(list) == 0 || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, body, err)
		}
		h.mu.Lock()
		status := http.StatusNoContent
		if h.answer != nil {
			status = h.answer(list)
		}
		if status/100 == 2 {
			h.got = append(h.got, list...)
		}
		h.mu.Unlock()
		select {
		case h.more <- struct{}{}:
		default:
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}))
}

func (h *hook) endpoint(name string) hub.Endpoint {
	return hub.Endpoint{Name: name, Kind: hub.WebhookEndpoint, URL: h.URL + "/in", Authority: h.authority(), Attempts: 3}
}

// wait waits until done, which is called with the lock held, is true.
func (h *hook) wait(t *testing.T, done func(got []received) bool) {
	t.Helper()
	end := time.After(15 * time.Second)
	for {
		h.mu.Lock()
		ok := done(h.got)
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-h.more:
		case <-end:
			t.Fatalf("it does not come: %d events", len(h.got))
		}
	}
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

// bodies counts how often each body came.
func bodies(got []received) map[string]int {
	out := map[string]int{}
	for _, e := range got {
		out[string(e.Body)]++
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
		wait, stop := clock.System{}.After(2 * time.Millisecond)
		<-wait
		stop()
	}
}

func TestAWebhookGetsEverythingOnceInOrder(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	check(t, w.put("hook", numbers(500)...))
	w.run(t, forward.Config{})
	h.wait(t, func(got []received) bool { return len(got) >= 500 })
	last := map[string]int64{}
	for _, e := range h.got {
		lane := e.ID[:strings.LastIndexByte(e.ID, '/')]
		if next, ok := last[lane]; ok && e.Sequence != next || e.Redelivered {
			t.Fatalf("%+v after %d", e, next-1)
		}
		last[lane] = e.Sequence + 1
	}
	if n := len(bodies(h.got)); n != 500 || len(last) != 2 {
		t.Errorf("%d different events in %d partitions", n, len(last))
	}
	eventually(t, "progress is not told", func() bool {
		p, ok := w.hub.Progress("hook")
		return ok && p.Waiting == 0 && p.Delivered == 500 && p.Failing.IsZero() && p.Duplicates == 0
	})
	check(t, w.put("hook", "500"))
	h.wait(t, func(got []received) bool { return len(got) == 501 })
}

func TestARestartRepeatsNothing(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	for round := range 5 {
		check(t, w.put("hook", numbers(40)...))
		w.hub.SetProgress("hook", hub.Progress{}) // what the run before it told looks the same
		stop := w.run(t, forward.Config{})
		h.wait(t, func(got []received) bool { return len(got) >= 40*(round+1) })
		eventually(t, "the cursor does not move", func() bool { p, _ := w.hub.Progress("hook"); return p.Delivered == 40 })
		stop()
	}
	for _, e := range h.got {
		if e.Redelivered {
			t.Errorf("%+v is marked", e)
		}
	}
	if len(h.got) != 200 {
		t.Errorf("%d events came", len(h.got))
	}
}

func TestAWebhookThatIsDownIsTriedAgain(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	down := 12
	h.answer = func([]received) int {
		if down--; down >= 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	check(t, w.put("hook", numbers(30)...))
	w.run(t, forward.Config{})
	h.wait(t, func(got []received) bool { return len(got) >= 30 })
	for body, n := range bodies(h.got) {
		if n != 1 {
			t.Errorf("%s came %d times", body, n)
		}
	}
	for _, e := range h.got {
		if !e.Redelivered {
			t.Errorf("%+v was offered before and is not marked", e)
		}
	}
	eventually(t, "it is still said to fail", func() bool {
		p, _ := w.hub.Progress("hook")
		return p.Failing.IsZero() && p.Waiting == 0 && p.PutAside == 0 && p.Duplicates == 30
	})
}

func TestWhatIsRefusedIsPutAside(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	tries := 0
	h.answer = func(list []received) int {
		for _, e := range list {
			if string(e.Body) == `"poison"` {
				if len(list) == 1 {
					tries++
				}
				return http.StatusBadRequest
			}
		}
		return http.StatusOK
	}
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	check(t, w.put("hook", append(append(numbers(10), `"poison"`), "11", "12", "13")...))
	w.run(t, forward.Config{})
	h.wait(t, func(got []received) bool { return len(bodies(got)) == 13 })
	eventually(t, "nothing is put aside", func() bool { p, _ := w.hub.Progress("hook"); return p.PutAside == 1 && p.Waiting == 0 })
	if tries != 3 {
		t.Errorf("it was offered alone %d times", tries)
	}
	s, err := w.hub.Stream(hub.DeadLetter("hook"))
	check(t, err)
	var aside []eventlog.Event
	for p := range 2 {
		list, err := s.Events(t.Context(), p, 0, 10)
		check(t, err)
		aside = append(aside, list...)
	}
	if len(aside) != 1 || string(aside[0].Body) != `"poison"` || !strings.Contains(aside[0].System["isthmus-reason"], "400") || aside[0].System["isthmus-attempts"] != "3" ||
		aside[0].System["iothub-connection-device-id"] != "device-0" {
		t.Errorf("%+v", aside)
	}
}

func TestAnAnswerThatCameTooLateIsMarked(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	h.answer = func([]received) int { return http.StatusOK }
	slow := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h.Config.Handler.ServeHTTP(rw, r) // it is taken
		h.mu.Lock()
		late := len(h.got) == 1 // a try that ended before it was taken is none
		h.mu.Unlock()
		if late {
			<-r.Context().Done() // and not answered
		}
	}))
	t.Cleanup(slow.Close)
	e := h.endpoint("hook")
	e.URL = slow.URL
	e.Authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: slow.Certificate().Raw}))
	check(t, w.hub.PutEndpoint(t.Context(), e, "test"))
	check(t, w.put("hook", "1"))
	w.run(t, forward.Config{Try: 300 * time.Millisecond})
	h.wait(t, func(got []received) bool { return len(got) == 2 })
	if h.got[0].Redelivered || !h.got[1].Redelivered || h.got[0].ID != h.got[1].ID {
		t.Errorf("%+v", h.got)
	}
}

func TestASignatureCanBeChecked(t *testing.T) {
	w := newWorld(t)
	key := bytes.Repeat([]byte{7}, 32)
	verdict := make(chan error, 10)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Isthmus-Signature"), "t="), ",v1=")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(at + "."))
		mac.Write(body)
		if want := hex.EncodeToString(mac.Sum(nil)); sum != want || r.Header.Get("Isthmus-Endpoint") != "hook" {
			verdict <- fmt.Errorf("signature %q, want %q", sum, want)
			return
		}
		verdict <- nil
	}))
	t.Cleanup(srv.Close)
	check(t, w.hub.PutEndpoint(t.Context(), hub.Endpoint{
		Name: "hook", Kind: hub.WebhookEndpoint, URL: srv.URL, Key: base64.StdEncoding.EncodeToString(key),
		Authority: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})),
	}, "test"))
	check(t, w.put("hook", "1"))
	w.run(t, forward.Config{})
	check(t, <-verdict)
}

func TestNoRedirectAndNoStrangersCertificate(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	w.said = &bytes.Buffer{}
	away := httptest.NewTLSServer(http.RedirectHandler(h.URL, http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	e := h.endpoint("moved")
	e.URL, e.Authority = away.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: away.Certificate().Raw}))
	check(t, w.hub.PutEndpoint(t.Context(), e, "test"))
	e = h.endpoint("stranger")
	e.URL, e.Authority = e.URL+"/hook?code=hunter2", ""
	check(t, w.hub.PutEndpoint(t.Context(), e, "test"))
	check(t, w.put("moved", "1"))
	check(t, w.put("stranger", "1"))
	stop := w.run(t, forward.Config{})
	for name, words := range map[string]string{"moved": "307", "stranger": "certificate"} {
		eventually(t, name+" does not fail", func() bool {
			p, _ := w.hub.Progress(name)
			return p.Waiting == 1 && !p.Failing.IsZero() && strings.Contains(p.LastError, words) && !strings.Contains(p.LastError, "hunter2") && !p.Oldest.IsZero()
		})
	}
	stop()
	if said := w.said.String(); !strings.Contains(said, "stranger") || strings.Contains(said, "hunter2") {
		t.Errorf("an endpoint's address is in the log: %s", said)
	}
	if len(h.got) > 0 {
		t.Error("it was followed")
	}
}

// bucket keeps files in memory and fails as told.
type bucket struct {
	mu    sync.Mutex // guards the fields below
	files map[string]string
	fail  int
	puts  int
}

func (b *bucket) Put(_ context.Context, hubID, container, name, _ string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.puts++; b.fail > 0 {
		b.fail--
		if b.fail%2 == 0 { // it arrived, and nobody was told
			b.files[hubID+"/"+container+"/"+name] = string(body)
		}
		return errors.New("the bucket is away")
	}
	b.files[hubID+"/"+container+"/"+name] = string(body)
	return nil
}

// lines counts how often each event is in the files.
func (b *bucket) lines(t *testing.T) map[string]int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]int{}
	for name, text := range b.files {
		for l := range strings.Lines(text) {
			var e received
			check(t, json.Unmarshal([]byte(l), &e))
			out[e.ID]++
		}
		if !strings.HasPrefix(name, "u1/archive/raw/contoso/cold/") || !strings.HasSuffix(name, ".json") {
			t.Errorf("a file %s", name)
		}
	}
	return out
}

func TestFilesHoldEachEventOnce(t *testing.T) {
	w := newWorld(t)
	b := &bucket{files: map[string]string{}, fail: 7}
	check(t, w.hub.PutEndpoint(t.Context(), hub.Endpoint{Name: "cold", Kind: hub.StorageEndpoint, Bucket: "archive", Prefix: "raw/", BatchSeconds: 1, BatchBytes: 64 << 10}, "test"))
	check(t, w.put("cold", numbers(300)...))
	big := strings.Repeat("x", 5000)
	for range 20 { // more than a file holds
		check(t, w.put("cold", `"`+big+`"`))
	}
	stop := w.run(t, forward.Config{Bucket: b})
	eventually(t, "files do not come", func() bool { return len(b.lines(t)) == 320 })
	stop()
	w.run(t, forward.Config{Bucket: b})
	check(t, w.put("cold", "1"))
	eventually(t, "the last file does not come", func() bool { return len(b.lines(t)) == 321 })
	for id, n := range b.lines(t) {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	for name, text := range b.files {
		if len(text) > 64<<10+6000 {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
	if len(b.files) < 4 {
		t.Errorf("files %v", slices.Sorted(maps.Keys(b.files)))
	}
}

func TestEventsTooOldForTheLogAreCounted(t *testing.T) {
	w, h := newWorld(t), newHook(t)
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	check(t, w.put("hook", numbers(20)...))
	for p := range 2 {
		_, next := w.log.Bounds("hub/u1/hook", p)
		check(t, w.log.Trim("hub/u1/hook", p, next-2))
	}
	w.run(t, forward.Config{})
	h.wait(t, func(got []received) bool { return len(got) == 4 })
	eventually(t, "the loss is not told", func() bool { p, _ := w.hub.Progress("hook"); return p.Lost == 16 && p.Waiting == 0 })
}

func TestEndpointsComeGoAndChange(t *testing.T) {
	w, h, other := newWorld(t), newHook(t), newHook(t)
	stop := w.run(t, forward.Config{})
	check(t, w.hub.PutEndpoint(t.Context(), h.endpoint("hook"), "test"))
	check(t, w.put("hook", "1"))
	h.wait(t, func(got []received) bool { return len(got) == 1 })
	eventually(t, "the cursor does not move", func() bool { p, _ := w.hub.Progress("hook"); return p.Delivered == 1 })
	check(t, w.hub.PutEndpoint(t.Context(), other.endpoint("hook"), "test"))
	check(t, w.put("hook", "2"))
	both := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		other.mu.Lock()
		defer other.mu.Unlock()
		return len(h.got) + len(other.got)
	}
	eventually(t, "the second does not come", func() bool { return both() == 2 })
	eventually(t, "the cursor does not move again", func() bool { p, _ := w.hub.Progress("hook"); return p.Waiting == 0 })
	stop()
	check(t, w.hub.DeleteEndpoint(t.Context(), "hook", "test"))
	check(t, w.log.Create(t.Context(), "hub/u1/hook", 2))
	if _, err := w.log.Append(t.Context(), "hub/u1/hook", "d", eventlog.Event{Body: []byte("3")}); err != nil {
		t.Fatal(err)
	}
	check(t, w.hub.PutEndpoint(t.Context(), other.endpoint("hook"), "test")) // begins after what is there
	check(t, w.put("hook", "4"))
	w.run(t, forward.Config{})
	other.wait(t, func(got []received) bool { return bodies(got)["4"] == 1 })
	if bodies(other.got)["3"] > 0 || both() != 3 {
		t.Errorf("the first got %v, the second %v", h.got, other.got)
	}
}

func TestMain(m *testing.M) {
	childMain()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http/httptest.(*Server).goServe.func1"))
}
