package cache_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/message"
)

var began = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func key(t testing.TB, name, qtype string) cache.Key {
	t.Helper()
	wire, err := message.AppendName(nil, dns.Fqdn(name))
	if err != nil {
		t.Fatal(err)
	}
	return cache.Key{Name: wire, Type: dns.StringToType[qtype], Class: dns.ClassINET}
}

// says is an answer with records as in zone files: those behind "; authority" and "; additional" go there.
func says(t testing.TB, name, qtype string, rcode int, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
	m.Response, m.Compress, m.Rcode = true, true, rcode
	section := &m.Answer
	for _, s := range records {
		switch s {
		case "; authority":
			section = &m.Ns
			continue
		case "; additional":
			section = &m.Extra
			continue
		}
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		*section = append(*section, rr)
	}
	return m
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// whole puts a hit behind its question and reads it.
func whole(t testing.TB, k cache.Key, hit cache.Hit, head int) *dns.Msg {
	t.Helper()
	message.PutHeader(hit.Body, 0, message.QR|uint16(hit.Rcode), 1, hit.Answers, hit.Authorities, hit.Additionals)
	out := new(dns.Msg)
	if err := out.Unpack(hit.Body); err != nil {
		t.Fatalf("%s: the hit cannot be read: %v\n%x", message.Text(k.Name), err, hit.Body)
	}
	if len(out.Answer) != int(hit.Answers) || len(out.Ns) != int(hit.Authorities) || len(out.Extra) != int(hit.Additionals) || len(hit.Body) < head {
		t.Fatalf("%s: %v", message.Text(k.Name), out)
	}
	return out
}

// begin is a header and the key's question.
func begin(k cache.Key) []byte {
	out := append(make([]byte, message.HeaderSize), k.Name...)
	return append(out, byte(k.Type>>8), byte(k.Type), byte(k.Class>>8), byte(k.Class))
}

func get(t testing.TB, c *cache.Cache, k cache.Key, now time.Time) (*dns.Msg, cache.Hit, bool) {
	t.Helper()
	head := begin(k)
	hit, ok := c.Get(head, k, now)
	if !ok {
		return nil, hit, false
	}
	return whole(t, k, hit, len(head)), hit, true
}

// short writes records with their TTLs.
func short(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		out = append(out, fmt.Sprintf("%s %d %s %s", rr.Header().Name, rr.Header().Ttl, dns.TypeToString[rr.Header().Rrtype], strings.TrimPrefix(rr.String(), rr.Header().String())))
	}
	return strings.Join(out, ", ")
}

// cnames is an address behind a number of CNAMEs.
func cnames(n int) (out []string) {
	name := "www.example."
	for i := range n {
		next := fmt.Sprintf("n%d.example.", i)
		out = append(out, name+" 300 IN CNAME "+next)
		name = next
	}
	return append(out, name+" 300 IN A 192.0.2.1")
}

const soa = "example. 900 IN SOA ns.example. root.example. 1 2 3 4 60"

func TestWhatIsKept(t *testing.T) {
	cname := "www.example. 300 IN CNAME cdn.example."
	for _, c := range []struct {
		what, qtype string
		msg         func(m *dns.Msg)
		records     []string
		rcode       int
		life        time.Duration // 0: refused
	}{
		{what: "an address", qtype: "A", records: []string{"www.example. 300 IN A 192.0.2.1"}, life: 5 * time.Minute},
		{what: "the lowest TTL counts", qtype: "A", records: []string{cname, "cdn.example. 60 IN A 192.0.2.1"}, life: time.Minute},
		{what: "at most a day", qtype: "A", records: []string{"www.example. 604800 IN A 192.0.2.1"}, life: 24 * time.Hour},
		{what: "TTL 0", qtype: "A", records: []string{"www.example. 0 IN A 192.0.2.1"}},
		{what: "one of two with TTL 0", qtype: "A", records: []string{"www.example. 9 IN A 192.0.2.1", "www.example. 0 IN A 192.0.2.2"}},
		{what: "a TTL with its highest bit set", qtype: "A", records: []string{"www.example. 2147483648 IN A 192.0.2.1"}},
		{what: "another case", qtype: "A", records: []string{"wWw.eXample. 300 IN A 192.0.2.1"}, life: 5 * time.Minute},
		{what: "no data", qtype: "A", records: []string{"; authority", soa}, life: time.Minute},
		{what: "no data behind a CNAME", qtype: "A", records: []string{cname, "; authority", soa}, life: time.Minute},
		{what: "no data, long", qtype: "A", records: []string{"; authority", "example. 9000 IN SOA ns.example. root.example. 1 2 3 4 9000"}, life: 5 * time.Minute},
		{what: "no data, the SOA's own TTL", qtype: "A", records: []string{"; authority", "example. 20 IN SOA ns.example. root.example. 1 2 3 4 9000"}, life: 20 * time.Second},
		{what: "no data for no time", qtype: "A", records: []string{"; authority", "example. 20 IN SOA ns.example. root.example. 1 2 3 4 0"}},
		{what: "no data without SOA", qtype: "A"},
		{what: "a CNAME that leads to nothing", qtype: "A", records: []string{cname}},
		{what: "the CNAME itself", qtype: "CNAME", records: []string{cname}, life: 5 * time.Minute},
		{what: "a referral", qtype: "A", records: []string{"; authority", "example. 300 IN NS ns.example."}},
		{what: "NXDOMAIN", qtype: "A", rcode: dns.RcodeNameError, records: []string{"; authority", soa}, life: time.Minute},
		{what: "NXDOMAIN without SOA", qtype: "A", rcode: dns.RcodeNameError},
		{what: "the SOA of another zone", qtype: "A", rcode: dns.RcodeNameError, records: []string{"; authority", "other. 900 IN SOA ns.example. root.example. 1 2 3 4 60"}},
		{what: "the SOA of a name below", qtype: "A", rcode: dns.RcodeNameError, records: []string{"; authority", "a.www.example. 900 IN SOA ns.example. root.example. 1 2 3 4 60"}},
		{what: "SERVFAIL", qtype: "A", rcode: dns.RcodeServerFailure, life: 5 * time.Second},
		{what: "REFUSED", qtype: "A", rcode: dns.RcodeRefused},
		{what: "an extended rcode", qtype: "A", records: []string{"www.example. 300 IN A 192.0.2.1"}, msg: func(m *dns.Msg) { m.SetEdns0(1232, true); m.Rcode = dns.RcodeBadVers }},
		{what: "two OPT records", qtype: "A", records: []string{"www.example. 300 IN A 192.0.2.1"}, msg: func(m *dns.Msg) { m.SetEdns0(1232, true); m.SetEdns0(1232, true) }},
		{what: "sixteen CNAMEs", qtype: "A", records: cnames(16), life: 5 * time.Minute},
		{what: "seventeen CNAMEs", qtype: "A", records: cnames(17)},
		{what: "somebody else's address", qtype: "A", records: []string{"www.example. 300 IN A 192.0.2.1", "bank.example. 300 IN A 192.0.2.6"}},
		{what: "a second CNAME", qtype: "A", records: []string{cname, "www.example. 300 IN CNAME other.example.", "cdn.example. 60 IN A 192.0.2.1"}},
		{what: "a chain that comes back", qtype: "A", records: []string{cname, "cdn.example. 60 IN CNAME www.example.", "www.example. 60 IN CNAME x.example.", "x.example. 60 IN A 192.0.2.1"}},
		{what: "a DNAME", qtype: "A", records: []string{"example. 300 IN DNAME example.net.", "www.example. 300 IN CNAME www.example.net.", "www.example.net. 300 IN A 192.0.2.1"}, life: 5 * time.Minute},
		{what: "cut", qtype: "A", msg: func(m *dns.Msg) { m.Truncated = true }, records: []string{"www.example. 300 IN A 192.0.2.1"}},
		{what: "a query", qtype: "A", msg: func(m *dns.Msg) { m.Response = false }, records: []string{"www.example. 300 IN A 192.0.2.1"}},
		{what: "a notification", qtype: "A", msg: func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, records: []string{"www.example. 300 IN A 192.0.2.1"}},
		{what: "another name", qtype: "A", msg: func(m *dns.Msg) { m.Question[0].Name = "ww2.example." }, records: []string{"www.example. 300 IN A 192.0.2.1"}},
		{what: "another type", qtype: "A", msg: func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, records: []string{"www.example. 300 IN A 192.0.2.1"}},
		{what: "another class", qtype: "A", records: []string{"www.example. 300 CH A 192.0.2.1"}},
		{what: "an address of 3 bytes", qtype: "A", msg: func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: "www.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, Rdata: "010203"}}
		}},
		{what: "a CNAME to itself", qtype: "A", records: []string{"www.example. 300 IN CNAME www.example.", "www.example. 60 IN A 192.0.2.1"}},
		{
			what: "a signed answer with glue", qtype: "A", life: time.Minute,
			msg: func(m *dns.Msg) { m.AuthenticatedData = true; m.SetEdns0(1232, true) },
			records: []string{
				"www.example. 300 IN A 192.0.2.1", "www.example. 300 IN RRSIG A 8 2 300 20301122030000 20261122030000 1 example. AAAA",
				"; authority", "example. 60 IN NS ns.example.", "; additional", "ns.example. 60 IN A 192.0.2.9",
			},
		},
		{what: "a type nobody knows", qtype: "TYPE65280", records: []string{`www.example. 300 IN TYPE65280 \# 3 010203`}, life: 5 * time.Minute},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := says(t, "www.example", "A", c.rcode, c.records...)
			if m.Question[0].Qtype = dns.StringToType[c.qtype]; m.Question[0].Qtype == 0 {
				m.Question[0].Qtype = 65280
			}
			k := key(t, "www.example", "A")
			k.Type = m.Question[0].Qtype
			if c.msg != nil {
				c.msg(m)
			}
			store := cache.New(cache.Config{}, clock.NewFake(began))
			if kept := store.Put(k, pack(t, m), began); kept != (c.life > 0) {
				t.Fatalf("kept: %v", kept)
			}
			if c.life == 0 {
				if _, _, ok := get(t, store, k, began); ok {
					t.Fatal("it was kept all the same")
				}
				return
			}
			got, hit, ok := get(t, store, k, began)
			if !ok {
				t.Fatal("it is not there")
			}
			if m.IsEdns0() != nil {
				m.Extra = m.Extra[:len(m.Extra)-1]
			}
			if c.life == 24*time.Hour || c.rcode == dns.RcodeNameError || len(m.Answer) == 0 || strings.HasPrefix(c.what, "no data") {
				for _, rr := range append(got.Answer, got.Ns...) {
					if ttl := time.Duration(rr.Header().Ttl) * time.Second; ttl > c.life {
						t.Errorf("%v has a longer TTL than the entry, %v", rr, c.life)
					}
				}
			} else if short(got.Answer) != short(m.Answer) && c.what != "another case" || short(got.Ns) != short(m.Ns) || short(got.Extra) != short(m.Extra) {
				t.Errorf("got\n%v\nwant\n%v", got, m)
			}
			if got.Rcode != c.rcode || hit.AD != m.AuthenticatedData || hit.State != cache.Fresh {
				t.Errorf("%+v", hit)
			}
			if _, _, ok := get(t, store, k, began.Add(c.life-time.Millisecond)); !ok {
				t.Error("it is gone too early")
			}
			if _, _, ok := get(t, store, k, began.Add(c.life)); ok {
				t.Error("it lives too long")
			}
		})
	}
}

func TestTTLsCountDown(t *testing.T) {
	c := cache.New(cache.Config{}, clock.NewFake(began))
	k := key(t, "www.example", "A")
	c.Put(k, pack(t, says(t, "www.example", "A", 0, "www.example. 300 IN CNAME cdn.example.", "cdn.example. 60 IN A 192.0.2.1", "; authority", "example. 900 IN NS ns.example.")), began)
	got, hit, _ := get(t, c, k, began.Add(42500*time.Millisecond))
	if want := "www.example. 258 CNAME cdn.example., cdn.example. 18 A 192.0.2.1"; short(got.Answer) != want || short(got.Ns) != "example. 858 NS ns.example." || !hit.CNAME {
		t.Errorf("%s | %s, want %s", short(got.Answer), short(got.Ns), want)
	}
	if hit.Age != 42500*time.Millisecond {
		t.Errorf("age %v", hit.Age)
	}
	// A clock that was set back says nothing about age.
	if _, _, ok := get(t, c, k, began.Add(-time.Second)); ok {
		t.Error("an entry from the future was given")
	}
}

func TestMinTTL(t *testing.T) {
	c := cache.New(cache.Config{MinTTL: 30 * time.Second}, clock.NewFake(began))
	k := key(t, "www.example", "A")
	c.Put(k, pack(t, says(t, "www.example", "A", 0, "www.example. 1 IN A 192.0.2.1")), began)
	if got, _, ok := get(t, c, k, began.Add(29*time.Second)); !ok || got.Answer[0].Header().Ttl != 1 {
		t.Errorf("%v", got)
	}
}

// What no codec would write.
func TestBytesThatDoNotBelongThere(t *testing.T) {
	k := key(t, "www.example", "A")
	address := pack(t, says(t, "www.example", "A", 0, "www.example. 300 IN A 192.0.2.1"))
	nothing := pack(t, says(t, "www.example", "A", 0, "; authority", soa))
	longSOA := append(bytes.Clone(nothing), 0, 0, 0, 9)
	rd, _ := message.Read(nothing)
	rec, _ := rd.Next()
	longSOA[rec.Data-1] += 4
	for what, c := range map[string]struct {
		msg  []byte
		kept bool
	}{
		"an address": {address, true}, "bytes behind the last record": {append(bytes.Clone(address), 0), false},
		"no data": {nothing, true}, "a SOA with bytes behind its numbers": {longSOA, false},
	} {
		if kept := cache.New(cache.Config{}, clock.NewFake(began)).Put(k, c.msg, began); kept != c.kept {
			t.Errorf("%s: kept %v", what, kept)
		}
	}
}

func TestKeysAreKeptApart(t *testing.T) {
	c := cache.New(cache.Config{}, clock.NewFake(began))
	k := key(t, "www.example", "A")
	c.Put(k, pack(t, says(t, "www.example", "A", 0, "www.example. 300 IN A 192.0.2.1")), began)
	for what, change := range map[string]func(k *cache.Key){
		"type": func(k *cache.Key) { k.Type = 28 }, "class": func(k *cache.Key) { k.Class = 3 }, "DO": func(k *cache.Key) { k.DO = true },
		"CD": func(k *cache.Key) { k.CD = true }, "group": func(k *cache.Key) { k.Group = 1 }, "name": func(k *cache.Key) { k.Name = key(t, "ww2.example", "A").Name },
	} {
		other := k
		change(&other)
		if _, _, ok := get(t, c, other, began); ok {
			t.Errorf("another %s got the same entry", what)
		}
	}
	k.Name = make([]byte, 300)
	if c.Fail(k, began); c.Put(k, nil, began) || c.Stats().Entries != 1 {
		t.Error("a name of 300 bytes was kept")
	}
}

func TestStaleAnswers(t *testing.T) {
	c := cache.New(cache.Config{}, clock.NewFake(began))
	k := key(t, "www.example", "A")
	c.Put(k, pack(t, says(t, "www.example", "A", 0, "www.example. 60 IN A 192.0.2.1")), began)
	later := began.Add(2 * time.Hour)
	if _, _, ok := get(t, c, k, later); ok {
		t.Error("Get gave it unasked")
	}
	head := begin(k)
	hit, ok := c.Stale(head, k, later)
	if m := whole(t, k, hit, len(head)); !ok || hit.State != cache.Stale || short(m.Answer) != "www.example. 30 A 192.0.2.1" {
		t.Fatalf("%v %+v", ok, hit)
	}
	// The failure is remembered for a moment, and it does not push the answer out.
	for _, fail := range []func(at time.Time){
		func(at time.Time) { c.Fail(k, at) },
		func(at time.Time) {
			if !c.Put(k, pack(t, says(t, "www.example", "A", dns.RcodeServerFailure)), at) {
				t.Error("the failure was not noted")
			}
		},
	} {
		fail(later)
		if m, hit, ok := get(t, c, k, later.Add(4*time.Second)); !ok || hit.State != cache.Stale || len(m.Answer) != 1 {
			t.Errorf("after a failure: %v %+v", ok, hit)
		}
		if _, _, ok := get(t, c, k, later.Add(5*time.Second)); ok {
			t.Error("the failure is remembered for too long")
		}
		later = later.Add(time.Hour)
	}
	if _, ok := c.Stale(nil, k, began.Add(24*time.Hour+time.Minute)); ok {
		t.Error("it was given after more than a day")
	}
	// Then only the failure is left to tell.
	end := began.Add(25 * time.Hour)
	c.Fail(k, end)
	if m, _, ok := get(t, c, k, end); !ok || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
	if _, ok := c.Stale(nil, k, end.Add(5*time.Second)); ok {
		t.Error("a failure was given stale")
	}
}

func TestPrefetchIsToldOnce(t *testing.T) {
	c := cache.New(cache.Config{}, clock.NewFake(began))
	k := key(t, "www.example", "A")
	msg := pack(t, says(t, "www.example", "A", 0, "www.example. 100 IN A 192.0.2.1"))
	told := func(at time.Duration) bool {
		_, hit, ok := get(t, c, k, began.Add(at))
		if !ok {
			t.Fatalf("nothing after %v", at)
		}
		return hit.Prefetch
	}
	c.Put(k, msg, began)
	if told(95 * time.Second) {
		t.Error("asked for once, and announced")
	}
	if !told(95*time.Second) || told(96*time.Second) {
		t.Error("the second question is told, the third not")
	}
	began := began.Add(97 * time.Second)
	c.Put(k, msg, began)
	if told(98*time.Second) || told(180*time.Second) || !told(188*time.Second) {
		t.Error("a new entry begins anew, and is announced when a tenth is left")
	}
}

func TestLookDoesNotCount(t *testing.T) {
	clk := clock.NewFake(began)
	c := cache.New(cache.Config{}, clk)
	k := key(t, "www.example", "A")
	if _, ok := c.Look(k); ok {
		t.Error("there is nothing yet")
	}
	c.Put(k, pack(t, says(t, "www.example", "A", 0, "www.example. 100 IN A 192.0.2.1")), began)
	clk.Advance(98 * time.Second)
	if s, ok := c.Look(k); !ok || s != (cache.Sight{Age: 98 * time.Second, Left: 2 * time.Second, Usable: true}) {
		t.Errorf("%+v", s)
	}
	if _, hit, _ := get(t, c, k, clk.Now()); hit.Prefetch {
		t.Error("looking was counted as asking")
	}
	clk.Advance(time.Minute)
	if s, ok := c.Look(k); !ok || s.State != cache.Stale || s.Usable || s.Left != -58*time.Second {
		t.Errorf("%+v", s)
	}
	c.Fail(k, clk.Now())
	if s, ok := c.Look(k); !ok || !s.Usable {
		t.Errorf("%+v", s)
	}
	c.Purge()
	if _, ok := c.Look(k); ok || c.Stats().Bytes != 0 || c.Stats().Entries != 0 {
		t.Errorf("after a purge: %+v", c.Stats())
	}
}

// numbered is a key and an answer to it of about the given size.
func numbered(t testing.TB, n, size int) (cache.Key, []byte) {
	name := fmt.Sprintf("host-%d.example", n)
	records := []string{fmt.Sprintf("%s. 300 IN A %v", name, netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))}
	for i := 0; i < size; i += 210 {
		records = append(records, fmt.Sprintf("%s. 300 IN TXT %q", name, strings.Repeat("x", 200)))
	}
	return key(t, name, "A"), pack(t, says(t, name, "A", 0, records...))
}

func TestMemoryIsBoundedAndWhatIsAskedForStays(t *testing.T) {
	for _, bytes := range []int64{64 << 10, 700 << 10} {
		c := cache.New(cache.Config{Bytes: bytes}, clock.NewFake(began))
		hot, msg := numbered(t, 1_000_000, 0)
		c.Put(hot, msg, began)
		for i := range int(bytes / 64) {
			k, msg := numbered(t, i, i%7*100)
			if !c.Put(k, msg, began) {
				t.Fatalf("%d was not kept", i)
			}
			if _, ok := c.Look(k); !ok {
				t.Fatalf("%d is not there", i)
			}
			if i%50 == 0 {
				if _, ok := c.Get(nil, hot, began); !ok {
					t.Fatalf("of %d bytes: what is asked for went after %d others", bytes, i)
				}
			}
			if i%100 == 0 {
				if got := c.Stats().Bytes; got > bytes {
					t.Fatalf("%d bytes of %d", got, bytes)
				}
			}
		}
		s := c.Stats()
		if s.Evicted == 0 || s.Entries < int(bytes/1000) || s.Bytes < bytes/2 {
			t.Errorf("of %d bytes: %+v", bytes, s)
		}
	}
}

func TestAnEntryLargerThanTheCacheIsRefused(t *testing.T) {
	c := cache.New(cache.Config{Bytes: 1}, clock.NewFake(began))
	k, msg := numbered(t, 1, 30_000)
	if c.Put(k, msg, began) || c.Stats().Refused != 1 {
		t.Error("an entry of half the cache was kept")
	}
}

// twin is a cache without bounds as one would write it in an hour: it keeps messages, and reads them anew each time.
type twin struct {
	cfg     struct{ day, negative, failure, stale int64 }
	entries map[string]*twinEntry
}

type twinEntry struct {
	msg      *dns.Msg
	at, life int64
	failed   int64
	asked    int
	told     bool
}

func (w *twin) get(name string, now int64, stale bool) (state string, rcode int, ttl uint32, prefetch bool) {
	e := w.entries[name]
	if e == nil || now < e.at {
		return "", 0, 0, false
	}
	age := now - e.at
	if age < e.life {
		e.asked++
		if e.asked >= 2 && e.life-age < e.life/10 && !e.told && e.msg.Rcode != dns.RcodeServerFailure {
			e.told, prefetch = true, true
		}
		if len(e.msg.Answer) > 0 {
			ttl = e.msg.Answer[0].Header().Ttl - uint32(age/1000)
		}
		return "fresh", e.msg.Rcode, ttl, prefetch
	}
	if e.msg.Rcode == dns.RcodeServerFailure || age >= e.life+w.cfg.stale || !stale && e.failed <= now {
		return "", 0, 0, false
	}
	e.asked++
	if len(e.msg.Answer) > 0 {
		ttl = 30
	}
	return "stale", e.msg.Rcode, ttl, false
}

func (w *twin) put(name string, m *dns.Msg, now, life int64) {
	if m.Rcode == dns.RcodeServerFailure {
		e := w.entries[name]
		if e != nil && now >= e.at && (now-e.at < e.life || e.msg.Rcode != dns.RcodeServerFailure && now-e.at < e.life+w.cfg.stale) {
			e.failed = now + w.cfg.failure
			return
		}
		life = w.cfg.failure
	}
	w.entries[name] = &twinEntry{msg: m, at: now, life: life}
}

func TestLikeItsTwin(t *testing.T) {
	names := []string{"a.example", "b.example", "c.example"}
	rapid.Check(t, func(r *rapid.T) {
		c := cache.New(cache.Config{Bytes: 1 << 20}, clock.NewFake(began))
		w := twin{entries: map[string]*twinEntry{}}
		w.cfg.day, w.cfg.negative, w.cfg.failure, w.cfg.stale = 86_400_000, 300_000, 5000, 86_400_000
		now := began
		step := func() { now = now.Add(time.Duration(rapid.Int64Range(-2000, 40_000).Draw(r, "ms")) * time.Millisecond) }
		r.Repeat(map[string]func(*rapid.T){
			"wait":      func(*rapid.T) { step() },
			"wait long": func(r *rapid.T) { now = now.Add(time.Duration(rapid.Int64Range(0, 90_000).Draw(r, "s")) * time.Second) },
			"put": func(r *rapid.T) {
				name := rapid.SampledFrom(names).Draw(r, "name")
				ttl := rapid.SampledFrom([]int64{1, 30, 100, 3000, 200_000}).Draw(r, "ttl")
				m := says(t, name, "A", 0, fmt.Sprintf("%s. %d IN A 192.0.2.1", name, ttl))
				if !c.Put(key(t, name, "A"), pack(t, m), now) {
					r.Fatal("not kept")
				}
				m.Answer[0].Header().Ttl = uint32(min(ttl, 86_400))
				w.put(name, m, now.UnixMilli(), min(ttl*1000, w.cfg.day))
			},
			"put nothing": func(r *rapid.T) {
				name := rapid.SampledFrom(names).Draw(r, "name")
				m := says(t, name, "A", dns.RcodeNameError, "; authority", soa)
				c.Put(key(t, name, "A"), pack(t, m), now)
				w.put(name, m, now.UnixMilli(), 60_000)
			},
			"fail": func(r *rapid.T) {
				name := rapid.SampledFrom(names).Draw(r, "name")
				m := says(t, name, "A", dns.RcodeServerFailure)
				if rapid.Bool().Draw(r, "by message") {
					c.Put(key(t, name, "A"), pack(t, m), now)
				} else {
					c.Fail(key(t, name, "A"), now)
				}
				w.put(name, m, now.UnixMilli(), 0)
			},
			"get": func(r *rapid.T) {
				name := rapid.SampledFrom(names).Draw(r, "name")
				stale := rapid.Bool().Draw(r, "stale")
				k := key(t, name, "A")
				head := begin(k)
				var hit cache.Hit
				var ok bool
				if stale {
					hit, ok = c.Stale(head, k, now)
				} else {
					hit, ok = c.Get(head, k, now)
				}
				var state string
				var ttl uint32
				if ok {
					state = hit.State.String()
					if m := whole(t, k, hit, len(head)); len(m.Answer) > 0 {
						ttl = m.Answer[0].Header().Ttl
					}
				}
				wState, wRcode, wTTL, wPrefetch := w.get(name, now.UnixMilli(), stale)
				if state != wState || hit.Rcode != wRcode || ttl != wTTL || hit.Prefetch != wPrefetch {
					r.Fatalf("%s: %q, rcode %d, TTL %d, prefetch %v; its twin: %q, %d, %d, %v", name, state, hit.Rcode, ttl, hit.Prefetch, wState, wRcode, wTTL, wPrefetch)
				}
			},
		})
	})
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := cache.New(cache.Config{}, clock.System{})
			now := time.Now()
			keys := make([]cache.Key, n)
			for i := range keys {
				var msg []byte
				keys[i], msg = numbered(b, i, 0)
				c.Put(keys[i], msg, now)
			}
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i += 7; i >= n {
					i -= n
				}
				if _, ok := c.Get(buf, keys[i], now); !ok {
					b.Fatal("a miss")
				}
			}
		})
	}
}

func BenchmarkGetParallel(b *testing.B) {
	c := cache.New(cache.Config{}, clock.System{})
	now := time.Now()
	keys := make([]cache.Key, 10_000)
	for i := range keys {
		var msg []byte
		keys[i], msg = numbered(b, i, 0)
		c.Put(keys[i], msg, now)
	}
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 0, 4096)
		for i := 0; pb.Next(); i++ {
			if _, ok := c.Get(buf, keys[i%len(keys)], now); !ok {
				b.Error("a miss")
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	c := cache.New(cache.Config{Bytes: 8 << 20}, clock.System{})
	now := time.Now()
	keys, msgs := make([]cache.Key, 100_000), make([][]byte, 100_000)
	for i := range keys {
		keys[i], msgs[i] = numbered(b, i, 0)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i++; i == len(keys) {
			i = 0
		}
		c.Put(keys[i], msgs[i], now)
	}
}
