package resolver_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
)

// later is the machine's clock, set forward by the test; its timers take the time they take.
type later struct {
	clock.System
	by atomic.Int64
}

func (l *later) Now() time.Time       { return l.System.Now().Add(time.Duration(l.by.Load())) }
func (l *later) pass(d time.Duration) { l.by.Add(int64(d)) }

// startLater is start with a clock that can be set forward.
func startLater(t *testing.T, cfg resolver.Config, v resolver.View) (*resolver.Resolver, *later) {
	t.Helper()
	clk := &later{}
	cfg.Listen = []string{"127.0.0.1:0"}
	r := resolver.New(cfg, quiet(), clk, nil)
	r.Set(v)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-r.Ready()
	return r, clk
}

func edns(name, qtype string) *dns.Msg {
	m := question(name, qtype)
	m.SetEdns0(1232, false)
	return m
}

// errorOf is the extended error of an answer, -1 without one.
func errorOf(m *dns.Msg) (code int, text string) {
	for _, o := range m.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			return int(e.InfoCode), e.ExtraText
		}
	}
	return -1, ""
}

// spoken is an upstream that says what the test tells it.
type spoken struct {
	*server
	mu      sync.Mutex
	records map[string][]string
	rcode   int
	silent  bool
}

func speaks(t *testing.T, records map[string][]string) *spoken {
	s := &spoken{records: records}
	s.server = upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.silent {
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := strings.ToLower(q.Question[0].Name)
		for _, text := range s.records[name+" "+dns.TypeToString[q.Question[0].Qtype]] {
			m.Answer = append(m.Answer, rr(t, text))
		}
		if m.Rcode = s.rcode; m.Answer == nil && m.Rcode == dns.RcodeSuccess {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{rr(t, "example. 900 IN SOA ns.example. root.example. 1 2 3 4 60")}
		}
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
		}
		_ = w.WriteMsg(m)
	})
	return s
}

func (s *spoken) now(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func TestAnswersOfUpstreamsAreKept(t *testing.T) {
	up := speaks(t, map[string][]string{"www.example. A": {"www.example. 100 IN A 192.0.2.1"}})
	r, clk := startLater(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{up.addr}})
	expect := func(name, rcode, answer string, ttl uint32, asked int64) {
		t.Helper()
		ans := ask(t, "udp", r, edns(name, "A"))
		if dns.RcodeToString[ans.Rcode] != rcode || !strings.EqualFold(short(ans.Answer), answer) || up.seen.Load() != asked {
			t.Fatalf("%d were asked: %v", up.seen.Load(), ans)
		}
		for _, rr := range append(ans.Answer, ans.Ns...) {
			if got := rr.Header().Ttl; got > ttl || got+2 < ttl { // a second may pass
				t.Errorf("TTL %d, want %d", got, ttl)
			}
		}
	}
	expect("www.example", "NOERROR", "www.example. A 192.0.2.1", 100, 1)
	clk.pass(40 * time.Second)
	expect("WWW.Example", "NOERROR", "www.example. A 192.0.2.1", 60, 1)
	clk.pass(61 * time.Second)
	expect("www.example", "NOERROR", "www.example. A 192.0.2.1", 100, 2)
	expect("no.example", "NXDOMAIN", "", 900, 3)
	clk.pass(30 * time.Second)
	expect("no.example", "NXDOMAIN", "", 30, 3) // what the SOA's minimum says counts
	clk.pass(31 * time.Second)
	expect("no.example", "NXDOMAIN", "", 900, 4)
	if q := r.Status().Queries; q["forwarded"] != 4 || q["cached"] != 2 {
		t.Errorf("%v", q)
	}
}

func TestWhatIsAskedForOftenIsFetchedBeforeItEnds(t *testing.T) {
	up := speaks(t, map[string][]string{"www.example. A": {"www.example. 100 IN A 192.0.2.1"}})
	r, clk := startLater(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{up.addr}})
	for range 3 {
		ask(t, "udp", r, edns("www.example", "A"))
	}
	clk.pass(95 * time.Second)
	for deadline := time.Now().Add(5 * time.Second); ; { // the first is the one that is told; the others wait until it was answered
		ans := ask(t, "udp", r, edns("www.example", "A"))
		if len(ans.Answer) != 1 {
			t.Fatalf("%v", ans)
		}
		if ans.Answer[0].Header().Ttl > 90 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody asked again: %v", ans)
		}
	}
	if n := up.seen.Load(); n != 2 {
		t.Errorf("%d queries to the upstream, want 2", n)
	}
}

func TestStaleAnswers(t *testing.T) {
	up := speaks(t, map[string][]string{"www.example. A": {"www.example. 100 IN A 192.0.2.1"}})
	cfg := resolver.Config{StaleAfter: 30 * time.Millisecond, UpstreamTimeout: time.Second, QueryTimeout: 2 * time.Second}
	r, clk := startLater(t, cfg, resolver.View{Upstreams: []netip.AddrPort{up.addr}})
	fresh := func(name string) {
		t.Helper()
		if ans := ask(t, "udp", r, edns(name, "A")); ans.Rcode == dns.RcodeServerFailure {
			t.Fatalf("%v", ans)
		}
	}
	staleNow := func(why, name string, code uint16) {
		t.Helper()
		ans := ask(t, "udp", r, edns(name, "A"))
		if got, _ := errorOf(ans); got != int(code) {
			t.Fatalf("%s: %v", why, ans)
		}
		for _, rr := range append(ans.Answer, ans.Ns...) {
			if rr.Header().Ttl != 30 {
				t.Errorf("%s: %v", why, rr)
			}
		}
	}
	fresh("www.example")
	fresh("no.example")
	clk.pass(1000 * time.Second)
	up.now(func() { up.silent = true })
	watch := clocktest.Start(t)
	staleNow("nobody answers", "www.example", dns.ExtendedErrorCodeStaleAnswer)
	if took := watch.Took(); took > 250*time.Millisecond {
		t.Errorf("it took %v: a stale answer is due after 30 ms", took)
	}
	staleNow("nobody answers", "no.example", dns.ExtendedErrorCodeStaleNXDOMAINAnswer)
	if ans := ask(t, "udp", r, edns("other.example", "A")); ans.Rcode != dns.RcodeServerFailure {
		t.Errorf("nothing is kept of it: %v", ans)
	} else if code, _ := errorOf(ans); code != int(dns.ExtendedErrorCodeNoReachableAuthority) {
		t.Errorf("%v", ans)
	}
	up.now(func() { up.silent, up.rcode = false, dns.RcodeServerFailure })
	clk.pass(10 * time.Second)
	staleNow("it fails", "www.example", dns.ExtendedErrorCodeStaleAnswer)
	staleNow("it failed just now", "www.example", dns.ExtendedErrorCodeStaleAnswer)
	up.now(func() { up.rcode = dns.RcodeSuccess })
	clk.pass(10 * time.Second)
	stale := uint64(4)
	for watch := clocktest.Start(t); ; stale++ { // a good answer that takes long is not waited for, but kept
		ans := ask(t, "udp", r, edns("www.example", "A"))
		if ttl := ans.Answer[0].Header().Ttl; ttl > 90 {
			break
		} else if ttl != 30 || watch.Took() > 5*time.Second {
			t.Fatalf("it is well again: %v", ans)
		}
	}
	clk.pass(48 * time.Hour)
	up.now(func() { up.rcode = dns.RcodeServerFailure })
	if ans := ask(t, "udp", r, edns("www.example", "A")); ans.Rcode != dns.RcodeServerFailure {
		t.Errorf("after two days: %v", ans)
	}
	if n := r.Status().Queries["stale"]; n != stale {
		t.Errorf("%d stale answers, want %d", n, stale)
	}
}

func TestAFailureIsRememberedForSeconds(t *testing.T) {
	up := speaks(t, nil)
	up.now(func() { up.rcode = dns.RcodeServerFailure })
	r, clk := startLater(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{up.addr}})
	for i := range 3 {
		ans := ask(t, "udp", r, edns("www.example", "A"))
		if code, _ := errorOf(ans); ans.Rcode != dns.RcodeServerFailure || (code == int(dns.ExtendedErrorCodeCachedError)) != (i > 0) {
			t.Errorf("%d: %v", i, ans)
		}
	}
	before := up.seen.Load()
	clk.pass(6 * time.Second)
	ask(t, "udp", r, edns("www.example", "A"))
	if up.seen.Load() == before {
		t.Error("it is remembered for ever")
	}
}

// Rules, upstreams and what each answered are kept apart; what a rule no longer allows is no longer said.
func TestRules(t *testing.T) {
	a := speaks(t, map[string][]string{"db.corp.example. A": {"db.corp.example. 300 IN A 10.1.1.1"}, "one.corp.example. A": {"one.corp.example. 300 IN A 10.1.1.9"}})
	b := speaks(t, map[string][]string{"db.corp.example. A": {"db.corp.example. 300 IN A 10.2.2.2"}, "one.corp.example. A": {"one.corp.example. 300 IN A 10.2.2.9"}})
	v := func(rules ...plan.Forward) resolver.View {
		return resolver.View{Forward: rules, Upstreams: []netip.AddrPort{b.addr}}
	}
	corp := plan.Forward{Rule: "ot/rules/corp", Domain: "corp.example", Targets: []netip.AddrPort{a.addr}}
	exact := plan.Forward{Rule: "ot/rules/one", Domain: "one.corp.example", Exact: true, Targets: []netip.AddrPort{b.addr}}
	r := start(t, resolver.Config{}, v(corp, exact))
	expect := func(why, name, want string) {
		t.Helper()
		for range 2 { // from upstreams, and from the cache
			if ans := ask(t, "udp", r, edns(name, "A")); len(ans.Answer) != 1 || ans.Answer[0].(*dns.A).A.String() != want {
				t.Errorf("%s: %v, want %s", why, ans, want)
			}
		}
	}
	expect("a rule", "db.corp.example", "10.1.1.1")
	expect("an exact rule", "one.corp.example", "10.2.2.9")
	r.Set(v())
	expect("the rule is gone", "db.corp.example", "10.2.2.2")
	r.Set(v(corp))
	expect("it is back", "db.corp.example", "10.1.1.1")
	expect("without the exact one", "one.corp.example", "10.1.1.9")
	asked := a.seen.Load()
	corp.Rule = "ot/rules/renamed"
	r.Set(v(corp))
	expect("another name for the same servers", "db.corp.example", "10.1.1.1")
	if a.seen.Load() != asked {
		t.Error("what the same servers said was thrown away")
	}
	up := r.Status().Upstreams
	if len(up) != 2 || up[0].Rule != "ot/rules/renamed" || up[0].Address != a.addr.String() || up[1].Rule != "" {
		t.Errorf("%+v", up)
	}
}

// The public name's CNAME leads to the privatelink name, for which the network has an address of its own; and where a linked zone lacks
// such a name its link says whether the public answer stands.
func TestPublicAnswersThatLeadBackIn(t *testing.T) {
	up := speaks(t, map[string][]string{
		"contoso.azure-devices.net. A":              {"contoso.azure-devices.net. 60 IN CNAME contoso.privatelink.azure-devices.net.", "contoso.privatelink.azure-devices.net. 60 IN CNAME hub7.cloudapp.example.", "hub7.cloudapp.example. 60 IN A 192.0.2.7"},
		"foreign.azure-devices.net. A":              {"foreign.azure-devices.net. 60 IN CNAME foreign.privatelink.azure-devices.net.", "foreign.privatelink.azure-devices.net. 60 IN A 192.0.2.8"},
		"foreign.privatelink.azure-devices.net. A":  {"foreign.privatelink.azure-devices.net. 60 IN A 192.0.2.8"},
		"alias.example. A":                          {"alias.example. 60 IN CNAME contoso.azure-devices.net."},
		"contoso.blob.core.windows.net. A":          {"contoso.blob.core.windows.net. 60 IN CNAME contoso.privatelink.blob.core.windows.net.", "contoso.privatelink.blob.core.windows.net. 60 IN A 192.0.2.9"},
		"circle.example. A":                         {"circle.example. 60 IN CNAME back.plant.example."},
		"contoso.privatelink.azure-devices.net. MX": {"contoso.privatelink.azure-devices.net. 60 IN MX 1 wrong.example."},
	})
	r := start(t, resolver.Config{}, resolver.View{
		Names: []plan.Name{
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: []netip.Addr{addr("10.7.0.4")}},
			{Name: "back.plant.example", TTL: 10, CNAME: "circle.example"},
		},
		Zones:     []string{"privatelink.azure-devices.net", "privatelink.blob.core.windows.net"},
		Redirect:  []string{"privatelink.azure-devices.net"},
		Upstreams: []netip.AddrPort{up.addr},
	})
	for range 2 { // from upstreams, and from the cache
		for name, want := range map[string]string{
			"contoso.azure-devices.net":             "contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net., contoso.privatelink.azure-devices.net. A 10.7.0.4",
			"foreign.azure-devices.net":             "foreign.azure-devices.net. CNAME foreign.privatelink.azure-devices.net., foreign.privatelink.azure-devices.net. A 192.0.2.8",
			"foreign.privatelink.azure-devices.net": "foreign.privatelink.azure-devices.net. A 192.0.2.8",
			"contoso.blob.core.windows.net":         "contoso.blob.core.windows.net. CNAME contoso.privatelink.blob.core.windows.net.",
		} {
			for _, network := range []string{"udp", "tcp"} {
				ans := ask(t, network, r, edns(name, "A"))
				if got := short(ans.Answer); got != want {
					t.Errorf("%s\n got %s\nwant %s", name, got, want)
				}
				if nx := strings.Contains(name, "blob"); (ans.Rcode == dns.RcodeNameError) != nx {
					t.Errorf("%s: %v", name, ans)
				}
			}
		}
		if ans := ask(t, "udp", r, edns("circle.example", "A")); ans.Rcode != dns.RcodeServerFailure {
			t.Errorf("a circle through us and them: %v", ans)
		}
	}
}

func TestWhy(t *testing.T) {
	up := speaks(t, map[string][]string{"www.example. A": {"www.example. 300 IN A 192.0.2.1"}})
	v := plant()
	v.Upstreams = []netip.AddrPort{up.addr}
	r := start(t, resolver.Config{}, v)
	why := func(name string) (records int, text string) {
		t.Helper()
		m := edns(name, "A")
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: resolver.WhyOption}}
		ans := ask(t, "tcp", r, m)
		for _, rr := range ans.Extra {
			if txt, ok := rr.(*dns.TXT); ok && txt.Hdr.Name == resolver.WhyName {
				text += txt.Txt[0] + "=" + strings.Join(txt.Txt[1:], "") + "\n"
			}
		}
		return len(ans.Answer), text
	}
	for _, c := range []struct {
		name    string
		records int
		want    []string
	}{
		{"db.plant.example", 2, []string{"question=db.plant.example A", "result=answered: "}},
		{"www.example", 1, []string{"upstreams=", "cache=nothing of ", "upstream=udp://" + up.addr.String() + ", the upstreams: NOERROR after ", "result=forwarded: "}},
		{"www.example", 1, []string{"cache=NOERROR, ", " old, of the upstreams", "result=cached: "}},
		{"nothing.plant.example", 0, []string{"zone=", "result=nxdomain: not in the linked zone plant.example."}},
	} {
		records, text := why(c.name)
		for _, w := range c.want {
			if records != c.records || !strings.Contains(text, w) {
				t.Errorf("%s: %d records, and no %q in\n%s", c.name, records, w, text)
			}
		}
	}
}

// Each query is answered, and with what some view says, while the view changes as fast as it can.
func TestChangesOfTheViewLoseNothing(t *testing.T) {
	up := speaks(t, map[string][]string{"www.example. A": {"www.example. 300 IN A 192.0.2.1"}})
	view := func(n int) resolver.View {
		v := resolver.View{Zones: []string{"plant.example"}, Upstreams: []netip.AddrPort{up.addr}}
		for i := range 200 {
			v.Names = append(v.Names, plan.Name{Name: fmt.Sprintf("h%d.plant.example", i), TTL: 10, A: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(n), 0, byte(i)})}})
		}
		return v
	}
	r := start(t, resolver.Config{}, view(0))
	const clients, each = 4, 1500
	var asking, changing sync.WaitGroup
	done := make(chan struct{})
	var swaps atomic.Int64
	changing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				r.Set(view(n % 250))
				swaps.Add(1)
			}
		}
	})
	var answers atomic.Int64
	for c := range clients {
		asking.Go(func() {
			conn, err := net.Dial("udp", r.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			buf := make([]byte, 1500)
			for i := range each {
				m := question(fmt.Sprintf("h%d.plant.example", (i+c)%200), "A")
				if i%10 == 0 {
					m = question("www.example", "A")
				}
				packet, err := m.Pack()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := conn.Write(packet); err != nil {
					t.Error(err)
					return
				}
				n, err := conn.Read(buf) // once: nothing may be lost
				var ans dns.Msg
				if err != nil || ans.Unpack(buf[:n]) != nil || ans.Id != m.Id || len(ans.Answer) != 1 {
					t.Errorf("query %d: %v, %v", i, err, &ans)
					return
				}
				answers.Add(1)
			}
		})
	}
	asking.Wait()
	close(done)
	changing.Wait()
	st := r.Status().Queries
	if total := st["answered"] + st["forwarded"] + st["cached"]; answers.Load() != clients*each || total != clients*each || swaps.Load() < 10 {
		t.Errorf("%d of %d answers after %d changes; the status counts %v", answers.Load(), clients*each, swaps.Load(), st)
	}
}

// While one source asks for names nobody knows as fast as it is answered, names of the network are answered, quickly.
func TestAFloodOfMissesDoesNotStarveTheNetwork(t *testing.T) {
	up := upstream(t, func(dns.ResponseWriter, *dns.Msg) {}) // never answers
	v := plant()
	v.Upstreams = []netip.AddrPort{up.addr}
	r := start(t, resolver.Config{MaxForwards: 64, UpstreamTimeout: 200 * time.Millisecond, QueryTimeout: 400 * time.Millisecond}, v)
	conn, err := net.Dial("udp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{}, 200) // with more the kernel would drop queries, ours among them
	var flooding sync.WaitGroup
	flooding.Go(func() {
		buf := make([]byte, 1500)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			<-open
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	flooding.Go(func() {
		for i := 0; ; i++ {
			select {
			case open <- struct{}{}:
			case <-ctx.Done():
				return
			}
			packet, err := question(fmt.Sprintf("x%d.elsewhere.example", i), "A").Pack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write(packet)
		}
	})
	watch := clocktest.Start(t)
	var worst time.Duration
	for asked := 0; asked < 200 || r.Status().Queries["failed"] < 1000; asked++ {
		began := watch.Took()
		if ans := ask(t, "udp", r, question("db.plant.example", "A")); len(ans.Answer) != 2 {
			t.Errorf("%v", ans)
		}
		worst = max(worst, watch.Took()-began)
	}
	cancel()
	_ = conn.Close()
	flooding.Wait()
	if worst > time.Second {
		t.Errorf("the slowest took %v", worst)
	}
}

// Signatures of a zone that a real server signs go through as they are, however often they are asked for.
func TestSignedAnswersGoThroughUntouched(t *testing.T) {
	named, err := exec.LookPath("named")
	if err != nil {
		t.Fatal("named is not installed: make deps installs it")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(tool(t, "dnssec-keygen", "-q", "-K", dir, "-a", "ECDSAP256SHA256", "-f", "KSK", "signed.example"))
	zone := "$TTL 300\n@ IN SOA ns.signed.example. root.signed.example. 1 3600 600 86400 60\n@ IN NS ns.signed.example.\nns IN A 127.0.0.1\nwww IN A 192.0.2.1\nwww IN TXT \"a\" \"b\"\n"
	public, err := os.ReadFile(filepath.Join(dir, key+".key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"db": zone + string(public)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, "dnssec-signzone", "-z", "-d", dir, "-K", dir, "-o", "signed.example", "-f", filepath.Join(dir, "db.signed"), "-x", filepath.Join(dir, "db"))
	at := freePort(t)
	conf := fmt.Sprintf(`options { directory "%s"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no; };
controls { };
zone "signed.example" { type primary; file "db.signed"; };
`, dir, at.Port())
	if err := os.WriteFile(filepath.Join(dir, "named.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, named, "-f", "-c", filepath.Join(dir, "named.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	direct := func(m *dns.Msg) *dns.Msg {
		c := dns.Client{Net: "tcp", Timeout: time.Second}
		for deadline := time.Now().Add(10 * time.Second); ; {
			ans, _, err := c.Exchange(m, at.String())
			if err == nil && ans.Rcode != dns.RcodeServerFailure { // it has read the zone
				return ans
			}
			if time.Now().After(deadline) {
				t.Fatal(ans, err)
			}
		}
	}
	r := start(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{at}})
	for _, c := range []struct{ name, qtype string }{
		{"www.signed.example", "A"}, {"www.signed.example", "TXT"}, {"signed.example", "DNSKEY"}, {"no.signed.example", "A"}, {"www.signed.example", "AAAA"},
	} {
		m := question(c.name, c.qtype)
		m.SetEdns0(1232, true)
		m.CheckingDisabled = true
		want := direct(m)
		for _, network := range []string{"udp", "tcp", "tcp"} {
			got := ask(t, network, r, m)
			if got.Truncated {
				continue
			}
			if text(got.Answer) != text(want.Answer) || text(got.Ns) != text(want.Ns) || got.Rcode != want.Rcode || !got.IsEdns0().Do() || !got.CheckingDisabled {
				t.Errorf("%s %s over %s\n got %v\nwant %v", c.name, c.qtype, network, got, want)
			}
		}
		if !strings.Contains(text(want.Answer)+text(want.Ns), "RRSIG") {
			t.Errorf("%s %s is not signed: %v", c.name, c.qtype, want)
		}
		plain := question(c.name, c.qtype)
		if ans := ask(t, "tcp", r, plain); c.qtype != "DNSKEY" && strings.Contains(text(ans.Answer)+text(ans.Ns), "RRSIG") {
			t.Errorf("signatures for one who did not ask: %v", ans)
		}
	}
}

// text is records in full, but for a TTL that may be a second or two less.
func text(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		c := dns.Copy(rr)
		c.Header().Ttl = (c.Header().Ttl + 5) / 10 * 10
		out = append(out, c.String())
	}
	return strings.Join(out, "\n")
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}
