package engine

import "math/bits"

// numbers is a set of small numbers: those that are in use. It has room for as many as there are, and one, so a free one is in it.
type numbers []uint64

func (s numbers) add(n uint32) {
	if int(n/64) < len(s) {
		s[n/64] |= 1 << (n % 64)
	}
}

// free returns the lowest number that is not in use.
func (s numbers) free() uint32 {
	for i, w := range s {
		if w != 1<<64-1 {
			return uint32(64*i + bits.TrailingZeros64(^w))
		}
	}
	return uint32(64 * len(s))
}
