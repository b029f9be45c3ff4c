package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// silent is a server that answers nobody, but tells the test when it was asked.
func silent(t testing.TB) (*fake, chan string) {
	came := make(chan string, 100)
	return newFake(t, nil, func(a *asked) { came <- a.name() }), came
}

func says(rcode int) func(*asked) {
	return func(a *asked) {
		m := a.say()
		m.Rcode = rcode
		a.send(m)
	}
}

// closed is an address where nobody listens. The port is kept, by a socket that talks to somebody else, so that no other test gets it.
func closed(t testing.TB) upstream.Server {
	t.Helper()
	loopback := net.IPv4(127, 0, 0, 1)
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: loopback}, &net.UDPAddr{IP: loopback, Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return upstream.Server{Address: c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func group(w *world, fakes ...*fake) *upstream.Group {
	var servers []upstream.Server
	for _, f := range fakes {
		servers = append(servers, f.server())
	}
	return w.Group(servers)
}

const (
	try  = 1500 * time.Millisecond
	good = "a.example. A 192.0.2.1"
)

func TestFailOver(t *testing.T) {
	first, came := silent(t)
	second := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	g := group(w, first, second)

	got := w.ask(g, "a.example")
	<-came
	w.clk.Advance(try - 1)
	if len(got) != 0 || second.count("udp") != 0 {
		t.Error("the second was asked before the first had its time")
	}
	w.clk.Advance(1)
	if a := <-got; a.Err != nil || a.Server.Address != second.addr {
		t.Fatalf("answer %+v", a)
	}
	st := g.Status()
	if st[0].Healthy || st[0].Fails != 1 || st[0].SkippedUntil != w.clk.Now().Add(time.Second) || st[0].Failures != 1 || !st[1].Healthy {
		t.Errorf("status %+v", st)
	}
	// While it is skipped nobody waits for it.
	w.must(g, "a.example", good)
	if len(came) != 0 {
		t.Error("a skipped server was asked")
	}
	// Its pause over, a probe finds out, not a question.
	for pause := time.Second; pause < 40*time.Minute; pause *= 2 {
		until := g.Status()[0].SkippedUntil
		if p := until.Sub(w.clk.Now()); p != min(pause, 30*time.Minute) {
			t.Fatalf("the pause is %v, want %v", p, min(pause, 30*time.Minute))
		}
		w.clk.Advance(until.Sub(w.clk.Now()))
		if name := <-came; name != "." {
			t.Errorf("the probe asks for %q", name)
		}
		w.must(g, "a.example", good)
		w.clk.Advance(try)
		eventually(t, func() bool { return g.Status()[0].SkippedUntil.After(until) })
	}
	if n := len(came); n != 0 {
		t.Errorf("%d more questions came", n)
	}
	// It lives again: the next probe finds that, and it is the first once more.
	first.does(func(a *asked) { a.ok() })
	w.clk.Advance(30 * time.Minute)
	eventually(t, func() bool { return g.Status()[0].Healthy })
	if a := w.must(g, "a.example", good); a.Server.Address != first.addr {
		t.Errorf("answered by %v", a.Server)
	}
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// Questions in flight when a server dies tell of one outage, not of many.
func TestOneOutageIsOneFailure(t *testing.T) {
	first, came := silent(t)
	second := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	g := group(w, first, second)
	var got []<-chan upstream.Answer
	for i := range 20 {
		got = append(got, w.ask(g, string(rune('a'+i))+".example"))
		<-came
	}
	w.clk.Advance(try)
	for _, c := range got {
		if a := <-c; a.Err != nil {
			t.Error(a.Err)
		}
	}
	if st := g.Status()[0]; st.Fails != 1 || st.Failures != 20 {
		t.Errorf("status %+v", st)
	}
}

func TestNobodyListensThere(t *testing.T) {
	second := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{closed(t), second.server()})
	w.must(g, "a.example", good) // without the clock: the kernel tells at once
	if st := g.Status(); st[0].Healthy || !st[1].Healthy {
		t.Errorf("status %+v", st)
	}
	_, err := w.Exchange(context.Background(), w.Group([]upstream.Server{closed(t)}), question(t, "a.example"))
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("err = %v", err)
	}
}

func TestUnwillingServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    []func(*asked)
		want  string
		asked []int
	}{
		{"SERVFAIL counts as no answer", []func(*asked){says(dns.RcodeServerFailure), (*asked).ok}, good, []int{1, 1}},
		{"REFUSED too", []func(*asked){says(dns.RcodeRefused), (*asked).ok}, good, []int{1, 1}},
		{"NOTIMP too", []func(*asked){says(dns.RcodeNotImplemented), (*asked).ok}, good, []int{1, 1}},
		{"NXDOMAIN does not", []func(*asked){says(dns.RcodeNameError), (*asked).ok}, "NXDOMAIN", []int{1, 0}},
		{"NODATA does not", []func(*asked){says(dns.RcodeSuccess), (*asked).ok}, "NOERROR", []int{1, 0}},
		{"the first's word when nobody does better", []func(*asked){says(dns.RcodeServerFailure), says(dns.RcodeRefused)}, "SERVFAIL", []int{1, 1}},
		{"alone it is the answer", []func(*asked){says(dns.RcodeRefused)}, "REFUSED", []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fakes []*fake
			for _, do := range c.do {
				fakes = append(fakes, newFake(t, nil, do))
			}
			w := start(t, upstream.Config{})
			g := group(w, fakes...)
			w.must(g, "a.example", c.want)
			for i, f := range fakes {
				if f.count("udp") != c.asked[i] {
					t.Errorf("server %d was asked %d times, want %d", i, f.count("udp"), c.asked[i])
				}
			}
			for i, st := range g.Status() {
				if !st.Healthy {
					t.Errorf("server %d: an answer is a sign of life: %+v", i, st)
				}
			}
		})
	}
}

func TestAllAreSkipped(t *testing.T) {
	first, came1 := silent(t)
	second, came2 := silent(t)
	w := start(t, upstream.Config{})
	g := group(w, first, second)
	got := w.ask(g, "a.example")
	<-came1
	w.clk.Advance(try) // the first is skipped for 1 s from here
	<-came2
	w.clk.Advance(500 * time.Millisecond)
	// Asked while the first is skipped: the second, whose time is not up.
	other := w.ask(g, "b.example")
	<-came2
	w.clk.Advance(500 * time.Millisecond)
	if name := <-came1; name != "." {
		t.Errorf("the first got %q, want a probe", name)
	}
	first.does((*asked).ok)
	w.clk.Advance(500 * time.Millisecond) // the second is skipped for 1 s from here; the probe runs
	// All are skipped; the one whose pause ends first is asked without waiting for it.
	if a := <-got; a.Err != nil || a.Server.Address != first.addr {
		t.Errorf("answer %+v", a)
	}
	w.must(g, "c.example", "c.example. A 192.0.2.1")
	w.clk.Advance(500 * time.Millisecond) // the second question's try at the second ends
	if a := <-other; a.Err != nil || a.Server.Address != first.addr {
		t.Errorf("answer %+v", a)
	}
}

func TestTheSoonestOfTheSkipped(t *testing.T) {
	first, came1 := silent(t)
	second, came2 := silent(t)
	w := start(t, upstream.Config{})
	g := group(w, first, second)
	// The first fails twice and is skipped for two seconds, then the second, which is skipped for one.
	got := w.ask(g, "a.example")
	<-came1
	w.clk.Advance(try)
	<-came2
	w.clk.Advance(time.Second)
	<-came1 // the probe
	w.clk.Advance(500 * time.Millisecond)
	<-came1 // a second round: its pause ends first
	w.clk.Advance(time.Second)
	eventually(t, func() bool { return g.Status()[0].Fails == 2 })
	if st := g.Status(); st[0].SkippedUntil.Sub(w.clk.Now()) != 2*time.Second || st[1].SkippedUntil.After(w.clk.Now()) {
		t.Fatalf("status %+v", st)
	}
	if name := <-came2; name != "." {
		t.Errorf("the second got %q, want a probe", name)
	}
	second.does((*asked).ok)
	if a := w.must(g, "b.example", "b.example. A 192.0.2.1"); a.Server.Address != second.addr {
		t.Errorf("answered by %v", a.Server)
	}
	first.does((*asked).ok)
	w.clk.Advance(500 * time.Millisecond)
	if a := <-got; a.Err != nil {
		t.Error(a.Err)
	}
}

// An answer, even SERVFAIL, is not kept back for servers that are most likely dead.
func TestUnwillingBesideDead(t *testing.T) {
	dead := closed(t)
	first := newFake(t, nil, says(dns.RcodeServerFailure))
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{dead, first.server()})
	w.must(g, "a.example", "SERVFAIL")
	before := g.Status()[0].Queries
	w.must(g, "a.example", "SERVFAIL")
	if n := g.Status()[0].Queries; n != before {
		t.Error("the dead one was asked again")
	}
}

func TestTriesAreBounded(t *testing.T) {
	f, came := silent(t)
	w := start(t, upstream.Config{QueryTimeout: time.Hour})
	got := w.ask(group(w, f), "a.example")
	for range 3 {
		for <-came == "." {
		}
		w.clk.Advance(try)
	}
	if a := <-got; fault.KindOf(a.Err) != fault.Timeout {
		t.Errorf("answer %+v", a)
	}
}

// What is wrong with this machine is not held against the server.
func TestOurOwnFaults(t *testing.T) {
	f := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{SourceAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.77")}})
	for _, transport := range []upstream.Transport{upstream.UDP, upstream.TCP} {
		g := w.Group([]upstream.Server{{Address: f.addr, Transport: transport}})
		if _, err := w.Exchange(context.Background(), g, question(t, "a.example")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", transport, err)
		}
		if st := g.Status()[0]; !st.Healthy || st.Failures != 1 {
			t.Errorf("%s: %+v", transport, st)
		}
	}
}

// A datagram may be lost: the only server there is is asked again.
func TestLostDatagrams(t *testing.T) {
	f, came := silent(t)
	w := start(t, upstream.Config{})
	g := group(w, f)
	got := w.ask(g, "a.example")
	<-came
	w.clk.Advance(try)
	<-came
	f.does((*asked).ok)
	w.clk.Advance(try)
	if a := <-got; a.Err != nil {
		t.Error(a.Err)
	}
	if n := f.count("udp"); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestQueryTimeout(t *testing.T) {
	f, came := silent(t)
	w := start(t, upstream.Config{QueryTimeout: 2 * time.Second})
	g := group(w, f)
	got := w.ask(g, "a.example")
	<-came
	w.clk.Advance(try)
	<-came
	w.clk.Advance(499 * time.Millisecond)
	if len(got) != 0 {
		t.Error("ended early")
	}
	w.clk.Advance(time.Millisecond)
	a := <-got
	if fault.KindOf(a.Err) != fault.Timeout || a.Message != nil || a.Server != nil {
		t.Errorf("answer %+v", a)
	}
	if st := g.Status()[0]; st.Fails != 1 {
		t.Errorf("it is blamed for a try that had not its full time: %+v", st)
	}
}

func TestHealthOutlivesGroups(t *testing.T) {
	second := newFake(t, nil, (*asked).ok)
	dead := closed(t)
	w := start(t, upstream.Config{})
	w.must(w.Group([]upstream.Server{dead, second.server()}), "a.example", good)
	st := w.Group([]upstream.Server{second.server(), dead}).Status()
	if len(st) != 2 || st[1].Fails == 0 || st[0].Queries != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestServersThatCannotBeAsked(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:53")
	for _, c := range []struct {
		server upstream.Server
		ok     bool
		text   string
	}{
		{upstream.Server{Address: at}, true, "udp://192.0.2.1:53"},
		{upstream.Server{Address: at, Transport: upstream.TLS, Name: "dns.example"}, true, "tls://dns.example@192.0.2.1:53"},
		{upstream.Server{Address: at, Transport: upstream.HTTPS}, true, "https://192.0.2.1:53/dns-query"},
		{upstream.Server{Address: at, Transport: upstream.HTTPS, Path: "/q?a=b"}, true, "https://192.0.2.1:53/q?a=b"},
		{upstream.Server{}, false, ""},
		{upstream.Server{Address: netip.MustParseAddrPort("192.0.2.1:0")}, false, ""},
		{upstream.Server{Address: netip.MustParseAddrPort("0.0.0.0:53")}, false, ""},
		{upstream.Server{Address: netip.MustParseAddrPort("[ff02::fb]:53")}, false, ""},
		{upstream.Server{Address: at, Transport: "quic"}, false, ""},
		{upstream.Server{Address: at, Transport: upstream.TLS, Name: "dns.example:853"}, false, ""},
		{upstream.Server{Address: at, Transport: upstream.HTTPS, Path: "//elsewhere.example/"}, false, ""},
		{upstream.Server{Address: at, Transport: upstream.HTTPS, Path: "dns-query"}, false, ""},
	} {
		err := c.server.Validate()
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.server, err)
		}
		if f, ok := errors.AsType[*fault.Error](err); !c.ok && (!ok || f.Kind != fault.Invalid || f.Next == "") {
			t.Errorf("%+v: %v has no kind or advice", c.server, err)
		}
		if c.ok && c.server.String() != c.text {
			t.Errorf("%+v is written %q, want %q", c.server, c.server.String(), c.text)
		}
	}
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{{}, {Address: at}, {Address: at, Transport: upstream.UDP}})
	if st := g.Status(); len(st) != 1 {
		t.Errorf("the group has %+v", st)
	}
}
