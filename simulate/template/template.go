package template

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mark begins a variable in a text.
const mark = "$."

// Template is a text cut at its variables.
type Template struct {
	source string
	vars   *Variables
	parts  []part
}

// part is a piece of text and the variable after it; the last one's variable is noRef.
type part struct {
	text string
	name string // of the variable, to be written when it has no value
	ref  int
}

// Compile cuts a text at the variables it names. Of several names that fit, the longest is meant; a name nobody declared stays as it is.
func (v *Variables) Compile(source string) *Template {
	names := v.Names()
	slices.SortStableFunc(names, func(a, b string) int { return len(b) - len(a) })
	byFirst := map[byte][]string{}
	for _, n := range names {
		byFirst[n[0]] = append(byFirst[n[0]], n)
	}
	t := &Template{source: source, vars: v}
	begin, at := 0, 0
	for {
		next := strings.Index(source[at:], mark)
		if next < 0 {
			break
		}
		at += next
		rest := source[at+len(mark):]
		name := ""
		if rest != "" {
			for _, n := range byFirst[rest[0]] {
				if strings.HasPrefix(rest, n) {
					name = n
					break
				}
			}
		}
		if name == "" {
			at += len(mark)
			continue
		}
		t.parts = append(t.parts, part{source[begin:at], name, v.index[name]})
		at += len(mark) + len(name)
		begin = at
	}
	t.parts = append(t.parts, part{text: source[begin:], ref: noRef})
	return t
}

// String returns the text the template was made of.
func (t *Template) String() string { return t.source }

// Fixed tells whether the text names no variable.
func (t *Template) Fixed() bool { return len(t.parts) == 1 }

// Append writes the text after dst with the values of s, which is of the same variables.
func (t *Template) Append(dst []byte, s *State) []byte {
	for _, p := range t.parts {
		dst = append(dst, p.text...)
		switch {
		case p.ref == noRef:
		case p.ref < noRef:
			dst = s.appendBuiltin(dst, p.ref, p.name)
		default:
			dst = s.appendValue(dst, p.ref, p.name)
		}
	}
	return dst
}

func (s *State) appendValue(dst []byte, ref int, name string) []byte {
	v := &s.values[ref]
	switch v.form {
	case whole:
		return strconv.AppendInt(dst, v.n, 10)
	case fraction:
		return AppendFloat(dst, v.f)
	case text:
		return append(dst, v.s...)
	case made:
		return append(dst, v.buf...)
	case linked:
		return s.appendBuiltin(dst, int(v.n), name)
	default:
		return append(append(dst, mark...), name...)
	}
}

// ticksToUnix is how many ticks of 100 ns lie between the year 1 and 1970.
const ticksToUnix = 621_355_968_000_000_000

func (s *State) appendBuiltin(dst []byte, ref int, name string) []byte {
	b := builtin(noRef - 1 - ref)
	if !s.begun && b != deviceID {
		return append(append(dst, mark...), name...)
	}
	switch b {
	case deviceID:
		return append(dst, s.device...)
	case guid:
		return AppendGUID(dst, s.guid)
	case timeUTC:
		return s.now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.0000000Z")
	case timeLocal:
		return s.now.AppendFormat(dst, "2006-01-02T15:04:05.0000000-07:00")
	case ticks: // of the local clock, as DateTime.Now.Ticks
		_, offset := s.now.Zone()
		return strconv.AppendInt(dst, ticksToUnix+(s.now.Unix()+int64(offset))*1e7+int64(s.now.Nanosecond()/100), 10)
	case epoch:
		return strconv.AppendInt(dst, s.now.Unix(), 10)
	case machineName:
		return append(dst, s.vars.machine...)
	default:
		return strconv.AppendUint(dst, s.iteration, 10)
	}
}

// Now is the time of the message the state stands at, zero before the first.
func (s *State) Now() time.Time { return s.now }

// AppendGUID writes 16 bytes as 8-4-4-4-12 hexadecimal digits.
func AppendGUID(dst []byte, id [16]byte) []byte {
	const hex = "0123456789abcdef"
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hex[c>>4], hex[c&15])
	}
	return dst
}

// AppendFloat writes the shortest digits that mean f, with an exponent where .NET writes one: below 1E-04 and from 1E+15 on.
func AppendFloat(dst []byte, f float64) []byte {
	a := math.Abs(f)
	if a == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'E', -1, 64)
}
