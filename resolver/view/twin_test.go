package view_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/view"
)

// twin decides as the RFCs are read: by going through all names, zones and rules for every question.
type twin struct{ v view.View }

func under(name, zone string) bool {
	return zone == "." || name == zone || strings.HasSuffix(name, "."+zone)
}

// exists tells whether a name is there, perhaps only above another (RFC 8020).
func (w twin) exists(name string) bool {
	return slices.ContainsFunc(w.v.Names, func(n plan.Name) bool { return under(n.Name, name) }) ||
		slices.ContainsFunc(w.v.Zones, func(z string) bool { return under(z, name) })
}

func (w twin) zone(name string) (longest string) {
	for _, z := range w.v.Zones {
		if under(name, z) && len(z) > len(longest) {
			longest = z
		}
	}
	return longest
}

func (w twin) find(name string) *plan.Name {
	for i := range w.v.Names { // the first of two stays
		if w.v.Names[i].Name == name {
			return &w.v.Names[i]
		}
	}
	return nil
}

// source finds the records for a name, its own or a wildcard's, and whether there is such a name.
func (w twin) source(name string) (n *plan.Name, exists bool) {
	if w.exists(name) {
		return w.find(name), true
	}
	for {
		_, up, ok := strings.Cut(name, ".")
		if !ok { // the root is always there
			return w.find("*"), w.exists("*")
		}
		if name = up; w.exists(name) {
			return w.find("*." + name), w.exists("*." + name)
		}
	}
}

func (w twin) target(name string, public bool) string {
	if !public {
		for _, f := range w.v.Forward {
			if f.Exact && f.Domain == name {
				return f.Rule
			}
		}
		best := plan.Forward{}
		for _, f := range w.v.Forward {
			if !f.Exact && under(name, f.Domain) && (best.Rule == "" || len(f.Domain) > len(best.Domain)) {
				best = f
			}
		}
		if best.Rule != "" {
			return best.Rule
		}
	}
	if len(w.v.Upstreams) > 0 {
		return "upstreams"
	}
	return ""
}

// decide returns rcode, records, and whom to ask for what.
func (w twin) decide(name string, qtype uint16) string {
	var answer []string
	for hops := 0; ; hops++ {
		n, exists := w.source(name)
		zone := w.zone(name)
		public := zone != "" && !exists && slices.Contains(w.v.Redirect, zone) && len(w.v.Upstreams) > 0
		soa := zone
		if soa == "" && n != nil {
			soa = strings.TrimPrefix(n.Name, "*.")
			switch n.Name {
			case name:
				soa = name
			case "*":
				soa = "."
			}
		}
		switch {
		case zone == "" && n == nil || public:
			at := w.target(name, public)
			if at == "" && hops == 0 {
				return "REFUSED"
			}
			if at == "" {
				return "SERVFAIL"
			}
			return fmt.Sprintf("%v ask %s for %s", answer, at, name)
		case !exists:
			return fmt.Sprintf("NXDOMAIN %v SOA %s", answer, soa)
		case n != nil && n.CNAME != "" && qtype != dns.TypeCNAME:
			if hops == 16 {
				return "SERVFAIL"
			}
			answer = append(answer, fmt.Sprintf("%s CNAME %s", name, n.CNAME))
			name = n.CNAME
			continue
		}
		before := len(answer)
		if n != nil {
			switch qtype {
			case dns.TypeA:
				for _, a := range n.A {
					answer = append(answer, fmt.Sprintf("%s A %v", name, a))
				}
			case dns.TypeAAAA:
				for _, a := range n.AAAA {
					answer = append(answer, fmt.Sprintf("%s AAAA %v", name, a))
				}
			case dns.TypePTR:
				for _, a := range n.PTR {
					answer = append(answer, fmt.Sprintf("%s PTR %v", name, a))
				}
			case dns.TypeCNAME:
				if n.CNAME != "" {
					answer = append(answer, fmt.Sprintf("%s CNAME %v", name, n.CNAME))
				}
			}
		}
		if len(answer) == before {
			return fmt.Sprintf("NOERROR %v SOA %s", answer, soa)
		}
		return fmt.Sprintf("NOERROR %v", answer)
	}
}

// words writes a verdict as the twin does.
func words(m *dns.Msg, v view.Verdict) string {
	bare := func(s string) string {
		if s == "." {
			return s
		}
		return strings.TrimSuffix(s, ".")
	}
	var answer []string
	for _, rr := range m.Answer {
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		answer = append(answer, bare(rr.Header().Name)+" "+dns.TypeToString[rr.Header().Rrtype]+" "+bare(data))
	}
	if v.Forward != nil {
		rule := v.Forward.Rule
		if rule == "" {
			rule = "upstreams"
		}
		return fmt.Sprintf("%v ask %s for %s", answer, rule, bare(message.Text(v.Name)))
	}
	out := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeRefused || m.Rcode == dns.RcodeServerFailure {
		return out
	}
	out += fmt.Sprintf(" %v", answer)
	if len(m.Ns) > 0 {
		out += " SOA " + bare(m.Ns[0].Header().Name)
	}
	return out
}

func TestLikeItsTwin(t *testing.T) {
	// Few labels, so that names meet: as wildcards, above and below each other, in zones and rules.
	label := rapid.SampledFrom([]string{"a", "b", "*", "privatelink"})
	name := rapid.Custom(func(r *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 4).Draw(r, "labels"), ".")
	})
	rapid.Check(t, func(r *rapid.T) {
		var v view.View
		v.Zones = rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(r, "zones")
		if rapid.IntRange(0, 9).Draw(r, "root") == 0 {
			v.Zones = append(v.Zones, ".")
		}
		for _, z := range v.Zones {
			if rapid.Bool().Draw(r, "redirect") {
				v.Redirect = append(v.Redirect, z)
			}
		}
		for i, n := range rapid.SliceOfN(name, 0, 12).Draw(r, "names") {
			if slices.ContainsFunc(v.Names, func(o plan.Name) bool { return o.Name == n }) {
				continue
			}
			p := plan.Name{Name: n, TTL: 60}
			switch rapid.IntRange(0, 4).Draw(r, "kind") {
			case 0, 1:
				p.CNAME = name.Draw(r, "target")
			case 2:
				p.A = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})}
			case 3:
				p.A, p.AAAA = addrs("10.0.0.1"), addrs("fd00::1")
			case 4:
				p.PTR = []string{name.Draw(r, "target")}
			}
			v.Names = append(v.Names, p)
		}
		for i, d := range rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(r, "rules") {
			v.Forward = append(v.Forward, plan.Forward{Rule: fmt.Sprint("ot/rules/", i), Domain: d, Exact: rapid.Bool().Draw(r, "exact"), Targets: at("192.0.2.9:53")})
		}
		if rapid.Bool().Draw(r, "upstreams") {
			v.Upstreams = at("192.0.2.1:53")
		}
		table := view.New(v, 1)
		if got := table.Problems(); len(got) != 0 {
			r.Fatal(got)
		}
		for range 20 {
			n := name.Draw(r, "question")
			qtype := rapid.SampledFrom([]string{"A", "AAAA", "CNAME", "PTR", "MX"}).Draw(r, "type")
			m, verdict := decide(t, table, n, qtype)
			if got, want := words(m, verdict), (twin{v}).decide(n, dns.StringToType[qtype]); got != want {
				r.Fatalf("%s %s: %s\nits twin: %s\n%+v", n, qtype, got, want, v)
			}
			table.Explain(n, dns.StringToType[qtype])
		}
	})
}

func FuzzRedirected(f *testing.F) {
	tables := []*view.Table{view.New(office(), 1), view.New(view.View{Upstreams: at("192.0.2.1:53"), Zones: []string{"."}, Redirect: []string{"."}}, 1)}
	seed := func(name string, records ...string) {
		f.Add(upstreamSays(f, name, "A", records...), dns.TypeA, false)
	}
	seed("alias.elsewhere.example", "alias.elsewhere.example. 300 IN CNAME b.example.", "b.example. 9 IN CNAME deep.plant.example.", "deep.plant.example. 9 IN A 192.0.2.1")
	seed("out.plant.example", "www.elsewhere.example. 300 IN CNAME out.plant.example.")
	seed("hub2.azure-devices.net", "hub2.azure-devices.net. 300 IN CNAME hub2.privatelink.azure-devices.net.", "hub2.privatelink.azure-devices.net. 9 IN A 192.0.2.1")
	seed("x.corp.example", "x.corp.example. 300 IN CNAME x.privatelink.other.example.")
	head := string(upstreamSays(f, "www.example", "A"))
	for _, records := range []string{
		"\xc0\x1d\x00\x05\x00\x01\x00\x00\x00\x09\x00\x02\xc0\x1d",                             // its owner is itself
		"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x09\x00\x02\xc0\x29",                             // so is its target
		"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x09\x00\x02\xc0\xff",                             // one that points forward
		"\xc0\x0c\x00\x05\x00\x01\x80\x00\x00\x00\x00\x02\xc0\x10\xc0\x10\x00\x05\x00\x01\x00", // cut
	} {
		b := []byte(head + records)
		b[7] = 200
		f.Add(b, dns.TypeAAAA, true)
	}
	f.Fuzz(func(t *testing.T, answer []byte, qtype uint16, second bool) {
		table := tables[0]
		if second {
			table = tables[1]
		}
		// The question is the answer's own, as it would be of a server that was asked.
		packet := make([]byte, message.HeaderSize, 512)
		packet[5] = 1
		packet[2] = 1
		if len(answer) < message.HeaderSize {
			return
		}
		packet, _, ok := message.Expand(packet, answer, message.HeaderSize)
		if !ok {
			return
		}
		packet = append(packet, byte(qtype>>8), byte(qtype), 0, 1)
		var q message.Query
		if err := q.Parse(packet); err != nil {
			t.Fatal(err)
		}
		v := table.Decide(q.Begin(nil), &q)
		reply(t, &q, v)
		for range 20 {
			if v.Forward == nil {
				return
			}
			if string(v.Name) != string(q.Name) && string(v.Body[len(v.Body)-len(v.Name):]) != string(v.Name) {
				t.Fatalf("it asks for %q, which is not the end of its chain", v.Name)
			}
			if v, ok = table.Redirected(v, &q, answer); !ok {
				return
			}
			reply(t, &q, v)
		}
		t.Fatal("it goes on for ever")
	})
}

func FuzzDecide(f *testing.F) {
	table := view.New(office(), 1)
	for _, s := range []string{"contoso.azure-devices.net", "x.apps.plant.example", ".", "*.apps.plant.example", "a.b.c.d.e.f.g.privatelink.azurecr.io", "x.fabrikam.azure-devices.net"} {
		wire, err := message.AppendName(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, dns.TypeA, true)
		f.Add(wire, dns.TypeANY, false)
	}
	f.Fuzz(func(t *testing.T, name []byte, qtype uint16, rd bool) {
		packet := append(make([]byte, message.HeaderSize), name...)
		packet[5] = 1
		if rd {
			packet[2] = 1
		}
		packet = append(packet, byte(qtype>>8), byte(qtype), 0, 1)
		var q message.Query
		if err := q.Parse(packet); err != nil {
			return
		}
		v := table.Decide(q.Begin(nil), &q)
		reply(t, &q, v)
		if (v.Forward != nil) != (v.Result == view.Forwarded) || v.Forward != nil && !rd {
			t.Fatalf("%+v", v)
		}
		table.Explain(message.Text(q.Name), qtype)
	})
}
