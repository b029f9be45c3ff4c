package eventlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A stored event is a header, written by the committer, and a payload, written by whoever appends:
//
//	version   u8      1
//	crc       u32     CRC-32C over the event's key and over everything after this field
//	enqueued  i64     unix milliseconds
//	offset    i64
//	payload:
//	  partition key            uvarint length, bytes
//	  properties, then system  uvarint count, then for each: uvarint length, name, uvarint length, value
//	  body                     the rest
//
// The key is part of the checksum so that an event which turns up in a foreign place is noticed.
const (
	encodingVersion = 1
	headerLen       = 1 + 4 + 8 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort    = errors.New("event is cut short")
	errVersion  = errors.New("event has an unknown version")
	errChecksum = errors.New("event's checksum does not match")
)

func appendPayload(dst []byte, key string, ev *Event) []byte {
	dst = appendString(dst, key)
	dst = appendPairs(dst, ev.Properties)
	dst = appendPairs(dst, ev.System)
	return append(dst, ev.Body...)
}

func appendPairs(dst []byte, m map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m)))
	for k, v := range m {
		dst = appendString(appendString(dst, k), v)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// seal fills in the header of rec, whose payload is in place.
func seal(key, rec []byte, enqueued, offset int64) {
	rec[0] = encodingVersion
	binary.BigEndian.PutUint64(rec[5:], uint64(enqueued))
	binary.BigEndian.PutUint64(rec[13:], uint64(offset))
	binary.BigEndian.PutUint32(rec[1:], checksum(key, rec))
}

func checksum(key, rec []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, rec[5:])
}

// header reads enqueued and offset without touching the payload.
func header(rec []byte) (enqueued, offset int64, err error) {
	switch {
	case len(rec) < headerLen:
		return 0, 0, errShort
	case rec[0] != encodingVersion:
		return 0, 0, errVersion
	}
	return int64(binary.BigEndian.Uint64(rec[5:])), int64(binary.BigEndian.Uint64(rec[13:])), nil
}

// decode reads the event stored under key. The body is a copy.
func decode(key, rec []byte) (Event, error) {
	enqueued, offset, err := header(rec)
	if err != nil {
		return Event{}, err
	}
	if binary.BigEndian.Uint32(rec[1:]) != checksum(key, rec) {
		return Event{}, errChecksum
	}
	ev, err := decodePayload(rec[headerLen:])
	if err != nil {
		return Event{}, err
	}
	ev.Enqueued, ev.Offset = time.UnixMilli(enqueued).UTC(), offset
	ev.Sequence = sequenceOf(key)
	ev.Partition = int(binary.BigEndian.Uint16(key[5:]))
	return ev, nil
}

func decodePayload(b []byte) (ev Event, err error) {
	if ev.PartitionKey, b, err = cutString(b); err != nil {
		return Event{}, err
	}
	if ev.Properties, b, err = cutPairs(b); err != nil {
		return Event{}, err
	}
	if ev.System, b, err = cutPairs(b); err != nil {
		return Event{}, err
	}
	ev.Body = append([]byte(nil), b...)
	return ev, nil
}

func cutPairs(b []byte) (map[string]string, []byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)) { // each pair takes two bytes at least, so a count cannot ask for more memory than was read
		return nil, nil, errShort
	}
	b = b[w:]
	if n == 0 {
		return nil, b, nil
	}
	m := make(map[string]string, min(n, uint64(len(b)/2)))
	for range n {
		var k, v string
		var err error
		if k, b, err = cutString(b); err != nil {
			return nil, nil, err
		}
		if v, b, err = cutString(b); err != nil {
			return nil, nil, err
		}
		m[k] = v
	}
	return m, b, nil
}

func cutString(b []byte) (string, []byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, errShort
	}
	b = b[w:]
	return string(b[:n]), b[n:], nil
}
