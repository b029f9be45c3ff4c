package asker_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
	"github.com/isthmus-io/isthmus/resolver/asker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstream answers every question over UDP and TCP.
func upstream(t *testing.T, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		if err != nil { // the port TCP was given is taken for UDP
			_ = ln.Close()
			continue
		}
		for _, s := range []*dns.Server{{Listener: ln, Handler: handle}, {PacketConn: pc, Handler: handle}} {
			up, done := make(chan struct{}), make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			go func() { defer close(done); _ = s.ActivateAndServe() }()
			<-up
			t.Cleanup(func() { _ = s.Shutdown(); <-done })
		}
		return ln.Addr().(*net.TCPAddr).AddrPort()
	}
	t.Fatal("no port is free for both")
	return netip.AddrPort{}
}

func answerTXT(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"up"}}}
	_ = w.WriteMsg(m)
}

// start runs a resolver for the length of the test.
func start(t *testing.T, v resolver.View) netip.AddrPort {
	t.Helper()
	r := resolver.New(resolver.Config{Listen: []string{"127.0.0.1:0"}}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	r.Set(v)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	select {
	case <-r.Ready():
	case err := <-ran:
		t.Fatal(err)
	}
	return r.Addr()
}

func find(r asker.Reply, what string) string {
	if i := slices.IndexFunc(r.Steps, func(s asker.Step) bool { return s.What == what }); i >= 0 {
		return r.Steps[i].Detail
	}
	return ""
}

func TestAResolverOfOursExplainsItself(t *testing.T) {
	up := upstream(t, answerTXT)
	at := start(t, resolver.View{
		Names:     []plan.Name{{Name: "db.plant.example", TTL: 60, TXT: []string{`a "note" \ grün` + "\n"}}},
		Zones:     []string{"plant.example"},
		Upstreams: []netip.AddrPort{up},
	})
	ask := func(name string) asker.Reply {
		t.Helper()
		r, err := asker.Ask(t.Context(), at, name, dns.TypeTXT, clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := ask("DB.plant.example.")
	if r.Rcode != "NOERROR" || r.Resolver != at || len(r.Answers) != 1 || !strings.HasPrefix(r.Answers[0], "DB.plant.example. 60 IN TXT ") {
		t.Errorf("%+v", r)
	}
	// view writes values quoted, so that the text arrives twice escaped and must be once again.
	if got := find(r, "name"); !strings.Contains(got, `"a \"note\" \\ grün\n"`) {
		t.Errorf("the record is told as %s", got)
	}
	if got := find(r, "result"); !strings.HasPrefix(got, "answered: ") {
		t.Errorf("result %q", got)
	}
	r = ask("www.elsewhere.example")
	if got := find(r, "upstream"); !strings.Contains(got, up.String()) || !strings.Contains(got, "NOERROR after ") {
		t.Errorf("upstream %q", got)
	}
	r = ask("www.elsewhere.example")
	if got := find(r, "cache"); !strings.Contains(got, " old, ") || find(r, "upstream") != "" {
		t.Errorf("cache %q in %v", got, r.Steps)
	}
	for _, s := range r.Steps {
		if want := s.What == "cache" || s.What == "result"; s.Happened() != want {
			t.Errorf("%s: Happened is %v", s.What, s.Happened())
		}
	}
	if r = ask("gone.plant.example"); r.Rcode != "NXDOMAIN" || len(r.Answers) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRefusalsAreRepliesWithWords(t *testing.T) {
	at := start(t, resolver.View{})
	r, err := asker.Ask(t.Context(), at, "www.elsewhere.example", dns.TypeA, clock.System{})
	if err != nil || r.Rcode != "REFUSED" || len(r.Errors) != 1 || !strings.Contains(r.Errors[0], ": ") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOthersServers(t *testing.T) {
	r, err := asker.Ask(t.Context(), upstream(t, answerTXT), "www.elsewhere.example", dns.TypeTXT, clock.System{})
	if err != nil || len(r.Steps) != 0 || !slices.Equal(r.Answers, []string{`www.elsewhere.example. 60 IN TXT "up"`}) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = asker.Ask(t.Context(), upstream(t, func(w dns.ResponseWriter, q *dns.Msg) { // one that explains badly
		m := new(dns.Msg).SetRcode(q, 3000)
		txt := func(owner string, texts ...string) *dns.TXT {
			return &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: texts}
		}
		m.Extra = []dns.RR{txt("else.where.", "cache", "x"), txt("WHY.isthmus.", "ca\\027[2Jche"), txt("why.isthmus.", "result", "\\200\\", "1")}
		m.SetEdns0(512, false)
		_ = w.WriteMsg(m)
	}), "www.elsewhere.example", dns.TypeTXT, clock.System{})
	if err != nil || r.Rcode != "RCODE3000" || len(r.Steps) != 2 || r.Steps[0] != (asker.Step{What: "ca?[2Jche"}) || strings.ContainsRune(r.Steps[1].Detail, '\x1b') {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = asker.Ask(t.Context(), upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = "other.example."
		_ = w.WriteMsg(m)
	}), "www.elsewhere.example", dns.TypeTXT, clock.System{})
	if fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Errorf("another question's answer: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	_ = ln.Close()
	_, err = asker.Ask(t.Context(), at, "a.example", dns.TypeA, clock.System{})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), at.String()) || fault.Next(err) == "" {
		t.Errorf("%v", err)
	}
}

func TestNamesAndTypes(t *testing.T) {
	for text, want := range map[string]uint16{"A": 1, "aaaa": 28, "Caa": 257, "TYPE65": 65, "type65280": 65280, "ANY": 255} {
		if got, err := asker.Type(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "TYPE", "TYPE0", "TYPE65536", "TYPE-1", "65", "None", strings.Repeat("x", 1000)} {
		if got, err := asker.Type(text); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"A.Example.": "a.example", "a": "a", ".": ".", "_x._tcp.a": "_x._tcp.a", "*.a.example": "*.a.example"} {
		if got, err := asker.Name(text); err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a..b", "a b", "a\x1bb", strings.Repeat("x", 64) + ".example", strings.Repeat("abcdefg.", 40)} {
		if got, err := asker.Name(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

// What a server answers is printed on terminals, and the server may be anybody's.
func TestAnswersDoNotPaintTerminals(t *testing.T) {
	at := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeNULL, Class: dns.ClassINET, Ttl: 60}
		m.Answer = []dns.RR{&dns.NULL{Hdr: h, Data: "\x1b[2Jgone \u009b31m"}}
		_ = w.WriteMsg(m)
	})
	r, err := asker.Ask(t.Context(), at, "a.example", dns.TypeNULL, clock.System{})
	if err != nil || len(r.Answers) != 1 || strings.ContainsAny(r.Answers[0], "\x1b\u009b") || !strings.Contains(r.Answers[0], "gone") {
		t.Errorf("%q %v", r.Answers, err)
	}
}
