package view

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/message"
)

const (
	recordHead = 12 // owner as pointer, type, class, TTL, length of the rdata
	setHead    = 6  // type, number of records, length
)

// records is what is said of one name, as it will stand in the text: records owned by the question, one type after the other.
type records struct {
	ttl   uint32
	a     set
	aaaa  set
	more  []byte // sets of other types with their heads; one of type 0 ends them
	cname bool   // there is one, and nothing else
}

type set struct {
	body  []byte
	count uint16
}

func (r *records) size() int { return len(r.a.body) + len(r.aaaa.body) + len(r.more) }

// put appends the records to the text and notes in the node where they are.
func (r *records) put(text []byte, n *node) []byte {
	for k, s := range [...]set{r.a, r.aaaa} {
		if s.count > 0 {
			n.hot[k] = hot{off: uint32(len(text)), size: uint16(len(s.body)), count: s.count, kind: ready}
			text = append(text, s.body...)
		}
	}
	if len(r.more) > 0 {
		n.more = uint32(len(text))
		text = append(text, r.more...)
	}
	if r.cname {
		n.flags |= alias
	}
	return text
}

// read turns a name of the plan into records.
func (r *records) read(n *plan.Name) error {
	r.ttl = min(n.TTL, math.MaxInt32) // RFC 2181 section 8
	r.a.body, r.a.count, r.aaaa.body, r.aaaa.count, r.more, r.cname = r.a.body[:0], 0, r.aaaa.body[:0], 0, r.more[:0], false
	if n.CNAME != "" {
		r.cname = true
		if len(n.A)+len(n.AAAA)+len(n.TXT)+len(n.MX)+len(n.SRV)+len(n.PTR)+len(n.CAA) > 0 {
			return fmt.Errorf("it has a CNAME and other records (RFC 1034 section 3.6.2)")
		}
		err := r.others(typeCNAME, 1, func(b []byte, _ int) ([]byte, error) { return appendTarget(b, n.CNAME) })
		if err != nil {
			return err
		}
	}
	for _, ip := range n.A {
		if !ip.Unmap().Is4() {
			return fmt.Errorf("%v is no IPv4 address", ip)
		}
		r.a.address(typeA, r.ttl, ip.Unmap())
	}
	for _, ip := range n.AAAA {
		if !ip.Is6() {
			return fmt.Errorf("%v is no IPv6 address", ip)
		}
		r.aaaa.address(typeAAAA, r.ttl, ip)
	}
	if len(r.a.body) > maxSet || len(r.aaaa.body) > maxSet {
		return fmt.Errorf("its addresses do not fit into one message")
	}
	for _, err := range []error{
		r.others(typeTXT, len(n.TXT), func(b []byte, i int) ([]byte, error) { return appendText(b, n.TXT[i]), nil }),
		r.others(typeMX, len(n.MX), func(b []byte, i int) ([]byte, error) {
			return appendTarget(binary.BigEndian.AppendUint16(b, n.MX[i].Preference), n.MX[i].Exchange)
		}),
		r.others(typeSRV, len(n.SRV), func(b []byte, i int) ([]byte, error) {
			s := n.SRV[i]
			b = binary.BigEndian.AppendUint16(b, s.Priority)
			b = binary.BigEndian.AppendUint16(b, s.Weight)
			return appendTarget(binary.BigEndian.AppendUint16(b, s.Port), s.Target)
		}),
		r.others(typePTR, len(n.PTR), func(b []byte, i int) ([]byte, error) { return appendTarget(b, n.PTR[i]) }),
		r.others(typeCAA, len(n.CAA), func(b []byte, i int) ([]byte, error) {
			c := n.CAA[i]
			if c.Tag == "" || len(c.Tag) > 255 {
				return b, fmt.Errorf("a CAA record has the tag %q (RFC 8659 section 4.1)", c.Tag)
			}
			b = append(b, c.Flags, byte(len(c.Tag)))
			return append(append(b, c.Tag...), c.Value...), nil
		}),
	} {
		if err != nil {
			return err
		}
	}
	if len(r.more) > 0 {
		r.more = append(r.more, 0, 0, 0, 0, 0, 0)
	}
	return nil
}

func (s *set) address(rtype uint16, ttl uint32, ip netip.Addr) {
	s.count++
	if ip.Is4() {
		b := ip.As4()
		s.body = append(appendHead(s.body, rtype, ttl, len(b)), b[:]...)
		return
	}
	b := ip.As16()
	s.body = append(appendHead(s.body, rtype, ttl, len(b)), b[:]...)
}

// others adds records of one type, whose rdata write appends.
func (r *records) others(rtype uint16, count int, write func(b []byte, i int) ([]byte, error)) error {
	if count == 0 {
		return nil
	}
	head := len(r.more)
	r.more = append(r.more, 0, 0, 0, 0, 0, 0)
	for i := range count {
		start := len(r.more)
		var err error
		if r.more, err = write(appendHead(r.more, rtype, r.ttl, 0), i); err != nil {
			return err
		}
		if len(r.more)-head > maxSet {
			return fmt.Errorf("its records of one type do not fit into one message")
		}
		binary.BigEndian.PutUint16(r.more[start+recordHead-2:], uint16(len(r.more)-start-recordHead))
	}
	binary.BigEndian.PutUint16(r.more[head:], rtype)
	binary.BigEndian.PutUint16(r.more[head+2:], uint16(count))
	binary.BigEndian.PutUint16(r.more[head+4:], uint16(len(r.more)-head-setHead))
	return nil
}

// appendHead begins a record owned by the question.
func appendHead(b []byte, rtype uint16, ttl uint32, rdata int) []byte {
	return appendFixed(append(b, 0xc0, message.HeaderSize), rtype, ttl, rdata)
}

// appendFixed appends what stands between a record's owner and its rdata.
func appendFixed(b []byte, rtype uint16, ttl uint32, rdata int) []byte {
	return append(b, byte(rtype>>8), byte(rtype), 0, classIN,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(rdata>>8), byte(rdata))
}

// appendTarget appends a name written out: what is compressed against the question would come back in the question's spelling, and in
// SRV records it must not be (RFC 2782).
func appendTarget(b []byte, name string) ([]byte, error) {
	out, err := message.AppendName(b, name)
	if err != nil {
		return b, fmt.Errorf("it leads to %q, which is no domain name", name)
	}
	return out, nil
}

// appendText cuts a text into character-strings of 255 bytes (RFC 1035 section 3.3).
func appendText(b []byte, s string) []byte {
	for {
		n := min(len(s), 255)
		b = append(append(b, byte(n)), s[:n]...)
		if s = s[n:]; s == "" {
			return b
		}
	}
}

// soaTail is a SOA record without owner. There is no primary to transfer from and nobody to write to.
func soaTail(serial uint32) []byte {
	rdata := []byte("\x09localhost\x00\x06nobody\x07invalid\x00")
	for _, n := range [...]uint32{serial, 3600, 600, 86400, negativeTTL} {
		rdata = binary.BigEndian.AppendUint32(rdata, n)
	}
	return append(appendFixed(nil, typeSOA, negativeTTL, len(rdata)), rdata...)
}
