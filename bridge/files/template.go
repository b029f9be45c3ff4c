package files

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// template is a path with values in it. What it makes never leads out of the folder it is used in, whatever the values are: each segment
// consists of letters, digits and a few signs, begins with no dot, and is of bounded length.
type template struct {
	segments [][]part
	timed    bool
}

type part struct {
	text  string                                     // as it is, or
	of    func(b []byte, t time.Time) []byte         // of the time, or
	event func(e *event.Event) string                // of the event, or
	value func(l *column.Look) (column.Value, error) // of a column
}

const (
	maxSegment = 180
	maxPath    = 900                          // of blob names 1,024 are allowed, and the file's own is behind it
	nothing    = "__HIVE_DEFAULT_PARTITION__" // what readers of such paths take for null
)

func number(n, digits int, b []byte) []byte {
	s := strconv.Itoa(n)
	for range digits - len(s) {
		b = append(b, '0')
	}
	return append(b, s...)
}

var times = map[string]func(b []byte, t time.Time) []byte{
	"yyyy": func(b []byte, t time.Time) []byte { return number(t.Year(), 4, b) },
	"MM":   func(b []byte, t time.Time) []byte { return number(int(t.Month()), 2, b) },
	"dd":   func(b []byte, t time.Time) []byte { return number(t.Day(), 2, b) },
	"HH":   func(b []byte, t time.Time) []byte { return number(t.Hour(), 2, b) },
	"mm":   func(b []byte, t time.Time) []byte { return number(t.Minute(), 2, b) },
}

// parseTemplate reads a template. Columns are compiled into the set; a name that is none is the field of that name.
func parseTemplate(text string, columns []resource.Column, set *column.Set) (*template, error) {
	bad := func(format string, args ...any) error {
		return fault.Newf("files.New", fault.Invalid, "the path %.100q "+format, append([]any{text}, args...)...).
			Advise("write it as in telemetry/date={yyyy}-{MM}-{dd}/{device}")
	}
	out := &template{}
	for segment := range strings.SplitSeq(text, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return nil, bad("has an empty part, or . or ..")
		}
		var parts []part
		for segment != "" {
			i := strings.IndexAny(segment, "{}")
			if i < 0 {
				parts = append(parts, part{text: segment})
				break
			}
			if i > 0 {
				parts = append(parts, part{text: segment[:i]})
			}
			name, rest, closed := strings.Cut(segment[i+1:], "}")
			if segment[i] == '}' || !closed {
				return nil, bad("has a brace without its other")
			}
			segment = rest
			p, err := out.part(name, columns, set)
			if err != nil {
				return nil, err
			}
			if p.text == "" && p.of == nil && p.event == nil && p.value == nil {
				return nil, bad("has {%.40s}, which is no name", name)
			}
			parts = append(parts, p)
		}
		out.segments = append(out.segments, parts)
	}
	return out, nil
}

func (t *template) part(name string, columns []resource.Column, set *column.Set) (part, error) {
	if of := times[name]; of != nil {
		t.timed = true
		return part{of: of}, nil
	}
	i := slices.IndexFunc(columns, func(c resource.Column) bool { return c.Name == name })
	switch {
	case i < 0 && name == "partition":
		return part{event: func(e *event.Event) string { return e.Origin.Partition }}, nil
	case i < 0 && name == "device":
		return part{event: (*event.Event).Device}, nil
	case i < 0 && !isName(name):
		return part{}, nil
	}
	c := resource.Column{Name: name}
	if i >= 0 {
		c = columns[i]
	}
	x, err := set.AddColumn(c)
	if err != nil {
		return part{}, err
	}
	return part{value: func(l *column.Look) (column.Value, error) {
		v, err := l.Value(x)
		if err != nil {
			return v, err
		}
		return column.Convert(v, c.Type)
	}}, nil
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// path is where an event goes, at a time.
func (t *template) path(e *event.Event, at time.Time, look *column.Look) (string, error) {
	b := make([]byte, 0, 96)
	var segment []byte
	for i, parts := range t.segments {
		if i > 0 {
			b = append(b, '/')
		}
		segment = segment[:0]
		for j := range parts {
			p := &parts[j]
			switch {
			case p.of != nil:
				segment = p.of(segment, at)
			case p.event != nil:
				segment = appendValue(segment, p.event(e))
			case p.value != nil:
				v, err := p.value(look)
				if err != nil {
					return "", err
				}
				segment = appendValue(segment, string(v.AppendText(nil)))
			default:
				segment = appendEscaped(segment, p.text)
			}
		}
		b = appendSegment(b, segment)
	}
	if len(b) > maxPath {
		return "", fault.Newf("files.Write", fault.Invalid, "its path would have %d characters", len(b)).Advise("use shorter values in the path")
	}
	return string(b), nil
}

func appendValue(b []byte, s string) []byte {
	if s == "" {
		return append(b, nothing...)
	}
	return appendEscaped(b, s)
}

const upperHex = "0123456789ABCDEF"

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_', c == '.', c == '=', c == '@', c == '+', c == ',':
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendSegment takes from a segment what makes it special to a file system: dots at its ends, names of devices, length.
func appendSegment(b, s []byte) []byte {
	if len(s) > maxSegment {
		sum := sha256.Sum256(s)
		s = append(s[:maxSegment-17:maxSegment-17], '~')
		s = hex.AppendEncode(s, sum[:8])
	}
	base, _, _ := strings.Cut(strings.ToLower(string(s)), ".")
	if reserved(base) {
		b = append(b, '%', upperHex[s[0]>>4], upperHex[s[0]&15])
		s = s[1:]
	} else if s[0] == '.' {
		b = append(b, "%2E"...)
		s = s[1:]
	}
	if n := len(s); n > 0 && s[n-1] == '.' {
		return append(append(b, s[:n-1]...), "%2E"...)
	}
	return append(b, s...)
}

// reserved tells whether Windows takes a name for a device.
func reserved(base string) bool {
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(base) == 4 && (base[:3] == "com" || base[:3] == "lpt") && base[3] >= '0' && base[3] <= '9'
}
