package window

import (
	"math/big"
	"slices"
	"strconv"

	"github.com/isthmus-io/isthmus/bridge/column"
)

// nearestRank returns what gives, for a number of values, which of them in order is the percentile: the least rank that is at least so many
// per cent of it. The percentile is what its decimal text says, so that 99.9 of 1000 is 999.
func nearestRank(percentile float64) func(n int64) int64 {
	p, ok := new(big.Rat).SetString(strconv.FormatFloat(percentile, 'g', -1, 64))
	if !ok {
		p = big.NewRat(100, 1)
	}
	p.Quo(p, big.NewRat(100, 1))
	return func(n int64) int64 {
		r := new(big.Rat).Mul(p, new(big.Rat).SetInt64(n))
		q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
		rank := q.Int64()
		if rest.Sign() > 0 {
			rank++
		}
		return min(max(rank, 1), n)
	}
}

// ranks keeps all values as float64, each different one once with its number, and those that came last as they came.
type ranks struct {
	rank   func(n int64) int64
	values []float64 // in order
	counts []int64   // of values
	recent []float64
	n      int64
	bytes  int // as accounted for
}

const rankCost = 16 // bytes of a value with its number

func (k *ranks) add(v column.Value, _ position) int {
	f, _ := v.Float64()
	if len(k.recent) == cap(k.recent) && len(k.recent) >= max(16, len(k.values)/2) {
		k.settle()
	}
	k.recent = append(k.recent, f)
	k.n++
	return k.account()
}

func (k *ranks) kept() int { return k.bytes }

func (k *ranks) account() (grown int) {
	now := rankCost*cap(k.values) + 8*cap(k.recent)
	grown, k.bytes = now-k.bytes, now
	return grown
}

// settle brings the recent values in order.
func (k *ranks) settle() {
	if len(k.recent) == 0 {
		return
	}
	slices.Sort(k.recent)
	fresh := 0
	for i, j := 0, 0; i < len(k.recent); i++ {
		f := k.recent[i]
		if i > 0 && f == k.recent[i-1] {
			continue
		}
		for j < len(k.values) && k.values[j] < f {
			j++
		}
		if j == len(k.values) || k.values[j] != f {
			fresh++
		}
	}
	// From the back, in place: there is room for the fresh ones behind.
	i, j := len(k.values)-1, len(k.recent)-1
	k.values, k.counts = slices.Grow(k.values, fresh)[:len(k.values)+fresh], slices.Grow(k.counts, fresh)[:len(k.counts)+fresh]
	for at := len(k.values) - 1; j >= 0; at-- {
		f, n := k.recent[j], int64(0)
		if i >= 0 && k.values[i] > f {
			k.values[at], k.counts[at] = k.values[i], k.counts[i]
			i--
			continue
		}
		for ; j >= 0 && k.recent[j] == f; j-- {
			n++
		}
		if i >= 0 && k.values[i] == f {
			n += k.counts[i]
			i--
		}
		k.values[at], k.counts[at] = f, n
	}
	k.recent = k.recent[:0]
}

func (k *ranks) merge(o accumulator) {
	other := o.(*ranks)
	k.settle()
	values, counts := make([]float64, 0, len(k.values)+len(other.values)), make([]int64, 0, len(k.values)+len(other.values))
	for i, j := 0, 0; i < len(k.values) || j < len(other.values); {
		switch {
		case j == len(other.values) || i < len(k.values) && k.values[i] < other.values[j]:
			values, counts = append(values, k.values[i]), append(counts, k.counts[i])
			i++
		case i == len(k.values) || other.values[j] < k.values[i]:
			values, counts = append(values, other.values[j]), append(counts, other.counts[j])
			j++
		default:
			values, counts = append(values, k.values[i]), append(counts, k.counts[i]+other.counts[j])
			i, j = i+1, j+1
		}
	}
	k.values, k.counts = values, counts
	k.recent = append(k.recent, other.recent...)
	k.n += other.n
	k.account()
}

func (k *ranks) result() column.Value {
	if k.n == 0 {
		return column.Value{}
	}
	k.settle()
	rank := k.rank(k.n)
	for i, n := range k.counts {
		if rank -= n; rank <= 0 {
			return finite(k.values[i])
		}
	}
	return column.Value{}
}
