package upstream_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// secure is a server over HTTPS.
func secure(t testing.TB, conf *tls.Config, handle http.HandlerFunc) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(handle)
	s.TLS, s.EnableHTTP2 = conf.Clone(), true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

func TestAskOverHTTPS(t *testing.T) {
	conf, roots := authority(t, "dns.example", "127.0.0.1")
	var mu sync.Mutex
	peers := map[string]int{}
	serve := func(change func(w http.ResponseWriter, a *asked) bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			a := &asked{raw: body, Msg: new(dns.Msg)}
			if r.Method != "POST" || r.Header.Get("Content-Type") != "application/dns-message" || r.Header.Get("Accept") != "application/dns-message" ||
				a.Unpack(body) != nil || a.Id != 0 || len(body)%128 != 0 || a.cookie() != "" || a.name() != strings.ToLower(a.name()) || r.URL.Path != "/dns-query" {
				t.Errorf("request %s %s %v with %d bytes", r.Method, r.URL, r.Header, len(body))
			}
			mu.Lock()
			peers[r.Proto+" "+r.Host+" "+r.RemoteAddr]++
			mu.Unlock()
			if change != nil && change(w, a) {
				return
			}
			w.Header().Set("Content-Type", "application/dns-message")
			_, _ = w.Write(packed(a.say("@ 60 IN A 192.0.2.1")))
		}
	}
	t.Run("one connection", func(t *testing.T) {
		at := secure(t, conf, serve(nil))
		w := start(t, patient(roots))
		g := w.Group([]upstream.Server{{Address: at, Transport: upstream.HTTPS, Name: "dns.example"}})
		w.must(g, "A.example", good)
		var got []<-chan upstream.Answer
		for i := range 20 {
			got = append(got, w.ask(g, string(rune('a'+i))+".example"))
		}
		for _, c := range got {
			if a := <-c; a.Err != nil {
				t.Error(a.Err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(peers) != 1 {
			t.Errorf("peers %v", peers)
		}
		for p := range peers {
			if !strings.HasPrefix(p, fmt.Sprintf("HTTP/2.0 dns.example:%d ", at.Port())) {
				t.Errorf("peer %s", p)
			}
		}
	})
	second := newFake(t, nil, (*asked).ok)
	for name, change := range map[string]func(w http.ResponseWriter, a *asked) bool{
		"an error":         func(w http.ResponseWriter, _ *asked) bool { w.WriteHeader(500); return true },
		"a page":           func(w http.ResponseWriter, _ *asked) bool { fmt.Fprint(w, "<html>"); return true },
		"another question": func(_ http.ResponseWriter, a *asked) bool { a.Question[0].Name = "b.example."; return false },
		"elsewhere": func(w http.ResponseWriter, _ *asked) bool {
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(307)
			return true
		},
		"too much": func(w http.ResponseWriter, a *asked) bool {
			w.Header().Set("Content-Type", "application/dns-message")
			_, _ = w.Write(append(packed(a.say()), make([]byte, 70000)...))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := secure(t, conf, serve(change))
			w := start(t, patient(roots))
			g := w.Group([]upstream.Server{{Address: at, Transport: upstream.HTTPS}, second.server()})
			w.must(g, "a.example", good)
			if st := g.Status(); st[0].Healthy || st[0].Failures != 1 {
				t.Errorf("status %+v", st)
			}
		})
	}
	t.Run("another name", func(t *testing.T) {
		at := secure(t, conf, serve(nil))
		w := start(t, patient(roots))
		g := w.Group([]upstream.Server{{Address: at, Transport: upstream.HTTPS, Name: "other.example"}, second.server()})
		w.must(g, "a.example", good)
		if st := g.Status(); st[0].Healthy {
			t.Errorf("status %+v", st)
		}
	})
	t.Run("silence", func(t *testing.T) {
		came, gone := make(chan struct{}), make(chan struct{})
		at := secure(t, conf, func(_ http.ResponseWriter, r *http.Request) {
			close(came)
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			close(gone)
		})
		w := start(t, upstream.Config{Roots: roots})
		g := w.Group([]upstream.Server{{Address: at, Transport: upstream.HTTPS}, second.server()})
		got := w.ask(g, "a.example")
		<-came
		w.clk.Advance(try)
		if a := <-got; a.Err != nil {
			t.Error(a.Err)
		}
		<-gone // the request was taken back
	})
}
