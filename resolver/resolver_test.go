package resolver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs a resolver on a free loopback port for the length of the test.
func start(t testing.TB, cfg resolver.Config, v resolver.View) *resolver.Resolver {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	r := resolver.New(cfg, quiet(), clock.System{}, nil)
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
	select {
	case <-r.Ready():
	case err := <-ran:
		t.Fatal(err)
	}
	return r
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// plant is what the resolver of a factory network knows.
func plant() resolver.View {
	return resolver.View{
		Names: []plan.Name{
			{Name: "contoso.azure-devices.net", TTL: 10, CNAME: "contoso.privatelink.azure-devices.net"},
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: []netip.Addr{addr("10.7.0.4")}},
			{Name: "db.plant.example", TTL: 60, A: []netip.Addr{addr("10.7.0.9"), addr("10.7.0.10")}, AAAA: []netip.Addr{addr("fd00::9")}},
			{Name: "*.apps.plant.example", TTL: 60, A: []netip.Addr{addr("10.7.0.20")}},
			{Name: "fixed.apps.plant.example", TTL: 60, TXT: []string{"a note", strings.Repeat("long ", 60)}},
			{Name: "out.plant.example", TTL: 60, CNAME: "www.elsewhere.example"},
			{Name: "gone.plant.example", TTL: 60, CNAME: "nothing.plant.example"},
			{Name: "loop1.plant.example", TTL: 60, CNAME: "loop2.plant.example"},
			{Name: "loop2.plant.example", TTL: 60, CNAME: "loop1.plant.example"},
			{Name: "*.wild.example", TTL: 60, A: []netip.Addr{addr("10.7.0.30")}},
		},
		Zones: []string{"plant.example", "privatelink.blob.core.windows.net"},
	}
}

// short writes records the way the tables below do: owner TYPE data, without TTL and class.
func short(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		if soa, ok := rr.(*dns.SOA); ok {
			data = fmt.Sprint(soa.Minttl)
		}
		if txt, ok := rr.(*dns.TXT); ok {
			data = fmt.Sprint(len(strings.Join(txt.Txt, "")))
		}
		out = append(out, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]+" "+data)
	}
	return strings.Join(out, ", ")
}

func ask(t testing.TB, network string, r *resolver.Resolver, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, UDPSize: 4096, Timeout: 20 * time.Second}
	ans, _, err := c.ExchangeContext(t.Context(), m, r.Addr().String())
	if err != nil {
		t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	return ans
}

func question(name, qtype string) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
}

func TestAnswersOfAView(t *testing.T) {
	r := start(t, resolver.Config{}, plant())
	for _, c := range []struct {
		name, qtype, rcode, answer, authority string
	}{
		{
			"contoso.azure-devices.net", "A", "NOERROR",
			"contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net., contoso.privatelink.azure-devices.net. A 10.7.0.4", "",
		},
		{ // case comes back as it was asked
			"CoNtOsO.Azure-Devices.NET", "A", "NOERROR",
			"CoNtOsO.Azure-Devices.NET. CNAME contoso.privatelink.azure-devices.net., contoso.privatelink.azure-devices.net. A 10.7.0.4", "",
		},
		{ // nothing of that type is never NXDOMAIN
			"contoso.azure-devices.net", "AAAA", "NOERROR",
			"contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net.", "contoso.privatelink.azure-devices.net. SOA 10",
		},
		{"contoso.privatelink.azure-devices.net", "AAAA", "NOERROR", "", "contoso.privatelink.azure-devices.net. SOA 10"},
		{"contoso.privatelink.azure-devices.net", "HTTPS", "NOERROR", "", "contoso.privatelink.azure-devices.net. SOA 10"},
		{"contoso.azure-devices.net", "CNAME", "NOERROR", "contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net.", ""},
		{"contoso.azure-devices.net", "ANY", "NOERROR", "contoso.azure-devices.net. HINFO \"RFC8482\" \"\"", ""},
		{"db.plant.example", "A", "NOERROR", "db.plant.example. A 10.7.0.9, db.plant.example. A 10.7.0.10", ""},
		{"db.plant.example", "AAAA", "NOERROR", "db.plant.example. AAAA fd00::9", ""},
		{"db.plant.example", "MX", "NOERROR", "", "plant.example. SOA 10"},
		{"nothing.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"},
		{"deep.db.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"},
		{"other.privatelink.blob.core.windows.net", "A", "NXDOMAIN", "", "privatelink.blob.core.windows.net. SOA 10"},
		{"plant.example", "A", "NOERROR", "", "plant.example. SOA 10"},
		{"plant.example", "SOA", "NOERROR", "plant.example. SOA 10", ""},
		{"apps.plant.example", "A", "NOERROR", "", "plant.example. SOA 10"}, // exists only because names below it do
		{"any.apps.plant.example", "A", "NOERROR", "any.apps.plant.example. A 10.7.0.20", ""},
		{"a.b.apps.plant.example", "A", "NOERROR", "a.b.apps.plant.example. A 10.7.0.20", ""},
		{"any.apps.plant.example", "AAAA", "NOERROR", "", "plant.example. SOA 10"},
		{"fixed.apps.plant.example", "A", "NOERROR", "", "plant.example. SOA 10"},        // the wildcard is not for names that exist
		{"below.fixed.apps.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"}, // nor for what is below them
		{"fixed.apps.plant.example", "TXT", "NOERROR", "fixed.apps.plant.example. TXT 6, fixed.apps.plant.example. TXT 300", ""},
		{"x.wild.example", "A", "NOERROR", "x.wild.example. A 10.7.0.30", ""},
		{"x.wild.example", "AAAA", "NOERROR", "", "wild.example. SOA 10"},
		{"gone.plant.example", "A", "NXDOMAIN", "gone.plant.example. CNAME nothing.plant.example.", "plant.example. SOA 10"},
		{"loop1.plant.example", "A", "SERVFAIL", "", ""},
		{"out.plant.example", "A", "SERVFAIL", "", ""}, // leads out, and there is no upstream
		{"out.plant.example", "CNAME", "NOERROR", "out.plant.example. CNAME www.elsewhere.example.", ""},
		{"azure-devices.net", "A", "REFUSED", "", ""}, // above our names, but not ours
		{"other.privatelink.azure-devices.net", "A", "REFUSED", "", ""},
		{"wild.example", "A", "REFUSED", "", ""},
		{"example.com", "A", "REFUSED", "", ""},
		{".", "NS", "REFUSED", "", ""},
		{"plant.example", "AXFR", "REFUSED", "", ""},
		{"plant.example", "TSIG", "NOTIMP", "", ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			ans := ask(t, network, r, question(c.name, c.qtype))
			rcode, answer, authority := dns.RcodeToString[ans.Rcode], short(ans.Answer), short(ans.Ns)
			if rcode != c.rcode || answer != c.answer || authority != c.authority {
				t.Errorf("%s %s %s\n got %s | %s | %s\nwant %s | %s | %s", network, c.name, c.qtype, rcode, answer, authority, c.rcode, c.answer, c.authority)
			}
			if ours := rcode == "NOERROR" || rcode == "NXDOMAIN"; ans.Authoritative != ours || ans.RecursionAvailable {
				t.Errorf("%s %s: aa %v, ra %v", c.name, c.qtype, ans.Authoritative, ans.RecursionAvailable)
			}
			if ans.Question[0].Name != dns.Fqdn(c.name) {
				t.Errorf("the question came back as %q", ans.Question[0].Name)
			}
		}
	}
	ttl := ask(t, "udp", r, question("contoso.azure-devices.net", "A"))
	for _, rr := range ttl.Answer {
		if rr.Header().Ttl != 10 {
			t.Errorf("%v has not the plan's TTL", rr)
		}
	}
}

func TestThingsOneMayNotAsk(t *testing.T) {
	r := start(t, resolver.Config{}, plant())
	chaos := question("version.bind", "TXT")
	chaos.Question[0].Qclass = dns.ClassCHAOS
	notify := question("plant.example", "SOA")
	notify.Opcode = dns.OpcodeNotify
	update := question("plant.example", "SOA")
	update.Opcode = dns.OpcodeUpdate
	version := question("db.plant.example", "A")
	version.SetEdns0(1232, false)
	version.IsEdns0().SetVersion(1)
	two := question("db.plant.example", "A")
	two.Question = append(two.Question, two.Question[0])
	none := question("db.plant.example", "A")
	none.Question = nil
	twice := question("db.plant.example", "A")
	twice.SetEdns0(1232, false)
	twice.Extra = append(twice.Extra, twice.Extra[0])
	for name, c := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"class CH": {chaos, dns.RcodeRefused}, "notify": {notify, dns.RcodeNotImplemented}, "update": {update, dns.RcodeNotImplemented},
		"EDNS version 1": {version, dns.RcodeBadVers}, "two questions": {two, dns.RcodeFormatError},
		"no question": {none, dns.RcodeFormatError}, "two OPT records": {twice, dns.RcodeFormatError},
	} {
		packet, err := c.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		ans := raw(t, r, packet)
		if ans.Rcode != c.rcode || ans.Id != c.m.Id || ans.Opcode != c.m.Opcode || len(ans.Answer) != 0 {
			t.Errorf("%s: %v", name, ans)
		}
	}
	cut, err := question("db.plant.example", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	if ans := raw(t, r, cut[:len(cut)-3]); ans.Rcode != dns.RcodeFormatError {
		t.Errorf("a cut query: %v", ans)
	}
	// Neither a response nor half a header gets an answer; the question behind them does, as the first to arrive.
	conn := dial(t, r)
	response := question("db.plant.example", "A")
	response.Response = true
	for _, m := range []*dns.Msg{response, question("db.plant.example", "A")} {
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{packet[:5], packet} {
			if _, err := conn.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if !m.Response {
			if ans := readAnswer(t, conn); ans.Id != m.Id {
				t.Errorf("the response was answered: %v", ans)
			}
		}
	}
	if got := r.Status().Queries["dropped"]; got != 3 {
		t.Errorf("%d dropped, want 3", got)
	}
}

func dial(t *testing.T, r *resolver.Resolver) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func readAnswer(t *testing.T, conn net.Conn) *dns.Msg {
	t.Helper()
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	ans := new(dns.Msg)
	if err := ans.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return ans
}

func raw(t *testing.T, r *resolver.Resolver, packet []byte) *dns.Msg {
	t.Helper()
	conn := dial(t, r)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, conn)
}

func TestLongAnswersAreCutForUDP(t *testing.T) {
	long := plan.Name{Name: "many.plant.example", TTL: 60}
	for i := range 120 {
		long.A = append(long.A, netip.AddrFrom4([4]byte{10, 8, 0, byte(i)}))
	}
	r := start(t, resolver.Config{}, resolver.View{Names: []plan.Name{long}})
	for size, limit := range map[uint16]int{0: 512, 100: 512, 800: 800, 4096: 1232} {
		q := question("many.plant.example", "A")
		if size > 0 {
			q.SetEdns0(size, false)
		}
		packet, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		ans := raw(t, r, packet)
		ans.Compress = true
		if !ans.Truncated || ans.Len() > limit || (ans.IsEdns0() != nil) != (size > 0) {
			t.Errorf("asked with %d: truncated %v, %d bytes of %d, OPT %v", size, ans.Truncated, ans.Len(), limit, ans.IsEdns0())
		}
		if opt := ans.IsEdns0(); opt != nil && opt.UDPSize() != 1232 {
			t.Errorf("we take %d bytes", opt.UDPSize())
		}
	}
	if ans := ask(t, "tcp", r, question("many.plant.example", "A")); ans.Truncated || len(ans.Answer) != 120 {
		t.Errorf("over TCP: %d records, truncated %v", len(ans.Answer), ans.Truncated)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	r := start(t, resolver.Config{}, plant())
	for name, want := range map[string]string{
		"example.com":         "no upstream is set",
		"loop1.plant.example": "lead in a circle",
		"out.plant.example":   "leads to www.elsewhere.example.",
	} {
		q := question(name, "A")
		q.SetEdns0(1232, true)
		opt := ask(t, "udp", r, q).IsEdns0()
		if opt == nil || !opt.Do() || len(opt.Option) != 1 || !strings.Contains(opt.Option[0].String(), want) {
			t.Errorf("%s: %v", name, opt)
		}
	}
}

func TestBadNamesAreLeftOutWithWords(t *testing.T) {
	r := start(t, resolver.Config{}, resolver.View{
		Names: []plan.Name{
			{Name: "", A: []netip.Addr{addr("10.7.0.1")}},
			{Name: strings.Repeat("x", 64) + ".example", A: []netip.Addr{addr("10.7.0.1")}},
			{Name: "both.example", CNAME: "other.example", A: []netip.Addr{addr("10.7.0.1")}},
			{Name: "six.example", A: []netip.Addr{addr("fd00::1")}},
			{Name: "good.example", A: []netip.Addr{addr("10.7.0.1")}},
		},
		Zones:     []string{"bad..zone"},
		Upstreams: []netip.AddrPort{{}},
	})
	if got := r.Problems(); len(got) != 6 {
		t.Errorf("problems: %q", got)
	}
	if ans := ask(t, "udp", r, question("good.example", "A")); len(ans.Answer) != 1 {
		t.Errorf("the good name: %v", ans)
	}
	if ans := ask(t, "udp", r, question("both.example", "A")); ans.Rcode != dns.RcodeRefused {
		t.Errorf("a name left out: %v", ans)
	}
}

func TestListeningWaitsForItsAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 10)
	log := slog.New(watch{told})
	r := resolver.New(resolver.Config{Listen: []string{taken.Addr().String()}}, log, clock.System{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	if msg := <-told; !strings.Contains(msg, "cannot listen for DNS") {
		t.Errorf("it said %q", msg)
	}
	if got := r.Problems(); len(got) != 1 || !strings.Contains(got[0], "another program listens there") || r.Addr().IsValid() {
		t.Errorf("problems %q, address %v", got, r.Addr())
	}
	_ = taken.Close()
	<-r.Ready()
	if got := r.Problems(); len(got) != 0 || r.Addr().String() != taken.Addr().String() {
		t.Errorf("problems %q, address %v", got, r.Addr())
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	bad := resolver.New(resolver.Config{Listen: []string{"plant-7:53"}}, quiet(), clock.System{}, nil)
	if err := bad.Run(t.Context()); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), `"plant-7:53"`) {
		t.Errorf("a name to listen on: %v", err)
	}
}

// watch is a log handler that passes messages on.
type watch struct{ told chan string }

func (w watch) Enabled(context.Context, slog.Level) bool { return true }
func (w watch) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w watch) WithGroup(string) slog.Handler            { return w }
func (w watch) Handle(_ context.Context, r slog.Record) error {
	select {
	case w.told <- r.Message:
	default:
	}
	return nil
}

func TestWildcardSocketAnswersFromTheAskedAddress(t *testing.T) {
	r := start(t, resolver.Config{Listen: []string{"0.0.0.0:0"}}, plant())
	for _, at := range []string{"127.0.0.1", "127.0.0.53"} {
		conn, err := net.Dial("udp", netip.AddrPortFrom(addr(at), r.Addr().Port()).String()) // takes answers from there only
		if err != nil {
			t.Fatal(err)
		}
		packet, err := question("db.plant.example", "A").Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		if ans := readAnswer(t, conn); len(ans.Answer) != 2 {
			t.Errorf("%s: %v", at, ans)
		}
		_ = conn.Close()
	}
}

func TestDigIsContent(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Fatal("dig is not installed: make deps installs it")
	}
	r := start(t, resolver.Config{}, plant())
	out, err := exec.CommandContext(t.Context(), dig, "@"+r.Addr().Addr().String(), "-p", fmt.Sprint(r.Addr().Port()), "+tries=1",
		"contoso.azure-devices.net", "A", "+noall", "+answer", "+comments").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, ";") && strings.TrimSpace(line) != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	want := []string{
		"contoso.azure-devices.net. 10 IN CNAME contoso.privatelink.azure-devices.net.",
		"contoso.privatelink.azure-devices.net. 10 IN A 10.7.0.4",
	}
	if !slices.Equal(lines, want) || strings.Contains(string(out), "WARNING: Message parser") || !strings.Contains(string(out), "status: NOERROR") {
		t.Errorf("dig said\n%s", out)
	}
}
