package recording

import "unicode/utf8"

// Bounds of sequences. What is longer is none, and is left out up to there.
const (
	maxSequence = 64       // parameters of a control sequence in bytes; terminals take less
	maxString   = 64 << 10 // bytes of a string that is left out; then characters are shown again, lest one that never ends hides all that follows
)

// control is one escape or control sequence, complete and without what its introducer was.
type control struct {
	csi          bool
	private      byte   // one of < = > ? after CSI, or 0
	parameters   []byte // digits, ; and :
	intermediate byte   // 0x20 to 0x2f, or 0
	final        byte
}

// screen is told what a terminal would be told by bytes.
type screen interface {
	character(r rune)   // neither a control character of C0 nor of C1, nor DEL
	c0(c byte)          // a control character but ESC, CAN and SUB
	sequence(c control) // the parameters are valid during the call
}

// escapes takes bytes apart as terminals do (ECMA-48; the states are those of DEC's VT500). Strings, which are DCS, SOS, OSC, PM and APC, are not
// told to anybody. It keeps its place between calls, so that it does not matter where bytes are cut.
type escapes struct {
	state      func(*escapes, rune, screen)
	held       [utf8.UTFMax]byte // the beginning of a character
	heldLen    int
	private    byte
	inter      byte
	parameters []byte
	bad        bool // the sequence is not one we know the form of
	skipped    int  // of a string
}

// feed takes bytes. What is no UTF-8 is U+FFFD each.
func (e *escapes) feed(p []byte, s screen) {
	if e.state == nil {
		e.state = (*escapes).ground
	}
	for len(p) > 0 {
		if e.heldLen == 0 {
			if !utf8.FullRune(p) {
				e.heldLen = copy(e.held[:], p)
				return
			}
			r, n := utf8.DecodeRune(p)
			p = p[n:]
			e.state(e, r, s)
			continue
		}
		e.held[e.heldLen] = p[0]
		if held := e.held[:e.heldLen+1]; utf8.FullRune(held) {
			r, n := utf8.DecodeRune(held)
			e.heldLen = 0
			e.state(e, r, s)
			if n == len(held) {
				p = p[1:]
				continue
			}
			// The byte does not go on with the character; those held after the first cannot begin one.
			for range len(held) - 1 - n {
				e.state(e, utf8.RuneError, s)
			}
			continue
		}
		e.heldLen++
		p = p[1:]
	}
}

// end tells what was held, when nothing follows.
func (e *escapes) end(s screen) {
	for range e.heldLen {
		e.state(e, utf8.RuneError, s)
	}
	e.heldLen = 0
}

const esc, del = 0x1b, 0x7f

// anywhere does what is the same in all states, and tells whether that is all.
func (e *escapes) anywhere(r rune, s screen) bool {
	switch {
	case r == esc:
		e.begin()
	case r == 0x18 || r == 0x1a: // CAN, SUB: the sequence is none
		e.state = (*escapes).ground
	case r >= 0x80 && r <= 0x9f: // C1: the same as ESC and the character 0x40 below
		e.begin()
		e.escape(r-0x40, s)
	default:
		return false
	}
	return true
}

// begin forgets what came before an introducer.
func (e *escapes) begin() {
	e.state, e.private, e.inter, e.parameters, e.bad = (*escapes).escape, 0, 0, e.parameters[:0], false
}

func (e *escapes) ground(r rune, s screen) {
	switch {
	case e.anywhere(r, s):
	case r < 0x20:
		s.c0(byte(r))
	case r != del:
		s.character(r)
	}
}

// escape is behind ESC.
func (e *escapes) escape(r rune, s screen) {
	switch {
	case e.anywhere(r, s):
	case r < 0x20:
		s.c0(byte(r))
	case r == del:
	case r < 0x30:
		e.bad = e.bad || e.inter != 0
		e.inter = byte(r)
	case e.inter == 0 && r == '[':
		e.state = (*escapes).csi
	case e.inter == 0 && (r == 'P' || r == 'X' || r == ']' || r == '^' || r == '_'):
		e.state, e.skipped = (*escapes).hidden, 0
	case r > 0x7e: // no terminal agrees with another on what this is
		e.state = (*escapes).ground
	default:
		e.state = (*escapes).ground
		if !e.bad {
			s.sequence(control{intermediate: e.inter, final: byte(r)})
		}
	}
}

// csi is behind a control sequence's introducer.
func (e *escapes) csi(r rune, s screen) {
	switch {
	case e.anywhere(r, s):
	case r < 0x20:
		s.c0(byte(r))
	case r == del:
	case r < 0x30:
		e.bad = e.bad || e.inter != 0
		e.inter = byte(r)
	case r >= '<' && r <= '?':
		e.bad = e.bad || e.private != 0 || len(e.parameters) > 0 || e.inter != 0
		e.private = byte(r)
	case r <= ';':
		e.bad = e.bad || e.inter != 0 || len(e.parameters) == maxSequence
		if !e.bad {
			e.parameters = append(e.parameters, byte(r))
		}
	case r > 0x7e:
		e.bad = true
	default:
		e.state = (*escapes).ground
		if !e.bad {
			s.sequence(control{csi: true, private: e.private, parameters: e.parameters, intermediate: e.inter, final: byte(r)})
		}
	}
}

// hidden is within a string. BEL ends one of OSC in xterm; that others are ended by it as well only shows more.
func (e *escapes) hidden(r rune, s screen) {
	switch {
	case e.anywhere(r, s):
	case r == 0x07:
		e.state = (*escapes).ground
	default:
		if e.skipped++; e.skipped > maxString {
			e.state = (*escapes).ground
		}
	}
}
