package window

import (
	"math"
	"math/big"
	"math/bits"
	"slices"

	"github.com/isthmus-io/isthmus/bridge/column"
)

// exact is a sum without any rounding, so that the order in which values come does not matter: a binary number in two's complement whose
// lowest limb counts 2^(64*low). Three limbs hold the sums of usual measurements; others grow as they need, to about 40 at most.
type exact struct {
	low   int32
	used  bool
	small [3]uint64
	large []uint64 // instead of small
}

func (x *exact) limbs() []uint64 {
	if x.large != nil {
		return x.large
	}
	return x.small[:]
}

// parts takes a number apart: m * 2^exp, negated if minus.
func parts(v column.Value) (m uint64, exp int, minus bool) {
	if v.Kind == column.Int {
		n := int64(v.Bits)
		if n < 0 {
			return -uint64(n), 0, true
		}
		return uint64(n), 0, false
	}
	b := v.Bits
	m, exp = b&(1<<52-1), int(b>>52&0x7FF)
	if exp == 0 {
		exp = 1
	} else {
		m |= 1 << 52
	}
	return m, exp - 1075, b>>63 != 0
}

func (x *exact) addValue(v column.Value) {
	m, exp, minus := parts(v)
	x.add(m, exp, minus)
}

// addSquare adds the square of a number.
func (x *exact) addSquare(v column.Value) {
	m, exp, _ := parts(v)
	if zeros := bits.TrailingZeros64(m); m != 0 { // so that squares of short numbers are short
		m >>= zeros
		exp += zeros
	}
	hi, lo := bits.Mul64(m, m)
	x.add(lo, 2*exp, false)
	x.add(hi, 2*exp+64, false)
}

func (x *exact) add(m uint64, exp int, minus bool) {
	if m == 0 {
		return
	}
	zeros := bits.TrailingZeros64(m)
	m >>= zeros
	exp += zeros
	at := exp >> 6 // rounds down, also below 0
	shift := uint(exp & 63)
	lo, hi := m<<shift, m>>(64-shift) // a shift by 64 is 0
	if !x.used {
		x.used, x.low = true, int32(at)
		if at == 0 {
			x.low = -1 // fractions are likely to come
		}
	}
	x.cover(at, at+2)
	l := x.limbs()
	i := at - int(x.low)
	top := len(l) - 1
	before := l[top] >> 63
	var c uint64
	if minus {
		l[i], c = bits.Sub64(l[i], lo, 0)
		l[i+1], c = bits.Sub64(l[i+1], hi, c)
		for j := i + 2; c != 0 && j <= top; j++ {
			l[j], c = bits.Sub64(l[j], 0, c)
		}
	} else {
		l[i], c = bits.Add64(l[i], lo, 0)
		l[i+1], c = bits.Add64(l[i+1], hi, c)
		for j := i + 2; c != 0 && j <= top; j++ {
			l[j], c = bits.Add64(l[j], 0, c)
		}
	}
	// The top limb is nothing but sign before, as cover saw to, unless i+1 is it; either way a sign that turned over shows the overflow.
	after := l[top] >> 63
	if minus && before == 1 && after == 0 || !minus && before == 0 && after == 1 {
		x.large = append(slices.Clone(l), -before)
	}
}

// cover makes limbs for 2^(64*from) up to 2^(64*to).
func (x *exact) cover(from, to int) {
	l := x.limbs()
	below, above := max(0, int(x.low)-from), max(0, to-int(x.low)-len(l))
	if below == 0 && above == 0 {
		return
	}
	sign := -(l[len(l)-1] >> 63)
	grown := make([]uint64, below, below+len(l)+above)
	grown = append(grown, l...)
	for range above {
		grown = append(grown, sign)
	}
	x.large = grown
	x.low -= int32(below)
}

func (x *exact) merge(o *exact) {
	if !o.used {
		return
	}
	if !x.used {
		*x = *o
		x.large = slices.Clone(o.large)
		return
	}
	ol := o.limbs()
	// One limb more than either has: the sum cannot overflow it.
	x.cover(int(o.low), max(int(o.low)+len(ol), int(x.low)+len(x.limbs()))+1)
	l, sign := x.limbs(), -(ol[len(ol)-1] >> 63)
	var c uint64
	for i := int(o.low) - int(x.low); i < len(l); i++ {
		v := sign
		if j := i + int(x.low) - int(o.low); j < len(ol) {
			v = ol[j]
		}
		l[i], c = bits.Add64(l[i], v, c)
	}
	x.trim()
}

// trim gives up limbs that say nothing, so that the same sum has the same form however it came about.
func (x *exact) trim() {
	l := x.limbs()
	for len(l) > 1 && l[0] == 0 {
		l = l[1:]
		x.low++
	}
	for n := len(l); n > 1 && l[n-1] == -(l[n-2]>>63); n = len(l) {
		l = l[:n-1]
	}
	if len(l) == 1 && l[0] == 0 {
		*x = exact{used: x.used, low: -1}
		return
	}
	if len(l) > 3 {
		x.large = l
		return
	}
	sign := -(l[len(l)-1] >> 63)
	small := [3]uint64{sign, sign, sign}
	copy(small[:], l)
	x.small, x.large = small, nil
}

// integer returns the sum as m * 2^exp.
func (x *exact) integer() (m *big.Int, exp int) {
	l := x.limbs()
	words := make([]big.Word, 0, len(l)*2)
	minus := l[len(l)-1]>>63 != 0
	carry := uint64(1)
	for _, v := range l {
		if minus {
			v, carry = bits.Add64(^v, 0, carry)
		}
		if bits.UintSize == 32 {
			words = append(words, big.Word(v&math.MaxUint32), big.Word(v>>32))
		} else {
			words = append(words, big.Word(v))
		}
	}
	m = new(big.Int).SetBits(words)
	if minus {
		m.Neg(m)
	}
	return m, int(x.low) * 64
}

// rat returns the sum as a fraction.
func (x *exact) rat() *big.Rat {
	m, exp := x.integer()
	if exp >= 0 {
		return new(big.Rat).SetInt(m.Lsh(m, uint(exp)))
	}
	return new(big.Rat).SetFrac(m, new(big.Int).Lsh(big.NewInt(1), uint(-exp)))
}

// value is the sum, to the nearest float64 unless it is an int64; null beyond the range of both.
func (x *exact) value() column.Value {
	if !x.used {
		return column.Integer(0)
	}
	m, exp := x.integer()
	f := new(big.Float).SetInt(m) // with as much precision as it needs
	f.SetMantExp(f, exp)
	if n, acc := f.Int64(); acc == big.Exact {
		return column.Integer(n)
	}
	near, _ := f.Float64()
	return finite(near)
}

func finite(f float64) column.Value {
	v, err := column.Number(f)
	if err != nil {
		return column.Value{}
	}
	return v
}
