package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/plan"
)

// negativeTTL is how long clients may believe that there is nothing, in seconds: short, because an approval ends it at any moment.
const negativeTTL = 10

// view is a View made ready: lower-case names with trailing dot to prepared records. It is never changed once it can be seen.
type view struct {
	nodes    map[string]*node // every name, every zone, and all that is above them
	zones    map[string]*zone // linked zones
	upstream []*upstream
	chain    []decider
	problems []string
}

// node is a name that exists. Without an entry it exists only because something below it does (RFC 8020).
type node struct {
	entry    *entry
	wildcard *entry // of the name's "*" child
}

// entry is what is said of one name. Its records carry the lower-case owner; answers get copies with the question's spelling.
type entry struct {
	cname         *dns.CNAME
	a, aaaa, txts []dns.RR
	soa           *dns.SOA // for the name by itself, when no linked zone holds it
	ttl           uint32
}

type zone struct {
	name string
	soa  *dns.SOA
}

// newView leaves out what cannot be answered and says so in problems: one bad name must not take the others away.
func newView(v View, serial uint32) *view {
	out := &view{nodes: map[string]*node{}, zones: map[string]*zone{}}
	for _, z := range v.Zones {
		name, err := fqdn(z)
		if err != nil {
			out.problem("zone %q is left out: %v", z, err)
			continue
		}
		out.zones[name] = &zone{name: name, soa: newSOA(name, serial)}
		out.node(name)
	}
	for _, n := range v.Names {
		if err := out.add(n, serial); err != nil {
			out.problem("name %q is left out: %v", n.Name, err)
		}
	}
	out.chain = []decider{fromView, toUpstreams, refuse}
	return out
}

// problem keeps a bounded number of words for the status.
func (v *view) problem(format string, args ...any) {
	const most = 20
	if len(v.problems) < most {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

func (v *view) add(n plan.Name, serial uint32) error {
	name, err := fqdn(n.Name)
	if err != nil {
		return err
	}
	e, err := newEntry(name, n)
	if err != nil {
		return err
	}
	parent, wild := strings.CutPrefix(name, "*.")
	if wild {
		if parent == "" {
			parent = "."
		}
		v.node(parent).wildcard = e
		name = parent // names that match are below it, so it may stand for them
	}
	if v.zoneOf(name) == nil {
		e.soa = newSOA(name, serial)
	}
	if !wild {
		v.node(name).entry = e
	}
	return nil
}

// node makes a name exist, and with it all names above.
func (v *view) node(name string) *node {
	if n := v.nodes[name]; n != nil {
		return n
	}
	n := &node{}
	v.nodes[name] = n
	if off, end := dns.NextLabel(name, 0); !end {
		v.node(name[off:])
	}
	return n
}

// zoneOf returns the longest linked zone that holds name, or nil.
func (v *view) zoneOf(name string) *zone {
	if len(v.zones) == 0 {
		return nil
	}
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if z := v.zones[name[off:]]; z != nil {
			return z
		}
	}
	return v.zones["."]
}

// found is what a view knows of a name.
type found struct {
	entry *entry // nil: the name has no records of its own
	soa   *dns.SOA
	apex  bool // the name is a linked zone's own
	ours  bool // the view answers for the name at all
	empty bool // it exists, without an entry
}

func (v *view) find(name string) found {
	n := v.nodes[name]
	z := v.zoneOf(name)
	f := found{ours: z != nil}
	if z != nil {
		f.soa, f.apex = z.soa, z.name == name
	}
	switch {
	case n != nil && n.entry != nil:
		f.entry = n.entry
	case n != nil:
		f.empty = true
	default:
		f.entry = v.wildcard(name)
	}
	if f.entry != nil {
		f.ours = true
		if f.soa == nil {
			f.soa = f.entry.soa
		}
	}
	return f
}

// wildcard looks below the closest name that exists and nowhere else (RFC 4592 section 3.3.1).
func (v *view) wildcard(name string) *entry {
	for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
		if n := v.nodes[name[off:]]; n != nil {
			return n.wildcard
		}
	}
	if n := v.nodes["."]; n != nil {
		return n.wildcard
	}
	return nil
}

func newEntry(name string, n plan.Name) (*entry, error) {
	e := &entry{ttl: n.TTL}
	header := func(t uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: n.TTL}
	}
	if n.CNAME != "" {
		target, err := fqdn(n.CNAME)
		if err != nil {
			return nil, fmt.Errorf("its CNAME %q: %w", n.CNAME, err)
		}
		if len(n.A)+len(n.AAAA)+len(n.TXT) > 0 {
			return nil, fmt.Errorf("it has a CNAME and other records (RFC 1034 section 3.6.2)")
		}
		e.cname = &dns.CNAME{Hdr: header(dns.TypeCNAME), Target: target}
	}
	for _, ip := range n.A {
		if !ip.Unmap().Is4() {
			return nil, fmt.Errorf("%v is no IPv4 address", ip)
		}
		e.a = append(e.a, &dns.A{Hdr: header(dns.TypeA), A: address(ip.Unmap())})
	}
	for _, ip := range n.AAAA {
		if !ip.Is6() {
			return nil, fmt.Errorf("%v is no IPv6 address", ip)
		}
		e.aaaa = append(e.aaaa, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: address(ip)})
	}
	for _, s := range n.TXT {
		e.txts = append(e.txts, &dns.TXT{Hdr: header(dns.TypeTXT), Txt: chunks(s)})
	}
	return e, nil
}

func address(ip netip.Addr) net.IP { return net.IP(ip.AsSlice()) }

// chunks cuts a text into character-strings of 255 bytes (RFC 1035 section 3.3) and escapes them as the codec wants.
func chunks(s string) []string {
	var out []string
	for {
		n := min(len(s), 255)
		var b strings.Builder
		for _, c := range []byte(s[:n]) {
			switch {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c > '~':
				fmt.Fprintf(&b, "\\%03d", c)
			default:
				b.WriteByte(c)
			}
		}
		out = append(out, b.String())
		if s = s[n:]; s == "" {
			return out
		}
	}
}

func newSOA(name string, serial uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  "localhost.", Mbox: "nobody.invalid.", // there is no primary to transfer from and nobody to write to
		Serial: serial, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

// fqdn checks a name and returns it in lower case with its trailing dot.
func fqdn(s string) (string, error) {
	name := dns.CanonicalName(s)
	if s == "" {
		return "", fmt.Errorf("it is empty")
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return "", fmt.Errorf("it is no domain name (labels of 1 to 63 bytes, 255 in all)")
	}
	return name, nil
}
