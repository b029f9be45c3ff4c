package message

import "encoding/binary"

// Section is where in a message a record stands.
type Section uint8

// The sections in their order.
const (
	Answer Section = iota
	Authority
	Additional
)

// Record is one record of a message, as offsets into it.
type Record struct {
	Section Section
	Start   int // of the owner's name, which may be compressed
	Type    uint16
	Class   uint16
	TTL     uint32
	head    int // of the type
	Data    int // of the rdata
	End     int
}

// Reader walks through the records of a message.
type Reader struct {
	msg  []byte
	off  int
	left [3]int
	at   Section
	bad  bool
}

// Read returns a Reader that stands behind the questions. ok is false when the message is cut there.
func Read(msg []byte) (r Reader, ok bool) {
	if len(msg) < HeaderSize {
		return r, false
	}
	off := HeaderSize
	for range binary.BigEndian.Uint16(msg[4:]) {
		if off = skipName(msg, off); off < 0 || off+4 > len(msg) {
			return r, false
		}
		off += 4
	}
	r = Reader{msg: msg, off: off}
	for i := range r.left {
		r.left[i] = int(binary.BigEndian.Uint16(msg[6+2*i:]))
	}
	return r, true
}

// Next returns the next record, if there is one that is whole. See Bad.
func (r *Reader) Next() (rec Record, ok bool) {
	for r.at < Additional && r.left[r.at] == 0 {
		r.at++
	}
	if r.bad || r.left[r.at] == 0 {
		return rec, false
	}
	r.left[r.at]--
	head := skipName(r.msg, r.off)
	if head < 0 || head+10 > len(r.msg) {
		r.bad = true
		return rec, false
	}
	rec = Record{
		Section: r.at, Start: r.off, head: head,
		Type: binary.BigEndian.Uint16(r.msg[head:]), Class: binary.BigEndian.Uint16(r.msg[head+2:]), TTL: binary.BigEndian.Uint32(r.msg[head+4:]),
		Data: head + 10, End: head + 10 + int(binary.BigEndian.Uint16(r.msg[head+8:])),
	}
	if rec.End > len(r.msg) {
		r.bad = true
		return rec, false
	}
	r.off = rec.End
	return rec, true
}

// Bad reports whether Next ended before the last record because one is cut.
func (r *Reader) Bad() bool { return r.bad }

// Offset is where the next record begins, or where the last one ended.
func (r *Reader) Offset() int { return r.off }

// PutTTL changes a record's TTL in its message.
func PutTTL(msg []byte, rec Record, ttl uint32) { binary.BigEndian.PutUint32(msg[rec.head+4:], ttl) }

// AppendRecord appends a record of msg with all names in it written out, so that it can stand in any message. ok is false, and dst as
// it was, when a name is malformed or the rdata is cut.
func AppendRecord(dst, msg []byte, rec Record) (out []byte, ok bool) {
	start := len(dst)
	dst, _, ok = Expand(dst, msg, rec.Start)
	if !ok {
		return dst, false
	}
	dst = append(dst, msg[rec.head:rec.head+10]...)
	data := len(dst)
	off := rec.Data
	for _, part := range []byte(partsOf(rec.Type)) {
		n := int(part) // bytes as they are
		switch {
		case off >= rec.End:
			return dst[:start], false
		case part == aName:
			// A name ends within the rdata; what its pointers lead to stands before.
			if dst, off, ok = Expand(dst, msg[:rec.End], off); !ok {
				return dst[:start], false
			}
			continue
		case part == aString:
			n = 1 + int(msg[off])
		}
		if off+n > rec.End {
			return dst[:start], false
		}
		dst = append(dst, msg[off:off+n]...)
		off += n
	}
	dst = append(dst, msg[off:rec.End]...)
	if len(dst)-data > 0xffff {
		return dst[:start], false
	}
	binary.BigEndian.PutUint16(dst[data-2:], uint16(len(dst)-data))
	return dst, true
}

// How an rdata with names begins: a name, a character-string, or else that number of bytes.
const (
	aName   = 'n'
	aString = 's'
)

// partsOf says where in a type's rdata names may be compressed: in those of RFC 1035, and in the few others which RFC 3597 section 4
// tells a receiver to be ready for. DNSSEC's and newer types have names written out.
func partsOf(rrtype uint16) string {
	switch rrtype {
	case 2, 3, 4, 5, 7, 8, 9, 12, 30, 39: // NS MD MF CNAME MB MG MR PTR NXT DNAME
		return "n"
	case 6, 14, 17: // SOA MINFO RP
		return "nn"
	case 15, 18, 21, 36: // MX AFSDB RT KX
		return "\x02n"
	case 26: // PX
		return "\x02nn"
	case 33: // SRV
		return "\x06n"
	case 24: // SIG
		return "\x12n"
	case 35: // NAPTR
		return "\x04sssn"
	}
	return ""
}
