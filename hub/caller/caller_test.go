package caller_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "example.com" // which httptest's certificate is for

var (
	key   = base64.StdEncoding.EncodeToString([]byte("a secret of a policy"))
	today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner = sas.ConnectionString{HostName: host, Policy: "owner", Key: key}
)

func machine() caller.Service {
	return caller.Service{Noun: "machine", Version: "2020-02-02", Prints: "machine show"}
}

func begin(t *testing.T, s caller.Service, a caller.Access) *caller.Caller {
	t.Helper()
	c, err := caller.New(s, a, clock.NewFake(today))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// far serves h over TLS and returns how to reach it.
func far(t *testing.T, h http.HandlerFunc) caller.Access {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return caller.Access{Connection: owner, Address: srv.Listener.Addr().String(), Roots: roots}
}

// near serves h on a socket.
func near(t *testing.T, h http.HandlerFunc) caller.Access {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	srv.Start()
	t.Cleanup(srv.Close)
	return caller.Access{Socket: path}
}

func TestWhatIsSent(t *testing.T) {
	var got *http.Request
	var body string
	h := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		w.Header().Set("x-page", "2")
		_, _ = io.WriteString(w, `{"answer":42}`)
	}
	q := caller.Request{
		Method: http.MethodPut, Path: "/things/a%2Fb", Query: url.Values{"x": {"1"}}, Header: http.Header{"X-Own": {"y"}}, IfMatch: "etag", Body: map[string]int{"n": 7},
	}
	named := near(t, h)
	named.Name = "one"
	for name, a := range map[string]caller.Access{"https": far(t, h), "socket": near(t, h), "one of several": named} {
		t.Run(name, func(t *testing.T) {
			var out struct{ Answer int }
			head, err := begin(t, machine(), a).Call(t.Context(), q, &out)
			if err != nil || out.Answer != 42 || head.Get("x-page") != "2" {
				t.Fatalf("%+v %v %v", out, head, err)
			}
			v := got.URL.Query()
			if got.Method != "PUT" || got.URL.EscapedPath() != q.Path || v.Get("x") != "1" || v.Get("api-version") != "2020-02-02" || v.Get("hub") != a.Name || body != `{"n":7}` {
				t.Errorf("%s %s %s", got.Method, got.URL, body)
			}
			if got.Header.Get("If-Match") != `"etag"` || got.Header.Get("X-Own") != "y" || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
				t.Errorf("%v", got.Header)
			}
			token := got.Header.Get("Authorization")
			if a.Socket != "" {
				if token != "" {
					t.Errorf("a token for a socket: %s", token)
				}
				return
			}
			s, err := sas.Parse(token)
			if err != nil || s.Policy != "owner" || s.Resource != host || !s.SignedBy(key) || !s.Expires.Equal(today.Add(time.Hour)) || got.Host != host {
				t.Errorf("%+v %v for %s", s, err, got.Host)
			}
		})
	}
	if len(q.Query) != 1 {
		t.Errorf("the request was changed: %v", q.Query)
	}
	other := q
	other.Query = url.Values{"hub": {"two"}}
	if _, err := begin(t, machine(), named).Call(t.Context(), other, nil); err != nil || got.URL.Query().Get("hub") != "two" {
		t.Errorf("%s, %v", got.URL, err)
	}
}

// What nobody wants of an answer is read all the same, so that its connection serves the next request.
func TestConnectionsAreUsedAgain(t *testing.T) {
	from := map[string]bool{}
	c := begin(t, machine(), far(t, func(w http.ResponseWriter, r *http.Request) {
		from[r.RemoteAddr] = true
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
	}))
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPost} {
		if _, err := c.Call(t.Context(), caller.Request{Method: method, Path: "/"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	out := []int{1}
	if _, err := c.Call(t.Context(), caller.Request{Method: http.MethodDelete, Path: "/"}, &out); err != nil || len(out) != 1 || len(from) != 1 {
		t.Errorf("%v %v %v", out, err, from)
	}
}

func TestPatience(t *testing.T) {
	c := begin(t, machine(), far(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server hear that the client went
		<-r.Context().Done()
	}))
	_, err := c.Call(t.Context(), caller.Request{Method: http.MethodGet, Path: "/", Patience: time.Millisecond}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Call(ctx, caller.Request{Method: http.MethodGet, Path: "/"}, nil); fault.KindOf(err) != fault.Timeout || fault.Message(err) != "given up" {
		t.Error(err)
	}
}

func TestSendHandsOverTheBody(t *testing.T) {
	more := make(chan string)
	c := begin(t, machine(), near(t, func(w http.ResponseWriter, _ *http.Request) {
		for line := range more {
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	go func() { more <- `{"n":1}` }()
	r, err := c.Send(t.Context(), caller.Request{Method: http.MethodGet, Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := json.NewDecoder(r.Body)
	var out struct{ N int }
	for n := 1; n < 4; n++ {
		if err := lines.Decode(&out); err != nil || out.N != n {
			t.Fatalf("%+v %v", out, err)
		}
		if n == 3 {
			close(more)
		} else {
			more <- `{"n":` + string(rune('1'+n)) + `}`
		}
	}
	if err := lines.Decode(&out); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
