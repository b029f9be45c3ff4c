package plan

import (
	"cmp"
	"slices"

	"github.com/isthmus-io/isthmus/resource"
)

// NameOf is a record set as resolvers know it.
func NameOf(r *resource.RecordSet) Name {
	n := Name{
		Name: r.Metadata.Zone, TTL: cmp.Or(r.Spec.TTL, resource.DefaultTTL), A: r.Spec.A, AAAA: r.Spec.AAAA, CNAME: r.Spec.CNAME, TXT: r.Spec.TXT,
		MX: r.Spec.MX, SRV: r.Spec.SRV, PTR: r.Spec.PTR, CAA: r.Spec.CAA, Source: r.Key().String(),
	}
	if r.Metadata.Name != "@" {
		n.Name = r.Metadata.Name + "." + r.Metadata.Zone
	}
	return n
}

// ForwardsOf are the enabled rules of a valid ruleset, the longest domain first and exact rules before others of the same length.
func ForwardsOf(r *resource.Ruleset) []Forward {
	var out []Forward
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		if !rule.Enabled() {
			continue
		}
		f := Forward{Rule: r.Key().Path() + "/" + rule.Name, Domain: rule.Suffix(), Exact: rule.Exact, Transport: rule.Transport, TLSName: rule.TLSName, Targets: rule.Servers()}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Forward) int {
		byExact := 0
		switch {
		case a.Exact && !b.Exact:
			byExact = -1
		case b.Exact && !a.Exact:
			byExact = 1
		}
		return cmp.Or(cmp.Compare(labels(b.Domain), labels(a.Domain)), cmp.Compare(a.Domain, b.Domain), byExact)
	})
	return out
}

// labels counts a domain's labels; the root has none.
func labels(domain string) int {
	if domain == "." {
		return 0
	}
	n := 1
	for _, c := range domain {
		if c == '.' {
			n++
		}
	}
	return n
}
