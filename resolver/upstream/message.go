package upstream

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	headerLen = 12
	maxName   = 255 // bytes of a name on the wire (RFC 1035 section 3.1)
	cookieLen = 8   // a client's cookie (RFC 7873 section 4)

	truncatedBit = 0x02 // in the header's third byte
)

// WireName turns a name as people write it into the form of a [Query].
func WireName(name string) ([]byte, error) {
	b := make([]byte, maxName+1)
	n, err := dns.PackDomainName(dns.Fqdn(name), b, 0, nil, false)
	if err != nil || n > maxName {
		return nil, fault.Newf("upstream.WireName", fault.Invalid, "%q is no domain name", name).
			Because(err).Advise("labels have 1 to 63 bytes, a name 255 in all")
	}
	return b[:n], nil
}

// lowerName copies a wire name to dst in lower case and returns its length, 0 when it is none: too long, cut short, compressed, or
// with something behind it.
func lowerName(dst *[maxName]byte, name []byte) int {
	if len(name) == 0 || len(name) > maxName {
		return 0
	}
	for off := 0; off < len(name); {
		l := int(name[off])
		if l > 63 || off+1+l > len(name) {
			return 0
		}
		dst[off] = name[off]
		for i := off + 1; i <= off+l; i++ {
			dst[i] = lower(name[i])
		}
		off += 1 + l
		if l == 0 {
			if off != len(name) {
				return 0
			}
			return off
		}
	}
	return 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// reading is what is looked at in an answer. Its slices point into the message.
type reading struct {
	id        uint16
	rcode     uint16 // with the upper bits of the OPT record
	truncated bool
	question  []byte // name, type and class; nil when there is none
	opt       bool   // an OPT record is present
	cookie    []byte // of the OPT record; nil when there is none
}

// read looks at an answer without unpacking it: the header, the question, and each record as far as it takes to find OPT. It says no
// to whatever is no well-formed response to a query with at most one question. Names are skipped, never followed, so that a message
// costs no more than its length; a pointer must lead to something before it, and not into the header.
func (r *reading) read(msg []byte) bool {
	*r = reading{}
	if len(msg) < headerLen || len(msg) > math.MaxUint16 || msg[2]&0xf8 != 0x80 { // a response, opcode 0
		return false
	}
	r.id = binary.BigEndian.Uint16(msg)
	r.truncated = msg[2]&truncatedBit != 0
	r.rcode = uint16(msg[3] & 0x0f)
	off := headerLen
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
	case 1:
		// The first name of a message has nothing before it to point to, so this one is whole.
		end, ok := skipName(msg, off)
		if !ok || end+4 > len(msg) {
			return false
		}
		off = end + 4
		r.question = msg[headerLen:off:off]
	default:
		return false
	}
	before := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	for i := range before + additional {
		start := off
		end, ok := skipName(msg, off)
		if !ok || end+10 > len(msg) {
			return r.truncated // cut in the middle: the rest comes over TCP
		}
		data := end + 10
		off = data + int(binary.BigEndian.Uint16(msg[end+8:]))
		if off > len(msg) {
			return r.truncated
		}
		if i >= before && binary.BigEndian.Uint16(msg[end:]) == dns.TypeOPT {
			// RFC 6891 section 6.1.1: one, and owned by the root.
			if r.opt || msg[start] != 0 || !r.options(msg[data:off]) {
				return false
			}
			r.opt = true
			r.rcode |= uint16(msg[end+4]) << 4
		}
	}
	return true
}

func (r *reading) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return false
		}
		if code == dns.EDNS0COOKIE {
			r.cookie = b[:n:n]
		}
		b = b[n:]
	}
	return true
}

// skipName returns where the name at off ends.
func skipName(msg []byte, off int) (int, bool) {
	for start := off; off < len(msg); {
		switch c := msg[off]; {
		case c == 0:
			return off + 1, off+1-start <= maxName
		case c >= 0xc0:
			if off+2 > len(msg) {
				return 0, false
			}
			to := int(binary.BigEndian.Uint16(msg[off:]) & 0x3fff)
			return off + 2, to >= headerLen && to < start
		case c > 63:
			return 0, false
		default:
			off += 1 + int(c)
		}
	}
	return 0, false
}

// echo is how an answer's question compares with the one that was sent.
type echo uint8

const (
	exact   echo = iota
	recased      // the same but for the case of letters
	missing      // none, which only errors may do
	foreign      // another one
)

func (r *reading) compare(sent []byte) echo {
	switch {
	case r.question == nil:
		switch r.rcode {
		case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
			return missing
		}
		return foreign
	case bytes.Equal(r.question, sent):
		return exact
	case equalFold(r.question[:max(0, len(r.question)-4)], sent[:len(sent)-4]) && bytes.Equal(r.question[len(r.question)-4:], sent[len(sent)-4:]):
		return recased
	}
	return foreign
}

// unwilling tells whether an answer says that the server cannot or will not answer, so that another may be asked.
func (r *reading) unwilling() bool {
	switch r.rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return false
	case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused, dns.RcodeBadVers, dns.RcodeBadCookie:
		return true
	}
	return false
}
