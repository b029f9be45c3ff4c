package eventlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A stored event is a header, written by the committer, and a payload, written by whoever appends:
//
//	version   u8      2
//	crc       u32     CRC-32C over the event's key and everything after this field, begun with version - 1
//	enqueued  i64     unix milliseconds
//	offset    i64
//	payload:
//	  format                   u8
//	  partition key            uvarint length, bytes
//	  properties, then system  uvarint count, then for each: uvarint length, name, uvarint length, value
//	  body                     the rest
//
// The key is part of the checksum so that an event which turns up in a foreign place is noticed. Version 1, which earlier releases
// wrote and this one reads, has no format: it is 0.
const (
	firstVersion = 1
	version      = 2
	headerLen    = 1 + 4 + 8 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort    = errors.New("event is cut short")
	errVersion  = errors.New("event has an unknown version")
	errChecksum = errors.New("event's checksum does not match")
)

// appendRecord appends ev as it is stored, its header still to be filled in by seal.
func appendRecord(dst []byte, key string, ev *Event) []byte {
	dst = append(dst, make([]byte, headerLen)...)
	dst = appendString(append(dst, ev.Format), key)
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
	rec[0] = version
	binary.BigEndian.PutUint64(rec[5:], uint64(enqueued))
	binary.BigEndian.PutUint64(rec[13:], uint64(offset))
	binary.BigEndian.PutUint32(rec[1:], checksum(key, rec))
}

func checksum(key, rec []byte) uint32 {
	return crc32.Update(crc32.Update(uint32(rec[0]-firstVersion), castagnoli, key), castagnoli, rec[5:])
}

// header reads enqueued and offset without touching the payload.
func header(rec []byte) (enqueued, offset int64, err error) {
	switch {
	case len(rec) < headerLen:
		return 0, 0, errShort
	case rec[0] != version && rec[0] != firstVersion:
		return 0, 0, errVersion
	}
	return int64(binary.BigEndian.Uint64(rec[5:])), int64(binary.BigEndian.Uint64(rec[13:])), nil
}

// decode shows the event stored under key, without copying it.
func (v *View) decode(key, rec []byte) error {
	enqueued, offset, err := header(rec)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(rec[1:]) != checksum(key, rec) {
		return errChecksum
	}
	b := rec[headerLen:]
	v.Format = 0
	if rec[0] != firstVersion {
		if len(b) == 0 {
			return errShort
		}
		v.Format, b = b[0], b[1:]
	}
	if v.Key, b, err = cutString(b); err != nil {
		return err
	}
	if v.properties, b, err = cutPairs(b); err != nil {
		return err
	}
	if v.system, b, err = cutPairs(b); err != nil {
		return err
	}
	v.Body = b
	v.Enqueued, v.Offset = time.UnixMilli(enqueued).UTC(), offset
	v.Sequence = sequenceOf(key)
	v.Partition = int(binary.BigEndian.Uint16(key[5:]))
	return nil
}

// pairs is a checked list of names and values.
type pairs struct {
	count int
	b     []byte
}

func (p pairs) each(yield func(name, value []byte) bool) {
	for b := p.b; len(b) > 0; {
		var name, value []byte
		name, b, _ = cutString(b)
		value, b, _ = cutString(b)
		if !yield(name, value) {
			return
		}
	}
}

func (p pairs) strings() map[string]string {
	if p.count == 0 {
		return nil
	}
	m := make(map[string]string, p.count)
	for name, value := range p.each {
		m[string(name)] = string(value)
	}
	return m
}

func cutPairs(b []byte) (p pairs, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b))/2 { // each pair takes two bytes at least, so a count cannot ask for more memory than was read
		return p, nil, errShort
	}
	b = b[w:]
	rest = b
	for range 2 * n {
		if _, rest, err = cutString(rest); err != nil {
			return p, nil, err
		}
	}
	return pairs{count: int(n), b: b[:len(b)-len(rest)]}, rest, nil
}

func cutString(b []byte) (s, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, errShort
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}
