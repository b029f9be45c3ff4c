package transport

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/plan"
)

// connectProxy is a small HTTP proxy that knows CONNECT only.
type connectProxy struct {
	address string
	user    string            // "name:password" it wants, empty: nothing
	names   map[string]string // where a name leads
	status  int               // answered instead of connecting
	used    atomic.Int32
}

func (p *connectProxy) start(t *testing.T) *connectProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user))
	switch {
	case p.user != "" && req.Header.Get("Proxy-Authorization") != want:
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		return
	case p.status != 0 || req.Method != http.MethodConnect:
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", p.status)
		return
	}
	to := req.Host
	if at, ok := p.names[to]; ok {
		to = at
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer up.Close()
	p.used.Add(1)
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, up)
		_ = c.Close()
	}()
	_, _ = io.Copy(up, in)
	_ = up.Close()
	<-back
}

func TestThroughAProxy(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	p := (&connectProxy{user: "plant:pa ss", names: map[string]string{"relay.example:443": r.address}}).start(t)
	relays := []plan.Relay{{Address: "relay.example:443", ID: r.plan()[0].ID}} // a name only the proxy knows
	cfg := Config{ProxyURL: "http://plant:pa%20ss@" + p.address}
	a, _ := w.agent(consumer, cfg, clock.System{}, relays, nil)
	b, _ := w.agent(provider, cfg, clock.System{}, relays, nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
	if err := roundTrip(t.Context(), a, peers(provider, ""), strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if n := p.used.Load(); n != 4 { // two for signalling, two for the pair
		t.Fatalf("%d connections went through the proxy", n)
	}
}

func TestProxyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		proxy *connectProxy
		kind  fault.Kind
		say   string
	}{
		"wants a password": {&connectProxy{user: "a:b"}, fault.Unauthenticated, "user name and password"},
		"forbids":          {&connectProxy{status: 403}, fault.Denied, "refuses connections to relay.example:443"},
		"cannot reach":     {&connectProxy{names: map[string]string{"relay.example:443": "127.0.0.1:1"}}, fault.Unavailable, "cannot connect to relay.example:443"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.proxy.start(t)
			dial, err := DialProxy("http://me:hunter2@"+p.address, false)
			if err != nil {
				t.Fatal(err)
			}
			_, err = dial(t.Context(), "tcp", "relay.example:443")
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.say) || fault.Next(err) == "" || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("got %v; next %q", err, fault.Next(err))
			}
		})
	}
}

func TestProxyIsNoProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
			_ = c.Close()
		}
	}()
	dial, err := DialProxy("http://"+l.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), "tcp", "relay.example:443"); fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Fatalf("got %v", err)
	}
}

func TestProxyFromEnvironment(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p := (&connectProxy{names: map[string]string{"relay.example:443": target.Addr().String()}}).start(t)
	t.Setenv("HTTPS_PROXY", "http://"+p.address)
	t.Setenv("NO_PROXY", "nearby.example")
	dial, err := DialProxy("", true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), "tcp", "relay.example:443")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, err := dial(t.Context(), "tcp", "nearby.example:443"); err == nil || p.used.Load() != 1 {
		t.Fatalf("NO_PROXY was not honoured: %v", err)
	}
	ignore, err := DialProxy("", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ignore(t.Context(), "tcp", "relay.example:443"); err == nil {
		t.Fatal("the environment was used without leave")
	}
}

// Bytes that the far side sends at once may arrive with the proxy's reply and are not lost.
func TestEarlyBytesBehindTheReply(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nearly bird")
		_ = c.Close()
	}()
	dial, err := DialProxy("http://"+l.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), "tcp", "relay.example:443")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "early bird" {
		t.Fatalf("got %q, %v", got, err)
	}
}
