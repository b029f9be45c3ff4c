package amqp

import (
	"encoding/binary"
)

// composite writes a described list. Nulls at its end are left out.
type composite struct {
	dst                 []byte
	start, count, nulls int
}

// AppendDescriptor writes the descriptor of a type of the standard; the value follows it.
func AppendDescriptor(dst []byte, code uint64) []byte {
	return AppendUlong(append(dst, tagDescribed), code)
}

func compose(dst []byte, code uint64) composite {
	dst = AppendDescriptor(dst, code)
	return composite{start: len(dst), dst: startCompound(dst, tagList4)}
}

func (c *composite) close() []byte {
	if c.count == 0 {
		return append(c.dst[:c.start], tagList0)
	}
	return shorten(c.dst, c.start, c.count)
}

// add makes place for a field; write it only when add returns true.
func (c *composite) add(set bool) bool {
	if !set {
		c.nulls++
		return false
	}
	for ; c.nulls > 0; c.nulls-- {
		c.dst = append(c.dst, tagNull)
		c.count++
	}
	c.count++
	return true
}

func (c *composite) uint(v uint32) {
	c.add(true)
	c.dst = AppendUint(c.dst, v)
}

// uintUnless leaves the field out when it has its default value.
func (c *composite) uintUnless(v, missing uint32) {
	if c.add(v != missing) {
		c.dst = AppendUint(c.dst, v)
	}
}

func (c *composite) maybeUint(v Optional[uint32]) {
	if c.add(v.Set) {
		c.dst = AppendUint(c.dst, v.Value)
	}
}

func (c *composite) maybeUlong(v Optional[uint64]) {
	if c.add(v.Set) {
		c.dst = AppendUlong(c.dst, v.Value)
	}
}

func (c *composite) maybeUshort(v Optional[uint16]) {
	if c.add(v.Set) {
		c.dst = binary.BigEndian.AppendUint16(append(c.dst, tagUshort), v.Value)
	}
}

func (c *composite) maybeUbyte(v Optional[uint8]) {
	if c.add(v.Set) {
		c.dst = append(c.dst, tagUbyte, v.Value)
	}
}

func (c *composite) maybeTime(v Optional[Timestamp]) {
	if c.add(v.Set) {
		c.dst = AppendTimestamp(c.dst, v.Value)
	}
}

func (c *composite) bool(v bool) {
	c.add(true)
	c.dst = AppendBool(c.dst, v)
}

func (c *composite) maybeBool(v Optional[bool]) {
	if c.add(v.Set) {
		c.dst = AppendBool(c.dst, v.Value)
	}
}

// flag writes a boolean whose default is false.
func (c *composite) flag(v bool) {
	if c.add(v) {
		c.dst = append(c.dst, tagTrue)
	}
}

func (c *composite) binary(b []byte, set bool) {
	if c.add(set) {
		c.dst = AppendBinary(c.dst, b)
	}
}

func (c *composite) string(s string) {
	c.add(true)
	c.dst = AppendString(c.dst, s)
}

func (c *composite) maybeString(s string) {
	if c.add(s != "") {
		c.dst = AppendString(c.dst, s)
	}
}

func (c *composite) symbol(s Symbol) {
	c.add(true)
	c.dst = AppendSymbol(c.dst, s)
}

func (c *composite) maybeSymbol(s Symbol) {
	if c.add(s != "") {
		c.dst = AppendSymbol(c.dst, s)
	}
}

// symbols writes a field of several values; nil is null.
func (c *composite) symbols(s []Symbol) {
	if c.add(s != nil) {
		c.value(s)
	}
}

func (c *composite) any(v any) {
	if c.add(v != nil) {
		c.value(v)
	}
}

func (c *composite) mapping(m Map) {
	if c.add(m != nil) {
		c.dst = appendMap(c.dst, m)
	}
}

// value writes null for what cannot be written, so that the fields behind it keep their places.
func (c *composite) value(v any) {
	dst, err := AppendValue(c.dst, v)
	if err != nil {
		dst = append(dst, tagNull)
	}
	c.dst = dst
}

// appendMap writes a map; of a value that cannot be written null, and a pair whose key cannot be written not at all.
func appendMap(dst []byte, m Map) []byte {
	start, pairs := len(dst), 0
	dst = startCompound(dst, tagMap4)
	for _, p := range m {
		before := len(dst)
		var err error
		if dst, err = AppendValue(dst, p.Key); err != nil {
			dst = dst[:before]
			continue
		}
		if dst, err = AppendValue(dst, p.Value); err != nil {
			dst = append(dst, tagNull)
		}
		pairs++
	}
	return shorten(dst, start, 2*pairs)
}

// StartMap begins a map after dst. The caller appends keys and values and then calls [FinishMap] with the length dst had before.
func StartMap(dst []byte) []byte { return startCompound(dst, tagMap4) }

// FinishMap fills in the size of the map that began at start and holds so many pairs.
func FinishMap(dst []byte, start, pairs int) { finish(dst, start, 2*pairs) }

// StartList begins a list after dst, as [StartMap] does a map.
func StartList(dst []byte) []byte { return startCompound(dst, tagList4) }

// FinishList fills in the size of the list that began at start.
func FinishList(dst []byte, start, items int) { finish(dst, start, items) }
