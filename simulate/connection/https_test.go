package connection_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/connection"
)

// overHTTPS opens a connection to a web server.
func overHTTPS(t *testing.T, handle http.HandlerFunc) (*connection.Conn, *sink) {
	t.Helper()
	s := newServer(t, nil)
	h := &http.Server{Handler: handle, ReadHeaderTimeout: time.Minute}
	s.all.Go(func() { _ = h.Serve(tls.NewListener(s.ln, s.tls)) })
	t.Cleanup(func() { _ = h.Close() })
	return openHTTPS(t, s)
}

func openHTTPS(t *testing.T, s *server) (*connection.Conn, *sink) {
	t.Helper()
	k := newSink()
	c, err := s.way(func(c *connection.Config) { c.Protocol = connection.HTTPS }).Open(t.Context(), hello(), k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Cut(); <-c.Done() })
	return c, k
}

func TestWhatAHubSeesOverHTTPS(t *testing.T) {
	got := make(chan string, 10)
	goOn := make(chan struct{})
	c, k := overHTTPS(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("Authorization"), body)
		for _, name := range []string{"iothub-messageid", "iothub-userid", "iothub-correlationid", "iothub-contenttype", "iothub-contentencoding", "iothub-app-line", "iothub-app-empty"} {
			text += fmt.Sprintf(" %q", r.Header.Values(name))
		}
		got <- text
		<-goOn
		w.WriteHeader(http.StatusNoContent)
	})
	bag := "%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid=7f0c&%24.mid=m%201&%24.uid=u&line=a%20%26%0D%0A%C3%A9&empty="
	if err := c.Publish("press 1", []byte(bag), []byte("body"), 7, false); err != nil {
		t.Fatal(err)
	}
	want := `POST /devices/press%201/messages/events?api-version=2021-04-12 ` + host + ` SharedAccessSignature x body ["m 1"] ["u"] ["7f0c"] ["application/json"] ["utf-8"] ["a &  é"] [""]`
	if text := <-got; text != want {
		t.Errorf("%s", text)
	}
	if err := c.Publish("press 1", nil, nil, 8, false); !errors.Is(err, connection.ErrNotNow) {
		t.Errorf("a second one: %v", err)
	}
	if done, err := c.Renew("SharedAccessSignature y"); !done || err != nil {
		t.Errorf("%t, %v", done, err)
	}
	close(goOn)
	if id := <-k.acks; id != 7 || c.Heard().IsZero() {
		t.Errorf("acknowledged %d", id)
	}
	<-k.ready
	if err := c.Publish("press 1", nil, bytes.Repeat([]byte("x"), 200_000), 8, false); err != nil {
		t.Fatal(err)
	}
	if text := <-got; !strings.HasPrefix(text, "POST /devices/press%201/messages/events?api-version=2021-04-12 "+host+" SharedAccessSignature y xxx") {
		t.Errorf("%.200s", text)
	}
	if id := <-k.acks; id != 8 {
		t.Errorf("acknowledged %d", id)
	}
	if err := c.Publish("press 1", []byte("two%20words=1"), nil, 9, false); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), `"two words" cannot be sent over HTTPS`) {
		t.Errorf("%v", err)
	}
	if before := c.Heard(); c.Beat() != 0 || c.Ping() != nil || c.Heard().Before(before) {
		t.Error("there is nothing to ask with")
	}
}

func TestWhatStatusesMean(t *testing.T) {
	status := make(chan int, 1)
	c, k := overHTTPS(t, func(w http.ResponseWriter, _ *http.Request) {
		n := <-status
		w.WriteHeader(n)
		if n != http.StatusNoContent {
			_, _ = fmt.Fprintf(w, `{"Message":"ErrorCode:%d;no. Tracking ID: 7","ExceptionMessage":"Tracking ID:7"}%s`, n, strings.Repeat(" ", 10_000)) // in chunks
		}
	})
	for id, x := range []struct {
		status int
		kind   fault.Kind
		again  bool
	}{
		{http.StatusTooManyRequests, fault.Exhausted, true}, {http.StatusServiceUnavailable, fault.Unavailable, true}, {http.StatusInternalServerError, fault.Unavailable, true},
		{http.StatusForbidden, fault.Denied, false}, {http.StatusRequestEntityTooLarge, fault.TooLarge, false}, {http.StatusBadRequest, fault.Invalid, false},
	} {
		if err := c.Publish("press 1", nil, nil, uint16(id), false); err != nil {
			t.Fatal(err)
		}
		status <- x.status
		if r := <-k.refused; int(r.id) != id || r.again != x.again || fault.KindOf(r.err) != x.kind || !strings.HasSuffix(fault.Message(r.err), http.StatusText(x.status)+fmt.Sprintf(", ErrorCode:%d;no", x.status)) {
			t.Errorf("%d: %+v", x.status, r)
		}
	}
	for _, step := range []int{http.StatusNoContent, http.StatusUnauthorized} {
		if err := c.Publish("press 1", nil, nil, 9, false); err != nil {
			t.Fatal(err)
		}
		status <- step
		if step == http.StatusNoContent {
			if id := <-k.acks; id != 9 {
				t.Errorf("acknowledged %d", id)
			}
		}
	}
	if err := <-k.ended; fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "does not let the device in any more") {
		t.Errorf("%v", err)
	}
}

func TestWhoIsNotLetInOverHTTPS(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusNotFound} {
		c, k := overHTTPS(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if err := c.Publish("press 1", nil, nil, 1, false); err != nil {
			t.Fatal(err)
		}
		if err := <-k.ended; fault.KindOf(err) != fault.Unauthenticated || !strings.Contains(fault.Message(err), "the hub refused the device: "+fmt.Sprint(status)) || fault.Next(err) == "" {
			t.Errorf("%v", err)
		}
	}
}

func TestHowConnectionsEndOverHTTPS(t *testing.T) {
	for name, x := range map[string]struct {
		answer string
		acks   int
		idle   bool
		says   string
	}{
		"after an answer":      {"HTTP/1.1 204 No Content\r\n\r\n", 1, true, ""},
		"with an answer":       {"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 1, true, ""},
		"after 100":            {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 1, true, ""},
		"in chunks":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1, true, ""},
		"with one too many":    {"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", 1, true, ""},
		"without an answer":    {"", 0, false, "the connection to the hub ended"},
		"in the middle of it":  {"HTTP/1.1 204", 0, false, "the hub sent what is no HTTP"},
		"with no HTTP":         {"AMQP\x00\x01\x00\x00", 0, false, "the hub sent what is no HTTP"},
		"with heads for ever":  {"HTTP/1.1 204 No Content\r\n" + strings.Repeat("a: b\r\n", 20_000), 0, false, "the hub sent what is no HTTP"},
		"with too long a body": {"HTTP/1.1 500 No\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70_000), 0, false, "the hub sent what is no HTTP"},
	} {
		s := newServer(t, func(conn *tls.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(x.answer))
			_ = conn.CloseWrite()
			_, _ = conn.Read(make([]byte, 4096))
		})
		c, k := openHTTPS(t, s)
		if err := c.Publish("press 1", nil, nil, 1, false); err != nil {
			t.Fatal(err)
		}
		err := <-k.ended
		if errors.Is(err, connection.ErrIdle) != x.idle || len(k.acks) != x.acks || !x.idle && !strings.Contains(fault.Message(err), x.says) {
			t.Errorf("%s: %v, %d acknowledged", name, err, len(k.acks))
		}
	}
}
