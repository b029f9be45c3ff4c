package balance

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// MostTries bounds the targets which one connection tries.
const MostTries = 16

// Attempt is one connection's way through a group. Its zero value is ready; it holds little, for as long as the connection lives.
type Attempt struct {
	at    *target   // given by Next
	trial bool      // the connection is the one that tries a returning target
	tried []*target // before at
}

// Next gives the target to try, or the one after that which failed; false when there is none left. Source is who connects, port the
// one for targets which name none.
func (g *Group) Next(a *Attempt, source netip.Addr, port uint16) (netip.AddrPort, bool) {
	if a.at != nil {
		a.tried = append(a.tried, a.at)
		a.leave()
	}
	if len(a.tried) >= MostTries {
		return netip.AddrPort{}, false
	}
	shown := g.show.Load()
	in := shown.of(port)
	if in == nil || len(in.targets) == 0 {
		return netip.AddrPort{}, false
	}
	for {
		var t *target
		var rank int
		if shown.bySource {
			t, rank = nearest(in.targets, a.tried, hashSource(source))
		} else {
			t, rank = idlest(in.targets, a.tried, in.turn.Add(1))
		}
		if t == nil {
			return netip.AddrPort{}, false
		}
		if t.now() == Returning {
			if a.trial = t.trying.CompareAndSwap(false, true); !a.trial && rank == 0 {
				continue // another connection tries it since it was found
			}
		}
		t.open.Add(1)
		a.at = t
		return t.at, true
	}
}

// Connected tells that the target answered.
func (a *Attempt) Connected() {
	if a.at != nil {
		a.at.connected()
		a.settle()
		a.tried = nil
	}
}

// Failed tells that it did not.
func (a *Attempt) Failed(err error) {
	if a.at != nil {
		a.at.refused(err)
		a.settle()
	}
}

// Released tells that the connection has ended, or was given up; it may be said at any time, and more than once.
func (a *Attempt) Released() {
	if a.at != nil {
		a.leave()
	}
	a.tried = nil
}

func (a *Attempt) leave() {
	a.settle()
	a.at.open.Add(-1)
	a.at = nil
}

func (a *Attempt) settle() {
	if a.trial {
		a.trial = false
		a.at.trying.Store(false)
	}
}

// rank is how soon a target is tried, the lowest first.
func (t *target) rank() int {
	switch t.now() {
	case Up:
		return 0
	case Untested:
		return 1
	case Returning:
		if !t.trying.Load() {
			return 0
		}
	case Down, Ejected:
	}
	return 2
}

// idlest returns the target with the fewest connections among those of the lowest rank. turn says with which the search begins, so
// that equals take turns.
func idlest(targets, tried []*target, turn uint32) (best *target, rank int) {
	open := int32(0)
	from := int(turn % uint32(len(targets)))
	for i := range targets {
		if from+i == len(targets) {
			from -= len(targets)
		}
		t := targets[from+i]
		r, o := t.rank(), t.open.Load()
		if best != nil && (r > rank || r == rank && o >= open) || len(tried) > 0 && slices.Contains(tried, t) {
			continue
		}
		best, rank, open = t, r, o
	}
	return best, rank
}

// nearest returns the target whose hash together with the source's is the highest among those of the lowest rank (rendezvous hashing).
func nearest(targets, tried []*target, source uint64) (best *target, rank int) {
	score := uint64(0)
	for _, t := range targets {
		r := t.rank()
		if best != nil && r > rank || len(tried) > 0 && slices.Contains(tried, t) {
			continue
		}
		if s := mix(source ^ t.key); best == nil || r < rank || s > score {
			best, rank, score = t, r, s
		}
	}
	return best, rank
}

// hashSource hashes an IPv4 address, or the first 64 bits of an IPv6 address: a machine changes the rest at will.
func hashSource(a netip.Addr) uint64 {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return mix(uint64(binary.BigEndian.Uint32(b[:])) | 4<<32)
	}
	b := a.As16()
	return mix(mix(binary.BigEndian.Uint64(b[:8])) + 6)
}

func hashTarget(at netip.AddrPort) uint64 {
	b := at.Addr().As16()
	return mix(mix(mix(binary.BigEndian.Uint64(b[:8]))^binary.BigEndian.Uint64(b[8:])) ^ uint64(at.Port()))
}

// mix spreads every bit over all others (the finaliser of SplitMix64). It must stay as it is: processes of different versions that
// carry one gateway have to agree.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
