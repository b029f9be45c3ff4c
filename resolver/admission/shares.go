package admission

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
)

// Shares bounds how much of something each source has at a time. The table has a fixed size: sources that fall onto the same place of it
// share what one may have.
type Shares struct {
	most int32
	seed maphash.Seed
	held [4096]atomic.Int32
}

// NewShares returns a table in which nobody has anything, and everybody may have most.
func NewShares(most int) *Shares { return &Shares{most: int32(most), seed: maphash.MakeSeed()} }

// Take gives a source one more, unless it has all it may have.
func (s *Shares) Take(from netip.Addr) bool {
	h := s.at(from)
	if h.Add(1) > s.most {
		h.Add(-1)
		return false
	}
	return true
}

// Give takes one back.
func (s *Shares) Give(from netip.Addr) { s.at(from).Add(-1) }

func (s *Shares) at(from netip.Addr) *atomic.Int32 {
	return &s.held[tag(s.seed, from)>>1%uint64(len(s.held))]
}
