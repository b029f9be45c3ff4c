package function

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hasty is a clock on which no wait takes time; it notes the longest.
type hasty struct{ longest time.Duration }

func (h *hasty) Now() time.Time { return noon }
func (h *hasty) After(d time.Duration) (<-chan time.Time, func()) {
	h.longest = max(h.longest, d)
	c := make(chan time.Time, 1)
	c <- noon
	return c, func() {}
}

// world is a step that asks a service.
type world struct {
	step     bridge.Step
	clk      *hasty
	requests atomic.Int32
	header   atomic.Pointer[http.Header]
}

func newWorld(t *testing.T, spec resource.HTTPFunction, change func(*end.End), answer func(w http.ResponseWriter, events []json.RawMessage)) *world {
	t.Helper()
	w := &world{clk: &hasty{}}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		b, err := io.ReadAll(r.Body)
		var events []json.RawMessage
		if err != nil || json.Unmarshal(b, &events) != nil || r.URL.Path != "/f" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %s", r.Method, r.URL, b)
		}
		w.header.Store(&r.Header)
		answer(rw, events)
	}))
	t.Cleanup(srv.Close)
	e := &end.End{BridgeEnd: plan.BridgeEnd{Open: true, Name: "ot/ot-cloud/f", Ports: []uint16{80}, HostName: "f.example"}, Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}
	if change != nil {
		change(e)
	}
	spec.Path, spec.Plain = "/f", true
	f := New()
	step, err := f.Step(t.Context(), bridge.StepArgs{Name: "ot/ot-cloud/b", Step: resource.BridgeStep{Name: "f", HTTP: &spec}, End: e, Clock: w.clk})
	if err != nil {
		t.Fatal(err)
	}
	w.step = step
	t.Cleanup(func() {
		if err := step.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func bodies(list ...string) (out []*event.Event) {
	for i, b := range list {
		out = append(out, &event.Event{Body: []byte(b), Origin: event.Origin{Partition: "0", Sequence: int64(i)}})
	}
	return out
}

// show writes outcomes in short.
func show(out []bridge.Outcome) string {
	var parts []string
	for _, o := range out {
		if o.Refused != nil {
			parts = append(parts, "refused: "+fault.Message(o.Refused))
			continue
		}
		var list []string
		for _, e := range o.Events {
			list = append(list, string(e.Body))
		}
		parts = append(parts, strings.Join(list, "+"))
	}
	return strings.Join(parts, "|")
}

// echo answers with the events as they are, but for those that poison is in.
func echo(w http.ResponseWriter, events []json.RawMessage) {
	for i, e := range events {
		events[i] = json.RawMessage("[" + string(e) + "]")
	}
	b, _ := json.Marshal(events)
	_, _ = w.Write(b)
}

func poisoned(events []json.RawMessage) bool {
	for _, e := range events {
		if strings.Contains(string(e), "poison") {
			return true
		}
	}
	return false
}

func TestAskingAService(t *testing.T) {
	w := newWorld(t, resource.HTTPFunction{BatchEvents: 2, Headers: map[string]string{"X-Plant": "7"}}, func(e *end.End) {
		e.Token = func(_ context.Context, audience string) (end.Token, error) {
			return end.Token{Text: "token for " + audience}, nil
		}
	}, func(w http.ResponseWriter, events []json.RawMessage) {
		if len(events) > 2 {
			t.Error("more than asked for")
		}
		echo(w, events)
	})
	out, err := w.step.Process(t.Context(), bodies("1", "2", "3"))
	if err != nil || show(out) != "1|2|3" || w.requests.Load() != 2 {
		t.Fatal(show(out), err)
	}
	if h := w.header.Load(); h.Get("Authorization") != "Bearer token for https://f.example/" || h.Get("X-Plant") != "7" || h.Get("Isthmus-Bridge") != "ot/ot-cloud/b" {
		t.Error(h)
	}
}

func TestASecretGoesBeforeAToken(t *testing.T) {
	w := newWorld(t, resource.HTTPFunction{Secret: "f"}, func(e *end.End) { e.Secret = "Key abc" }, echo)
	if out, err := w.step.Process(t.Context(), bodies("1")); err != nil || show(out) != "1" || w.header.Load().Get("Authorization") != "Key abc" {
		t.Fatal(show(out), err, *w.header.Load())
	}
}

func TestPoisonInABatch(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"says it is wrong":   {400, "secret", "1|refused: the function answered 400 Bad Request|3"},
		"is too large":       {413, "", "1|refused: the function answered 413 Request Entity Too Large|3"},
		"breaks":             {500, "secret", "1|refused: the function answered 500 Internal Server Error|3"},
		"answers nonsense":   {200, "secret", "1|refused: the function's answer is no JSON array of arrays of events|3"},
		"answers for others": {200, "[[],[]]", "1|refused: the function was given 1 events and answers for 2|3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, resource.HTTPFunction{Attempts: 2}, nil, func(w http.ResponseWriter, events []json.RawMessage) {
				if !poisoned(events) {
					echo(w, events)
					return
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			out, err := w.step.Process(t.Context(), bodies("1", `"poison"`, "3"))
			if err != nil || show(out) != c.want {
				t.Error(show(out), err)
			}
		})
	}
}

func TestAFunctionThatIsAwayIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header string
		kind   fault.Kind
		wait   time.Duration
		asked  int32
	}{
		"busy":       {429, "7", fault.Unavailable, 7 * time.Second, 3},
		"stopped":    {503, "Sat, 31 Jan 2026 12:01:00 GMT", fault.Unavailable, 59*time.Second + 877*time.Millisecond, 3},
		"far ahead":  {503, "999999999", fault.Unavailable, 5 * time.Minute, 3},
		"broken way": {502, "", fault.Unavailable, 0, 3},
		"no rights":  {403, "", fault.Denied, 0, 3},
		"wrong path": {404, "", fault.NotFound, 0, 3},
		"moved":      {302, "", fault.NotFound, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, resource.HTTPFunction{Attempts: 3}, nil, func(w http.ResponseWriter, _ []json.RawMessage) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.Header().Set("Location", "http://elsewhere.example/")
				w.WriteHeader(c.status)
			})
			out, err := w.step.Process(t.Context(), bodies("1", "2"))
			if out != nil || fault.KindOf(err) != c.kind || w.requests.Load() != c.asked || c.wait > 0 && w.clk.longest != c.wait {
				t.Error(out, err, w.requests.Load(), w.clk.longest)
			}
		})
	}
	t.Run("not approved", func(t *testing.T) {
		w := newWorld(t, resource.HTTPFunction{Attempts: 1}, func(e *end.End) { e.Open = false }, echo)
		if _, err := w.step.Process(t.Context(), bodies("1")); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "not approved") {
			t.Error(err)
		}
	})
	t.Run("for a moment", func(t *testing.T) {
		var n atomic.Int32
		w := newWorld(t, resource.HTTPFunction{}, nil, func(w http.ResponseWriter, events []json.RawMessage) {
			if n.Add(1) < 5 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			echo(w, events)
		})
		if out, err := w.step.Process(t.Context(), bodies("1", "2")); err != nil || show(out) != "1|2" {
			t.Error(show(out), err)
		}
	})
}

// quick makes the step give up after a moment.
func quick(w *world) { w.step.(*HTTP).limit = 30 * time.Millisecond }

func TestAFunctionThatHangs(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, resource.HTTPFunction{Attempts: 1}, nil, func(w http.ResponseWriter, events []json.RawMessage) {
		if poisoned(events) {
			<-release
			return
		}
		echo(w, events)
	})
	defer close(release)
	quick(w)
	out, err := w.step.Process(t.Context(), bodies(`"poison"`, "2", "3"))
	if err != nil || show(out) != "refused: the function did not answer within 30ms|2|3" {
		t.Error(show(out), err)
	}
	// Whatever it is given: it is waited for.
	if out, err := w.step.Process(t.Context(), bodies(`"poison"`, `"poison"`, `"poison"`, `"poison"`)); fault.KindOf(err) != fault.Timeout {
		t.Error(show(out), err)
	}
	// One alone is waited for twice.
	for range 2 {
		if out, err := w.step.Process(t.Context(), bodies(`"poison"`)); fault.KindOf(err) != fault.Timeout {
			t.Error(show(out), err)
		}
	}
	if out, err := w.step.Process(t.Context(), bodies(`"poison"`)); err != nil || !strings.HasPrefix(show(out), "refused: the function did not answer") {
		t.Error(show(out), err)
	}
}

func TestNothingIsRefusedBecauseTheBridgeStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, resource.HTTPFunction{}, nil, func(w http.ResponseWriter, _ []json.RawMessage) {
		cancel()
		w.WriteHeader(http.StatusInternalServerError)
	})
	if out, err := w.step.Process(ctx, bodies("1", "2")); err == nil {
		t.Error(show(out))
	}
}
