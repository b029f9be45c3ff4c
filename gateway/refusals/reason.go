package refusals

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
)

// reason is what happened for one reason since its last line.
type reason struct {
	busy    bool // a line was written lately, so that the next refusal waits for the summary
	n       uint64
	sources *frequent[netip.Addr]
	many    distinct[netip.Addr] // sources, when they are more than can be told apart
	names   *frequent[string]
	rules   *frequent[string]
}

func newReason() *reason {
	return &reason{
		sources: newFrequent[netip.Addr](tracked), many: distinct[netip.Addr]{seed: maphash.MakeSeed()},
		names: newFrequent[string](tracked), rules: newFrequent[string](tracked),
	}
}

// add counts one refusal for the next line, or tells that it is the first.
func (r *reason) add(x *Refusal) (first bool) {
	if !r.busy {
		r.busy = true
		return true
	}
	r.n++
	r.sources.add(x.Source)
	r.many.add(x.Source)
	if x.Name != "" {
		r.names.add(x.Name)
	}
	if x.Rule != "" {
		r.rules.add(x.Rule)
	}
	return false
}

// summary returns what to say of the refusals since the last line and begins anew; nil is nothing.
func (r *reason) summary(top int) []any {
	if r.n == 0 {
		r.busy = false
		return nil
	}
	sources := uint64(len(r.sources.counts))
	if r.sources.lost > 0 {
		sources = max(sources, r.many.estimate())
	}
	attrs := []any{"count", r.n, "sources", sources, "topSources", list(r.sources, top, netip.Addr.Compare)}
	if len(r.names.counts) > 0 {
		attrs = append(attrs, "topNames", list(r.names, top, strings.Compare))
	}
	if len(r.rules.counts) > 0 {
		attrs = append(attrs, "topRules", list(r.rules, top, strings.Compare))
	}
	r.n = 0
	r.sources.clear()
	r.many.clear()
	r.names.clear()
	r.rules.clear()
	return attrs
}

// list says the most frequent in words, such as "203.0.113.9 (17), 203.0.113.7 (at least 3)".
func list[K comparable](f *frequent[K], n int, order func(a, b K) int) string {
	var b strings.Builder
	for i, c := range f.top(n, order) {
		if i > 0 {
			b.WriteString(", ")
		}
		least := ""
		if f.lost > 0 {
			least = "at least "
		}
		fmt.Fprintf(&b, "%v (%s%d)", c.what, least, c.n)
	}
	return b.String()
}
