package resolver_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
)

// server is a small upstream on loopback, UDP and TCP.
type server struct {
	addr netip.AddrPort
	seen atomic.Int64
}

func upstream(t testing.TB, handle func(w dns.ResponseWriter, q *dns.Msg)) *server {
	t.Helper()
	s := &server{}
	var pc net.PacketConn
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	for range 20 { // the port TCP was given may be taken for UDP
		if err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", ln.Addr().String()); err == nil {
			break
		}
		_ = ln.Close()
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if pc == nil {
		t.Fatal("no port is free for both")
	}
	s.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.seen.Add(1)
		handle(w, q)
	})
	for _, d := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: ln, Handler: h}} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		done := make(chan struct{})
		go func() { defer close(done); _ = d.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = d.Shutdown(); <-done })
	}
	return s
}

func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	out, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// internet answers as the public DNS would, as far as the tests look at it.
func internet(t testing.TB) func(w dns.ResponseWriter, q *dns.Msg) {
	zone := map[string][]string{
		"www.elsewhere.example. A":               {"www.elsewhere.example. 300 IN CNAME cdn.elsewhere.example.", "cdn.elsewhere.example. 300 IN A 192.0.2.1"},
		"other.privatelink.azure-devices.net. A": {"other.privatelink.azure-devices.net. 60 IN A 192.0.2.7"},
	}
	for i := range 100 {
		zone["big.elsewhere.example. A"] = append(zone["big.elsewhere.example. A"], fmt.Sprintf("big.elsewhere.example. 60 IN A 192.0.2.%d", i))
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable, m.Compress = true, true
		for _, s := range zone[strings.ToLower(q.Question[0].Name)+" "+dns.TypeToString[q.Question[0].Qtype]] {
			m.Answer = append(m.Answer, rr(t, s))
		}
		if m.Answer == nil {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{rr(t, "example. 900 IN SOA ns.example. root.example. 1 2 3 4 900")}
		}
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(1232, opt.Do())
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(1232)
		}
		_ = w.WriteMsg(m)
	}
}

func forwarding(ups ...*server) resolver.View {
	v := plant()
	for _, u := range ups {
		v.Upstreams = append(v.Upstreams, u.addr)
	}
	return v
}

func TestForwarding(t *testing.T) {
	up := upstream(t, internet(t))
	r := start(t, resolver.Config{}, forwarding(up))
	for _, c := range []struct {
		name, qtype, rcode, answer, authority string
		asks                                  int64
	}{
		{
			"WWW.elsewhere.example", "A", "NOERROR",
			"www.elsewhere.example. CNAME cdn.elsewhere.example., cdn.elsewhere.example. A 192.0.2.1", "", 1,
		},
		{"missing.elsewhere.example", "A", "NXDOMAIN", "", "example. SOA 900", 1},
		// The trap: the zone is not linked, so what is not ours goes to the public DNS.
		{"other.privatelink.azure-devices.net", "A", "NOERROR", "other.privatelink.azure-devices.net. A 192.0.2.7", "", 1},
		// A linked zone is the whole truth.
		{"other.privatelink.blob.core.windows.net", "A", "NXDOMAIN", "", "privatelink.blob.core.windows.net. SOA 10", 0},
		{"db.plant.example", "A", "NOERROR", "db.plant.example. A 10.7.0.9, db.plant.example. A 10.7.0.10", "", 0},
		{ // a private CNAME that leads out is followed
			"Out.plant.example", "A", "NOERROR",
			"Out.plant.example. CNAME www.elsewhere.example., www.elsewhere.example. CNAME cdn.elsewhere.example., cdn.elsewhere.example. A 192.0.2.1", "", 0, // by what is kept of the first
		},
	} {
		before := up.seen.Load()
		ans := ask(t, "udp", r, question(c.name, c.qtype))
		rcode, answer, authority := dns.RcodeToString[ans.Rcode], short(ans.Answer), short(ans.Ns)
		if rcode != c.rcode || answer != c.answer || authority != c.authority {
			t.Errorf("%s %s\n got %s | %s | %s\nwant %s | %s | %s", c.name, c.qtype, rcode, answer, authority, c.rcode, c.answer, c.authority)
		}
		if got := up.seen.Load() - before; got != c.asks || !ans.RecursionAvailable {
			t.Errorf("%s: %d queries to the upstream, want %d; ra %v", c.name, got, c.asks, ans.RecursionAvailable)
		}
	}
	norec := question("www.elsewhere.example", "A")
	norec.RecursionDesired = false
	if ans := ask(t, "udp", r, norec); ans.Rcode != dns.RcodeRefused {
		t.Errorf("without recursion desired: %v", ans)
	}
}

func TestACutAnswerIsFetchedOverTCP(t *testing.T) {
	up := upstream(t, internet(t))
	r := start(t, resolver.Config{}, forwarding(up))
	if ans := ask(t, "tcp", r, question("big.elsewhere.example", "A")); len(ans.Answer) != 100 || ans.Truncated {
		t.Errorf("over TCP: %d records, truncated %v", len(ans.Answer), ans.Truncated)
	}
	if ans := ask(t, "udp", r, question("big.elsewhere.example", "A")); len(ans.Answer) == 100 || !ans.Truncated {
		t.Errorf("over UDP: %d records, truncated %v", len(ans.Answer), ans.Truncated)
	}
	if got := up.seen.Load(); got != 2 {
		t.Errorf("%d queries to the upstream, want one over UDP and one over TCP", got)
	}
}

func TestDeadUpstreamsAreSkipped(t *testing.T) {
	answer := internet(t)
	first := upstream(t, func(dns.ResponseWriter, *dns.Msg) {})
	second := upstream(t, answer)
	r := start(t, resolver.Config{UpstreamTimeout: time.Second, DeadFor: time.Hour}, forwarding(first, second))
	for i := range 5 {
		if ans := ask(t, "udp", r, question(fmt.Sprintf("n%d.elsewhere.example", i), "A")); ans.Rcode != dns.RcodeNameError {
			t.Fatalf("answer %v", ans)
		}
	}
	if a, b := first.seen.Load(), second.seen.Load(); a != 1 || b != 5 {
		t.Errorf("the dead one was asked %d times, the other %d", a, b)
	}
	if up := r.Status().Upstreams; !up[0].Dead || up[1].Dead || up[1].Queries != 5 {
		t.Errorf("status %+v", up)
	}
}

func TestAnUpstreamThatFailsIsNoAnswerWhileThereIsAnother(t *testing.T) {
	rcode := func(rc int) func(w dns.ResponseWriter, q *dns.Msg) {
		return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, rc)) }
	}
	bad, good := upstream(t, rcode(dns.RcodeServerFailure)), upstream(t, internet(t))
	r := start(t, resolver.Config{}, forwarding(bad, good))
	if ans := ask(t, "udp", r, question("www.elsewhere.example", "A")); len(ans.Answer) != 2 {
		t.Errorf("%v", ans)
	}
	r.Set(forwarding(bad, upstream(t, rcode(dns.RcodeRefused))))
	if ans := ask(t, "udp", r, question("www.elsewhere.example", "A")); ans.Rcode != dns.RcodeServerFailure && ans.Rcode != dns.RcodeRefused {
		t.Errorf("only unwilling ones: %v", ans)
	}
}

func TestForgedAnswersAreNotTaken(t *testing.T) {
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		forge := func(change func(m *dns.Msg)) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{rr(t, q.Question[0].Name+" 60 IN A 6.6.6.6")}
			change(m)
			_ = w.WriteMsg(m)
		}
		forge(func(m *dns.Msg) { m.Id++ })
		forge(func(m *dns.Msg) { m.Response = false })
		forge(func(m *dns.Msg) { m.Question[0].Name = "other.example." })
		forge(func(m *dns.Msg) {
			m.Question = []dns.Question{{Name: q.Question[0].Name, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}}
		})
		forge(func(m *dns.Msg) { m.Question = nil })
		_, _ = w.Write([]byte("nonsense"))
		elsewhere, err := net.Dial("udp", w.RemoteAddr().String()) // the right words from a wrong port
		if err != nil {
			t.Error(err)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, q.Question[0].Name+" 60 IN A 6.6.6.6")}
		packet, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		_, _ = elsewhere.Write(packet)
		_ = elsewhere.Close()
		forge(func(m *dns.Msg) { m.Answer = []dns.RR{rr(t, q.Question[0].Name+" 60 IN A 192.0.2.1")} })
	})
	r := start(t, resolver.Config{}, forwarding(up))
	if ans := ask(t, "udp", r, question("www.elsewhere.example", "A")); !strings.EqualFold(short(ans.Answer), "www.elsewhere.example. A 192.0.2.1") {
		t.Errorf("%v", ans)
	}
}

func TestOldUpstreamsWithoutEDNS(t *testing.T) {
	answer := internet(t)
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			_ = w.WriteMsg(new(dns.Msg).SetRcodeFormatError(q))
			return
		}
		answer(w, q)
	})
	r := start(t, resolver.Config{}, forwarding(up))
	if ans := ask(t, "udp", r, question("www.elsewhere.example", "A")); len(ans.Answer) != 2 {
		t.Errorf("%v", ans)
	}
}

func TestTheResolverDoesNotAskItself(t *testing.T) {
	r := start(t, resolver.Config{}, plant())
	v := plant()
	v.Upstreams = []netip.AddrPort{r.Addr()}
	r.Set(v)
	if ans := ask(t, "udp", r, question("example.com", "A")); ans.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", ans)
	}
	if got := r.Problems(); len(got) != 1 || !strings.Contains(got[0], "is this resolver itself") {
		t.Errorf("problems %q", got)
	}
	if n := r.Status().Queries["failed"]; n != 1 {
		t.Errorf("%d queries failed: the question went round", n)
	}
}

func TestForwardsAreBounded(t *testing.T) {
	held, free := make(chan struct{}, 10), make(chan struct{})
	answer := internet(t)
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		held <- struct{}{}
		<-free
		answer(w, q)
	})
	r := start(t, resolver.Config{MaxForwards: 2, UpstreamTimeout: 5 * time.Second}, forwarding(up))
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() {
			if ans := ask(t, "udp", r, question(fmt.Sprintf("n%d.elsewhere.example", i), "A")); ans.Rcode != dns.RcodeNameError {
				t.Errorf("%v", ans)
			}
		})
	}
	<-held
	<-held
	for _, network := range []string{"udp", "tcp"} {
		if ans := ask(t, network, r, question("www.elsewhere.example", "A")); ans.Rcode != dns.RcodeServerFailure {
			t.Errorf("the third: %v", ans)
		}
		if ans := ask(t, network, r, question("db.plant.example", "A")); len(ans.Answer) != 2 {
			t.Errorf("names of the network must not wait: %v", ans)
		}
	}
	close(free)
	waiting.Wait()
}

func TestTCPAnswersOvertakeAndConnectionsAreBounded(t *testing.T) {
	free := make(chan struct{})
	answer := internet(t)
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) { <-free; answer(w, q) })
	r := start(t, resolver.Config{MaxTCP: 1, UpstreamTimeout: 5 * time.Second}, forwarding(up))
	conn, err := dns.DialTimeout("tcp", r.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	slow, quick := question("www.elsewhere.example", "A"), question("db.plant.example", "A")
	for _, q := range []*dns.Msg{slow, quick} {
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	first, err := conn.ReadMsg()
	if err != nil || first.Id != quick.Id {
		t.Errorf("the quick answer did not come first: %v, %v", first, err)
	}
	second, err := dns.DialTimeout("tcp", r.Addr().String(), 5*time.Second)
	if err == nil {
		if _, err = second.ReadMsg(); err == nil {
			t.Error("a second connection was served")
		}
		_ = second.Close()
	}
	close(free)
	if last, err := conn.ReadMsg(); err != nil || last.Id != slow.Id {
		t.Errorf("the slow answer: %v, %v", last, err)
	}
	_ = conn.Close()
}

func TestIdleTCPIsClosed(t *testing.T) {
	r := start(t, resolver.Config{TCPIdle: 30 * time.Millisecond}, plant())
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte{0, 40, 1}); err != nil { // the start of a query that never ends
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is still open: %v", err)
	}
}

// Each view has the name and its address under one number: an answer that mixes two views shows itself.
func TestViewsSwapUnderLoad(t *testing.T) {
	up := upstream(t, internet(t))
	view := func(n int) resolver.View {
		return resolver.View{
			Names: []plan.Name{
				{Name: "hub.example", TTL: 10, CNAME: fmt.Sprintf("v%d.example", n)},
				{Name: fmt.Sprintf("v%d.example", n), TTL: 10, A: []netip.Addr{netip.AddrFrom4([4]byte{10, 7, 0, byte(n)})}},
			},
			Zones: []string{"example"}, Upstreams: []netip.AddrPort{up.addr},
		}
	}
	r := start(t, resolver.Config{}, view(0))
	done := make(chan struct{})
	var swaps atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				r.Set(view(n % 200))
				swaps.Add(1)
			}
		}
	})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 300 {
				ans := ask(t, "udp", r, question("hub.example", "A"))
				var n int
				if ans.Rcode != dns.RcodeSuccess || len(ans.Answer) != 2 {
					t.Errorf("answer %v", ans)
					return
				}
				if _, err := fmt.Sscanf(ans.Answer[0].(*dns.CNAME).Target, "v%d.example.", &n); err != nil || ans.Answer[1].(*dns.A).A.String() != fmt.Sprintf("10.7.0.%d", n) {
					t.Errorf("answer of two views: %v", ans.Answer)
					return
				}
			}
		})
	}
	asking.Wait()
	close(done)
	all.Wait()
	if swaps.Load() < 10 {
		t.Errorf("only %d swaps", swaps.Load())
	}
}
