package recording

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Filter lets through what draws on a terminal and nothing that does more. What draws is characters, colours (SGR), movements of the cursor,
// erasing, inserting, scrolling, line-drawing characters, the alternate screen, and the few DEC private modes without another effect. What is
// left out is, among others: titles, the clipboard, hyperlinks and all else of OSC, DCS, APC, PM and SOS; everything the terminal would answer
// (device attributes, status, settings), for an answer is typed at whoever watches; window operations, mouse and paste modes, what keys send,
// printing, resets, and the bell.
//
// What it writes is made anew from what it understood, in 7-bit form: bytes that it does not understand cannot come through.
type Filter struct {
	out     io.Writer
	escapes escapes
	buf     []byte
	state   state
}

// state is what a recording has changed in the terminal.
type state struct {
	style, cursor, wrap, origin, insert, region, charset bool
	alternate                                            string // the mode that brought it
}

// NewFilter returns a Filter that writes to out.
func NewFilter(out io.Writer) *Filter { return &Filter{out: out} }

// Write filters p and writes what remains with one call. It returns len(p), or out's error.
func (f *Filter) Write(p []byte) (int, error) {
	f.escapes.feed(p, f)
	if err := f.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Reset gives the terminal back as it was found, as far as the recording changed it: colours, the main screen, the cursor, scrolling.
func (f *Filter) Reset() error {
	f.escapes.end(f)
	s := f.state
	for _, r := range []struct {
		changed bool
		undo    string
	}{
		{s.style, "\x1b[0m"},
		{s.insert, "\x1b[4l"},
		{s.origin, "\x1b[?6l"},
		{s.alternate != "", "\x1b[?" + s.alternate + "l"},
		{s.region, "\x1b7\x1b[r\x1b8"}, // it moves the cursor, which is put back
		{s.wrap, "\x1b[?7h"},
		{s.cursor, "\x1b[?25h"},
		{s.charset, "\x1b(B\x1b)B\x0f"},
	} {
		if r.changed {
			f.buf = append(f.buf, r.undo...)
		}
	}
	f.state, f.escapes = state{}, escapes{}
	return f.flush()
}

func (f *Filter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.out.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *Filter) character(r rune) { f.buf = utf8.AppendRune(f.buf, r) }

func (f *Filter) c0(c byte) {
	switch c {
	case '\b', '\t', '\n', '\v', '\f', '\r':
		f.buf = append(f.buf, c)
	case 0x0e, 0x0f: // the other character set and back
		f.state.charset = true
		f.buf = append(f.buf, c)
	}
}

func (f *Filter) sequence(c control) {
	switch {
	case c.csi && c.private == 0 && c.intermediate == 0:
		f.plain(c)
	case c.csi && c.private == '?' && c.intermediate == 0:
		f.dec(c)
	case c.csi:
	case c.intermediate == '(' || c.intermediate == ')': // which characters G0 and G1 are
		if c.final == 'B' || c.final == '0' || c.final == 'A' {
			f.state.charset = true
			f.buf = append(f.buf, esc, c.intermediate, c.final)
		}
	case c.intermediate == 0:
		switch c.final {
		case '7', '8', 'D', 'E', 'M': // save and restore the cursor; index, next line, reverse index
			f.buf = append(f.buf, esc, c.final)
		}
	}
}

// most numbers a sequence may have, and the greatest of them: "repeat ten milliards of times" draws, too.
const (
	maxNumbers = 32
	maxNumber  = 9999
)

// plain lets a control sequence of ECMA-48 through.
func (f *Filter) plain(c control) {
	if !modest(c.parameters) {
		return
	}
	switch c.final {
	case 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'Z', '`', 'a', 'd', 'e', 'f', // the cursor
		'J', 'K', 'L', 'M', 'P', 'X', '@', 'S', // erase, insert, delete, scroll
		'b': // the character before, again
	case 'T': // scroll down; with more numbers it tracks the mouse
		if bytes.IndexByte(c.parameters, ';') >= 0 {
			return
		}
	case 'm':
		f.state.style = true
	case 'r':
		f.state.region = true
	case 's', 'u': // save and restore the cursor; with numbers they are something else
		if len(c.parameters) > 0 {
			return
		}
	case 'h', 'l': // insert mode; the others are the keyboard's
		if string(c.parameters) != "4" {
			return
		}
		f.state.insert = true
	default:
		return
	}
	f.buf = append(f.buf, esc, '[')
	f.buf = append(f.buf, c.parameters...)
	f.buf = append(f.buf, c.final)
}

// dec lets DEC's private sequences through: some modes, and selective erasing.
func (f *Filter) dec(c control) {
	switch c.final {
	case 'J', 'K':
		if modest(c.parameters) {
			f.buf = append(f.buf, esc, '[', '?')
			f.buf = append(f.buf, c.parameters...)
			f.buf = append(f.buf, c.final)
		}
	case 'h', 'l':
		for i, mode := range slices.Collect(bytes.SplitSeq(c.parameters, []byte{';'})) {
			if i == maxNumbers {
				return
			}
			if f.mode(string(mode), c.final == 'h') {
				f.buf = append(f.buf, esc, '[', '?')
				f.buf = append(f.buf, mode...)
				f.buf = append(f.buf, c.final)
			}
		}
	}
}

// mode notes a private mode that is switched, and tells whether it may be.
func (f *Filter) mode(number string, on bool) bool {
	switch number {
	case "6": // the cursor's origin is the scroll region's
		f.state.origin = on
	case "7": // lines wrap
		f.state.wrap = !on
	case "12": // the cursor blinks
	case "25": // the cursor is shown
		f.state.cursor = !on
	case "47", "1047", "1049": // the alternate screen
		f.state.alternate = ""
		if on {
			f.state.alternate = number
		}
	case "1048": // the cursor is saved and restored
	default:
		return false
	}
	return true
}

// modest tells whether numbers are few and small.
func modest(parameters []byte) bool {
	n := 0
	for p := range bytes.FieldsFuncSeq(parameters, func(r rune) bool { return r == ';' || r == ':' }) {
		v, err := strconv.ParseUint(string(p), 10, 32)
		if n++; err != nil || v > maxNumber || n > maxNumbers {
			return false
		}
	}
	return true
}
