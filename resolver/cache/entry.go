package cache

import "encoding/binary"

// entry is an answer in a shard's ring:
//
//	 0  4  size of all, a multiple of 8; 0 is not an entry: the ring goes on at its start
//	 4  4  tag of the key's hash
//	 8  8  when it was put, milliseconds since 1970
//	16  8  until when a failure after it is remembered, the same; 0: none
//	24  4  its life in milliseconds
//	28  4  group
//	32  2  type
//	34  2  class
//	36  1  flags
//	37  1  how often it was asked for, up to 255
//	38  1  length of the name
//	39  1  rcode
//	40  6  answers, authorities, additionals
//	46  2  number of TTLs
//	48  4  length of the body
//	52     name, offsets of the TTLs in the body of 2 bytes each, body
//
// Numbers are little-endian.
type entry []byte

const entryHead = 52

// Flags of an entry.
const (
	flagDO = 1 << iota
	flagCD
	flagAD
	flagCNAME
	flagUsed // it was asked for since it last passed the ring's tail
	flagTold // a prefetch was announced
	flagDead // another took its place

	keyFlags = flagDO | flagCD
)

var le = binary.LittleEndian

func (e entry) size() int      { return int(le.Uint32(e)) }
func (e entry) tag() uint32    { return le.Uint32(e[4:]) }
func (e entry) life() int64    { return int64(le.Uint32(e[24:])) }
func (e entry) failed() int64  { return int64(le.Uint64(e[16:])) }
func (e entry) fail(to int64)  { le.PutUint64(e[16:], uint64(to)) }
func (e entry) flags() byte    { return e[36] }
func (e entry) set(flag byte)  { e[36] |= flag }
func (e entry) drop(flag byte) { e[36] &^= flag }
func (e entry) rcode() byte    { return e[39] }

// times returns how old an entry is and how long it has to live, in milliseconds. One from the future has come through a clock that was
// set back: nobody knows how old it is, and its time is up.
func (e entry) times(now int64) (age, left int64) {
	age = now - int64(le.Uint64(e[8:]))
	if age < 0 {
		return age, 0
	}
	return age, e.life() - age
}

func (e entry) counts() (answers, authorities, additionals uint16) {
	return le.Uint16(e[40:]), le.Uint16(e[42:]), le.Uint16(e[44:])
}

// asked notes a question for the entry and tells whether there were two.
func (e entry) asked() bool {
	e.set(flagUsed)
	if e[37] < 255 {
		e[37]++
	}
	return e[37] >= 2
}

// announce is true once.
func (e entry) announce() bool {
	told := e.flags()&flagTold != 0
	e.set(flagTold)
	return !told
}

// age takes seconds off the TTLs of a copy of the body. None is shorter than the entry's life.
func (e entry) age(body []byte, seconds uint32) {
	for list := e.ttls(); len(list) > 0; list = list[2:] {
		at := body[le.Uint16(list):]
		binary.BigEndian.PutUint32(at, binary.BigEndian.Uint32(at)-seconds)
	}
}

// bound brings the TTLs of a copy of the body between two values.
func (e entry) bound(body []byte, low, high uint32) {
	for list := e.ttls(); len(list) > 0; list = list[2:] {
		at := body[le.Uint16(list):]
		binary.BigEndian.PutUint32(at, max(low, min(high, binary.BigEndian.Uint32(at))))
	}
}

// ttls are the offsets of TTLs in the body.
func (e entry) ttls() []byte { return e[entryHead+int(e[38]):][:2*int(le.Uint16(e[46:]))] }

func (e entry) body() []byte {
	start := entryHead + int(e[38]) + 2*int(le.Uint16(e[46:]))
	return e[start : start+int(le.Uint32(e[48:]))]
}

func (e entry) is(k *Key) bool {
	return le.Uint16(e[32:]) == k.Type && le.Uint32(e[28:]) == k.Group && e.flags()&keyFlags == k.flags() &&
		le.Uint16(e[34:]) == k.Class && string(e[entryHead:entryHead+int(e[38])]) == string(k.Name)
}

func (k *Key) flags() (f byte) {
	if k.DO {
		f |= flagDO
	}
	if k.CD {
		f |= flagCD
	}
	return f
}

// entrySize is what an answer takes in the ring.
func entrySize(k *Key, a *answer) int {
	return (entryHead + len(k.Name) + 2*a.records + len(a.body) + 7) &^ 7
}

// write fills an entry. Its size was computed by entrySize.
func (e entry) write(tag uint32, k *Key, a *answer, now int64) {
	le.PutUint32(e, uint32(len(e)))
	le.PutUint32(e[4:], tag)
	le.PutUint64(e[8:], uint64(now))
	le.PutUint64(e[16:], 0)
	le.PutUint32(e[24:], uint32(a.life))
	le.PutUint32(e[28:], k.Group)
	le.PutUint16(e[32:], k.Type)
	le.PutUint16(e[34:], k.Class)
	e[36], e[37], e[38], e[39] = k.flags()|a.flags, 0, byte(len(k.Name)), a.rcode
	le.PutUint16(e[40:], a.counts[0])
	le.PutUint16(e[42:], a.counts[1])
	le.PutUint16(e[44:], a.counts[2])
	le.PutUint16(e[46:], uint16(a.records))
	le.PutUint32(e[48:], uint32(len(a.body)))
	n := entryHead + copy(e[entryHead:], k.Name)
	for _, at := range a.ttls[:a.records] {
		le.PutUint16(e[n:], at)
		n += 2
	}
	copy(e[n:], a.body)
	e.bound(e.body(), a.low, a.high)
}
