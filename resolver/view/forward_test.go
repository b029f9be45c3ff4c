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

// office has zones that redirect and some that do not, and rules that overlap.
func office() view.View {
	v := plant()
	v.Zones = append(v.Zones, "privatelink.azure-devices.net", "privatelink.azurecr.io")
	v.Redirect = []string{"privatelink.azure-devices.net"}
	v.Names = append(v.Names,
		plan.Name{Name: "fab.privatelink.azurecr.io", TTL: 10, A: addrs("10.7.0.5"), Source: "PrivateEndpoint ot/plant-7/registry"},
		plan.Name{Name: "foreign.plant.example", TTL: 60, CNAME: "other.privatelink.azure-devices.net"},
		plan.Name{Name: "corp.plant.example", TTL: 60, CNAME: "intranet.corp.example"},
		plan.Name{Name: "again.plant.example", TTL: 60, CNAME: "again.elsewhere.example"},
	)
	v.Forward = []plan.Forward{
		{Rule: "ot/rules/corp", Domain: "corp.example", Targets: at("10.20.0.4:53", "10.20.0.5:53")},
		{Rule: "ot/rules/lab", Domain: "lab.corp.example", Targets: at("10.30.0.4:853"), Transport: resource.DNSOverTLS, TLSName: "dns.lab.example"},
		{Rule: "ot/rules/one", Domain: "fabrikam.azure-devices.net", Exact: true, Targets: at("10.40.0.4:53")},
		{Rule: "ot/rules/below", Domain: "fabrikam.azure-devices.net", Targets: at("10.41.0.4:53")},
		{Rule: "ot/rules/same", Domain: "same.example", Targets: at("10.20.0.4:53", "10.20.0.5:53")},
		{Rule: "ot/rules/zone", Domain: "plant.example", Targets: at("10.50.0.4:53")},
		{Rule: "ot/rules/reg", Domain: "privatelink.other.example", Targets: at("10.60.0.4:53")},
	}
	v.Upstreams = at("192.0.2.1:53", "192.0.2.2:53", "192.0.2.1:53")
	return v
}

func TestWhoIsAsked(t *testing.T) {
	table := view.New(office(), 1)
	if got := table.Problems(); len(got) != 0 {
		t.Fatal(got)
	}
	for _, c := range []struct{ name, answer, rule, asked string }{
		{"corp.example", "", "ot/rules/corp", "corp.example."},
		{"WWW.Corp.example", "", "ot/rules/corp", "www.corp.example."},
		{"labcorp.example", "", "", "labcorp.example."}, // a suffix of labels, not of letters
		{"a.b.lab.corp.example", "", "ot/rules/lab", "a.b.lab.corp.example."},
		{"fabrikam.azure-devices.net", "", "ot/rules/one", "fabrikam.azure-devices.net."},
		{"x.fabrikam.azure-devices.net", "", "ot/rules/below", "x.fabrikam.azure-devices.net."},
		{"azure-devices.net", "", "", "azure-devices.net."},
		{"com", "", "", "com."},
		{".", "", "", "."},
		{"corp.plant.example", "corp.plant.example. CNAME intranet.corp.example.", "ot/rules/corp", "intranet.corp.example."},
		{"out.plant.example", "out.plant.example. CNAME www.elsewhere.example.", "", "www.elsewhere.example."},
		// The zone redirects: the public answer is asked for, and rules do not count.
		{"other.privatelink.azure-devices.net", "", "", "other.privatelink.azure-devices.net."},
		{"foreign.plant.example", "foreign.plant.example. CNAME other.privatelink.azure-devices.net.", "", "other.privatelink.azure-devices.net."},
	} {
		m, v := decide(t, table, c.name, "A")
		if v.Forward == nil {
			t.Errorf("%s: not forwarded: %+v", c.name, v)
			continue
		}
		if short(m.Answer) != c.answer || v.Forward.Rule != c.rule || message.Text(v.Name) != c.asked || v.Result != view.Forwarded {
			t.Errorf("%s\n got %s | %s | %s\nwant %s | %s | %s", c.name, short(m.Answer), v.Forward.Rule, message.Text(v.Name), c.answer, c.rule, c.asked)
		}
		if v.Authoritative != (c.answer != "") {
			t.Errorf("%s: authoritative %v", c.name, v.Authoritative)
		}
	}
	// A zone comes before a rule for the same domain, and names of the view before all.
	for name, rcode := range map[string]int{"none.plant.example": dns.RcodeNameError, "none.privatelink.azurecr.io": dns.RcodeNameError, "contoso.azure-devices.net": 0} {
		if m, v := decide(t, table, name, "A"); v.Forward != nil || m.Rcode != rcode {
			t.Errorf("%s: %v", name, v)
		}
	}
	if !table.Recursion() || len(table.Targets()) != 8 || table.Targets()[7] != table.Upstreams() {
		t.Errorf("targets: %v", table.Targets())
	}
}

func TestTargets(t *testing.T) {
	a, b := view.New(office(), 1), view.New(office(), 2)
	of := func(table *view.Table, name string) *view.Target {
		_, v := decide(t, table, name, "A")
		return v.Forward
	}
	if of(a, "x.corp.example") != of(a, "y.corp.example") {
		t.Error("one rule, two targets")
	}
	corp, same, lab, up := of(a, "x.corp.example"), of(a, "same.example"), of(b, "x.lab.corp.example"), of(a, "com")
	if corp.Key != of(b, "x.corp.example").Key || corp.Key != same.Key || corp.Key == lab.Key || corp.Key == up.Key {
		t.Errorf("keys %q %q %q %q", corp.Key, same.Key, lab.Key, up.Key)
	}
	if len(up.Servers) != 2 || up.Servers[0] != (view.Server{Address: at("192.0.2.1:53")[0], Transport: resource.DNSOverUDP}) {
		t.Errorf("upstreams %v", up.Servers)
	}
	if lab.Servers[0] != (view.Server{Address: at("10.30.0.4:853")[0], Transport: resource.DNSOverTLS, Name: "dns.lab.example"}) {
		t.Errorf("lab %v", lab.Servers)
	}
}

func TestWithoutRecursionNobodyIsAsked(t *testing.T) {
	table := view.New(office(), 1)
	for name, want := range map[string]string{
		"www.corp.example": "REFUSED ", "other.privatelink.azure-devices.net": "REFUSED ",
		"out.plant.example": "NOERROR out.plant.example. CNAME www.elsewhere.example.", // RFC 1034 section 4.3.2: as far as it is known
	} {
		q := query(t, name, "A")
		q.RD = false
		v := table.Decide(q.Begin(nil), q)
		m := reply(t, q, v)
		if got := dns.RcodeToString[m.Rcode] + " " + short(m.Answer); got != want || v.Forward != nil {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A rule whose servers are all wrong keeps its names from those who should not see them.
func TestARuleWithoutServersFails(t *testing.T) {
	v := office()
	v.Forward[0].Targets = []netip.AddrPort{{}}
	table := view.New(v, 1)
	if got := table.Problems(); len(got) != 2 || !strings.Contains(got[1], "ot/rules/corp") {
		t.Errorf("%q", got)
	}
	if _, v := decide(t, table, "www.corp.example", "A"); v.Forward != nil || v.Result != view.Failed {
		t.Errorf("%+v", v)
	}
}

// redirected is what the client gets when the server asked says these records.
func redirected(t testing.TB, table *view.Table, name, qtype string, records ...string) (m *dns.Msg, v view.Verdict, ok bool) {
	t.Helper()
	q := query(t, name, qtype)
	v = table.Decide(q.Begin(nil), q)
	if v.Forward == nil {
		t.Fatalf("%s is not forwarded", name)
	}
	v, ok = table.Redirected(v, q, upstreamSays(t, message.Text(v.Name), qtype, records...))
	if !ok {
		return nil, v, false
	}
	return reply(t, q, v), v, true
}

func TestAnswersThatLeadBackIn(t *testing.T) {
	table := view.New(office(), 1)
	public := []string{"60 IN CNAME gw.azure-devices-int.net.", "gw.azure-devices-int.net. 60 IN A 192.0.2.77"}
	for _, c := range []struct {
		what, name, qtype string
		records           []string
		rcode, answer     string // rcode empty: the answer stands
		authority, asked  string
	}{
		{
			what: "a name of an endpoint", name: "alias.elsewhere.example", qtype: "A",
			records: append([]string{"alias.elsewhere.example. 300 IN CNAME Contoso.PrivateLink.azure-devices.net.", "contoso.privatelink.azure-devices.net. " + public[0]}, public[1:]...),
			rcode:   "NOERROR", answer: "alias.elsewhere.example. CNAME contoso.privatelink.azure-devices.net., contoso.privatelink.azure-devices.net. A 10.7.0.4",
		},
		{
			what: "two steps, then ours, which goes on", name: "Alias.elsewhere.example", qtype: "A",
			records: []string{
				"alias.elsewhere.example. 300 IN CNAME b.elsewhere.example.", "b.elsewhere.example. 200 IN CNAME contoso.azure-devices.net.",
				"contoso.azure-devices.net. 60 IN A 192.0.2.77",
			},
			rcode: "NOERROR", answer: "Alias.elsewhere.example. CNAME b.elsewhere.example., b.elsewhere.example. CNAME contoso.azure-devices.net., " +
				"contoso.azure-devices.net. CNAME contoso.privatelink.azure-devices.net., contoso.privatelink.azure-devices.net. A 10.7.0.4",
		},
		{
			what: "no data", name: "alias.elsewhere.example", qtype: "AAAA",
			records: []string{"alias.elsewhere.example. 300 IN CNAME fab.privatelink.azurecr.io.", "fab.privatelink.azurecr.io. 60 IN AAAA 2001:db8::1"},
			rcode:   "NOERROR", answer: "alias.elsewhere.example. CNAME fab.privatelink.azurecr.io.", authority: "privatelink.azurecr.io. SOA 10",
		},
		{
			what: "the trap: a linked zone that lacks the name", name: "fabrikam.azurecr.io", qtype: "A",
			records: append([]string{"fabrikam.azurecr.io. 300 IN CNAME fabrikam.privatelink.azurecr.io.", "fabrikam.privatelink.azurecr.io. " + public[0]}, public[1:]...),
			rcode:   "NXDOMAIN", answer: "fabrikam.azurecr.io. CNAME fabrikam.privatelink.azurecr.io.", authority: "privatelink.azurecr.io. SOA 10",
		},
		{
			what: "the zone redirects: the public chain stands", name: "hub2.azure-devices.net", qtype: "A",
			records: append([]string{"hub2.azure-devices.net. 300 IN CNAME hub2.privatelink.azure-devices.net.", "hub2.privatelink.azure-devices.net. " + public[0]}, public[1:]...),
		},
		{
			what: "asked for by its privatelink name", name: "hub2.privatelink.azure-devices.net", qtype: "A",
			records: append([]string{"hub2.privatelink.azure-devices.net. " + public[0]}, public[1:]...),
		},
		{
			what: "the zone redirects, and what comes after is ours", name: "hub2.azure-devices.net", qtype: "A",
			records: []string{"hub2.azure-devices.net. 300 IN CNAME hub2.privatelink.azure-devices.net.", "hub2.privatelink.azure-devices.net. 9 IN CNAME db.plant.example."},
			rcode:   "NOERROR", answer: "hub2.azure-devices.net. CNAME hub2.privatelink.azure-devices.net., hub2.privatelink.azure-devices.net. CNAME db.plant.example., " +
				"db.plant.example. A 10.7.0.9, db.plant.example. A 10.7.0.10",
		},
		{what: "nothing of ours", name: "www.elsewhere.example", qtype: "A", records: []string{"www.elsewhere.example. 60 IN CNAME cdn.elsewhere.example.", "cdn.elsewhere.example. 60 IN A 192.0.2.1"}},
		{what: "no CNAME", name: "www.elsewhere.example", qtype: "A", records: []string{"www.elsewhere.example. 60 IN A 192.0.2.1"}},
		{what: "the CNAME was asked for", name: "www.elsewhere.example", qtype: "CNAME", records: []string{"www.elsewhere.example. 60 IN CNAME db.plant.example."}},
		{what: "somebody else's CNAME", name: "www.elsewhere.example", qtype: "A", records: []string{"ww2.elsewhere.example. 60 IN CNAME db.plant.example."}},
		{
			what: "another rule holds the target", name: "www.elsewhere.example", qtype: "A",
			records: []string{"www.elsewhere.example. 60 IN CNAME x.privatelink.other.example.", "x.privatelink.other.example. 60 IN A 192.0.2.1"},
			rcode:   "NOERROR", answer: "www.elsewhere.example. CNAME x.privatelink.other.example.", asked: "x.privatelink.other.example. of ot/rules/reg",
		},
		{
			what: "the zone redirects, and the public chain leads to what a rule is for", name: "hub2.privatelink.azure-devices.net", qtype: "A",
			records: []string{"hub2.privatelink.azure-devices.net. 60 IN CNAME x.corp.example.", "x.corp.example. 60 IN A 192.0.2.1"},
		},
		{what: "a CNAME of another class", name: "www.elsewhere.example", qtype: "A", records: []string{"www.elsewhere.example. 60 CH CNAME db.plant.example."}},
		{what: "the same servers hold it", name: "x.same.example", qtype: "A", records: []string{"x.same.example. 60 IN CNAME x.corp.example.", "x.corp.example. 60 IN A 192.0.2.1"}},
		{what: "a rule's answer that leads to what upstreams are for", name: "x.corp.example", qtype: "A", records: []string{"x.corp.example. 60 IN CNAME cdn.example.", "cdn.example. 60 IN A 192.0.2.1"}},
		{
			what: "from ours out and in again", name: "out.plant.example", qtype: "A",
			records: []string{"www.elsewhere.example. 60 IN CNAME x.apps.plant.example."},
			rcode:   "NOERROR", answer: "out.plant.example. CNAME www.elsewhere.example., www.elsewhere.example. CNAME x.apps.plant.example., x.apps.plant.example. A 10.7.0.20",
		},
		{
			what: "from ours out, in and out", name: "again.plant.example", qtype: "A",
			records: []string{"again.elsewhere.example. 60 IN CNAME again.plant.example."},
			rcode:   "NOERROR", answer: "again.plant.example. CNAME again.elsewhere.example., again.elsewhere.example. CNAME again.plant.example., again.plant.example. CNAME again.elsewhere.example.",
			asked: "again.elsewhere.example. of ",
		},
	} {
		m, v, ok := redirected(t, table, c.name, c.qtype, c.records...)
		if ok != (c.rcode != "") {
			t.Errorf("%s: redirected %v", c.what, ok)
			continue
		}
		if !ok {
			continue
		}
		asked := ""
		if v.Forward != nil {
			asked = message.Text(v.Name) + " of " + v.Forward.Rule
		}
		rcode, answer, authority := dns.RcodeToString[m.Rcode], short(m.Answer), short(m.Ns)
		if rcode != c.rcode || answer != c.answer || authority != c.authority || asked != c.asked {
			t.Errorf("%s\n got %s | %s | %s | %s\nwant %s | %s | %s | %s", c.what, rcode, answer, authority, asked, c.rcode, c.answer, c.authority, c.asked)
		}
		if ours := strings.HasSuffix(c.name, ".plant.example"); v.Authoritative != ours {
			t.Errorf("%s: authoritative %v", c.what, v.Authoritative)
		}
	}
	m, _, _ := redirected(t, table, "alias.elsewhere.example", "A", "alias.elsewhere.example. 300 IN CNAME contoso.privatelink.azure-devices.net.")
	if m.Answer[0].Header().Ttl != 300 || m.Answer[1].Header().Ttl != 10 {
		t.Errorf("TTLs: %v", m.Answer)
	}
	if _, v, _ := redirected(t, table, "x.azurecr.io", "A", "x.azurecr.io. 300 IN CNAME x.privatelink.azurecr.io."); !strings.Contains(v.EDEText, "NxDomainRedirect") {
		t.Errorf("the trap is not named: %+v", v)
	}
}

// A rule for every name is for what no other rule holds, as upstreams are: it takes nothing over.
func TestARuleForEveryName(t *testing.T) {
	v := office()
	v.Forward = append(v.Forward, plan.Forward{Rule: "ot/rules/all", Domain: ".", Targets: at("10.70.0.4:53")})
	table := view.New(v, 1)
	for name, rule := range map[string]string{"com": "ot/rules/all", ".": "ot/rules/all", "x.corp.example": "ot/rules/corp", "x.privatelink.azure-devices.net": ""} {
		if _, v := decide(t, table, name, "A"); v.Forward == nil || v.Forward.Rule != rule {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if _, v, ok := redirected(t, table, "x.corp.example", "A", "x.corp.example. 60 IN CNAME cdn.example.", "cdn.example. 60 IN A 192.0.2.1"); ok {
		t.Errorf("%+v", v)
	}
}

func TestChainsOfSixteen(t *testing.T) {
	var v view.View
	for i := range 17 {
		v.Names = append(v.Names, plan.Name{Name: fmt.Sprintf("n%d.example", i), TTL: 60, CNAME: fmt.Sprintf("n%d.example", i+1)})
	}
	v.Names = append(v.Names, plan.Name{Name: "n17.example", TTL: 60, A: addrs("10.7.0.1")})
	table := view.New(v, 1)
	if m, _ := decide(t, table, "n1.example", "A"); len(m.Answer) != 17 {
		t.Errorf("16 CNAMEs: %v", m)
	}
	if m, _ := decide(t, table, "n0.example", "A"); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("17 CNAMEs: %v", m)
	}
}

// Two servers that lead to each other's names, one of them us.
func TestALoopThroughOthersEnds(t *testing.T) {
	table := view.New(office(), 1)
	q := query(t, "again.plant.example", "A")
	v := table.Decide(q.Begin(nil), q)
	answer := upstreamSays(t, "again.elsewhere.example", "A", "again.elsewhere.example. 60 IN CNAME again.plant.example.")
	rounds := 0
	for ; v.Forward != nil; rounds++ {
		var ok bool
		if v, ok = table.Redirected(v, q, answer); !ok || rounds > 20 {
			t.Fatalf("after %d rounds: %v %+v", rounds, ok, v)
		}
	}
	if m := reply(t, q, v); m.Rcode != dns.RcodeServerFailure || len(m.Answer) != 0 || !strings.Contains(v.EDEText, "again.plant.example.") {
		t.Errorf("after %d rounds: %v %+v", rounds, m, v)
	}
	long := make([]string, 0, 40)
	for i := range 40 {
		long = append(long, fmt.Sprintf("n%d.elsewhere.example. 60 IN CNAME n%d.elsewhere.example.", i, i+1))
	}
	if _, _, ok := redirected(t, table, "n0.elsewhere.example", "A", long...); ok {
		t.Error("their own long chain was touched")
	}
}

// The reply may be built in the memory in which the answer lies.
func TestTheAnswerMayLieBehindTheBody(t *testing.T) {
	table := view.New(office(), 1)
	q := query(t, "alias.elsewhere.example", "A")
	raw := upstreamSays(t, "alias.elsewhere.example", "A", "alias.elsewhere.example. 300 IN CNAME b.example.", "b.example. 9 IN CNAME deep.plant.example.", "deep.plant.example. 9 IN A 192.0.2.1")
	buf := make([]byte, 4096)
	n := copy(buf, raw)
	v := table.Decide(buf[:q.End], q)
	v, ok := table.Redirected(v, q, buf[:n])
	q2 := query(t, "alias.elsewhere.example", "A")
	want, ok2 := table.Redirected(table.Decide(q2.Begin(nil), q2), q2, raw)
	if !ok || !ok2 || string(v.Body[q.End:]) != string(want.Body[q.End:]) || v.Answers != 6 {
		t.Errorf("%v %v\n%x\n%x", ok, ok2, v.Body, want.Body)
	}
	if got := testing.AllocsPerRun(100, func() {
		copy(buf, raw)
		table.Redirected(table.Decide(buf[:q.End], q), q, buf[:n])
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
