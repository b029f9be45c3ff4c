package view_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/view"
	"github.com/isthmus-io/isthmus/resource"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, addr(a))
	}
	return out
}

func at(s ...string) (out []netip.AddrPort) {
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// plant is what the resolver of a factory network knows.
func plant() view.View {
	return view.View{
		Names: []plan.Name{
			{Name: "contoso.azure-devices.net", TTL: 10, CNAME: "contoso.privatelink.azure-devices.net", Source: "PrivateEndpoint ot/plant-7/hub"},
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: addrs("10.7.0.4"), Source: "PrivateEndpoint ot/plant-7/hub"},
			{Name: "db.plant.example", TTL: 60, A: addrs("10.7.0.9", "10.7.0.10"), AAAA: addrs("fd00::9"), Source: "RecordSet ot/plant.example/db"},
			{Name: "*.apps.plant.example", TTL: 60, A: addrs("10.7.0.20")},
			{Name: "fixed.apps.plant.example", TTL: 60, TXT: []string{"a note", strings.Repeat("long ", 60)}},
			{Name: "out.plant.example", TTL: 60, CNAME: "www.elsewhere.example"},
			{Name: "gone.plant.example", TTL: 60, CNAME: "nothing.plant.example"},
			{Name: "loop1.plant.example", TTL: 60, CNAME: "loop2.plant.example"},
			{Name: "loop2.plant.example", TTL: 60, CNAME: "loop1.plant.example"},
			{Name: "*.wild.example", TTL: 60, A: addrs("10.7.0.30")},
			{Name: "*.alias.example", TTL: 60, CNAME: "db.plant.example"},
			{Name: "deep.plant.example", TTL: 60, CNAME: "x.alias.example"},
			{Name: "plant.example", TTL: 60, MX: []resource.MX{{Preference: 10, Exchange: "mail.plant.example"}}, CAA: []resource.CAA{{Flags: 128, Tag: "issue", Value: "ca.example"}}},
			{Name: "_mqtt._tcp.plant.example", TTL: 60, SRV: []resource.SRV{{Priority: 1, Weight: 2, Port: 8883, Target: "db.plant.example"}}},
			{Name: "9.0.7.10.in-addr.arpa", TTL: 60, PTR: []string{"db.plant.example"}},
		},
		Zones: []string{"plant.example", "privatelink.blob.core.windows.net"},
	}
}

// short writes records the way the tables below do: owner TYPE data, without TTL and class.
func short(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
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

func query(t testing.TB, name, qtype string) *message.Query {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype]).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(message.Query)
	if err := q.Parse(packet); err != nil {
		t.Fatal(err)
	}
	return q
}

// reply puts a verdict behind its question, as a server would.
func reply(t testing.TB, q *message.Query, v view.Verdict) *dns.Msg {
	t.Helper()
	message.PutHeader(v.Body, q.ID, message.QR|uint16(v.Rcode), 1, v.Answers, v.Authorities, 0)
	out := new(dns.Msg)
	if err := out.Unpack(v.Body); err != nil {
		t.Fatalf("%s: the answer cannot be read: %v\n%x", message.Text(q.Name), err, v.Body)
	}
	if len(out.Answer) != int(v.Answers) || len(out.Ns) != int(v.Authorities) {
		t.Fatalf("%s: %d answers and %d authorities, want %d and %d", message.Text(q.Name), len(out.Answer), len(out.Ns), v.Answers, v.Authorities)
	}
	return out
}

func decide(t testing.TB, table *view.Table, name, qtype string) (*dns.Msg, view.Verdict) {
	t.Helper()
	q := query(t, name, qtype)
	v := table.Decide(q.Begin(nil), q)
	return reply(t, q, v), v
}

func TestAnswersOfAView(t *testing.T) {
	table := view.New(plant(), 7)
	if got := table.Problems(); len(got) != 0 || table.Names() != 32 {
		t.Fatal(got, table.Names())
	}
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
		{
			"contoso.azure-devices.net", "HTTPS", "NOERROR",
			"contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net.", "contoso.privatelink.azure-devices.net. SOA 10",
		},
		{"contoso.privatelink.azure-devices.net", "AAAA", "NOERROR", "", "contoso.privatelink.azure-devices.net. SOA 10"},
		{"contoso.privatelink.azure-devices.net", "HTTPS", "NOERROR", "", "contoso.privatelink.azure-devices.net. SOA 10"},
		{"contoso.azure-devices.net", "CNAME", "NOERROR", "contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net.", ""},
		{"contoso.azure-devices.net", "ANY", "NOERROR", "contoso.azure-devices.net. HINFO \"RFC8482\" \"\"", ""},
		{"db.plant.example", "A", "NOERROR", "db.plant.example. A 10.7.0.9, db.plant.example. A 10.7.0.10", ""},
		{"db.plant.example", "AAAA", "NOERROR", "db.plant.example. AAAA fd00::9", ""},
		{"db.plant.example", "MX", "NOERROR", "", "plant.example. SOA 10"},
		{"DB.plant.example", "SOA", "NOERROR", "", "plant.example. SOA 10"},
		{"nothing.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"},
		{"deep.db.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"},
		{"nothing.plant.example", "ANY", "NXDOMAIN", "", "plant.example. SOA 10"},
		{"other.privatelink.blob.core.windows.net", "A", "NXDOMAIN", "", "privatelink.blob.core.windows.net. SOA 10"},
		{"plant.example", "A", "NOERROR", "", "plant.example. SOA 10"},
		{"plant.example", "SOA", "NOERROR", "plant.example. SOA 10", ""},
		{"plant.example", "MX", "NOERROR", "plant.example. MX 10 mail.plant.example.", ""},
		{"plant.example", "CAA", "NOERROR", "plant.example. CAA 128 issue \"ca.example\"", ""},
		{"privatelink.blob.core.windows.net", "SOA", "NOERROR", "privatelink.blob.core.windows.net. SOA 10", ""},
		{"privatelink.blob.core.windows.net", "ANY", "NOERROR", "privatelink.blob.core.windows.net. HINFO \"RFC8482\" \"\"", ""},
		{"privatelink.blob.core.windows.net", "DS", "NOERROR", "", "privatelink.blob.core.windows.net. SOA 10"},
		{"_mqtt._tcp.plant.example", "SRV", "NOERROR", "_mqtt._tcp.plant.example. SRV 1 2 8883 db.plant.example.", ""},
		{"_tcp.plant.example", "SRV", "NOERROR", "", "plant.example. SOA 10"},
		{"9.0.7.10.in-addr.arpa", "PTR", "NOERROR", "9.0.7.10.in-addr.arpa. PTR db.plant.example.", ""},
		{"apps.plant.example", "A", "NOERROR", "", "plant.example. SOA 10"}, // exists only because names below it do
		{"apps.plant.example", "ANY", "NOERROR", "", "plant.example. SOA 10"},
		{"any.apps.plant.example", "A", "NOERROR", "any.apps.plant.example. A 10.7.0.20", ""},
		{"a.b.apps.plant.example", "A", "NOERROR", "a.b.apps.plant.example. A 10.7.0.20", ""},
		{"any.apps.plant.example", "AAAA", "NOERROR", "", "plant.example. SOA 10"},
		{"*.apps.plant.example", "A", "NOERROR", "*.apps.plant.example. A 10.7.0.20", ""},
		{"x.*.apps.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"},         // RFC 4592 section 2.2.1: its closest name is the wildcard itself
		{"fixed.apps.plant.example", "A", "NOERROR", "", "plant.example. SOA 10"},        // the wildcard is not for names that exist
		{"below.fixed.apps.plant.example", "A", "NXDOMAIN", "", "plant.example. SOA 10"}, // nor for what is below them
		{"fixed.apps.plant.example", "TXT", "NOERROR", "fixed.apps.plant.example. TXT 6, fixed.apps.plant.example. TXT 300", ""},
		{"x.wild.example", "A", "NOERROR", "x.wild.example. A 10.7.0.30", ""},
		{"x.wild.example", "AAAA", "NOERROR", "", "wild.example. SOA 10"},
		{"x.alias.example", "A", "NOERROR", "x.alias.example. CNAME db.plant.example., db.plant.example. A 10.7.0.9, db.plant.example. A 10.7.0.10", ""},
		{"Y.alias.example", "MX", "NOERROR", "Y.alias.example. CNAME db.plant.example.", "plant.example. SOA 10"},
		{
			"deep.plant.example", "AAAA", "NOERROR",
			"deep.plant.example. CNAME x.alias.example., x.alias.example. CNAME db.plant.example., db.plant.example. AAAA fd00::9", "",
		},
		{"gone.plant.example", "A", "NXDOMAIN", "gone.plant.example. CNAME nothing.plant.example.", "plant.example. SOA 10"},
		{"loop1.plant.example", "A", "SERVFAIL", "", ""},
		{"out.plant.example", "A", "SERVFAIL", "", ""}, // leads out, and there is no upstream
		{"out.plant.example", "CNAME", "NOERROR", "out.plant.example. CNAME www.elsewhere.example.", ""},
		{"azure-devices.net", "A", "REFUSED", "", ""}, // above our names, but not ours
		{"other.privatelink.azure-devices.net", "A", "REFUSED", "", ""},
		{"wild.example", "A", "REFUSED", "", ""},
		{"example.com", "A", "REFUSED", "", ""},
		{".", "NS", "REFUSED", "", ""},
	} {
		m, v := decide(t, table, c.name, c.qtype)
		rcode, answer, authority := dns.RcodeToString[m.Rcode], short(m.Answer), short(m.Ns)
		if rcode != c.rcode || answer != c.answer || authority != c.authority {
			t.Errorf("%s %s\n got %s | %s | %s\nwant %s | %s | %s", c.name, c.qtype, rcode, answer, authority, c.rcode, c.answer, c.authority)
		}
		if ours := rcode == "NOERROR" || rcode == "NXDOMAIN"; v.Authoritative != ours || v.Forward != nil {
			t.Errorf("%s %s: authoritative %v, forward %v", c.name, c.qtype, v.Authoritative, v.Forward)
		}
	}
	m, _ := decide(t, table, "contoso.azure-devices.net", "A")
	for _, rr := range m.Answer {
		if rr.Header().Ttl != 10 {
			t.Errorf("%v has not the plan's TTL", rr)
		}
	}
	if m, _ = decide(t, table, "plant.example", "SOA"); m.Answer[0].(*dns.SOA).Serial != 7 {
		t.Errorf("%v", m.Answer)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	v := plant()
	v.Zones = append(v.Zones, "privatelink.azurecr.io")
	v.Redirect = []string{"privatelink.azurecr.io"}
	v.Forward = []plan.Forward{{Rule: "ot/rules/dead", Domain: "dead.example", Targets: []netip.AddrPort{{}}}}
	table := view.New(v, 1)
	for name, want := range map[string]string{
		"example.com":                         "no upstream is set",
		"loop1.plant.example":                 "lead in a circle",
		"out.plant.example":                   "leads to www.elsewhere.example.",
		"x.privatelink.blob.core.windows.net": "NxDomainRedirect",
		"x.privatelink.azurecr.io":            "no upstream is set",
		"x.dead.example":                      "rule ot/rules/dead for dead.example has no server",
	} {
		if _, v := decide(t, table, name, "A"); !strings.Contains(v.EDEText, want) || v.Reason == "" || v.Answers != 0 {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestBadNamesAreLeftOutWithWords(t *testing.T) {
	many := plan.Name{Name: "many.example"}
	for i := range 5000 {
		many.A = append(many.A, netip.AddrFrom4([4]byte{10, 8, byte(i >> 8), byte(i)}))
	}
	table := view.New(view.View{
		Names: []plan.Name{
			{Name: "", A: addrs("10.7.0.1")},
			{Name: ".", A: addrs("10.7.0.1")},
			{Name: strings.Repeat("x", 64) + ".example", A: addrs("10.7.0.1")},
			{Name: "both.example", CNAME: "other.example", A: addrs("10.7.0.1")},
			{Name: "six.example", A: addrs("fd00::1")},
			{Name: "four.example", AAAA: addrs("10.7.0.1")},
			{Name: "lead.example", CNAME: "a..b"},
			{Name: "mail.example", MX: []resource.MX{{Exchange: ""}}},
			{Name: "ca.example", CAA: []resource.CAA{{Value: "x"}}},
			many,
			{Name: "long.example", TXT: []string{strings.Repeat("x", 70_000)}},
			{Name: "good.example", A: addrs("10.7.0.1")},
			{Name: "GOOD.example.", A: addrs("10.7.0.2")},
		},
		Zones: []string{"bad..zone"}, Redirect: []string{"example"},
		Forward: []plan.Forward{
			{Rule: "ot/rules/a", Domain: "", Targets: at("192.0.2.1:53")},
			{Rule: "ot/rules/b", Domain: "b.example", Targets: at("192.0.2.1:53")},
			{Rule: "ot/rules/c", Domain: "b.example.", Targets: at("192.0.2.2:53")},
		},
		Upstreams: []netip.AddrPort{{}},
	}, 1)
	got := table.Problems()
	if len(got) != 17 {
		t.Errorf("%d problems:\n%s", len(got), strings.Join(got, "\n"))
	}
	if m, _ := decide(t, table, "good.example", "A"); short(m.Answer) != "good.example. A 10.7.0.1" {
		t.Errorf("the good name: %v", m)
	}
	if m, _ := decide(t, table, "both.example", "A"); m.Rcode != dns.RcodeRefused {
		t.Errorf("a name left out: %v", m)
	}
	var bad view.View
	for i := range 100 {
		bad.Names = append(bad.Names, plan.Name{Name: fmt.Sprint("..", i)})
	}
	if got := view.New(bad, 1).Problems(); len(got) != 20 {
		t.Errorf("%d problems are kept", len(got))
	}
}

func TestTheEmptyViewRefuses(t *testing.T) {
	table := view.New(view.View{}, 0)
	for _, name := range []string{".", "com", "a.b.c", strings.Repeat("x.", 120)} {
		if _, v := decide(t, table, name, "A"); v.Result != view.Refused {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if table.Names() != 0 || table.Recursion() || len(table.Targets()) != 0 {
		t.Errorf("it knows %d names, recursion %v", table.Names(), table.Recursion())
	}
}

// The root as a zone holds every name.
func TestTheRootMayBeLinked(t *testing.T) {
	table := view.New(view.View{Zones: []string{"."}, Names: []plan.Name{{Name: "a.example", A: addrs("10.7.0.1")}, {Name: "*.b", A: addrs("10.7.0.2")}}}, 1)
	for name, want := range map[string]string{
		"a.example": "a.example. A 10.7.0.1 | ", "x.b": "x.b. A 10.7.0.2 | ", "example": " | . SOA 10", "c": " | . SOA 10", ".": " | . SOA 10",
	} {
		m, _ := decide(t, table, name, "A")
		if got := short(m.Answer) + " | " + short(m.Ns); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		m, _ = decide(t, table, name, "AAAA")
		if got := short(m.Ns); got != ". SOA 10" {
			t.Errorf("%s AAAA: %s", name, got)
		}
	}
}

func TestDecideAppends(t *testing.T) {
	table := view.New(plant(), 1)
	for _, name := range []string{"contoso.azure-devices.net", "x.alias.example", "loop1.plant.example", "none.plant.example"} {
		q := query(t, name, "A")
		alone := table.Decide(nil, q)
		behind := table.Decide([]byte("before"), q)
		if string(behind.Body) != "before"+string(alone.Body) {
			t.Errorf("%s: %x and %x", name, behind.Body, alone.Body)
		}
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	v := plant()
	v.Upstreams = at("192.0.2.1:53")
	v.Forward = []plan.Forward{{Rule: "ot/rules/a", Domain: "fwd.example", Targets: at("192.0.2.2:53")}}
	table := view.New(v, 1)
	buf := make([]byte, 0, 4096)
	for _, c := range [][2]string{
		{"contoso.azure-devices.net", "A"}, {"contoso.azure-devices.net", "AAAA"}, {"db.plant.example", "A"}, {"any.apps.plant.example", "A"},
		{"none.plant.example", "A"}, {"fixed.apps.plant.example", "TXT"}, {"x.alias.example", "A"}, {"www.elsewhere.example", "A"},
		{"x.fwd.example", "A"}, {"out.plant.example", "A"}, {"plant.example", "ANY"},
	} {
		q := query(t, c[0], c[1])
		if n := testing.AllocsPerRun(100, func() { table.Decide(buf, q) }); n != 0 {
			t.Errorf("%s %s: %v allocations", c[0], c[1], n)
		}
	}
}

// numbered is a view of n hubs with two names each, as endpoints make them, and n more addresses in a zone.
func numbered(n int) view.View {
	v := view.View{Zones: []string{"plant.example"}, Upstreams: at("192.0.2.1:53")}
	for i := range n / 3 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		v.Names = append(v.Names,
			plan.Name{Name: fmt.Sprintf("hub-%d.azure-devices.net", i), TTL: 10, CNAME: fmt.Sprintf("hub-%d.privatelink.azure-devices.net", i), Source: "PrivateEndpoint ot/plant-7/hub"},
			plan.Name{Name: fmt.Sprintf("hub-%d.privatelink.azure-devices.net", i), TTL: 10, A: []netip.Addr{ip}, Source: "PrivateEndpoint ot/plant-7/hub"},
			plan.Name{Name: fmt.Sprintf("machine-%d.hall-%d.plant.example", i, i%100), TTL: 300, A: []netip.Addr{ip}, Source: "RecordSet ot/plant.example/machine"},
		)
	}
	return v
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		v := numbered(n)
		table := view.New(v, 1)
		for _, c := range []struct{ what, format, qtype string }{
			{"cname", "hub-%d.azure-devices.net", "A"}, {"nodata", "hub-%d.privatelink.azure-devices.net", "AAAA"},
			{"missing", "other-%d.hall-1.plant.example", "A"}, {"foreign", "www-%d.elsewhere.example", "A"},
			{"deep", strings.Repeat("a.", 110) + "%d.example", "A"},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.what, n), func(b *testing.B) {
				queries := make([]*message.Query, min(n/3, 8192)) // enough to leave the first caches
				for i := range queries {
					queries[i] = query(b, fmt.Sprintf(c.format, i*(n/3/len(queries))), c.qtype)
				}
				buf := make([]byte, 0, 4096)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if i++; i == len(queries) {
						i = 0
					}
					table.Decide(buf, queries[i])
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		v := numbered(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				view.New(v, 1)
			}
		})
	}
}

// upstreamSays is an answer of another server to v.Name, of records as in zone files.
func upstreamSays(t testing.TB, name string, qtype string, records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
	m.Response, m.Compress = true, true
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	out, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
