package contract

import (
	"bytes"
	"strconv"
)

// decimal is a number without superfluous digits: 0.DIGITS times ten to the power of exp. Zero has no digits.
type decimal struct {
	negative bool
	digits   []byte // the first and the last are not 0
	exp      int64
}

// farExponent bounds exponents: numbers further away from 1 are taken for equally far.
const farExponent = 1 << 40

// read takes a number as JSON writes it, or as strconv does. It reuses digits.
func (d *decimal) read(s []byte) {
	d.negative, d.digits, d.exp = false, d.digits[:0], 0
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	if i := bytes.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(string(bytes.TrimPrefix(s[i+1:], []byte("+"))), 10, 64)
		if err != nil || e > farExponent || e < -farExponent {
			e = farExponent
			if len(s) > i+1 && s[i+1] == '-' {
				e = -farExponent
			}
		}
		d.exp, s = e, s[:i]
	}
	whole, part, _ := bytes.Cut(s, []byte("."))
	d.exp += int64(len(whole))
	for _, half := range [][]byte{whole, part} {
		for _, c := range half {
			if c == '0' && len(d.digits) == 0 {
				d.exp--
				continue
			}
			d.digits = append(d.digits, c)
		}
	}
	d.digits = bytes.TrimRight(d.digits, "0")
	if len(d.digits) == 0 {
		d.negative, d.exp = false, 0
	}
}

// append writes the one form that equal numbers share.
func (d *decimal) append(to []byte) []byte {
	if len(d.digits) == 0 {
		return append(to, '0')
	}
	if d.negative {
		to = append(to, '-')
	}
	to = append(append(to, d.digits...), 'e')
	return strconv.AppendInt(to, d.exp, 10)
}

// compare is -1, 0 or 1: how a number stands to another.
func compare(s []byte, b *decimal) int {
	var a decimal
	a.read(s)
	sign := 1
	switch {
	case len(a.digits) == 0 && len(b.digits) == 0:
		return 0
	case len(a.digits) == 0:
		if b.negative {
			return 1
		}
		return -1
	case len(b.digits) == 0 || a.negative != b.negative:
		if a.negative {
			return -1
		}
		return 1
	case a.negative:
		sign = -1
	}
	switch {
	case a.exp > b.exp:
		return sign
	case a.exp < b.exp:
		return -sign
	}
	return sign * bytes.Compare(a.digits, b.digits)
}
