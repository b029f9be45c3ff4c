package template

import (
	"math/rand/v2"
	"time"
)

// Random is where values come from; *rand.Rand is one.
type Random interface {
	Int64N(n int64) int64
	Float64() float64
	Uint64() uint64
}

var _ Random = (*rand.Rand)(nil)

// form is what a value is written as.
type form uint8

const (
	absent form = iota // it has none: the template keeps "$.Name"
	whole
	fraction
	text
	made // random text, in buf
	linked
)

// value is what a variable yields now.
type value struct {
	form form
	n    int64 // of whole; of linked, the built-in's index
	f    float64
	s    string
	buf  []byte
}

// State is the values of one device.
type State struct {
	vars      *Variables
	device    string
	begun     bool
	iteration uint64
	now       time.Time
	guid      [16]byte
	values    []value // of the declared variables, in their order
	before    []value // of the lent ones, in the order of Variables.lent: what they were one message ago
}

// NewState returns the state of a device before its first message: but for DeviceId nothing has a value.
func (v *Variables) NewState(device string) *State {
	return &State{vars: v, device: device, values: make([]value, len(v.list)), before: make([]value, len(v.lent))}
}

// Next moves every variable on by one message. now is that message's time; its location is what LocalTime and Ticks are in.
func (s *State) Next(now time.Time, random Random) {
	if s.begun {
		s.iteration++
	}
	s.begun, s.now = true, now
	putUint64(s.guid[:8], random.Uint64())
	putUint64(s.guid[8:], random.Uint64())
	s.guid[6] = s.guid[6]&0x0f | 0x40 // RFC 9562, 5.4: version 4
	s.guid[8] = s.guid[8]&0x3f | 0x80

	for k, i := range s.vars.lent {
		s.before[k], s.values[i] = s.values[i], s.before[k]
		if s.vars.list[i].kind == counter {
			s.values[i] = s.before[k] // a counter goes on from it
		}
	}
	sequences := false
	for i := range s.vars.list {
		d, v := &s.vars.list[i], &s.values[i]
		if d.kind == sequence {
			v.form, sequences = absent, true
			continue
		}
		v.next(d, random)
	}
	if sequences {
		s.follow()
	}
}

// next moves one variable on that is no sequence.
func (v *value) next(d *definition, random Random) {
	switch d.kind {
	case randomInt:
		v.form, v.n = whole, d.low
		if d.high > d.low {
			v.n += random.Int64N(d.high - d.low)
		}
	case randomFraction:
		v.form, v.f = fraction, d.from+random.Float64()*d.span
	case randomText:
		v.form, v.buf = made, letters(v.buf[:0], d.length, random)
	case choice:
		v.form, v.s = text, d.values[random.Int64N(int64(len(d.values)))]
	default:
		if v.form != whole || float64(v.n) > d.last-float64(d.step) {
			v.form, v.n = whole, d.low
		} else {
			v.n += d.step
		}
	}
}

// follow gives sequences their values, and what none of them used now its value of before, so that a counter two sequences share does
// not skip.
func (s *State) follow() {
	var few [16]bool // no allocation for as many
	used := few[:]
	if len(s.values) > len(used) {
		used = make([]bool, len(s.values))
	}
	for i := range s.vars.list {
		d, v := &s.vars.list[i], &s.values[i]
		if d.kind != sequence {
			continue
		}
		k := s.iteration % uint64(len(d.values))
		ref := d.refs[k]
		switch {
		case ref < noRef:
			v.form, v.n = linked, int64(ref)
		case ref >= 0 && s.values[ref].form != absent:
			buf := v.buf
			*v = s.values[ref]
			if v.form == made { // its own copy: the lender writes into its buffer again
				v.buf = append(buf[:0], v.buf...)
			}
			used[ref] = true
		default:
			v.form, v.s = text, d.values[k]
		}
	}
	for k, i := range s.vars.lent {
		if !used[i] && s.vars.list[i].kind != sequence {
			s.values[i], s.before[k] = s.before[k], s.values[i]
		}
	}
}

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func letters(dst []byte, n int, random Random) []byte {
	var bits uint64
	for i := range n {
		if i%10 == 0 { // six bits a letter
			bits = random.Uint64()
		}
		k := int(bits & 63)
		bits >>= 6
		for k >= len(alphabet) { // two of 64 draws
			k = int(random.Uint64() & 63)
		}
		dst = append(dst, alphabet[k])
	}
	return dst
}

func putUint64(b []byte, n uint64) {
	for i := range 8 {
		b[i] = byte(n >> (8 * i))
	}
}
