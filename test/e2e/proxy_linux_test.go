package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

const (
	proxyIP     = "203.0.113.20"
	proxyUser   = "plant-8"
	proxySecret = "Ein-Geheimnis-77"
)

const proxied = `
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-8}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-8, name: hub}
spec: {service: ot/ot-cloud/contoso}
`

// TestBehindAProxy: a site that can reach an HTTP proxy and nothing else, not even the relay, joins, gets its plan and sends. The proxy's
// URL with its password stands in the environment and is written down nowhere.
func TestBehindAProxy(t *testing.T) {
	w := start(t, "isthx")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must(t, w.sites.AddBehind(ctx, "plant8", "10.7.0.2", proxyIP))
	ns := w.sites.Name("plant8")
	lan(t, ns)
	p := w.proxy(t, proxyIP+":3128")
	w.apply(ctx, proxied)
	if w.dialSite("plant8", w.sites.RelayIP+":443") == nil {
		t.Fatal("the site has a way around the proxy")
	}

	join := func() error {
		return w.Join(ctx, w.sites.Internet(), ns, "agent", "ot/plant-8", "agent-plant8")
	}
	w.Env = map[string][]string{ns: {"HTTPS_PROXY=http://" + proxyUser + ":wrong-" + proxySecret + "@" + proxyIP + ":3128"}}
	if err := join(); err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required") || strings.Contains(err.Error(), proxySecret) {
		t.Errorf("with a wrong password: %v", err)
	}
	w.Env = map[string][]string{ns: {"HTTPS_PROXY=http://" + proxyUser + ":" + proxySecret + "@" + proxyIP + ":3128"}}
	must(t, join())
	w.run(ctx, "agent-plant8", ns, "the agent is ready", "agent", "run", "--data-dir", w.Data("agent-plant8"), "--interface", "lan", "--dns", "10.7.0.2:53")
	must(t, processes.Until(ctx, func() error { return w.dialSite("plant8", "10.7.0.4:8883") }))

	s := w.sender("plant8", w.device(ctx, "press-8"), "proxy", 20, 5)
	must(t, s.wait(ctx, func(acked int, _ bool) bool { return acked == 20 }))
	seen := map[string]bool{}
	for _, e := range w.events(ctx) {
		if e.System["iothub-connection-device-id"] == "press-8" {
			seen[checkEvent(t, e, "proxy")] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d messages of 20 arrived", len(seen))
	}
	// Following the plan, signalling and a tunnel are three connections at once.
	if n := p.most(t, w.sites.RelayIP+":443"); n < 3 {
		t.Errorf("only %d connections went through the proxy at the same time", n)
	}
	nowhere(t, w.Dir, proxySecret)
}

// nowhere looks for a secret in every file below dir.
func nowhere(t *testing.T, dir, secret string) {
	t.Helper()
	files := 0
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), secret) {
			t.Errorf("%s holds the proxy's password", path)
		}
		return err
	}))
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

// proxy is an HTTP proxy on the internet that knows CONNECT (RFC 9110 9.3.6) and one user.
type proxy struct {
	w *world

	mu      sync.Mutex // guards the fields below
	open    int
	peak    int
	targets map[string]bool
}

func (w *world) proxy(t *testing.T, addr string) *proxy {
	t.Helper()
	p := &proxy{w: w, targets: map[string]bool{}}
	l := w.listen("inet", addr)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	say := func(status string) { _, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\n\r\n") }
	if req.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxySecret)) {
		say("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"plant\"\r\nContent-Length: 0")
		return
	}
	if req.Method != http.MethodConnect {
		say("405 Method Not Allowed\r\nContent-Length: 0")
		return
	}
	far, err := p.w.dial("inet", req.Host)
	if err != nil {
		say("502 Bad Gateway\r\nContent-Length: 0")
		return
	}
	defer far.Close()
	p.mu.Lock()
	p.targets[req.Host] = true
	p.open++
	p.peak = max(p.peak, p.open)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}()
	say("200 Connection established")
	ended := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, in); ended <- struct{}{} }()
	go func() { _, _ = io.Copy(c, far); ended <- struct{}{} }()
	<-ended
}

// most returns how many connections there were at once, and fails if any led elsewhere than to.
func (p *proxy) most(t *testing.T, to string) int {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for target := range p.targets {
		if target != to {
			t.Errorf("somebody asked the proxy for %s", target)
		}
	}
	return p.peak
}
