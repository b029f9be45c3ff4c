package azureexport

import (
	"bufio"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxThing is the longest thing that is read, in bytes of JSON: an edge device with fifty modules and all their twins fits.
const MaxThing = 8 << 20

// plain gives UTF-8 without a byte order mark, whatever a file is written in (Unicode 16.0, 2.6: encoding schemes).
func plain(r io.Reader) io.Reader {
	b := bufio.NewReaderSize(r, 64<<10)
	mark, _ := b.Peek(3) // what is shorter has none
	switch {
	case len(mark) == 3 && mark[0] == 0xEF && mark[1] == 0xBB && mark[2] == 0xBF:
		_, _ = b.Discard(3) // they are there
	case len(mark) >= 2 && mark[0] == 0xFF && mark[1] == 0xFE:
		_, _ = b.Discard(2)
		return &wide{in: b, low: 0, high: 1}
	case len(mark) >= 2 && mark[0] == 0xFE && mark[1] == 0xFF:
		_, _ = b.Discard(2)
		return &wide{in: b, low: 1, high: 0}
	}
	return b
}

// wide turns UTF-16 into UTF-8. A lone surrogate becomes the replacement character.
type wide struct {
	in        *bufio.Reader
	low, high int
	rest      []byte
	room      [utf8.UTFMax]byte
	ahead     rune // a unit that was read and did not fit the surrogate before it
	again     bool
}

func (w *wide) unit() (rune, error) {
	if w.again {
		w.again = false
		return w.ahead, nil
	}
	var b [2]byte
	if _, err := io.ReadFull(w.in, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		return 0, err
	}
	return rune(b[w.low]) | rune(b[w.high])<<8, nil
}

func (w *wide) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(w.rest) > 0 {
			k := copy(p[n:], w.rest)
			n, w.rest = n+k, w.rest[k:]
			continue
		}
		r, err := w.unit()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		if utf16.IsSurrogate(r) {
			second, err := w.unit()
			pair := utf16.DecodeRune(r, second)
			if err == nil && pair == utf8.RuneError {
				w.ahead, w.again = second, true
			}
			r = pair
		}
		w.rest = utf8.AppendRune(w.room[:0], r)
	}
	return n, nil
}

// meter refuses to hold more than MaxThing bytes between two calls of reset.
type meter struct {
	in   io.Reader
	left int
}

// slack is what a decoder reads ahead of what it was asked for.
const slack = 1 << 20

func (m *meter) reset() { m.left = MaxThing + slack }

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fault.Newf("azureexport.Read", fault.TooLarge, "something in the file is longer than %d bytes", MaxThing)
	}
	n, err := m.in.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
