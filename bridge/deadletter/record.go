package deadletter

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// A record is "ILTR", the length of what follows the checksum (4 bytes, big endian), a CRC-32C of length and content, and the content: a
// letter, or the ids of letters that are no more.
const (
	mark      = "ILTR"
	headSize  = len(mark) + 8
	maxRecord = 64 << 20

	kindLetter  = 1
	kindDeleted = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// begin makes room for a record's head.
func begin(b []byte) (head int, _ []byte) {
	return len(b), append(append(b, mark...), make([]byte, 8)...)
}

// end fills the head in.
func end(b []byte, head int) []byte {
	binary.BigEndian.PutUint32(b[head+4:], uint32(len(b)-head-headSize)) // checked against maxRecord by the caller
	binary.BigEndian.PutUint32(b[head+8:], checksum(b[head:]))
	return b
}

func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[4:8], castagnoli), castagnoli, frame[headSize:])
}

// next takes the first record of b, passing over what is none. skipped is how many bytes that is; size is 0 when there is no further one.
func next(b []byte) (content []byte, skipped, size int) {
	for skipped = 0; ; skipped++ {
		i := bytes.Index(b[skipped:], []byte(mark))
		if i < 0 {
			return nil, len(b), 0
		}
		skipped += i
		rest := b[skipped:]
		if len(rest) < headSize {
			return nil, len(b), 0
		}
		n := int64(binary.BigEndian.Uint32(rest[4:]))
		if n > maxRecord || n > int64(len(rest)-headSize) {
			continue
		}
		frame := rest[:headSize+int(n)]
		if checksum(frame) == binary.BigEndian.Uint32(rest[8:]) {
			return frame[headSize:], skipped, len(frame)
		}
	}
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendLetter writes a letter as a record.
func appendLetter(b []byte, l *Letter) []byte {
	head, b := begin(b)
	b = append(b, kindLetter)
	b = binary.AppendUvarint(b, l.ID)
	b = binary.AppendVarint(b, l.At.UnixNano())
	b = appendText(appendText(appendText(b, l.Lane), l.Step), l.Reason)
	return end(appendEvent(b, l.Event), head)
}

func appendEvent(b []byte, e *event.Event) []byte {
	o := &e.Origin
	b = appendText(b, o.Partition)
	b = binary.AppendVarint(b, o.Sequence)
	b = binary.AppendVarint(b, int64(o.Index))
	b = appendTime(b, o.Enqueued)
	b = appendText(appendText(appendText(b, o.Name), e.Key), e.Body)
	flag := byte(0)
	if e.Repeat {
		flag = 1
	}
	b = append(b, flag)
	for _, list := range [][]event.Property{e.Properties, e.System} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for i := range list {
			b = appendValue(appendText(b, list[i].Name), list[i].Value)
		}
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = append(b, 1)
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond())) // never negative
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(append(b, 's'), v)
	case int64:
		return binary.AppendVarint(append(b, 'i'), v)
	case uint64:
		return binary.AppendUvarint(append(b, 'u'), v)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
	case bool:
		if v {
			return append(b, '+')
		}
		return append(b, '-')
	case []byte:
		return appendText(append(b, 'b'), v)
	case time.Time:
		return appendTime(append(b, 't'), v)
	}
	return append(b, 'z')
}

// appendDeleted writes that letters are no more.
func appendDeleted(b []byte, ids []uint64) []byte {
	head, b := begin(b)
	b = append(b, kindDeleted)
	for _, id := range ids {
		b = binary.AppendUvarint(b, id)
	}
	return end(b, head)
}

// parser reads the content of a record.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) uint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) int() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) byte() byte { return p.take(1)[0] }

// take returns n bytes, zeros where there are not so many.
func (p *parser) take(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return make([]byte, min(n, 8))
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *parser) text() string { return string(p.take(p.uint())) }

func (p *parser) time() (t time.Time) {
	if p.byte() == 0 {
		return t
	}
	seconds := p.int()
	nanos := p.uint()
	if nanos >= 1e9 {
		p.bad = true
		return t
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (p *parser) value() any {
	switch p.byte() {
	case 's':
		return p.text()
	case 'i':
		return p.int()
	case 'u':
		return p.uint()
	case 'f':
		return math.Float64frombits(binary.BigEndian.Uint64(p.take(8)))
	case '+':
		return true
	case '-':
		return false
	case 'b':
		return bytes.Clone(p.take(p.uint()))
	case 't':
		return p.time()
	case 'z':
		return nil
	}
	p.bad = true
	return nil
}

func (p *parser) properties() []event.Property {
	n := p.uint()
	if n == 0 || n > uint64(len(p.b)) { // each takes two bytes at least
		p.bad = p.bad || n > 0
		return nil
	}
	out := make([]event.Property, 0, min(n, 64))
	for range n {
		out = append(out, event.Property{Name: p.text(), Value: p.value()})
		if p.bad {
			return nil
		}
	}
	return out
}

// parse reads a record: a letter, with its event only when whole is set, or ids of letters that are no more.
func parse(content []byte, whole bool) (l *Letter, deleted []uint64, err error) {
	p := &parser{b: content}
	switch p.byte() {
	case kindLetter:
		l = &Letter{ID: p.uint(), At: time.Unix(0, p.int()).UTC(), Lane: p.text(), Step: p.text()}
		if !whole {
			break
		}
		l.Reason = p.text()
		e := &event.Event{Origin: event.Origin{Partition: p.text(), Sequence: p.int(), Index: int(p.int()), Enqueued: p.time(), Name: p.text()}}
		e.Key, e.Body = p.text(), bytes.Clone(p.take(p.uint()))
		e.Repeat = p.byte() != 0
		e.Properties, e.System = p.properties(), p.properties()
		l.Event = e
		p.bad = p.bad || len(p.b) > 0
	case kindDeleted:
		for len(p.b) > 0 {
			deleted = append(deleted, p.uint())
		}
	default:
		p.bad = true
	}
	if p.bad {
		return nil, nil, fault.New("deadletter.parse", fault.Invalid, "a record of a dead letter is damaged")
	}
	return l, deleted, nil
}
