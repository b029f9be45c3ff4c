package resolver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

var (
	inside  = netip.MustParseAddrPort("10.7.0.99:5353")
	outside = netip.MustParseAddrPort("203.0.113.9:5353")
)

// local is a resolver that nobody runs: what needs an upstream fails at once.
func local(tb testing.TB, cfg Config) *Resolver {
	tb.Helper()
	r := New(cfg, slog.New(slog.DiscardHandler), clock.NewFake(time.Unix(1800000000, 0)), nil)
	r.Set(View{
		Names: []plan.Name{
			{Name: "contoso.azure-devices.net", TTL: 10, CNAME: "contoso.privatelink.azure-devices.net"},
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: []netip.Addr{netip.MustParseAddr("10.7.0.4")}},
			{Name: "*.plant.example", TTL: 10, TXT: []string{`with "quotes", \ and ` + "\x00\xff"}},
			{Name: "out.plant.example", TTL: 10, CNAME: "www.elsewhere.example"},
		},
		Zones: []string{"plant.example"}, Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
	})
	return r
}

// keep puts an answer of the upstreams into the cache.
func keep(tb testing.TB, r *Resolver, name string, qtype uint16, records ...string) {
	tb.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			tb.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packet, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	var q message.Query
	query, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		tb.Fatal(err)
	}
	if err := q.Parse(query); err != nil {
		tb.Fatal(err)
	}
	st := r.state.Load()
	k := cache.Key{Name: q.Name, Type: qtype, Class: dns.ClassINET, Group: st.order[len(st.order)-1].cache}
	if !r.cache.Put(k, packet, r.clk.Now()) {
		tb.Fatalf("%v is not kept", m)
	}
}

func pack(tb testing.TB, m *dns.Msg) []byte {
	tb.Helper()
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func query(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	return m
}

// at puts one query to a desk. An answer that needs upstreams is nil with more.
func at(tb testing.TB, d *desk, m *dns.Msg, from netip.AddrPort, via transport) (ans *dns.Msg, more bool) {
	tb.Helper()
	d.open()
	defer d.close()
	reply, more := d.answer(nil, pack(tb, m), from, via)
	if reply == nil {
		return nil, more
	}
	ans = new(dns.Msg)
	if err := ans.Unpack(reply); err != nil {
		tb.Fatalf("%x: %v", reply, err)
	}
	return ans, more
}

func TestNothingIsAllocatedForAnswersAtHand(t *testing.T) {
	r := local(t, Config{})
	keep(t, r, "www.elsewhere.example.", dns.TypeA, "www.elsewhere.example. 300 IN A 192.0.2.1")
	d := r.newDesk()
	for name, m := range map[string]*dns.Msg{
		"view":   query("contoso.azure-devices.net.", dns.TypeA),
		"nodata": query("contoso.azure-devices.net.", dns.TypeAAAA),
		"cookie": withCookie(query("contoso.azure-devices.net.", dns.TypeA), "0102030405060708"),
		"cache":  query("WWW.elsewhere.example.", dns.TypeA),
	} {
		packet, room := pack(t, m), make([]byte, 0, 1500)
		d.open()
		if n := testing.AllocsPerRun(100, func() {
			if reply, more := d.answer(room, packet, inside, overUDP); len(reply) < 40 || more {
				t.Fatalf("%s: %d bytes, more %v", name, len(reply), more)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	r := local(t, Config{})
	d := r.newDesk()
	refusals := 0
	for range 100 {
		m := query("contoso.azure-devices.net.", dns.TypeA)
		m.SetEdns0(1232, false)
		ans, _ := at(t, d, m, outside, overUDP)
		if ans == nil {
			continue
		}
		refusals++
		if ede := ans.IsEdns0().Option[0].(*dns.EDNS0_EDE); ans.Rcode != dns.RcodeRefused || ede.InfoCode != dns.ExtendedErrorCodeProhibited || len(ans.Answer) != 0 {
			t.Errorf("%v", ans)
		}
	}
	if refusals != 20 || r.Status().Queries["not-allowed"] != 100 {
		t.Errorf("%d of 100 were refused, the status counts %v", refusals, r.Status().Queries)
	}
	d.open()
	if reply, _ := d.answer(nil, []byte("no query at all, but twelve bytes"), outside, overUDP); reply != nil {
		t.Error("nonsense from outside was answered")
	}
	if ans, _ := at(t, d, query("contoso.azure-devices.net.", dns.TypeA), inside, overUDP); len(ans.Answer) != 2 {
		t.Errorf("%v", ans)
	}
	v := View{Names: []plan.Name{{Name: "a.example", A: []netip.Addr{netip.MustParseAddr("10.7.0.4")}}}, Clients: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	r.Set(v)
	if ans, _ := at(t, d, query("a.example.", dns.TypeA), outside, overTCP); len(ans.Answer) != 1 {
		t.Errorf("a client of the list: %v", ans)
	}
	if ans, _ := at(t, d, query("a.example.", dns.TypeA), inside, overTCP); ans.Rcode != dns.RcodeRefused {
		t.Errorf("a private address that is not in the list: %v", ans)
	}
}

func TestSourcesThatAskTooOften(t *testing.T) {
	var lines atomic.Int64
	r := New(Config{RatePerSource: 10, CookieSecret: bytes.Repeat([]byte("s"), 16)}, slog.New(counter{&lines}), clock.NewFake(time.Unix(1800000000, 0)), nil)
	r.Set(View{Names: []plan.Name{{Name: "a.example", TTL: 10, A: []netip.Addr{netip.MustParseAddr("10.7.0.4")}}}})
	d := r.newDesk()
	flood := func(m *dns.Msg, from netip.AddrPort, via transport) (whole, cut, bad, none int, last *dns.Msg) {
		for range 120 {
			ans, _ := at(t, d, m, from, via)
			switch {
			case ans == nil:
				none++
			case ans.Truncated:
				cut++
			case ans.Rcode == dns.RcodeBadCookie:
				bad, last = bad+1, ans
			case len(ans.Answer) == 1:
				whole, last = whole+1, ans
			default:
				t.Fatalf("%v", ans)
			}
		}
		return whole, cut, bad, none, last
	}
	plain := query("a.example.", dns.TypeA)
	if whole, cut, bad, none, _ := flood(plain, inside, overUDP); whole != 20 || cut != 50 || bad != 0 || none != 50 {
		t.Errorf("over UDP %d whole, %d cut, %d BADCOOKIE, %d unanswered", whole, cut, bad, none)
	}
	if whole, _, _, _, _ := flood(plain, inside, overTCP); whole != 120 {
		t.Errorf("over TCP %d", whole)
	}
	if whole, _, _, _, _ := flood(plain, netip.MustParseAddrPort("10.7.0.98:1"), overUDP); whole != 20 {
		t.Errorf("another source: %d", whole)
	}
	if whole, _, _, _, _ := flood(plain, netip.MustParseAddrPort("127.0.0.1:1"), overUDP); whole != 120 {
		t.Errorf("loopback: %d", whole)
	}
	// A client with half a cookie is given the other half in a short answer, and then is not counted.
	whole, cut, bad, none, last := flood(withCookie(query("a.example.", dns.TypeA), "0102030405060708"), inside, overUDP)
	if whole != 0 || cut != 0 || bad != 60 || none != 60 {
		t.Errorf("with a new cookie: %d whole, %d cut, %d BADCOOKIE, %d unanswered", whole, cut, bad, none)
	}
	cookie := last.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	if !strings.HasPrefix(cookie, "0102030405060708") || len(cookie) != 48 {
		t.Errorf("cookie %q", cookie)
	}
	if whole, _, _, _, last = flood(withCookie(query("a.example.", dns.TypeA), cookie), inside, overUDP); whole != 120 || last.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie != cookie {
		t.Errorf("with its cookie: %d whole, %v", whole, last)
	}
	if whole, _, bad, _, _ := flood(withCookie(query("a.example.", dns.TypeA), cookie), netip.MustParseAddrPort("10.7.0.97:1"), overUDP); whole != 20 || bad != 50 {
		t.Errorf("with another's cookie: %d whole, %d BADCOOKIE", whole, bad)
	}
	r.cfg.LimitLoopback = true
	if whole, _, _, _, _ := flood(plain, netip.MustParseAddrPort("127.0.0.1:1"), overUDP); whole != 20 {
		t.Errorf("loopback, where it is limited: %d", whole)
	}
	if n := r.Status().Queries["limited"]; n == 0 || lines.Load() != 1 {
		t.Errorf("%d limited, %d lines in the log", n, lines.Load())
	}
}

// counter is a log handler that counts lines.
type counter struct{ lines *atomic.Int64 }

func (c counter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (c counter) WithAttrs([]slog.Attr) slog.Handler           { return c }
func (c counter) WithGroup(string) slog.Handler                { return c }
func (c counter) Handle(context.Context, slog.Record) error    { c.lines.Add(1); return nil }

func TestOnlyACookieIsAskedFor(t *testing.T) {
	d := local(t, Config{}).newDesk()
	m := withCookie(&dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}}, "0102030405060708")
	ans, _ := at(t, d, m, inside, overUDP)
	if ans.Rcode != dns.RcodeSuccess || len(ans.Question) != 0 || len(ans.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie) != 48 {
		t.Errorf("%v", ans)
	}
}

func TestQueriesThatGoInACircle(t *testing.T) {
	r := local(t, Config{})
	d := r.newDesk()
	token := r.pool.Token()
	m := query("www.elsewhere.example.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: upstream.LoopOption, Data: append([]byte("another1"), token[:]...)}}
	ans, _ := at(t, d, m, inside, overUDP)
	if ede := ans.IsEdns0().Option[0].(*dns.EDNS0_EDE); ans.Rcode != dns.RcodeRefused || !strings.Contains(ede.ExtraText, "forwarding loop") {
		t.Errorf("%v", ans)
	}
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: upstream.LoopOption, Data: []byte("another1")}}
	if ans, more := at(t, d, m, inside, overUDP); !more {
		t.Errorf("another's token: %v", ans)
	}
	// The upstream, which may ask here, asks what it is asked.
	r.Set(View{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, Clients: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
	name, err := message.AppendName(nil, "www.elsewhere.example")
	if err != nil {
		t.Fatal(err)
	}
	r.asking.add(asked{string(name), dns.TypeA})
	for _, c := range []struct {
		from  string
		qtype uint16
		loop  bool
	}{{"192.0.2.53:1", dns.TypeA, true}, {"192.0.2.53:1", dns.TypeAAAA, false}, {"10.7.0.99:1", dns.TypeA, false}} {
		m := query("www.elsewhere.example.", c.qtype)
		m.SetEdns0(1232, false)
		d.open()
		_, more := d.answer(nil, pack(t, m), netip.MustParseAddrPort(c.from), overUDP)
		if !more {
			t.Fatalf("%v: answered at once", c)
		}
		x, reply := d.exchange()
		if (x == nil) != c.loop {
			t.Fatalf("%v: exchange %v", c, x)
		}
		if x != nil {
			x.end()
			continue
		}
		ans := new(dns.Msg)
		if err := ans.Unpack(reply); err != nil || ans.Rcode != dns.RcodeServerFailure || !strings.Contains(ans.IsEdns0().String(), "forwarding loop") {
			t.Errorf("%v, %v", ans, err)
		}
	}
	r.asking.remove(asked{string(name), dns.TypeA})
	if r.asking.has(asked{string(name), dns.TypeA}) || len(r.asking.counts) != 0 {
		t.Error("a question that has ended is still there")
	}
}

func TestPadding(t *testing.T) {
	d := local(t, Config{}).newDesk()
	for _, via := range []transport{overUDP, overTCP, overTLS, overHTTPS} {
		m := query("contoso.azure-devices.net.", dns.TypeA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 9)}}
		d.open()
		reply, _ := d.answer(nil, pack(t, m), inside, via)
		if padded := len(reply)%paddingBlock == 0; padded != (via >= overTLS) {
			t.Errorf("%v: %d bytes", via, len(reply))
		}
	}
}

// One source gets three quarters of the room for forwards, the others what is left; the log says once that there was none.
func TestOneSourceDoesNotTakeAllForwards(t *testing.T) {
	var lines atomic.Int64
	r := New(Config{MaxForwards: 8}, slog.New(counter{&lines}), clock.NewFake(time.Unix(1800000000, 0)), nil)
	r.Set(View{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}})
	d := r.newDesk()
	var held []*exchange
	take := func(from string) (got int) {
		for i := range 10 {
			d.open()
			if _, more := d.answer(nil, pack(t, query(fmt.Sprintf("n%d.elsewhere.example.", i), dns.TypeA)), netip.MustParseAddrPort(from), overUDP); !more {
				t.Fatal("answered at once")
			}
			if x, _ := d.exchange(); x != nil {
				held = append(held, x)
				got++
			}
		}
		return got
	}
	if one, two, three := take("10.7.0.1:1"), take("10.7.0.2:1"), take("10.7.0.3:1"); one != 6 || two != 2 || three != 0 {
		t.Errorf("one source got %d places, the next %d, and the next %d", one, two, three)
	}
	for _, x := range held {
		x.end()
	}
	held = nil
	if again := take("10.7.0.3:1"); again != 6 || lines.Load() != 1 {
		t.Errorf("afterwards another got %d; %d lines in the log", again, lines.Load())
	}
}

// A flood of new names takes what room there is for forwards; names of the network and what is kept are answered all the same.
func TestBusy(t *testing.T) {
	r := local(t, Config{MaxForwards: 2})
	keep(t, r, "kept.elsewhere.example.", dns.TypeA, "kept.elsewhere.example. 300 IN A 192.0.2.1")
	d := r.newDesk()
	var held []*exchange
	for i := range 10 {
		d.open()
		if _, more := d.answer(nil, pack(t, query(fmt.Sprintf("n%d.elsewhere.example.", i), dns.TypeA)), inside, overUDP); !more {
			t.Fatal("answered at once")
		}
		x, reply := d.exchange()
		if (x != nil) != (i < 2) || x == nil && reply[3]&0xf != dns.RcodeServerFailure {
			t.Fatalf("%d: exchange %v, reply %x", i, x, reply)
		}
		if x != nil {
			held = append(held, x)
		}
	}
	for _, name := range []string{"contoso.azure-devices.net.", "kept.elsewhere.example."} {
		if ans, _ := at(t, d, query(name, dns.TypeA), inside, overUDP); len(ans.Answer) == 0 {
			t.Errorf("%v", ans)
		}
	}
	for _, x := range held {
		x.end()
	}
	if n := r.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// Whatever comes, nothing panics, no response is answered, and a reply can be read by others and repeats the question.
func FuzzAnswer(f *testing.F) {
	r := local(f, Config{RatePerSource: -1})
	keep(f, r, "www.elsewhere.example.", dns.TypeA, "www.elsewhere.example. 300 IN CNAME cdn.elsewhere.example.", "cdn.elsewhere.example. 300 IN A 192.0.2.1")
	keep(f, r, "back.elsewhere.example.", dns.TypeA, "back.elsewhere.example. 300 IN CNAME contoso.azure-devices.net.", "contoso.azure-devices.net. 300 IN A 192.0.2.1")
	for i, m := range []*dns.Msg{
		query("contoso.azure-devices.net.", dns.TypeA), query("X.Plant.Example.", dns.TypeTXT), query("a.b.", dns.TypeANY).SetEdns0(4096, true),
		query("Out.Plant.Example.", dns.TypeA), query("back.elsewhere.example.", dns.TypeA), withCookie(query("www.elsewhere.example.", dns.TypeA), "0102030405060708"),
		new(dns.Msg).SetNotify("plant.example."), new(dns.Msg).SetAxfr("plant.example."), {},
	} {
		f.Add(pack(f, m), byte(i))
	}
	why := query("out.plant.example.", dns.TypeA)
	why.SetEdns0(1232, true)
	why.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: WhyOption}}
	f.Add(pack(f, why), byte(1))
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}, byte(0))
	d := r.newDesk()
	f.Fuzz(func(t *testing.T, packet []byte, via byte) {
		over := transport(via % 4)
		room := make([]byte, 0, 1500)
		d.open()
		reply, more := d.answer(room, packet, inside, over)
		if more {
			var x *exchange
			if x, reply = d.exchange(); x != nil {
				got := make(chan []byte, 1)
				x.to = func(b []byte) { got <- bytes.Clone(b) }
				x.start()
				reply = <-got
			}
		}
		d.close()
		check(t, packet, reply, over)
	})
}

func check(t *testing.T, packet, reply []byte, via transport) {
	t.Helper()
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		if reply != nil {
			t.Fatalf("answered %x with %x", packet, reply)
		}
		return
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil || !m.Response || m.Id != binary.BigEndian.Uint16(packet) {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	var q message.Query
	if q.Parse(packet) == nil {
		if len(m.Question) != 1 || !bytes.Equal(reply[12:q.End], packet[12:q.End]) {
			t.Fatalf("the question %q came back as %v", q.Spelled, m.Question)
		}
		if (m.IsEdns0() != nil) != q.EDNS {
			t.Fatalf("OPT asked %v: %v", q.EDNS, &m)
		}
		limit := maxMessage
		if via == overUDP {
			if limit = 512; q.EDNS {
				limit = min(max(int(q.UDPSize), 512), udpSize)
			}
		}
		if len(reply) > limit {
			t.Fatalf("%d bytes of %d", len(reply), limit)
		}
	}
}

func BenchmarkDesk(b *testing.B) {
	r := local(b, Config{})
	keep(b, r, "www.elsewhere.example.", dns.TypeA, "www.elsewhere.example. 300 IN A 192.0.2.1")
	for name, m := range map[string]*dns.Msg{
		"view":   query("contoso.azure-devices.net.", dns.TypeA),
		"cookie": withCookie(query("contoso.azure-devices.net.", dns.TypeA), "0102030405060708"),
		"slow":   query("x.plant.example.", dns.TypeTXT),
		"cache":  query("www.elsewhere.example.", dns.TypeA),
	} {
		b.Run(name, func(b *testing.B) {
			d, packet, room := r.newDesk(), pack(b, m), make([]byte, 0, 1500)
			d.open()
			b.ReportAllocs()
			for b.Loop() {
				d.answer(room, packet, netip.MustParseAddrPort("127.0.0.1:53"), overUDP)
			}
		})
	}
}

// Whatever an upstream says, the client gets a message that can be walked through, with its own question.
func FuzzArrived(f *testing.F) {
	r := local(f, Config{RatePerSource: -1})
	for _, records := range [][]string{
		{"www.elsewhere.example. 300 IN A 192.0.2.1"}, {"www.elsewhere.example. 300 IN CNAME contoso.azure-devices.net."}, {"www.elsewhere.example. 300 IN MX 1 a.b."}, {},
	} {
		m := query("www.elsewhere.example.", dns.TypeA)
		m.Response, m.Compress = true, true
		m.SetEdns0(1232, true)
		for _, s := range records {
			rr, err := dns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		f.Add(pack(f, m)[message.HeaderSize+23+4:], uint8(len(records)), uint8(0), uint8(1), false)
	}
	f.Fuzz(func(t *testing.T, records []byte, answers, authorities, additionals uint8, ours bool) {
		name := "www.elsewhere.example."
		if ours { // a CNAME of the view leads to it
			name = "out.plant.example."
		}
		d := r.newDesk()
		d.open()
		packet := pack(t, query(name, dns.TypeA).SetEdns0(1232, true))
		r.cache.Purge()
		if _, more := d.answer(nil, packet, inside, overTCP); !more {
			t.Fatal("answered at once")
		}
		x, _ := d.exchange()
		x.route, x.name = x.st.routes[x.v.Forward], append(x.name[:0], x.v.Name...)
		got := make(chan []byte, 2)
		x.to = func(b []byte) { got <- bytes.Clone(b) }
		msg := make([]byte, message.HeaderSize)
		message.PutHeader(msg, 0, message.QR|message.RA, 1, uint16(answers), uint16(authorities), uint16(additionals))
		msg = append(append(append(msg, x.v.Name...), 0, 1, 0, 1), records...)
		x.arrived(upstream.Answer{Message: msg, Server: &upstream.Server{}})
		reply := <-got
		rd, ok := message.Read(reply)
		for ok {
			rec, more := rd.Next()
			if !more {
				break
			}
			if _, ok = message.AppendRecord(nil, reply, rec); !ok {
				t.Fatalf("a record of %x cannot be read", reply)
			}
		}
		var q message.Query
		if err := q.Parse(packet); err != nil || !ok || rd.Bad() || rd.Offset() != len(reply) || !bytes.Equal(reply[12:q.End], packet[12:q.End]) {
			t.Fatalf("the reply %x", reply)
		}
	})
}
