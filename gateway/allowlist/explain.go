package allowlist

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Verdict is what became of one rule around a source.
type Verdict struct {
	Match
	Holds   bool
	Decides bool   // it is the first that holds
	Why     string // in words: why it does not hold, or what it was beaten by, or that it decides
}

// Explain returns every rule around a source, those first that would decide first, with what became of each. It looks at all rules,
// so it is for people and not for connections. The first that Decides is what Lookup returns.
func (t *Table) Explain(source netip.Addr, port uint16, name string, now time.Time) []Verdict {
	source = source.Unmap().WithZone("")
	var out []Verdict
	for i := range t.rules {
		r := &t.rules[i]
		longest, found := netip.Prefix{}, false
		for _, p := range r.Sources {
			if p, ok := normal(p); ok && p.Contains(source) && (!found || p.Bits() > longest.Bits()) {
				longest, found = p, true
			}
		}
		if found {
			why := r.fails(port, name, now)
			out = append(out, Verdict{Match: Match{Rule: r, Prefix: longest}, Holds: why == "", Why: why})
		}
	}
	// Rules are in the order of their ranks, which stays for equal lengths.
	slices.SortStableFunc(out, func(a, b Verdict) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	var winner *Verdict
	for i := range out {
		v := &out[i]
		switch {
		case !v.Holds:
		case winner == nil:
			winner = v
			v.Decides, v.Why = true, "decides: the longest range that holds"
		case v.Prefix.Bits() < winner.Prefix.Bits():
			v.Why = fmt.Sprintf("holds, but %s of %s is the longer range", winner.Prefix, winner.Rule.ID)
		case winner.Rule.Denies() && !v.Rule.Denies():
			v.Why = fmt.Sprintf("holds, but %s denies the same range", winner.Rule.ID)
		default:
			v.Why = fmt.Sprintf("holds, and says the same as %s", winner.Rule.ID)
		}
	}
	return out
}

// fails says in words why the rule does not hold; "" when it does.
func (r *Rule) fails(port uint16, name string, now time.Time) string {
	var why []string
	if r.expired(now) {
		why = append(why, "it expired at "+r.Expires.UTC().Format(time.RFC3339))
	}
	if !r.forPort(port) {
		why = append(why, fmt.Sprintf("it is for %s, not for port %d", some("port", r.ports), port))
	}
	if !r.names.has(name) {
		if name == "" {
			why = append(why, "it is for "+some("name", r.Names)+", and no name was sent")
		} else {
			why = append(why, "it is for "+some("name", r.Names)+", not for "+name)
		}
	}
	return strings.Join(why, "; ")
}

// some lists the first few of many.
func some[T any](what string, all []T) string {
	const most = 4
	var b strings.Builder
	b.WriteString(what)
	if len(all) > 1 {
		b.WriteByte('s')
	}
	for i, x := range all[:min(len(all), most)] {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %v", x)
	}
	if len(all) > most {
		fmt.Fprintf(&b, " and %d others", len(all)-most)
	}
	return b.String()
}
