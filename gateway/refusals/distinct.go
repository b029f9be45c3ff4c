package refusals

import (
	"hash/maphash"
	"math"
	"math/bits"
)

const registers = 1 << 10 // an error of about 3 %

// distinct estimates how many different things it has seen, in one kilobyte: HyperLogLog by Flajolet and others, with linear
// counting for few.
type distinct[K comparable] struct {
	seed  maphash.Seed
	ranks [registers]uint8
}

func (d *distinct[K]) add(k K) {
	h := maphash.Comparable(d.seed, k)
	at := h % registers
	rank := uint8(bits.LeadingZeros64(h|registers-1)) + 1
	d.ranks[at] = max(d.ranks[at], rank)
}

func (d *distinct[K]) estimate() uint64 {
	const m = registers
	sum, zeros := 0.0, 0
	for _, r := range d.ranks {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			zeros++
		}
	}
	e := 0.7213 / (1 + 1.079/m) * m * m / sum
	if e <= 2.5*m && zeros > 0 {
		e = m * math.Log(m/float64(zeros))
	}
	return uint64(math.Round(e))
}

func (d *distinct[K]) clear() { clear(d.ranks[:]) }
