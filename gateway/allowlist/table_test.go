package allowlist

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

var start = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func prefixes(text ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func list(name string, rules ...resource.AllowRule) plan.Allowlist {
	return plan.Allowlist{Name: name, Owner: "owner of " + name, Rules: rules}
}

func TestTheLongestRangeDecides(t *testing.T) {
	table := New([]plan.Allowlist{
		list("t/n/b",
			resource.AllowRule{Name: "world", Sources: prefixes("0.0.0.0/0", "::/0"), Names: []string{"open.example"}},
			resource.AllowRule{Name: "plant", Sources: prefixes("203.0.113.0/24", "2001:db8::/32")},
			resource.AllowRule{Name: "printer", Action: resource.Deny, Sources: prefixes("203.0.113.9/32")},
			resource.AllowRule{Name: "maintenance", Sources: prefixes("203.0.113.9/32"), Expires: start.Add(time.Hour), Ports: []uint16{443}},
		),
		list("t/n/a",
			resource.AllowRule{Name: "plant", Sources: prefixes("203.0.113.0/24")},
			resource.AllowRule{Name: "hub", Sources: prefixes("198.51.100.0/24"), Ports: []uint16{8883, 443}, Names: []string{"*.azure-devices.net"}},
			resource.AllowRule{Name: "night", Sources: prefixes("198.51.100.7/32"), Expires: start.Add(time.Minute)},
			resource.AllowRule{Name: "gone", Sources: prefixes("192.0.2.0/24"), Expires: start},
		),
	}, start)
	for _, tc := range []struct {
		source, name string
		port         uint16
		after        time.Duration
		want, prefix string
	}{
		{"203.0.113.8", "", 8883, 0, "t/n/a/plant", "203.0.113.0/24"},
		{"203.0.113.9", "", 443, 0, "t/n/b/printer", "203.0.113.9/32"},
		{"::ffff:203.0.113.8", "x", 1, 0, "t/n/a/plant", "203.0.113.0/24"},
		{"2001:db8::1", "x", 1, 0, "t/n/b/plant", "2001:db8::/32"},
		{"2001:db8::1%eth0", "x", 1, 0, "t/n/b/plant", "2001:db8::/32"},
		{"2001:db9::1", "x", 1, 0, "", ""},
		{"2001:db9::1", "open.example", 1, 0, "t/n/b/world", "::/0"},
		{"8.8.8.8", "open.example", 1, 0, "t/n/b/world", "0.0.0.0/0"},
		{"8.8.8.8", "a.open.example", 1, 0, "", ""},
		{"198.51.100.1", "a.azure-devices.net", 443, 0, "t/n/a/hub", "198.51.100.0/24"},
		{"198.51.100.1", "a.b.azure-devices.net", 8883, 0, "t/n/a/hub", "198.51.100.0/24"},
		{"198.51.100.1", "azure-devices.net", 8883, 0, "", ""},
		{"198.51.100.1", "xazure-devices.net", 8883, 0, "", ""},
		{"198.51.100.1", "", 8883, 0, "", ""},
		{"198.51.100.1", "a.azure-devices.net", 5671, 0, "", ""},
		{"198.51.100.7", "", 5671, time.Minute - 1, "t/n/a/night", "198.51.100.7/32"},
		{"198.51.100.7", "", 5671, time.Minute, "", ""},
		{"192.0.2.1", "", 1, 0, "", ""},
		{"255.255.255.255", "open.example", 1, 0, "t/n/b/world", "0.0.0.0/0"},
		{"0.0.0.0", "open.example", 1, 0, "t/n/b/world", "0.0.0.0/0"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "open.example", 1, 0, "t/n/b/world", "::/0"},
	} {
		m, ok := table.Lookup(netip.MustParseAddr(tc.source), tc.port, tc.name, start.Add(tc.after))
		if ok != (tc.want != "") || ok && (m.Rule.ID != tc.want || m.Prefix.String() != tc.prefix || !strings.HasSuffix(m.Rule.Owner, m.Rule.Allowlist)) {
			t.Errorf("%+v: %v %v", tc, m, ok)
		}
	}
	if _, ok := table.Lookup(netip.Addr{}, 1, "", start); ok {
		t.Error("no address is let in")
	}
	if _, ok := new(Table).Lookup(netip.MustParseAddr("::1"), 1, "", start); ok || new(Table).Any(netip.MustParseAddr("1.1.1.1"), 1, start) {
		t.Error("a table without rules lets somebody in")
	}

	var ends []time.Duration
	for now := start; ; {
		next, ok := table.NextExpiry(now)
		if !ok {
			break
		}
		ends, now = append(ends, next.Sub(start)), next
	}
	if !slices.Equal(ends, []time.Duration{time.Minute, time.Hour}) {
		t.Errorf("rules end at %v", ends)
	}
}

func TestExplain(t *testing.T) {
	table := New([]plan.Allowlist{list("t/n/a",
		resource.AllowRule{Name: "old", Sources: prefixes("203.0.113.9/32"), Expires: start.Add(-time.Hour), Ports: []uint16{1}},
		resource.AllowRule{Name: "amqp", Sources: prefixes("203.0.113.9/32"), Ports: []uint16{5671}},
		resource.AllowRule{Name: "hub", Sources: prefixes("203.0.113.9/32"), Names: []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"}},
		resource.AllowRule{Name: "plant", Sources: prefixes("203.0.0.0/16", "203.0.113.0/24")},
		resource.AllowRule{Name: "plant2", Sources: prefixes("203.0.113.0/24")},
		resource.AllowRule{Name: "stop", Action: resource.Deny, Sources: prefixes("203.0.113.0/24")},
		resource.AllowRule{Name: "never", Action: resource.Deny, Sources: prefixes("203.0.0.0/8")},
		resource.AllowRule{Name: "other", Sources: prefixes("8.0.0.0/8")},
	)}, start)
	var got []string
	for _, v := range table.Explain(netip.MustParseAddr("203.0.113.9"), 8883, "x.example", start) {
		got = append(got, fmt.Sprintf("%s %s %v %v: %s", v.Rule.Name, v.Prefix, v.Holds, v.Decides, v.Why))
	}
	want := []string{
		"amqp 203.0.113.9/32 false false: it is for port 5671, not for port 8883",
		"hub 203.0.113.9/32 false false: it is for names a.example, b.example, c.example, d.example and 2 others, not for x.example",
		"old 203.0.113.9/32 false false: it expired at 2026-11-22T05:00:00Z; it is for port 1, not for port 8883",
		"stop 203.0.113.0/24 true true: decides: the longest range that holds",
		"plant 203.0.113.0/24 true false: holds, but t/n/a/stop denies the same range",
		"plant2 203.0.113.0/24 true false: holds, but t/n/a/stop denies the same range",
		"never 203.0.0.0/8 true false: holds, but 203.0.113.0/24 of t/n/a/stop is the longer range",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v := table.Explain(netip.MustParseAddr("203.0.113.9"), 8883, "", start)[1]; !strings.HasSuffix(v.Why, "no name was sent") {
		t.Errorf("%+v", v)
	}
}

// question is what a twin and the table are both asked.
type question struct {
	source netip.Addr
	port   uint16
	name   string
	now    time.Time
}

// slow is the obvious way: look at every range of every rule.
func slow(lists []plan.Allowlist, q question) (id string, prefix netip.Prefix) {
	type found struct {
		list, rule string
		deny       bool
		prefix     netip.Prefix
	}
	var all []found
	for _, l := range lists {
		for _, r := range l.Rules {
			for _, p := range r.Sources {
				if p.Contains(q.source.Unmap().WithZone("")) && slowHolds(r, q) {
					all = append(all, found{l.Name, r.Name, r.Action == resource.Deny, p})
				}
			}
		}
	}
	if len(all) == 0 {
		return "", netip.Prefix{}
	}
	best := slices.MinFunc(all, func(a, b found) int {
		if a.prefix.Bits() != b.prefix.Bits() {
			return b.prefix.Bits() - a.prefix.Bits()
		}
		if a.deny != b.deny {
			if a.deny {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.list, b.list), strings.Compare(a.rule, b.rule))
	})
	return best.list + "/" + best.rule, best.prefix
}

func slowHolds(r resource.AllowRule, q question) bool {
	if !r.Expires.IsZero() && !q.now.Before(r.Expires) || len(r.Ports) > 0 && !slices.Contains(r.Ports, q.port) {
		return false
	}
	return len(r.Names) == 0 || slices.ContainsFunc(r.Names, func(n string) bool {
		return n == q.name || n[0] == '*' && strings.HasSuffix(q.name, n[1:]) && len(q.name) >= len(n)
	})
}

var (
	someNames = []string{"", "a.x", "b.x", "a.b.x", "x", "c.a.b.x", "y", "a.y"}
	somePorts = []uint16{443, 8883, 5671}
)

// world draws allowlists of few addresses, so that ranges meet and lie within each other.
func world(t *rapid.T) []plan.Allowlist {
	address := rapid.Custom(drawAddr)
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := address.Draw(t, "address")
		return netip.PrefixFrom(a, rapid.SampledFrom([]int{a.BitLen(), a.BitLen(), a.BitLen() - 1, a.BitLen() - 2, a.BitLen() / 2, 1, 0}).Draw(t, "bits")).Masked()
	})
	// Every pattern is a name of its own: one that is no suffix of the names asked for keeps the index busy.
	pattern := rapid.SampledFrom([]string{"a.x", "b.x", "*.x", "*.b.x", "x", "*.y", "y", "*.a.b.x", "*.z1", "*.z2", "*.z3"})
	var lists []plan.Allowlist
	for i := range rapid.IntRange(1, 3).Draw(t, "lists") {
		l := plan.Allowlist{Name: fmt.Sprintf("list-%d", (i*2+1)%3)}
		for j := range rapid.IntRange(0, 30).Draw(t, "rules") {
			r := resource.AllowRule{
				Name:    fmt.Sprintf("rule-%d", j*7%30),
				Sources: rapid.SliceOfN(prefix, 1, 3).Draw(t, "sources"),
				Ports:   rapid.SliceOfN(rapid.SampledFrom(somePorts), 0, 2).Draw(t, "ports"),
				Names:   rapid.SliceOfN(pattern, 0, 7).Draw(t, "names"),
			}
			if rapid.IntRange(0, 2).Draw(t, "named") == 0 {
				r.Names = nil
			}
			if rapid.IntRange(0, 3).Draw(t, "denies") == 0 {
				r.Action = resource.Deny
			}
			if n := rapid.IntRange(-1, 6).Draw(t, "expires"); n <= 3 {
				r.Expires = start.Add(time.Duration(n) * time.Minute)
			}
			l.Rules = append(l.Rules, r)
		}
		lists = append(lists, l)
	}
	return lists
}

func drawAddr(t *rapid.T) netip.Addr {
	b := rapid.SampledFrom([]byte{0, 1, 2, 3, 4, 127, 128, 254, 255}).Draw(t, "byte")
	a := netip.AddrFrom4([4]byte{b & 0x80, 0, 0, b})
	if b == 255 && rapid.Bool().Draw(t, "highest") {
		a = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	if rapid.Bool().Draw(t, "IPv6") {
		wide := [16]byte{0: b & 0x80, 7: b & 1, 15: b}
		if b == 255 && rapid.Bool().Draw(t, "highest") {
			wide = [16]byte(slices.Repeat([]byte{255}, 16))
		}
		a = netip.AddrFrom16(wide)
	}
	return a
}

func TestAgainstLookingAtEveryRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := world(t)
		table := New(lists, start)
		for range 20 {
			q := question{
				drawAddr(t), rapid.SampledFrom(somePorts).Draw(t, "port"), rapid.SampledFrom(someNames).Draw(t, "name"),
				start.Add(rapid.SampledFrom([]time.Duration{0, time.Minute - 1, time.Minute, 3 * time.Minute}).Draw(t, "now")),
			}
			asked := q.source
			if asked.Is4() && rapid.Bool().Draw(t, "mapped") {
				asked = netip.AddrFrom16(asked.As16())
			}
			id, prefix := slow(lists, q)
			m, ok := table.Lookup(asked, q.port, q.name, q.now)
			if ok != (id != "") || ok && (m.Rule.ID != id || m.Prefix != prefix) {
				t.Fatalf("%+v: %+v %v, wanted %s by %v", q, m, ok, id, prefix)
			}
			checkExplain(t, table, q, m, ok)
			checkOutlook(t, lists, table, q)
		}
	})
}

func checkExplain(t *rapid.T, table *Table, q question, m Match, ok bool) {
	decided := 0
	for _, v := range table.Explain(q.source, q.port, q.name, q.now) {
		if v.Decides {
			decided++
			if v.Match != m {
				t.Fatalf("%+v: explained by %+v, decided by %+v", q, v, m)
			}
		}
		if v.Why == "" || v.Decides && !v.Holds {
			t.Fatalf("%+v", v)
		}
	}
	if decided != map[bool]int{true: 1}[ok] {
		t.Fatalf("%+v: %d rules decide", q, decided)
	}
}

// checkOutlook compares with what all names together lead to.
func checkOutlook(t *rapid.T, lists []plan.Allowlist, table *Table, q question) {
	m, outlook := table.Outlook(q.source, q.port, q.now)
	if (outlook == Denied) != (m.Rule != nil) || table.Any(q.source, q.port, q.now) != (outlook == Depends) {
		t.Fatalf("%+v: %+v, %v", q, m, outlook)
	}
	mayEnter := false // a rule lets in some name, were there no other
	for _, l := range lists {
		for _, r := range l.Rules {
			if r.Action != resource.Deny && slices.ContainsFunc(r.Sources, func(p netip.Prefix) bool { return p.Contains(q.source) }) {
				r.Names = nil
				mayEnter = mayEnter || slowHolds(r, q)
			}
		}
	}
	for _, name := range append([]string{"other", "w.z1"}, someNames...) {
		decided, ok := table.Lookup(q.source, q.port, name, q.now)
		in := ok && !decided.Rule.Denies()
		switch {
		case in && outlook != Depends:
			t.Fatalf("%+v: %q is let in, and the outlook is %v", q, name, outlook)
		case outlook == Denied && (!ok || !decided.Rule.Denies()):
			t.Fatalf("%+v: %q is not denied", q, name)
		case outlook == Depends && !mayEnter, outlook == None && mayEnter:
			t.Fatalf("%+v: the outlook is %v, and that somebody may enter is %v", q, outlook, mayEnter)
		}
	}
}

func TestNextExpiryIsWhenAnAnswerChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := world(t)
		table := New(lists, start)
		a, port, name := drawAddr(t), rapid.SampledFrom(somePorts).Draw(t, "port"), rapid.SampledFrom(someNames).Draw(t, "name")
		before, _ := table.Lookup(a, port, name, start)
		next, ok := table.NextExpiry(start)
		for now := start; now.Before(start.Add(5 * time.Minute)); now = now.Add(15 * time.Second) {
			if after, _ := table.Lookup(a, port, name, now); after != before && (!ok || now.Before(next)) {
				t.Fatalf("%+v became %+v at %v, and the next expiry is %v", before, after, now, next)
			}
		}
	})
}
