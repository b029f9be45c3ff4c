package render_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/render"
	"github.com/isthmus-io/isthmus/resource"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// labelled is a target that says its name to whoever comes.
func labelled(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			_ = c.(*net.TCPConn).CloseWrite()
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func hello(t *testing.T, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Client(far, &tls.Config{ServerName: name, InsecureSkipVerify: name == "", MinVersion: tls.VersionTLS12}).Handshake()
		_ = far.Close()
	}()
	var head [5]byte
	if _, err := io.ReadFull(near, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(near, body); err != nil {
		t.Fatal(err)
	}
	return append(head[:], body...)
}

// visit calls a proxy as if from source and returns which target answered; "" is a refusal.
func visit(t *testing.T, addr string, source netip.Addr, first []byte) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	family, far := "TCP4", "192.0.2.1"
	if source.Is6() {
		family, far = "TCP6", "2001:db8::1"
	}
	if _, err := c.Write(append(fmt.Appendf(nil, "PROXY %s %s %s 40000 8883\r\n", family, source, far), first...)); err != nil {
		return ""
	}
	text, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s from %s hangs", addr, source)
	}
	return string(text)
}

func startHAProxy(t *testing.T, g plan.Gateway) {
	t.Helper()
	dir := t.TempDir()
	out, err := render.HAProxy(g, render.HAProxyOptions{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, out)
	config := filepath.Join(dir, "haproxy.cfg")
	path, err := exec.LookPath("haproxy")
	if err != nil {
		path = "/usr/sbin/haproxy"
	}
	if text, err := exec.Command(path, "-c", "-f", config).CombinedOutput(); err != nil {
		t.Fatalf("haproxy (make deps installs it) does not take it: %v\n%s\n%s", err, text, out.Files[0].Body)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-f", config, "-db")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for _, l := range g.Listeners {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			c, err := net.Dial("tcp", netip.AddrPortFrom(l.Address, l.Port).String())
			if err == nil {
				_ = c.Close()
				break
			}
			if i > 500 {
				cancel()
				_ = cmd.Wait()
				t.Fatalf("%v\n%s", err, log.String())
			}
			<-tick.C
		}
	}
}

// frontGateway has every sort of rule and route. Its targets say their group's name.
func frontGateway(t *testing.T) plan.Gateway {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	listener := func(name string, protocol resource.GatewayProtocol) resource.GatewayListener {
		return resource.GatewayListener{Name: name, Address: loopback, Port: uint16(freePort(t)), Protocol: protocol, TrustProxies: trusted}
	}
	g := plan.Gateway{
		ID: "u", Name: "ot/ot-cloud/front",
		Listeners: []resource.GatewayListener{listener("mqtt", ""), listener("https", resource.GatewayTLS), listener("raw", resource.GatewayTCP)},
		Routes: []plan.GatewayRoute{
			{Names: []string{"*.example.net"}, Group: "wide"},
			{Names: []string{"hub.example.net", "other.example.org"}, Group: "hub"},
			{Names: []string{"*.deep.example.net"}, Group: "deep", Listeners: []string{"mqtt"}},
			{Names: []string{"hub.example.net"}, Group: "special", Listeners: []string{"https"}},
			{Names: []string{"gone.example.net"}, Problem: "the connection is Pending"},
			{Group: "rest", Listeners: []string{"https", "raw"}},
		},
	}
	for _, name := range []string{"wide", "hub", "deep", "special", "rest"} {
		g.Groups = append(g.Groups, resource.TargetGroup{Name: name, Targets: []string{labelled(t, name)}, Health: resource.Health{Check: resource.CheckNone}})
	}
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	mqtt := g.Listeners[0].Port
	g.Allowlists = []plan.Allowlist{
		{Name: "ot/ot-cloud/fabrikam", Rules: []resource.AllowRule{
			{Name: "all", Sources: prefixes("10.0.0.0/8", "2001:db8::/32")},
			{Name: "not-these", Action: resource.Deny, Sources: prefixes("10.1.0.0/16", "2001:db8:1::/48")},
			{Name: "but-this", Sources: prefixes("10.1.2.0/24"), Names: []string{"hub.example.net"}},
			{Name: "port", Sources: prefixes("10.1.3.0/24"), Ports: []uint16{mqtt}},
			{Name: "old", Sources: prefixes("192.0.2.0/24"), Expires: now.Add(-time.Hour)},
			{Name: "new", Sources: prefixes("198.51.100.0/24"), Expires: now.Add(time.Hour)},
		}},
		{Name: "ot/ot-cloud/tailspin", Rules: []resource.AllowRule{
			{Name: "wild", Sources: prefixes("172.16.0.0/12"), Names: []string{"*.example.net"}},
			{Name: "deeper", Action: resource.Deny, Sources: prefixes("172.16.0.0/12"), Names: []string{"*.deep.example.net"}},
			{Name: "same-length", Action: resource.Deny, Sources: prefixes("10.0.0.0/8"), Names: []string{"other.example.org"}},
		}},
	}
	return g
}

// The real HAProxy, given what is rendered, decides about a thousand connections as the gateway does.
func TestRealHAProxyDecidesLikeTheGateway(t *testing.T) {
	g := frontGateway(t)
	startHAProxy(t, g)
	sources := []string{"10.9.9.9", "10.1.9.9", "10.1.2.3", "10.1.3.4", "192.0.2.7", "198.51.100.7", "172.20.1.1", "8.8.8.8", "2001:db8::7", "2001:db8:1::7", "2001:db9::7"}
	names := []string{"hub.example.net", "a.example.net", "a.deep.example.net", "deep.example.net", "other.example.org", "gone.example.net", "example.net", "elsewhere.example.com", ""}
	hellos := map[string][]byte{}
	for _, n := range names {
		hellos[n] = hello(t, n)
	}
	seen := map[string]int{}
	for range 1000 {
		l := g.Listeners[rand.IntN(len(g.Listeners))]
		source := netip.MustParseAddr(sources[rand.IntN(len(sources))])
		name := names[rand.IntN(len(names))]
		want := decide.Why(g, decide.Question{Source: source, Name: name, Port: l.Port, Listener: l.Name}, now)
		group := ""
		if d := decide.Compile(g, now).Decide(l.Name, source, name, now); !d.Refused() {
			group = d.Route.Group
		}
		if want.Allowed != (group != "") {
			t.Fatalf("two decisions: %v and %q", want, group)
		}
		got := visit(t, netip.AddrPortFrom(l.Address, l.Port).String(), source, hellos[name])
		if got != group {
			t.Errorf("%s from %s for %q: HAProxy leads to %q, the gateway to %q\n%s", l.Name, source, name, got, group, want)
		}
		seen[group]++
		if t.Failed() && len(seen) > 3 {
			break
		}
	}
	for _, group := range []string{"", "wide", "hub", "deep", "special", "rest"} {
		if !t.Failed() && seen[group] == 0 {
			t.Errorf("no connection led to %q: the test tests less than it says", group)
		}
	}
}

func TestHAProxySaysWhatItCannot(t *testing.T) {
	g := frontGateway(t)
	g.Limits.Name.Connections = 10
	g.Routes = append(g.Routes, plan.GatewayRoute{Names: []string{"tunnel.example.net"}, Endpoint: &plan.GatewayEndpoint{ID: "e1", Name: "ot/ot-cloud/hub"}})
	out, err := render.HAProxy(g, render.HAProxyOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(out.Notes, "\n")
	for _, want := range []string{"2026-11-22T13:00:00Z", "limits on names", "ot/ot-cloud/hub is reached through an agent", "Pending"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q:\n%s", want, text)
		}
	}
	again, err := render.HAProxy(g, render.HAProxyOptions{Now: now})
	if err != nil || !slices.EqualFunc(out.Files, again.Files, func(a, b render.File) bool { return a.Name == b.Name && string(a.Body) == string(b.Body) }) {
		t.Error("the same gateway is rendered in two ways")
	}
}
