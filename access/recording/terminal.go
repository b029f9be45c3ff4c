package recording

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Terminal is one screen with a keyboard of a recording.
type Terminal struct {
	w    *Writer
	code [3]string // of what is shown, typed, and of sizes
	held [2][]byte // the beginning of a character that was shown or typed in part
}

// Terminal adds a terminal. The first one is that of the header, whose size and TERM are replaced while nothing is recorded yet.
func (w *Writer) Terminal(width, height int, term string) *Terminal {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.terminal()
	if w.numbered == 1 && !w.begun {
		w.header.Width, w.header.Height, w.header.Term = width, height, term
		return t
	}
	w.event("m", fmt.Sprintf("terminal %d", w.numbered))
	w.event(t.code[2], size(width, height))
	return t
}

// Close ends the terminal. The recording goes on.
func (t *Terminal) Close() {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.finish()
	delete(t.w.terms, t)
}

// terminal is called with mu held.
func (w *Writer) terminal() *Terminal {
	t := &Terminal{w: w, code: [3]string{"o", "i", "r"}}
	w.numbered++
	if w.numbered > 1 {
		for i := range t.code {
			t.code[i] += strconv.Itoa(w.numbered)
		}
	}
	w.terms[t] = struct{}{}
	return t
}

// first is the terminal that the Writer's own methods are about: the first, when Terminal was not called before.
func (w *Writer) first() *Terminal {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.one == nil {
		w.one = w.terminal()
	}
	return w.one
}

// Output records what the terminal shows, for recordings that have only one.
func (w *Writer) Output(p []byte) error { return w.first().Output(p) }

// Input records what is typed at that terminal.
func (w *Writer) Input(p []byte) error { return w.first().Input(p) }

// Resize records that terminal's new size.
func (w *Writer) Resize(width, height int) error { return w.first().Resize(width, height) }

// Output records what the terminal shows. The bytes are not kept.
func (t *Terminal) Output(p []byte) error { return t.data(0, p) }

// Input records what is typed. The bytes are not kept.
func (t *Terminal) Input(p []byte) error { return t.data(1, p) }

// Resize records the terminal's new size in characters.
func (t *Terminal) Resize(width, height int) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.event(t.code[2], size(width, height))
	return t.w.err
}

func size(width, height int) string {
	return fmt.Sprintf("%dx%d", dimension(width, 80), dimension(height, 24))
}

// data records bytes in one direction, without cutting a character in two.
func (t *Terminal) data(direction int, p []byte) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for len(p) > 0 {
		part := p[:min(len(p), maxEvent)]
		p = p[len(part):]
		whole := append(t.held[direction], part...)
		n := len(whole) - unfinished(whole)
		if n > 0 {
			t.w.event(t.code[direction], strings.ToValidUTF8(string(whole[:n]), "\uFFFD"))
		}
		t.held[direction] = append(t.held[direction][:0], whole[n:]...)
	}
	return t.w.err
}

// finish records what never became a character. mu of the writer is held.
func (t *Terminal) finish() {
	for d, held := range t.held {
		if len(held) > 0 {
			t.w.event(t.code[d], "\uFFFD")
			t.held[d] = nil
		}
	}
}

// unfinished returns how many bytes at the end may be the beginning of a character: 0 to 3.
func unfinished(p []byte) int {
	for n := 1; n <= min(utf8.UTFMax-1, len(p)); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// printable is text without control characters, cut to a length in bytes.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
