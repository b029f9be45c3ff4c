package function

// stopGlobal is the name under which interruptible exports what ends a module that runs.
const stopGlobal = "isthmus stop"

// interruptAfter is how many loops and calls a module makes before it looks whether it is to end: some ten microseconds.
const interruptAfter = 4096

// interruptible adds to a module that it can be ended while it runs: when the exported global stopGlobal is not 0 any more, it traps at one of
// its next loops or calls. The runtime can do the same, by leaving the module in each turn of each loop, which makes Go's modules five times
// slower; here they count, and leave when the count is at its end. That they leave matters too: nothing else of the process could stop them for
// a collection of garbage.
//
// ok is false for modules it does not understand: those the runtime does not know either, and those that run while they are made.
func interruptible(code []byte) (out []byte, ok bool) {
	const header = "\x00asm\x01\x00\x00\x00"
	if len(code) < len(header) || string(code[:len(header)]) != header {
		return nil, false
	}
	m := rewriting{in: &wasmBytes{b: code[len(header):]}, out: append(make([]byte, 0, len(code)*5/4), header...)}
	if !m.sections() {
		return nil, false
	}
	return m.out, true
}

// The sections of a module (WebAssembly core specification 2.0, section 5.5.2).
const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionGlobal   = 6
	sectionExport   = 7
	sectionStart    = 8
	sectionCode     = 10
)

// wasmBytes is read from its beginning; bad is set when it does not hold what is read.
type wasmBytes struct {
	b   []byte
	at  int
	bad bool

	globals uint64 // that instructions may name
}

func (r *wasmBytes) more() bool { return !r.bad && r.at < len(r.b) }

func (r *wasmBytes) byte() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// number reads an unsigned one; a signed one is skipped alike.
func (r *wasmBytes) number() (n uint64) {
	for shift := 0; shift < 70; shift += 7 {
		c := r.byte()
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	r.bad = true
	return 0
}

func (r *wasmBytes) skip(n uint64) []byte {
	if n > uint64(len(r.b)-r.at) {
		r.bad = true
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

func appendNumber(b []byte, n uint64) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// rewriting is one module on its way.
type rewriting struct {
	in  *wasmBytes
	out []byte

	types, functions, globals uint64 // how many there are, the imported ones among them, and not ours
}

// sections copies all sections, with what is added.
func (m *rewriting) sections() bool {
	last, hasGlobals := byte(0), false
	for m.in.more() {
		id := m.in.byte()
		s := &wasmBytes{b: m.in.skip(m.in.number())}
		if m.in.bad || id == sectionStart {
			return false
		}
		if id >= sectionGlobal && !hasGlobals {
			hasGlobals = true
			if id != sectionGlobal {
				m.section(sectionGlobal, m.addGlobals(nil, 0))
			}
		}
		body := s.b
		switch id {
		case sectionCustom: // names, which nobody reads
			continue
		case sectionType:
			m.types = s.number()
			body = append(append(appendNumber(nil, m.types+1), s.b[s.at:]...), 0x60, 0, 0)
		case sectionImport:
			m.imports(s)
		case sectionFunction:
			n := s.number()
			m.functions += n
			body = appendNumber(appendNumber(append(appendNumber(nil, n+2), s.b[s.at:]...), m.types), m.types)
		case sectionGlobal:
			n := s.number()
			body = m.addGlobals(s.b[s.at:], n)
		case sectionExport:
			n := s.number()
			body = append(appendNumber(nil, n+1), s.b[s.at:]...)
			body = append(append(append(body, byte(len(stopGlobal))), stopGlobal...), 3)
			body = appendNumber(body, m.globals+1)
		case sectionCode:
			body = m.code(s)
		}
		if s.bad || id <= last && id != 12 || id > 12 { // 12 stands before 10
			return false
		}
		if id != 12 {
			last = id
		}
		m.section(id, body)
	}
	return !m.in.bad && last >= sectionCode
}

func (m *rewriting) section(id byte, body []byte) {
	m.out = append(appendNumber(append(m.out, id), uint64(len(body))), body...)
}

// imports counts what is imported.
func (m *rewriting) imports(s *wasmBytes) {
	for range s.number() {
		s.skip(s.number())
		s.skip(s.number())
		switch s.byte() {
		case 0:
			s.number()
			m.functions++
		case 3:
			s.skip(2)
			m.globals++
		default: // tables and memories, which are refused elsewhere
			s.bad = true
		}
		if s.bad {
			return
		}
	}
}

// addGlobals appends the count, and behind it what ends the module.
func (m *rewriting) addGlobals(list []byte, n uint64) []byte {
	m.globals += n
	body := append(appendNumber(nil, n+2), list...)
	body = append(body, 0x7f, 1, 0x41)                           // (mut i32) (i32.const
	body = append(append(body, signed(interruptAfter)...), 0x0b) // interruptAfter)
	return append(body, 0x7f, 1, 0x41, 0, 0x0b)                  // (mut i32) (i32.const 0)
}

// signed is a small positive number as constants are written.
func signed(n uint64) []byte {
	b := appendNumber(nil, n)
	if b[len(b)-1]&0x40 != 0 {
		b[len(b)-1] |= 0x80
		b = append(b, 0)
	}
	return b
}

// code copies all functions, each with a look at its beginning and in each loop, and adds two: one that leaves the module for a moment, and one
// that calls it and then looks. It is a call because the runtime reads globals anew behind calls.
func (m *rewriting) code(s *wasmBytes) []byte {
	n := s.number()
	body := appendNumber(make([]byte, 0, len(s.b)*5/4), n+2)
	look := []byte{0x23}                                                 // global.get count
	look = append(appendNumber(look, m.globals), 0x41, 1, 0x6b, 0x24)    // i32.const 1, i32.sub, global.set
	look = append(appendNumber(look, m.globals), 0x23)                   // count, global.get
	look = append(appendNumber(look, m.globals), 0x45, 0x04, 0x40, 0x10) // count, i32.eqz, if, call
	look = append(appendNumber(look, m.functions+1), 0x0b)               // the second, end
	var f []byte
	for range n {
		in := &wasmBytes{b: s.skip(s.number()), globals: m.globals}
		f = withLooks(f[:0], in, look)
		if s.bad = s.bad || in.bad; s.bad {
			return nil
		}
		body = append(appendNumber(body, uint64(len(f))), f...)
	}
	leave := []byte{0, 0x41, 0, 0x40, 0, 0x1a, 0x0b} // memory.grow by nothing
	check := append(appendNumber([]byte{0, 0x10}, m.functions), 0x41)
	check = append(append(check, signed(interruptAfter)...), 0x24)
	check = append(appendNumber(check, m.globals), 0x23)
	check = append(appendNumber(check, m.globals+1), 0x04, 0x40, 0x00, 0x0b, 0x0b) // if unreachable end
	for _, f := range [][]byte{leave, check} {
		body = append(appendNumber(body, uint64(len(f))), f...)
	}
	if s.more() {
		s.bad = true
	}
	return body
}

// withLooks copies one function.
func withLooks(out []byte, in *wasmBytes, look []byte) []byte {
	for range in.number() { // locals
		in.number()
		in.byte()
		if in.bad {
			return nil
		}
	}
	out = append(append(out, in.b[:in.at]...), look...)
	done := in.at
	for in.more() {
		if op := in.byte(); op == 0x03 {
			in.number()
			out = append(append(out, in.b[done:in.at]...), look...)
			done = in.at
		} else {
			in.immediates(op)
		}
	}
	return append(out, in.b[done:]...)
}

// immediates skips what stands behind an instruction (section 5.4).
func (r *wasmBytes) immediates(op byte) {
	switch {
	case op == 0x02, op == 0x04, op >= 0x0c && op <= 0x0d, op == 0x10, op == 0x12, op >= 0x20 && op <= 0x22, op >= 0x25 && op <= 0x26, op >= 0x3f && op <= 0x42, op == 0xd0, op == 0xd2:
		r.number()
	case op == 0x23, op == 0x24:
		if r.number() >= r.globals { // it would be one of ours
			r.bad = true
		}
	case op == 0x11, op == 0x13, op >= 0x28 && op <= 0x3e:
		r.number()
		r.number()
	case op == 0x0e:
		for range r.number() {
			if r.number(); r.bad {
				return
			}
		}
		r.number()
	case op == 0x1c:
		r.skip(r.number())
	case op == 0x43:
		r.skip(4)
	case op == 0x44:
		r.skip(8)
	case op == 0xfc:
		r.more1(r.number())
	case op == 0xfd:
		r.vector(r.number())
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op >= 0x1a && op <= 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	default:
		r.bad = true
	}
}

// more1 skips what stands behind the instructions that begin with 0xfc.
func (r *wasmBytes) more1(op uint64) {
	counts := []int{0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1}
	if op >= uint64(len(counts)) {
		r.bad = true
		return
	}
	for range counts[op] {
		r.number()
	}
}

// vector skips what stands behind those that begin with 0xfd.
func (r *wasmBytes) vector(op uint64) {
	memory := op <= 11 || op >= 84 && op <= 93
	if memory {
		r.number()
		r.number()
	}
	switch {
	case op == 12, op == 13:
		r.skip(16)
	case op >= 21 && op <= 34, op >= 84 && op <= 91:
		r.byte()
	case op > 255:
		r.bad = true
	}
}
