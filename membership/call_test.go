package membership

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// plane is a server that is taken for a control plane.
func plane(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func address(s *httptest.Server) string { return s.Listener.Addr().String() }

// calling is a member that believes these servers, and has a clock of its own.
func calling(t *testing.T, clk clock.Clock, timeout time.Duration, servers ...*httptest.Server) *Member {
	t.Helper()
	roots := x509.NewCertPool()
	var at []string
	for _, s := range servers {
		if s.Certificate() != nil {
			roots.AddCert(s.Certificate())
		}
		at = append(at, address(s))
	}
	c, err := newCaller(Config{Proxy: "none", Timeout: timeout}, at, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, clk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return &Member{caller: c}
}

func TestOffsetFromReplies(t *testing.T) {
	ours := clock.NewFake(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	skew := 17 * time.Minute
	s := plane(t, func(w http.ResponseWriter, r *http.Request) {
		ours.Advance(200 * time.Millisecond)
		w.Header().Set("Date", ours.Now().Add(skew).Format(http.TimeFormat))
		if r.URL.Path == "/no" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"detail":"not you","kind":"denied"}`)
		}
	})
	m := calling(t, ours, time.Minute, s)
	if d := m.Offset(); d != 0 {
		t.Errorf("before any reply: %s", d)
	}
	if err := m.Call(t.Context(), "/no", struct{}{}, nil); fault.KindOf(err) != fault.Denied || fault.Message(err) != "not you" {
		t.Errorf("%v", err)
	}
	if d := m.Offset(); (d - skew).Abs() > 700*time.Millisecond { // a refusal tells the time as well
		t.Errorf("%s", d)
	}
	skew = -3 * time.Hour
	if err := m.Call(t.Context(), "/", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	if d := m.Offset(); (d - skew).Abs() > 700*time.Millisecond {
		t.Errorf("%s", d)
	}
}

func TestUpload(t *testing.T) {
	var got bytes.Buffer
	var size int64
	var kind string
	s := plane(t, func(_ http.ResponseWriter, r *http.Request) {
		got.Reset()
		_, _ = io.Copy(&got, r.Body)
		size, kind = r.ContentLength, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")
	})
	away := httptest.NewUnstartedServer(nil)
	away.Listener.Close()
	m := calling(t, clock.System{}, time.Minute, away, s)
	for _, text := range []string{"", "some content", strings.Repeat("0123456789abcdef", 200000)} {
		for name, r := range map[string]io.Reader{"seeker": strings.NewReader("before" + text + "after"), "stream": io.MultiReader(strings.NewReader("before"), strings.NewReader(text+"after"))} {
			if _, err := io.ReadFull(r, make([]byte, len("before"))); err != nil {
				t.Fatal(err)
			}
			if err := m.Upload(t.Context(), "/member/v1/x", r, int64(len(text)), http.Header{"Content-Type": {"text/x"}}); err != nil {
				t.Errorf("%s of %d: %v", name, len(text), err)
			}
			if got.String() != text || size != int64(len(text)) || kind != "PUT /member/v1/x text/x" {
				t.Errorf("%s of %d: %d bytes, length %d, %s", name, len(text), got.Len(), size, kind)
			}
		}
	}
}

// hangsUp takes a part of what is sent and ends the connection.
func hangsUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, 100000)
	panic(http.ErrAbortHandler)
}

func TestUploadToASecondServer(t *testing.T) {
	var got bytes.Buffer
	first, second := plane(t, hangsUp), plane(t, func(_ http.ResponseWriter, r *http.Request) { got.Reset(); _, _ = io.Copy(&got, r.Body) })
	m := calling(t, clock.System{}, time.Minute, first, second)
	text := strings.Repeat("0123456789abcdef", 400000)
	if err := m.Upload(t.Context(), "/x", strings.NewReader(text), int64(len(text)), nil); err != nil || got.String() != text {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	got.Reset()
	err := m.Upload(t.Context(), "/x", io.MultiReader(strings.NewReader(text)), int64(len(text)), nil)
	if fault.KindOf(err) != fault.Unavailable || got.Len() > 0 {
		t.Errorf("a stream that was begun: %d bytes, %v", got.Len(), err)
	}
}

var errDisk = errors.New("the disk is gone")

type broken struct{ left int }

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errDisk
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

func TestUploadsThatFail(t *testing.T) {
	takes := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	refuses := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"detail":"that is too much","kind":"too-large","next":"send less"}`)
	}
	text := strings.Repeat("0123456789abcdef", 400000)
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		r    io.Reader
		size int64
		is   func(error) bool
	}{
		{"the reader", takes, &broken{left: 50000}, 100000, func(err error) bool { return errors.Is(err, errDisk) }},
		{"a reader that is short", takes, strings.NewReader("short"), 100, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"an early no", refuses, strings.NewReader(text), int64(len(text)), func(err error) bool {
			return fault.KindOf(err) == fault.TooLarge && fault.Message(err) == "that is too much" && fault.Next(err) == "send less"
		}},
		{"a proxy's no", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, strings.NewReader("x"), 1,
			func(err error) bool { return fault.KindOf(err) == fault.Unavailable }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := calling(t, clock.System{}, time.Minute, plane(t, c.h))
			if err := m.Upload(t.Context(), "/x", c.r, c.size, nil); err == nil || !c.is(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestUploadsThatStandStill(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"nobody reads": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"nobody answers": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := calling(t, clock.System{}, 200*time.Millisecond, plane(t, h))
			r := bytes.NewReader(make([]byte, 64<<20))
			if err := m.Upload(t.Context(), "/x", r, int64(r.Len()), nil); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		begun := make(chan struct{})
		m := calling(t, clock.System{}, time.Minute, plane(t, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done() }))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		r := bytes.NewReader(make([]byte, 64<<20))
		if err := m.Upload(ctx, "/x", r, int64(r.Len()), nil); fault.KindOf(err) != fault.Timeout {
			t.Errorf("%v", err)
		}
	})
}
