package eventlog

import (
	"encoding/binary"
	"time"
)

// The key space. All numbers are big endian, so that the order of keys is the order of sequence numbers.
//
//	'v'                                        -> layout of the store, one byte: 2
//	'n'                                        -> lowest stream id never used u32 (written by deletions)
//	's' name                                   -> id u32, partitions u16, created ms i64; hash u8, retention age ns i64 and bytes i64
//	'b' id u32, partition u16                  -> first, next, next offset, last offset i64; last enqueued ms i64 (written by trims)
//	'q' id u32                                 -> highest producer id given i64
//	'p' id u32, partition u16, producer i64    -> state of a producer, see producer.go
//	'e' id u32, partition u16, sequence u64    -> event, see encode.go
//
// Layout 1 had no 'n', 'q' and 'p', ended 's' before the hash, and had events of version 1.
const (
	prefixNextStream   = 'n'
	prefixStream       = 's'
	prefixBounds       = 'b'
	prefixLastProducer = 'q'
	prefixProducer     = 'p'
	prefixEvent        = 'e'

	firstLayout = 1
	layout      = 2

	partitionKeyLen = 1 + 4 + 2 // how far the keys of one partition are alike
	eventKeyLen     = partitionKeyLen + 8
	producerKeyLen  = partitionKeyLen + 8
	boundsLen       = 5 * 8

	firstStreamMetaLen = 4 + 2 + 8
	streamMetaLen      = firstStreamMetaLen + 1 + 8 + 8
)

var (
	layoutKey     = []byte{'v'}
	nextStreamKey = []byte{prefixNextStream}
)

func streamKey(name string) []byte { return append([]byte{prefixStream}, name...) }

// idKey is where the keys of a prefix begin that belong to a stream.
func idKey(prefix byte, id uint32) []byte { return appendUint32([]byte{prefix}, id) }

func boundsKey(id uint32, partition int) []byte {
	return appendUint16(idKey(prefixBounds, id), uint16(partition))
}

func producerKey(id uint32, partition int, producer int64) []byte {
	return appendInt64(appendUint16(idKey(prefixProducer, id), uint16(partition)), producer)
}

func putEventKey(dst []byte, id uint32, partition int, sequence int64) {
	_ = dst[eventKeyLen-1]
	dst[0] = prefixEvent
	binary.BigEndian.PutUint32(dst[1:], id)
	binary.BigEndian.PutUint16(dst[5:], uint16(partition))
	binary.BigEndian.PutUint64(dst[7:], uint64(sequence))
}

func appendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendInt64(b []byte, v int64) []byte   { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func uint16At(b []byte, i int) uint16 { return binary.BigEndian.Uint16(b[i:]) }
func uint32At(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
func int64At(b []byte, i int) int64   { return int64(binary.BigEndian.Uint64(b[i:])) }

func eventKey(id uint32, partition int, sequence int64) []byte {
	b := make([]byte, eventKeyLen)
	putEventKey(b, id, partition, sequence)
	return b
}

func sequenceOf(key []byte) int64 { return int64At(key, 7) }

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
		b = appendInt64(b, v)
	}
	return b
}

func decodeEnds(b []byte) (e ends, ok bool) {
	if len(b) != boundsLen {
		return e, false
	}
	for i, p := range [...]*int64{&e.first, &e.next, &e.nextOffset, &e.lastOffset, &e.lastEnqueued} {
		*p = int64At(b, 8*i)
	}
	return e, e.first >= 0 && e.next >= e.first && e.nextOffset >= 0
}
