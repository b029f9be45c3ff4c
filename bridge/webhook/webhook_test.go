package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	signature "github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// world is a service and the end that leads to it.
type world struct {
	t   testing.TB
	end *end.End
	clk *clock.Fake

	mu       sync.Mutex // guards the fields below
	requests []*http.Request
	bodies   [][]byte
	answer   func(w http.ResponseWriter, r *http.Request, body []byte)
}

func newWorld(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, body []byte)) *world {
	t.Helper()
	w := &world{t: t, clk: clock.NewFake(at.Add(time.Hour)), answer: answer}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests, w.bodies = append(w.requests, r), append(w.bodies, body)
		if w.answer != nil {
			w.answer(rw, r, body)
		}
	}))
	t.Cleanup(s.Close)
	address := s.Listener.Addr().String()
	w.end = &end.End{
		BridgeEnd: plan.BridgeEnd{Name: "ot/plant/sink", Open: true, HostName: "sink.contoso", Ports: []uint16{80, 443}},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	return w
}

func (w *world) open(spec resource.HTTPDestination) bridge.Destination {
	w.t.Helper()
	if spec.Path == "" {
		spec.Path = "/ingest?v=1"
	}
	spec.Plain = true
	d, err := New(bridge.DestinationArgs{
		Bridge: "b1", Name: "ot/plant/telemetry", End: w.end, Destination: resource.BridgeDestination{HTTP: &spec}, Log: slog.New(slog.DiscardHandler), Clock: w.clk,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// member is an event of a batch as a receiver reads it.
type member struct {
	ID         string          `json:"id"`
	Repeat     bool            `json:"repeat"`
	Device     string          `json:"device"`
	Enqueued   time.Time       `json:"enqueued"`
	Body       json.RawMessage `json:"body"`
	BodyText   string          `json:"bodyText"`
	BodyBase64 []byte          `json:"bodyBase64"`
	Properties map[string]any  `json:"properties"`
	System     map[string]any  `json:"system"`
}

func members(t testing.TB, body []byte) (out []member) {
	t.Helper()
	if err := json.Unmarshal(body, &out); err != nil {
		t.Errorf("%v in %.300s", err, body)
	}
	return out
}

func made(seq int, body string) *event.Event {
	return &event.Event{
		Origin: event.Origin{Partition: "0", Sequence: int64(seq), Enqueued: at}, Body: []byte(body), System: []event.Property{{Name: event.DeviceID, Value: "press-7"}},
	}
}

func batchOf(n int) (out []*event.Event) {
	for i := range n {
		out = append(out, made(i, fmt.Sprint(i)))
	}
	return out
}

func TestABatch(t *testing.T) {
	w := newWorld(t, nil)
	w.end.Secret = "Bearer hunter2"
	e := made(7, `{"temperature": 21.5}`)
	e.Repeat = true
	e.Properties = []event.Property{{Name: "line", Value: int64(3)}, {Name: "line", Value: "again"}, {Name: "raw", Value: []byte{0, 255}}, {Name: "nan", Value: math.NaN()}, {Name: "none"},
		{Name: "on", Value: true}, {Name: "since", Value: at}, {Name: event.OriginProperty, Value: "forged"}}
	err := w.open(resource.HTTPDestination{Headers: map[string]string{"X-Plant": "north", "isthmus-signature": "forged"}}).
		Write(t.Context(), "0", []*event.Event{e, made(8, "text"), made(9, "\xff\x00"), made(10, "")})
	if err != nil {
		t.Fatal(err)
	}
	r := w.requests[0]
	if r.Method != "POST" || r.URL.String() != "/ingest?v=1" || r.Host != "sink.contoso" || r.Header.Get("Content-Type") != "application/json" ||
		r.Header.Get("X-Plant") != "north" || r.Header.Get("Authorization") != "Bearer hunter2" {
		t.Errorf("%s %s %s %v", r.Method, r.URL, r.Host, r.Header)
	}
	const want = `[{"id":"b1/0/7","repeat":true,"device":"press-7","enqueued":"2026-11-20T09:00:00Z","body":{"temperature": 21.5},` +
		`"properties":{"line":3,"raw":"AP8=","nan":"NaN","none":null,"on":true,"since":"2026-11-20T09:00:00Z"},"system":{"iothub-connection-device-id":"press-7"}},`
	if !strings.HasPrefix(string(w.bodies[0]), want) {
		t.Errorf("\n got %s\nwant %s…", w.bodies[0], want)
	}
	got := members(t, w.bodies[0])
	if len(got) != 4 || got[1].BodyText != "text" || got[1].Repeat || string(got[2].BodyBase64) != "\xff\x00" || got[3].Body != nil || got[3].BodyText != "" {
		t.Errorf("%+v", got)
	}
}

func TestSingleEvents(t *testing.T) {
	w := newWorld(t, nil)
	e := made(7, "a body\xff")
	e.System = append(e.System, event.Property{Name: event.ContentType, Value: "text/plain; charset=latin1"})
	e.Properties = []event.Property{{Name: "maß", Value: "ü 🏭"}, {Name: "Authorization", Value: "forged\r\nX: y"}}
	odd := made(8, "x")
	odd.Repeat = true
	odd.System = []event.Property{{Name: event.DeviceID, Value: "a b\r\nX-Evil: 1%"}, {Name: event.ContentType, Value: "text/plain\r\nX-Evil: 1"}}
	if err := w.open(resource.HTTPDestination{Single: true, Method: "PUT"}).Write(t.Context(), "0", []*event.Event{e, odd}); err != nil {
		t.Fatal(err)
	}
	h := w.requests[0].Header
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=latin1", "Isthmus-Origin": "b1/0/7", "Isthmus-Repeat": "", "Isthmus-Device": "press-7", "Isthmus-Enqueued": "2026-11-20T09:00:00Z",
		"Isthmus-Properties": `{"ma\u00df":"\u00fc \ud83c\udfed","Authorization":"forged\u000d\u000aX: y"}`, "Authorization": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if string(w.bodies[0]) != "a body\xff" || w.requests[0].Method != "PUT" {
		t.Errorf("%q", w.bodies[0])
	}
	h = w.requests[1].Header
	if h.Get("X-Evil") != "" || h.Get("Isthmus-Device") != "a%20b%0D%0AX-Evil:%201%25" || h.Get("Content-Type") != "application/octet-stream" || h.Get("Isthmus-Repeat") != "true" {
		t.Errorf("%v", h)
	}
	wide := made(9, "x")
	wide.Properties = []event.Property{{Name: "p", Value: strings.Repeat("x", maxHeader)}}
	r, ok := errors.AsType[*event.Refused](w.open(resource.HTTPDestination{Single: true}).Write(t.Context(), "0", []*event.Event{wide, made(10, "y")}))
	if !ok || len(r.At) != 1 || fault.KindOf(r.At[0]) != fault.TooLarge {
		t.Errorf("%v", r)
	}
}

func TestProofs(t *testing.T) {
	t.Run("signed", func(t *testing.T) {
		w := newWorld(t, nil)
		w.end.Secret = "hmac:the key"
		if err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batchOf(3)); err != nil {
			t.Fatal(err)
		}
		r := w.requests[0]
		if err := signature.Verify("the key", r.Header.Get(signature.SignatureHeader), w.bodies[0], w.clk.Now(), 0); err != nil || r.Header.Get("Authorization") != "" {
			t.Errorf("%v %v", err, r.Header)
		}
	})
	t.Run("a token only over TLS", func(t *testing.T) {
		w := newWorld(t, nil)
		w.end.Served = true
		w.end.Token = func(context.Context, string) (end.Token, error) { return end.Token{Text: "token"}, nil }
		if err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batchOf(1)); err != nil || w.requests[0].Header.Get("Authorization") != "" {
			t.Errorf("%v %v", err, w.requests[0].Header)
		}
		d, err := New(bridge.DestinationArgs{End: w.end, Clock: w.clk, Destination: resource.BridgeDestination{HTTP: &resource.HTTPDestination{Path: "/"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var asked string
		w.end.Token = func(_ context.Context, audience string) (end.Token, error) {
			asked = audience
			return end.Token{Text: "token"}, nil
		}
		r, err := d.(*destination).request(t.Context(), nil, nil)
		if err != nil || asked != "https://sink.contoso/" || r.Header.Get("Authorization") != "Bearer token" {
			t.Errorf("%v %s %v", err, asked, r.Header)
		}
		w.end.Token = func(context.Context, string) (end.Token, error) {
			return end.Token{}, fault.New("workload.Token", fault.Unavailable, "the certificate has lapsed")
		}
		if err := d.Write(t.Context(), "0", batchOf(1)); fault.Message(err) != "the certificate has lapsed" {
			t.Errorf("%v", err)
		}
	})
	for _, secret := range []string{"hmac:", "two\nlines"} {
		_, err := New(bridge.DestinationArgs{End: &end.End{Secret: secret}, Destination: resource.BridgeDestination{HTTP: &resource.HTTPDestination{Path: "/"}}})
		if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "two") {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	const secret = "what the service says, which may repeat the event"
	for code, want := range map[int]struct {
		refused, wait fault.Kind
		advised       bool
	}{
		200: {}, 202: {}, 204: {},
		301: {wait: fault.NotFound, advised: true}, 307: {wait: fault.NotFound, advised: true}, 304: {wait: fault.NotFound, advised: true},
		400: {refused: fault.Invalid}, 409: {refused: fault.Invalid}, 422: {refused: fault.Invalid}, 413: {refused: fault.TooLarge}, 418: {refused: fault.Invalid},
		401: {wait: fault.Unauthenticated, advised: true}, 403: {wait: fault.Denied, advised: true}, 404: {wait: fault.NotFound, advised: true},
		405: {wait: fault.NotFound, advised: true}, 407: {wait: fault.Unauthenticated, advised: true}, 408: {wait: fault.Timeout}, 410: {wait: fault.NotFound, advised: true},
		429: {wait: fault.Exhausted, advised: true}, 500: {wait: fault.Unavailable}, 501: {wait: fault.Unavailable}, 503: {wait: fault.Unavailable, advised: true},
		599: {wait: fault.Unavailable},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request, body []byte) {
				if code >= 300 && code < 400 {
					rw.Header().Set("Location", "/ingest")
				}
				if code < 300 || strings.Contains(string(body), `"body":5`) || code != 400 && code != 409 && code != 422 && code != 413 && code != 418 {
					rw.WriteHeader(code)
					_, _ = io.WriteString(rw, secret)
				}
			})
			err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batchOf(20))
			if strings.Contains(fmt.Sprint(err), "may repeat") {
				t.Errorf("the answer stands in the error: %v", err)
			}
			if r, ok := errors.AsType[*event.Refused](err); ok {
				if len(r.At) != 1 || fault.KindOf(r.At[5]) != want.refused || !strings.Contains(fault.Message(r.At[5]), fmt.Sprint(code)) || strings.Contains(r.At[5].Error(), "may repeat") {
					t.Errorf("%v", r.At)
				}
				var got []string
				for i, b := range w.bodies {
					for _, m := range members(t, b) {
						if !strings.Contains(string(b), `"body":5`) || i == len(w.bodies) {
							got = append(got, string(m.Body))
						}
					}
				}
				if len(got) != 19 || !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
					t.Errorf("taken: %v", got)
				}
				return
			}
			if want.refused != 0 || (err == nil) != (want.wait == 0) || err != nil && (fault.KindOf(err) != want.wait || (fault.Next(err) != "") != want.advised) {
				t.Errorf("%v, advised %q", err, fault.Next(err))
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := at.Add(time.Hour)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-5": 0, "99999999": maxPeace, "99999999999999999999": 0, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0, now.AddDate(100, 0, 0).Format(http.TimeFormat): maxPeace,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request, _ []byte) {
		rw.Header().Set("Retry-After", "30")
		rw.WriteHeader(503)
	})
	d := w.open(resource.HTTPDestination{})
	if err := d.Write(t.Context(), "0", batchOf(1)); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Next(err), "30s") {
		t.Errorf("%v", err)
	}
	w.clk.Advance(29 * time.Second)
	if err := d.Write(t.Context(), "1", batchOf(1)); fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "1s more") || w.count() != 1 {
		t.Errorf("%v after %d requests", err, w.count())
	}
	w.clk.Advance(2 * time.Second)
	w.answer = nil
	if err := d.Write(t.Context(), "1", batchOf(1)); err != nil || w.count() != 2 {
		t.Errorf("%v after %d requests", err, w.count())
	}
}

// Of a batch that failed midway only the rest is sent again, and of another batch everything.
func TestTheRestIsSentAgain(t *testing.T) {
	var got []string
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request, body []byte) {
		got = append(got, r.Header.Get("Isthmus-Origin"))
		if string(body) == "3" && len(got) == 4 {
			rw.WriteHeader(500)
		}
	})
	d, batch := w.open(resource.HTTPDestination{Single: true}), batchOf(6)
	if err := d.Write(t.Context(), "0", batch); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), "0", batch); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), "0", batch[:2]); err != nil {
		t.Fatal(err)
	}
	want := []string{"b1/0/0", "b1/0/1", "b1/0/2", "b1/0/3", "b1/0/3", "b1/0/4", "b1/0/5", "b1/0/0", "b1/0/1"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	batch := batchOf(2500)
	batch[2200].Body = []byte(`"` + strings.Repeat("x", 2<<20) + `"`)
	if err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batch); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, b := range w.bodies {
		n := len(members(t, b))
		if total += n; n > mostEvents || len(b) > mostBytes+2 && n > 1 {
			t.Errorf("%d events in %d bytes", n, len(b))
		}
	}
	if total != 2500 {
		t.Errorf("%d events", total)
	}
}

// A service that answers without end costs what one answer may cost.
func TestAnAnswerWithoutEnd(t *testing.T) {
	gone := make(chan bool)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request, _ []byte) {
		chunk := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := rw.Write(chunk); err != nil {
				break
			}
		}
		close(gone)
	})
	if err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batchOf(1)); err != nil {
		t.Fatal(err)
	}
	<-gone
}

func TestWhatBreaks(t *testing.T) {
	t.Run("no answer", func(t *testing.T) {
		w := newWorld(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() })
		err := w.open(resource.HTTPDestination{TimeoutSeconds: 1, Path: "/?key=hunter2"}).Write(t.Context(), "0", batchOf(1))
		if fault.KindOf(err) != fault.Timeout || !strings.Contains(fault.Message(err), "within 1s") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) { cancel(); <-r.Context().Done() })
		if err := w.open(resource.HTTPDestination{}).Write(ctx, "0", batchOf(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a broken connection", func(t *testing.T) {
		w := newWorld(t, func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) })
		err := w.open(resource.HTTPDestination{Path: "/?key=hunter2"}).Write(t.Context(), "0", batchOf(1))
		if fault.KindOf(err) != fault.Unavailable || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	})
	t.Run("not approved", func(t *testing.T) {
		w := newWorld(t, nil)
		w.end.Open = false
		if err := w.open(resource.HTTPDestination{}).Write(t.Context(), "0", batchOf(1)); !strings.Contains(fault.Message(err), "not approved") || fault.Next(err) == "" {
			t.Errorf("%v", err)
		}
	})
	t.Run("no TLS there", func(t *testing.T) {
		w := newWorld(t, nil)
		d, err := New(bridge.DestinationArgs{End: w.end, Clock: w.clk, Destination: resource.BridgeDestination{HTTP: &resource.HTTPDestination{Path: "/"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := d.Write(t.Context(), "0", batchOf(1)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%v", err)
		}
	})
}

// Whatever an event holds, a batch is JSON and says what the event said.
func FuzzAppendEvent(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "d", "k", "v")
	f.Add([]byte("\xff"), "\u2028", "\x00", "\xff\"\\")
	f.Add([]byte(`"`), "", "isthmus-origin", "]}")
	f.Fuzz(func(t *testing.T, body []byte, device, name, value string) {
		e := made(1, string(body))
		e.System[0].Value = device
		e.Properties = []event.Property{{Name: name, Value: value}, {Name: name + "2", Value: []byte(value)}}
		b := append(appendEvent([]byte{'['}, e, "b1"), ']')
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%q", b)
		}
		m := members(t, b)[0]
		valid := func(s string) string { return strings.Map(func(r rune) rune { return r }, s) } // with U+FFFD for each wrong byte
		if m.ID != "b1/0/1" || m.Device != valid(device) {
			t.Errorf("%+v", m)
		}
		switch {
		case json.Valid(body) && utf8.Valid(body):
			if string(m.Body) != strings.TrimSpace(string(body)) {
				t.Errorf("%q is %q", body, m.Body)
			}
		case utf8.Valid(body):
			if m.BodyText != string(body) {
				t.Errorf("%q is %q", body, m.BodyText)
			}
		default:
			if string(m.BodyBase64) != string(body) {
				t.Errorf("%q is %q", body, m.BodyBase64)
			}
		}
		if name != "" && name != event.OriginProperty && name != event.RepeatProperty && utf8.ValidString(name) {
			if m.Properties[name] != valid(value) || m.Properties[name+"2"] != base64.StdEncoding.EncodeToString([]byte(value)) {
				t.Errorf("%v", m.Properties)
			}
		}
		e.Body = nil
		if h, err := (&destination{bridge: "b1"}).headers(e); err == nil {
			for name, v := range h {
				if strings.IndexFunc(v[0], func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
					t.Errorf("%s: %q", name, v[0])
				}
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w := newWorld(b, nil)
	w.answer = func(http.ResponseWriter, *http.Request, []byte) { w.requests, w.bodies = nil, nil }
	d := w.open(resource.HTTPDestination{})
	batch := batchOf(500)
	for _, e := range batch {
		e.Body = []byte(`{"text":"` + strings.Repeat("x", 256) + `"}`)
		e.Properties = []event.Property{{Name: "line", Value: int64(3)}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Write(b.Context(), "0", batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "events/s")
}
