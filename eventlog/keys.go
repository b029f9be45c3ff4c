package eventlog

import (
	"encoding/binary"
	"time"
)

// The key space. All numbers are big endian, so that the order of keys is the order of sequence numbers.
//
//	'v'                                        -> layout of the store, one byte: 1
//	's' name                                   -> id u32, partitions u16, created ms i64
//	'b' id u32, partition u16                  -> first, next, next offset, last offset i64; last enqueued ms i64 (written by trims)
//	'e' id u32, partition u16, sequence u64    -> event, see encode.go
const (
	prefixStream = 's'
	prefixBounds = 'b'
	prefixEvent  = 'e'

	layout        = 1
	eventKeyLen   = 1 + 4 + 2 + 8
	boundsLen     = 5 * 8
	streamMetaLen = 4 + 2 + 8
)

var layoutKey = []byte{'v'}

func streamKey(name string) []byte { return append([]byte{prefixStream}, name...) }

func boundsKey(id uint32, partition int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{prefixBounds}, id)
	return binary.BigEndian.AppendUint16(b, uint16(partition))
}

func putEventKey(dst []byte, id uint32, partition int, sequence int64) {
	_ = dst[eventKeyLen-1]
	dst[0] = prefixEvent
	binary.BigEndian.PutUint32(dst[1:], id)
	binary.BigEndian.PutUint16(dst[5:], uint16(partition))
	binary.BigEndian.PutUint64(dst[7:], uint64(sequence))
}

func eventKey(id uint32, partition int, sequence int64) []byte {
	b := make([]byte, eventKeyLen)
	putEventKey(b, id, partition, sequence)
	return b
}

func sequenceOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[7:])) }

// ends is where a partition stands. The committer owns the newest; readers are given the durable one.
type ends struct {
	first, next  int64
	nextOffset   int64
	lastOffset   int64 // -1: there never was an event
	lastEnqueued int64 // unix milliseconds
}

func (e ends) info() Info {
	i := Info{First: e.first, Next: e.next, LastOffset: e.lastOffset}
	if e.next > 0 {
		i.LastEnqueued = time.UnixMilli(e.lastEnqueued).UTC()
	}
	return i
}

func (e ends) encode() []byte {
	b := make([]byte, 0, boundsLen)
	for _, v := range [...]int64{e.first, e.next, e.nextOffset, e.lastOffset, e.lastEnqueued} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeEnds(b []byte) (e ends, ok bool) {
	if len(b) != boundsLen {
		return e, false
	}
	for i, p := range [...]*int64{&e.first, &e.next, &e.nextOffset, &e.lastOffset, &e.lastEnqueued} {
		*p = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	return e, e.first >= 0 && e.next >= e.first && e.nextOffset >= 0
}
