package allowlist

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// Addresses are numbers here. All prefixes of a family cut its numbers into stretches with the same longest prefix: a sorted list of
// where they begin, with that prefix for each, and for each prefix the next shorter one around it, hold everything. It is found by
// bisection and followed outwards.

// uint128 is an address. IPv4 ones are in the lowest 32 bits.
type uint128 struct{ hi, lo uint64 }

func fromAddr(a netip.Addr) uint128 {
	if a.Is4() {
		b := a.As4()
		return uint128{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (u uint128) addr(width uint8) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	if width == 32 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

func (u uint128) compare(v uint128) int {
	if u.hi != v.hi {
		return cmp.Compare(u.hi, v.hi)
	}
	return cmp.Compare(u.lo, v.lo)
}

func (u uint128) next() uint128 {
	lo, carry := bits.Add64(u.lo, 1, 0)
	return uint128{u.hi + carry, lo}
}

// last is the last address of the prefix that begins with u and leaves that many bits open.
func (u uint128) last(open uint8) uint128 {
	if open >= 64 {
		return uint128{u.hi | (1<<(open-64) - 1), ^uint64(0)}
	}
	return uint128{u.hi, u.lo | (1<<open - 1)}
}

// entry is one range of one rule.
type entry struct {
	from uint128
	bits uint8
	rule int32
}

// node is a prefix some rule has.
type node struct {
	from   uint128
	around int32  // the next shorter prefix around it; -1: none
	first  int32  // where its rules begin in ranges.rules
	end    int32  // and end
	bits   uint8  //
	index  *index // of its rules, when they are many
}

// ranges is what both families have in common.
type ranges struct {
	nodes []node
	rules []int32 // ranks, ascending for each node
	at    []int32 // the node of each stretch; -1: none
}

// build sorts the entries and returns where the stretches begin.
func (rs *ranges) build(entries []entry, all []Rule, width uint8) []uint128 {
	if len(entries) == 0 {
		return nil
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := a.from.compare(b.from); c != 0 { // cmp.Or would compare the rest too
			return c
		}
		return cmp.Or(cmp.Compare(a.bits, b.bits), cmp.Compare(a.rule, b.rule))
	})
	entries = slices.Compact(entries) // a rule may have the same range twice
	rs.rules = make([]int32, len(entries))
	prefixes := 1
	for i := 1; i < len(entries); i++ {
		if entries[i].from != entries[i-1].from || entries[i].bits != entries[i-1].bits {
			prefixes++
		}
	}
	rs.nodes = make([]node, 0, prefixes)
	starts := append(make([]uint128, 0, 2*prefixes+1), uint128{})
	rs.at = append(make([]int32, 0, 2*prefixes+1), -1)
	begin := func(from uint128, n int32) {
		if starts[len(starts)-1] == from {
			rs.at[len(rs.at)-1] = n
			return
		}
		starts, rs.at = append(starts, from), append(rs.at, n)
	}
	inside := int32(-1) // the innermost prefix that has not ended
	leave := func() {
		n := rs.nodes[inside]
		inside = n.around
		if after := n.from.last(width - n.bits).next(); after != (uint128{}) { // else it ends where numbers do
			begin(after, inside)
		}
	}
	for i, e := range entries {
		rs.rules[i] = e.rule
		if i > 0 && e.from == entries[i-1].from && e.bits == entries[i-1].bits {
			rs.nodes[inside].end++
			continue
		}
		for inside >= 0 && rs.nodes[inside].from.last(width-rs.nodes[inside].bits).compare(e.from) < 0 {
			leave()
		}
		rs.nodes = append(rs.nodes, node{from: e.from, bits: e.bits, around: inside, first: int32(i), end: int32(i) + 1})
		inside = int32(len(rs.nodes)) - 1
		begin(e.from, inside)
	}
	for inside >= 0 {
		leave()
	}
	for i := range rs.nodes {
		if n := &rs.nodes[i]; n.end-n.first > few {
			n.index = newIndex(rs.rules[n.first:n.end], all)
		}
	}
	return starts
}

// ranges4 are the prefixes of IPv4.
type ranges4 struct {
	ranges
	starts []uint32
	shift  uint8   // of an address, to its place in top
	top    []int32 // for the upper bits of an address, the first stretch that begins there or later
}

func newRanges4(entries []entry, all []Rule) ranges4 {
	var rs ranges4
	starts := rs.build(entries, all, 32)
	if starts == nil {
		return rs
	}
	rs.starts = make([]uint32, 0, len(starts))
	for _, s := range starts {
		if s.lo>>32 == 0 { // one past the end of IPv4 is no address
			rs.starts = append(rs.starts, uint32(s.lo))
		}
	}
	upper := min(16, bits.Len(uint(len(rs.starts))))
	rs.shift = uint8(32 - upper)
	rs.top = make([]int32, 1<<upper+1)
	at := 0
	for i := range rs.top {
		for at < len(rs.starts) && uint64(rs.starts[at]) < uint64(i)<<rs.shift {
			at++
		}
		rs.top[i] = int32(at)
	}
	return rs
}

// find returns the longest prefix around an address, -1 when there is none.
func (rs *ranges4) find(a uint32) int32 {
	if len(rs.starts) == 0 {
		return -1
	}
	upper := a >> rs.shift
	low, high := int(rs.top[upper]), int(rs.top[upper+1])
	for low < high { // the first stretch that begins behind a
		mid := int(uint(low+high) >> 1)
		if rs.starts[mid] <= a {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return rs.at[low-1]
}

// ranges6 are the prefixes of IPv6.
type ranges6 struct {
	ranges
	starts []uint128
}

func newRanges6(entries []entry, all []Rule) ranges6 {
	var rs ranges6
	rs.starts = rs.build(entries, all, 128)
	return rs
}

func (rs *ranges6) find(a uint128) int32 {
	if len(rs.starts) == 0 {
		return -1
	}
	i := sort.Search(len(rs.starts), func(i int) bool {
		s := rs.starts[i]
		return s.hi > a.hi || s.hi == a.hi && s.lo > a.lo
	})
	return rs.at[i-1]
}
