package amqp

import (
	"encoding/binary"
	"math"
	"reflect"
	"unicode/utf8"
)

// wideTag is the code under which every value of v's type can be written: what an array's items share. 0: v is none of AMQP's types.
func wideTag(v any) byte {
	switch v.(type) {
	case nil:
		return tagNull
	case bool:
		return tagBoolean
	case uint8:
		return tagUbyte
	case uint16:
		return tagUshort
	case uint32:
		return tagUint
	case uint64:
		return tagUlong
	case int8:
		return tagByte
	case int16:
		return tagShort
	case int32:
		return tagInt
	case int64:
		return tagLong
	case float32:
		return tagFloat
	case float64:
		return tagDouble
	case Decimal32:
		return tagDec32
	case Decimal64:
		return tagDec64
	case Decimal128:
		return tagDec128
	case Char:
		return tagChar
	case Timestamp:
		return tagTime
	case UUID:
		return tagUUID
	case []byte:
		return tagBinary4
	case string:
		return tagString4
	case Symbol:
		return tagSymbol4
	case List:
		return tagList4
	case Map:
		return tagMap4
	case Array, []Symbol:
		return tagArray4
	}
	return 0
}

// wide writes a value without its code, as wideTag names it.
func (w *writer) wide(v any, depth int) {
	switch v := v.(type) {
	case nil:
	case bool:
		b := byte(0)
		if v {
			b = 1
		}
		w.dst = append(w.dst, b)
	case uint8:
		w.dst = append(w.dst, v)
	case uint16:
		w.dst = binary.BigEndian.AppendUint16(w.dst, v)
	case uint32:
		w.dst = binary.BigEndian.AppendUint32(w.dst, v)
	case uint64:
		w.dst = binary.BigEndian.AppendUint64(w.dst, v)
	case int8:
		w.dst = append(w.dst, byte(v))
	case int16:
		w.dst = binary.BigEndian.AppendUint16(w.dst, uint16(v))
	case int32:
		w.dst = binary.BigEndian.AppendUint32(w.dst, uint32(v))
	case int64:
		w.dst = binary.BigEndian.AppendUint64(w.dst, uint64(v))
	case float32:
		w.dst = binary.BigEndian.AppendUint32(w.dst, math.Float32bits(v))
	case float64:
		w.dst = binary.BigEndian.AppendUint64(w.dst, math.Float64bits(v))
	case Decimal32:
		w.dst = append(w.dst, v[:]...)
	case Decimal64:
		w.dst = append(w.dst, v[:]...)
	case Decimal128:
		w.dst = append(w.dst, v[:]...)
	case Char:
		w.char(v)
	case Timestamp:
		w.dst = binary.BigEndian.AppendUint64(w.dst, uint64(v))
	case UUID:
		w.dst = append(w.dst, v[:]...)
	case []byte:
		w.dst = append(binary.BigEndian.AppendUint32(w.dst, uint32(len(v))), v...)
	case string:
		w.text(v)
		w.dst = append(binary.BigEndian.AppendUint32(w.dst, uint32(len(v))), v...)
	case Symbol:
		w.symbol(v)
		w.dst = append(binary.BigEndian.AppendUint32(w.dst, uint32(len(v))), v...)
	case List, Map, Array, []Symbol:
		w.wideCompound(v, depth)
	}
}

// wideCompound writes size, count and items under the code of the place before, which it borrows a byte of dst for.
func (w *writer) wideCompound(v any, depth int) {
	if depth > deepest {
		w.fail("values nested deeper than %d", deepest)
		return
	}
	start := len(w.dst)
	w.dst = startCompound(w.dst, 0)
	count := 0
	switch v := v.(type) {
	case List:
		count = len(v)
		for _, item := range v {
			w.value(item, depth+1)
		}
	case Map:
		count = 2 * len(v)
		for _, p := range v {
			w.value(p.Key, depth+1)
			w.value(p.Value, depth+1)
		}
	case Array:
		count = len(v.Items)
		w.items(v.Items, v.Code, depth+1)
	case []Symbol:
		count = len(v)
		w.symbolItems(v)
	}
	finish(w.dst, start, count)
	w.dst = append(w.dst[:start], w.dst[start+1:]...)
}

func (w *writer) char(c Char) {
	if !utf8.ValidRune(rune(c)) {
		w.fail("a char of %#x", int32(c))
	}
	w.dst = binary.BigEndian.AppendUint32(w.dst, uint32(c))
}

func (w *writer) array(items []any, empty byte, depth int) {
	start := len(w.dst)
	w.dst = startCompound(w.dst, tagArray4)
	w.items(items, empty, depth+1)
	w.dst = shorten(w.dst, start, len(items))
}

// items writes the constructor of an array, then its items.
func (w *writer) items(items []any, empty byte, depth int) {
	if len(items) == 0 {
		switch {
		case empty == 0:
			empty = tagNull
		case !isKnown(empty):
			w.fail("an array of code %#02x", empty)
		}
		w.dst = append(w.dst, empty)
		return
	}
	first, descriptors := bare(items[0])
	for _, d := range descriptors {
		w.dst = append(w.dst, tagDescribed)
		w.value(d, depth+1)
	}
	tag := wideTag(first)
	if tag == 0 {
		w.fail("an array of Go %T", first)
		return
	}
	w.dst = append(w.dst, tag)
	for _, item := range items {
		v, ds := bare(item)
		if wideTag(v) != tag || len(ds) != len(descriptors) || len(ds) > 0 && !reflect.DeepEqual(ds, descriptors) {
			w.fail("an array of several types: %T and %T", items[0], item)
			return
		}
		w.wide(v, depth+len(ds))
	}
}

// bare takes a value's descriptors off, the outermost first.
func bare(v any) (value any, descriptors []any) {
	for range deepest {
		d, ok := v.(Described)
		if !ok {
			return v, descriptors
		}
		descriptors = append(descriptors, d.Descriptor)
		v = d.Value
	}
	return v, descriptors
}

// symbols writes an array of symbols, with one-byte sizes when they fit.
func (w *writer) symbols(s []Symbol) {
	start := len(w.dst)
	w.dst = startCompound(w.dst, tagArray4)
	w.symbolItems(s)
	w.dst = shorten(w.dst, start, len(s))
}

func (w *writer) symbolItems(symbols []Symbol) {
	short := true
	for _, s := range symbols {
		w.symbol(s)
		short = short && len(s) <= math.MaxUint8
	}
	if short {
		w.dst = append(w.dst, tagSymbol1)
	} else {
		w.dst = append(w.dst, tagSymbol4)
	}
	for _, s := range symbols {
		if short {
			w.dst = append(w.dst, byte(len(s)))
		} else {
			w.dst = binary.BigEndian.AppendUint32(w.dst, uint32(len(s)))
		}
		w.dst = append(w.dst, s...)
	}
}
