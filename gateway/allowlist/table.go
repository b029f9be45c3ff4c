package allowlist

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Table is a set of rules, compiled. The zero value has none.
type Table struct {
	rules   []Rule // by rank: of those with the same prefix, the first that holds decides
	v4      ranges4
	v6      ranges6
	expires []time.Time // of rules that had not expired, ascending, each once
}

// Rule is one rule of one allowlist. It must not be changed.
type Rule struct {
	ID        string // allowlist and rule, such as "ot/ot-cloud/fabrikam/plant-berlin": what limits, refusals and metrics call it
	Allowlist string // ot/ot-cloud/fabrikam
	Owner     string
	*resource.AllowRule

	ports []uint16 // sorted; none: all
	names nameSet
}

// Denies tells what the rule says when it decides.
func (r *Rule) Denies() bool { return r.Action == resource.Deny }

// Match is the rule that decides, and by which of its ranges.
type Match struct {
	Rule   *Rule
	Prefix netip.Prefix
}

// New compiles the rules. Those that have expired by now are left out of lookups, and kept for Explain.
func New(lists []plan.Allowlist, now time.Time) *Table {
	t := &Table{rules: rank(lists)}
	var v4, v6 []entry
	for i := range t.rules {
		r := &t.rules[i]
		if r.expired(now) {
			continue
		}
		if !r.Expires.IsZero() {
			t.expires = append(t.expires, r.Expires)
		}
		for _, p := range r.Sources {
			p, ok := normal(p)
			if !ok {
				continue
			}
			e := entry{from: fromAddr(p.Addr()), bits: uint8(p.Bits()), rule: int32(i)}
			if p.Addr().Is4() {
				v4 = append(v4, e)
			} else {
				v6 = append(v6, e)
			}
		}
	}
	slices.SortFunc(t.expires, time.Time.Compare)
	t.expires = slices.CompactFunc(t.expires, time.Time.Equal)
	t.v4 = newRanges4(v4, t.rules)
	t.v6 = newRanges6(v6, t.rules)
	return t
}

// rank puts all rules into the order in which they decide when their prefixes are equally long.
func rank(lists []plan.Allowlist) []Rule {
	type named struct {
		list *plan.Allowlist
		rule *resource.AllowRule
	}
	n := 0
	for i := range lists {
		n += len(lists[i].Rules)
	}
	all := make([]named, 0, n)
	length := 0
	for i := range lists {
		l := &lists[i]
		for j := range l.Rules {
			all = append(all, named{l, &l.Rules[j]})
			length += len(l.Name) + 1 + len(l.Rules[j].Name)
		}
	}
	slices.SortStableFunc(all, func(a, b named) int {
		if d, e := a.rule.Action == resource.Deny, b.rule.Action == resource.Deny; d != e {
			if d {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.list.Name, b.list.Name), strings.Compare(a.rule.Name, b.rule.Name))
	})
	// All identifiers are parts of one string: a hundred thousand small ones cost more to make and to keep.
	var ids strings.Builder
	ids.Grow(length)
	for _, x := range all {
		ids.WriteString(x.list.Name)
		ids.WriteByte('/')
		ids.WriteString(x.rule.Name)
	}
	rest := ids.String()
	rules := make([]Rule, len(all))
	for i, x := range all {
		length := len(x.list.Name) + 1 + len(x.rule.Name)
		rules[i] = Rule{
			ID: rest[:length], Allowlist: x.list.Name, Owner: x.list.Owner, AllowRule: x.rule,
			ports: sorted(x.rule.Ports), names: newNameSet(x.rule.Names),
		}
		rest = rest[length:]
	}
	return rules
}

// sorted returns s in order, s itself when it is already.
func sorted[T cmp.Ordered](s []T) []T {
	if slices.IsSorted(s) {
		return s
	}
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// Len returns how many rules there are, expired ones too.
func (t *Table) Len() int { return len(t.rules) }

// All calls f with every rule, expired ones too, in no order that means anything, until it returns false.
func (t *Table) All(f func(*Rule) bool) {
	for i := range t.rules {
		if !f(&t.rules[i]) {
			return
		}
	}
}

// NextExpiry returns when the next rule ends that was in force when the table was made: the first such time after now.
func (t *Table) NextExpiry(now time.Time) (time.Time, bool) {
	i, found := slices.BinarySearchFunc(t.expires, now, time.Time.Compare)
	if found {
		i++
	}
	if i == len(t.expires) {
		return time.Time{}, false
	}
	return t.expires[i], true
}

func (r *Rule) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// forPort tells whether the rule holds for a port.
func (r *Rule) forPort(port uint16) bool {
	if len(r.ports) == 0 {
		return true
	}
	_, ok := slices.BinarySearch(r.ports, port)
	return ok
}

// normal returns a prefix as tables keep it: without host bits, IPv4 as IPv4. Control refuses others when they are written.
func normal(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return p, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
