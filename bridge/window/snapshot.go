package window

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math"
	"slices"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/fault"
)

// A snapshot is the mark, the fingerprint of the window's spec, counts, partitions, the store, and CRC-32C (RFC 3720, B.4) of all that.
const mark = "IWN1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is all state in bytes. Rows of Closed may be sent once a snapshot that was taken after it is durable: what is closed by then stays
// closed.
func (w *Window) Snapshot() ([]byte, error) {
	b := make([]byte, 0, w.written+w.written/8+256)
	b = append(b, mark...)
	b = append(b, w.spec.fingerprint[:]...)
	for _, n := range []int64{w.late, w.closed, w.passed} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(w.lanes)))
	for _, name := range slices.Sorted(maps.Keys(w.lanes)) {
		l := w.lanes[name]
		b = appendTruth(appendText(b, name), l.seen)
		b = binary.AppendVarint(b, l.latest)
	}
	b = w.store.append(b)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	w.written = len(b)
	return b, nil
}

func (w *Window) restore(b []byte) error {
	op := "window.Restore"
	n := len(b) - 4
	if n < len(mark) || string(b[:len(mark)]) != mark || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return fault.New(op, fault.Internal, "the state of the window is damaged").
			Advise("restore the bridge's folder from a copy, or move the bridge's checkpoint away: it then begins anew where the control plane knows it stood")
	}
	r := &reader{s: b[len(mark):n]}
	if string(r.take(len(w.spec.fingerprint))) != string(w.spec.fingerprint[:]) {
		return fault.New(op, fault.Precondition, "the window is not the one that the state is of").
			Advise("put the window back as it was until it has nothing open, or make a new bridge for the new one")
	}
	w.late, w.closed, w.passed = r.varint(), r.varint(), r.varint()
	for range r.count(2) {
		name, seen, latest := r.text(), r.truth(), r.varint()
		if l := w.lanes[name]; l != nil { // others are no partitions any more, and must hold nothing open
			l.seen, l.latest = seen, latest
		}
	}
	w.kept = w.store.read(r)
	if r.bad || len(r.s) != 0 {
		return fault.New(op, fault.Internal, "the state of the window cannot be read").Advise("it was written by another version: go on with that one")
	}
	w.written = len(b)
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTruth(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendValue(b []byte, v column.Value) []byte {
	b = append(b, byte(v.Kind))
	switch v.Kind {
	case column.Text, column.JSON:
		return appendText(b, v.Text)
	case column.Null:
		return b
	}
	return binary.BigEndian.AppendUint64(b, v.Bits)
}

// reader reads a snapshot. Once it is bad it gives nothing but zeros.
type reader struct {
	s   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.s) {
		r.bad = true
		return nil
	}
	b := r.s[:n]
	r.s = r.s[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.s)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.s = r.s[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.s)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.s = r.s[n:]
	return v
}

// count reads how many things follow, each of which takes at least size bytes.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.s)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.count(1))) }

func (r *reader) truth() bool {
	b := r.take(1)
	return len(b) == 1 && b[0] != 0
}

func (r *reader) word() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) value() column.Value {
	kind := r.take(1)
	if kind == nil {
		return column.Value{}
	}
	v := column.Value{Kind: column.Kind(kind[0])}
	switch {
	case v.Kind > column.JSON:
		r.bad = true
	case v.Kind == column.Text || v.Kind == column.JSON:
		v.Text = r.text()
	case v.Kind != column.Null:
		v.Bits = r.word()
	}
	return v
}

func (x *exact) append(b []byte) []byte {
	if !x.used {
		return append(b, 0)
	}
	x.trim()
	l := x.limbs()
	b = append(b, byte(len(l)))
	b = binary.AppendVarint(b, int64(x.low))
	for _, v := range l {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func (x *exact) read(r *reader) {
	n := r.take(1)
	if n == nil || n[0] == 0 {
		return
	}
	low := r.varint()
	if n[0] < 3 || low < math.MinInt16 || low > math.MaxInt16 {
		r.bad = true
		return
	}
	l := make([]uint64, n[0])
	for i := range l {
		l[i] = r.word()
	}
	x.used, x.low = true, int32(low)
	if len(l) == 3 {
		x.small = [3]uint64(l)
	} else {
		x.large = l
	}
}

func (c *counter) append(b []byte) []byte { return binary.AppendVarint(b, c.n) }
func (c *counter) read(r *reader)         { c.n = r.varint() }

func (t *total) append(b []byte) []byte { return t.sum.append(appendTruth(b, t.some)) }
func (t *total) read(r *reader)         { t.some = r.truth(); t.sum.read(r) }

func (m *mean) append(b []byte) []byte { return m.sum.append(binary.AppendVarint(b, m.n)) }
func (m *mean) read(r *reader)         { m.n = r.varint(); m.sum.read(r) }

func (s *spread) append(b []byte) []byte {
	return s.squares.append(s.sum.append(binary.AppendVarint(b, s.n)))
}
func (s *spread) read(r *reader) { s.n = r.varint(); s.sum.read(r); s.squares.read(r) }

func (x *extreme) append(b []byte) []byte { return appendValue(appendTruth(b, x.some), x.v) }
func (x *extreme) read(r *reader)         { x.some, x.v = r.truth(), r.value() }

func (p *pick) append(b []byte) []byte {
	b = binary.AppendVarint(appendTruth(b, p.some), p.at.time)
	b = binary.AppendVarint(appendText(b, p.at.lane), p.at.sequence)
	return appendValue(binary.AppendVarint(b, int64(p.at.index)), p.v)
}

func (p *pick) read(r *reader) {
	p.some = r.truth()
	p.at = position{r.varint(), r.text(), r.varint(), int(r.varint())}
	p.v = r.value()
}

func (d *distinct) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(d.seen)))
	for key := range d.seen {
		b = appendText(b, key)
	}
	return b
}

func (d *distinct) read(r *reader) {
	for range r.count(1) {
		d.put(r.text())
	}
}

func (k *ranks) append(b []byte) []byte {
	k.settle()
	b = binary.AppendUvarint(b, uint64(len(k.values)))
	for i, f := range k.values {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
		b = binary.AppendUvarint(b, uint64(k.counts[i]))
	}
	return b
}

func (k *ranks) read(r *reader) {
	n := r.count(9)
	k.values, k.counts = make([]float64, n), make([]int64, n)
	for i := range k.values {
		k.values[i], k.counts[i] = math.Float64frombits(r.word()), int64(r.uvarint())
		k.n += k.counts[i]
	}
	k.account()
}
