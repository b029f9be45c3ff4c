package render_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/render"
	"github.com/isthmus-io/isthmus/resolver"
	"github.com/isthmus-io/isthmus/resource"
)

func site() render.Site {
	addr := netip.MustParseAddr
	return render.Site{
		Network: "ot/plant-7",
		Names: []plan.Name{
			{Name: "contoso.azure-devices.net", TTL: 10, CNAME: "contoso.privatelink.azure-devices.net"},
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: []netip.Addr{addr("10.7.0.4")}},
			{Name: "mes.corp.example", TTL: 300, A: []netip.Addr{addr("10.7.0.20"), addr("10.7.0.21")}, AAAA: []netip.Addr{addr("fd00::20")}},
			{Name: "alias.corp.example", TTL: 300, CNAME: "mes.corp.example"},
			{Name: "corp.example", TTL: 300, TXT: []string{`it's "quoted"; really`}, MX: []resource.MX{{Preference: 10, Exchange: "mes.corp.example"}}, CAA: []resource.CAA{{Tag: "issue", Value: "ca.example"}}},
			{Name: "_mqtt._tcp.corp.example", TTL: 60, SRV: []resource.SRV{{Priority: 1, Weight: 2, Port: 8883, Target: "mes.corp.example"}}},
			{Name: "registry.privatelink.azurecr.io", TTL: 10, A: []netip.Addr{addr("10.7.0.5")}},
		},
		Zones:    []string{"corp.example", "privatelink.azurecr.io"},
		Redirect: []string{"privatelink.azurecr.io"},
		Clients:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// answers is what every rendering of site must say, whatever program says it.
var answers = []struct {
	name string
	typ  uint16
	want []string
	code int
}{
	{"contoso.azure-devices.net.", dns.TypeA, []string{"10.7.0.4"}, dns.RcodeSuccess},
	{"contoso.azure-devices.net.", dns.TypeAAAA, nil, dns.RcodeSuccess}, // NODATA, or dual-stack clients give up
	{"mes.corp.example.", dns.TypeA, []string{"10.7.0.20", "10.7.0.21"}, dns.RcodeSuccess},
	{"mes.corp.example.", dns.TypeAAAA, []string{"fd00::20"}, dns.RcodeSuccess},
	{"alias.corp.example.", dns.TypeA, []string{"10.7.0.20", "10.7.0.21"}, dns.RcodeSuccess},
	{"registry.privatelink.azurecr.io.", dns.TypeA, []string{"10.7.0.5"}, dns.RcodeSuccess},
	{"nothing.corp.example.", dns.TypeA, nil, dns.RcodeNameError},
}

func ask(t *testing.T, server, name string, typ uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, typ)
	in, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, server)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return in
}

func values(m *dns.Msg, typ uint16) (out []string) {
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		default:
			if rr.Header().Rrtype == typ {
				out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
		}
	}
	slices.Sort(out)
	return out
}

func checkAnswers(t *testing.T, server string) {
	t.Helper()
	for _, a := range answers {
		in := ask(t, server, a.name, a.typ)
		if got := values(in, a.typ); in.Rcode != a.code || !slices.Equal(got, a.want) {
			t.Errorf("%s %s: %s %v, want %s %v", a.name, dns.TypeToString[a.typ], dns.RcodeToString[in.Rcode], got, dns.RcodeToString[a.code], a.want)
		}
	}
}

func write(t *testing.T, dir string, out render.Output) {
	t.Helper()
	for _, f := range out.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// freePort is a port that was free for both UDP and TCP a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		p, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		_ = l.Close()
		if err == nil {
			_ = p.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// start runs a DNS server until the test ends and waits until it answers.
func start(t *testing.T, server string, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
	}
	var log bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s is needed: %v (make deps installs it)", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	c := &dns.Client{Timeout: 200 * time.Millisecond}
	tick := time.NewTicker(20 * time.Millisecond) // a port that nobody has yet refuses at once
	defer tick.Stop()
	for range 500 {
		if in, _, err := c.Exchange(new(dns.Msg).SetQuestion("mes.corp.example.", dns.TypeA), server); err == nil && in.Rcode == dns.RcodeSuccess {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, log.String())
		case <-tick.C:
		}
	}
	t.Fatalf("%s never answered", name)
}

// ours is the network's own resolver.
func ours(t *testing.T, s render.Site) netip.AddrPort {
	t.Helper()
	r := resolver.New(resolver.Config{Listen: []string{"127.0.0.1:0"}}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	r.Set(resolver.View{Names: s.Names, Zones: s.Zones, Upstreams: s.Upstreams})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for !r.Addr().IsValid() {
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	return r.Addr()
}

func named(t *testing.T, dir string, s render.Site, mode render.Mode) string {
	t.Helper()
	out, err := render.BIND9(s, mode, dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, out)
	port := freePort(t)
	conf := fmt.Sprintf(`include "%s/named.conf.isthmus";
options { directory "%s"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
  recursion yes; allow-query { isthmus_clients; }; allow-recursion { isthmus_clients; }; dnssec-validation no; empty-zones-enable no; };
controls { };
zone "." { type hint; file "/dev/null"; };
`, dir, dir, port)
	if err := os.WriteFile(filepath.Join(dir, "named.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	server := fmt.Sprintf("127.0.0.1:%d", port)
	start(t, server, "named", "-g", "-c", filepath.Join(dir, "named.conf"))
	return server
}

func TestRealBINDAnswersFromRecords(t *testing.T) {
	server := named(t, t.TempDir(), site(), render.Records)
	checkAnswers(t, server)
	for _, c := range []struct {
		name string
		typ  uint16
		want string
	}{
		{"corp.example.", dns.TypeTXT, `"it's \"quoted\"; really"`},
		{"corp.example.", dns.TypeMX, "10 mes.corp.example."},
		{"corp.example.", dns.TypeCAA, `0 issue "ca.example"`},
		{"_mqtt._tcp.corp.example.", dns.TypeSRV, "1 2 8883 mes.corp.example."},
	} {
		if got := values(ask(t, server, c.name, c.typ), c.typ); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s %s: %q, want %q", c.name, dns.TypeToString[c.typ], got, c.want)
		}
	}
	// The zone falls back to public answers, so BIND must not say that a foreign name in it does not exist.
	if in := ask(t, server, "foreign.privatelink.azurecr.io.", dns.TypeA); in.Rcode == dns.RcodeNameError {
		t.Error("a foreign name of a redirected zone is NXDOMAIN")
	}
}

func TestRealBINDForwardsPrivateNames(t *testing.T) {
	s := site()
	s.Redirect = nil
	s.Resolvers = []netip.AddrPort{ours(t, s)}
	checkAnswers(t, named(t, t.TempDir(), s, render.Forward))
}

// bothWays has a real server answer for the site from what is rendered in each mode. serve writes what else it needs and starts it.
func bothWays(t *testing.T, f func(s render.Site, m render.Mode, dir string) (render.Output, error), serve func(t *testing.T, dir string, port int, server string)) {
	t.Helper()
	for _, mode := range []render.Mode{render.Records, render.Forward} {
		t.Run(string(mode), func(t *testing.T) {
			s := site()
			s.Redirect = nil
			if mode == render.Forward {
				s.Resolvers = []netip.AddrPort{ours(t, s)}
			}
			dir := t.TempDir()
			out, err := f(s, mode, dir)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, out)
			port := freePort(t)
			server := fmt.Sprintf("127.0.0.1:%d", port)
			serve(t, dir, port, server)
			checkAnswers(t, server)
		})
	}
}

func TestRealUnbound(t *testing.T) {
	bothWays(t, func(s render.Site, m render.Mode, _ string) (render.Output, error) { return render.Unbound(s, m) },
		func(t *testing.T, dir string, port int, server string) {
			conf := fmt.Sprintf("server:\n  port: %d\n  interface: 127.0.0.1\n  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  directory: %q\n  use-syslog: no\n  logfile: \"\"\n  do-not-query-localhost: no\n  module-config: \"iterator\"\ninclude: %q\n",
				port, dir, filepath.Join(dir, "isthmus.conf"))
			if err := os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(conf), 0o644); err != nil {
				t.Fatal(err)
			}
			start(t, server, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
		})
}

func TestRealDnsmasq(t *testing.T) {
	bothWays(t, func(s render.Site, m render.Mode, _ string) (render.Output, error) { return render.Dnsmasq(s, m) },
		func(t *testing.T, dir string, port int, server string) {
			start(t, server, "dnsmasq", "--keep-in-foreground", "--no-hosts", "--no-resolv", "--user=root", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.1",
				fmt.Sprintf("--port=%d", port), "--stop-dns-rebind", "--conf-file="+filepath.Join(dir, "isthmus.conf"))
		})
}

// CoreDNS is in no Debian package, so the test runs where somebody put it on PATH.
func TestRealCoreDNS(t *testing.T) {
	if _, err := exec.LookPath("coredns"); err != nil {
		t.Skip("coredns is not on PATH")
	}
	bothWays(t, render.CoreDNS, func(t *testing.T, dir string, port int, server string) {
		start(t, server, "coredns", "-conf", filepath.Join(dir, "Corefile.isthmus"), "-dns.port", fmt.Sprint(port))
	})
}
