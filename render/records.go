package render

import (
	"fmt"
	"strings"

	"github.com/isthmus-io/isthmus/plan"
)

// serverTTL is what stands where a zone file wants a default. Endpoints' records carry their own.
const serverTTL = 300

// zoneFile writes a zone as RFC 1035 section 5 has it. Names are absolute, so nothing depends on an origin.
func zoneFile(zone string, names []plan.Name) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL %d\n", serverTTL)
	fmt.Fprintf(&b, "%s.\t10\tIN\tSOA\tlocalhost. nobody.invalid. 1 3600 600 86400 10\n", zone)
	fmt.Fprintf(&b, "%s.\t%d\tIN\tNS\tlocalhost.\n", zone, serverTTL)
	for _, n := range names {
		for _, rr := range recordsOf(n) {
			fmt.Fprintf(&b, "%s.\t%d\tIN\t%s\n", n.Name, n.TTL, rr)
		}
	}
	return b.String()
}

// recordsOf are a name's records as "TYPE value".
func recordsOf(n plan.Name) []string {
	var out []string
	put := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if n.CNAME != "" {
		put("CNAME\t%s.", n.CNAME)
	}
	for _, a := range n.A {
		put("A\t%s", a)
	}
	for _, a := range n.AAAA {
		put("AAAA\t%s", a)
	}
	for _, t := range n.TXT {
		put("TXT\t%s", quoted(t))
	}
	for _, m := range n.MX {
		put("MX\t%d %s.", m.Preference, m.Exchange)
	}
	for _, s := range n.SRV {
		put("SRV\t%d %d %d %s.", s.Priority, s.Weight, s.Port, s.Target)
	}
	for _, p := range n.PTR {
		put("PTR\t%s.", p)
	}
	for _, c := range n.CAA {
		put("CAA\t%d %s %s", c.Flags, c.Tag, quoted(c.Value))
	}
	return out
}

// quoted cuts a text into character-strings of 255 bytes and escapes what a zone file would read as something else.
func quoted(s string) string {
	var parts []string
	for {
		n := min(len(s), 255)
		var b strings.Builder
		b.WriteByte('"')
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
		b.WriteByte('"')
		parts = append(parts, b.String())
		if s = s[n:]; s == "" {
			return strings.Join(parts, " ")
		}
	}
}

// flatten gives a name that must be a zone of its own the addresses its CNAME leads to: a zone's own name cannot be a CNAME.
func (s *Site) flatten(n plan.Name) plan.Name {
	if n.CNAME == "" {
		return n
	}
	flat := plan.Name{Name: n.Name, TTL: n.TTL}
	for _, a := range s.addresses(n.Name) {
		if a.Is4() {
			flat.A = append(flat.A, a)
		} else {
			flat.AAAA = append(flat.AAAA, a)
		}
	}
	return flat
}
