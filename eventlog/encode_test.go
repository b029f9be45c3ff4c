package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"testing"
)

func record(key []byte, partitionKey string, ev Event) []byte {
	rec := appendRecord(nil, partitionKey, &ev)
	seal(key, rec, 1763780000000, 77)
	return rec
}

// firstRecord is record as the first release wrote it.
func firstRecord(key []byte, partitionKey string, ev Event, enqueued, offset int64) []byte {
	rec := append(make([]byte, headerLen), appendRecord(nil, partitionKey, &ev)[headerLen+1:]...)
	rec[0] = firstVersion
	binary.BigEndian.PutUint64(rec[5:], uint64(enqueued))
	binary.BigEndian.PutUint64(rec[13:], uint64(offset))
	binary.BigEndian.PutUint32(rec[1:], crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, rec[5:]))
	return rec
}

func decode(key, rec []byte) (Event, error) {
	var v View
	if err := v.decode(key, rec); err != nil {
		return Event{}, err
	}
	return v.Event(), nil
}

func TestDamageIsNoticed(t *testing.T) {
	key := eventKey(1, 2, 3)
	sent := Event{Body: []byte("abc"), Properties: map[string]string{"a": "b"}}
	first := firstRecord(key, "device-1", sent, 1763780000000, 77)
	sent.Format = 3
	for _, rec := range [][]byte{record(key, "device-1", sent), first} {
		noticesDamage(t, key, rec)
	}
	for v := range byte(4) { // a version that turns into the other one
		for _, rec := range [][]byte{record(key, "device-1", sent), bytes.Clone(first)} {
			was := rec[0]
			if rec[0] = v; v == was {
				continue
			}
			if ev, err := decode(key, rec); err == nil {
				t.Errorf("version %d became %d and nobody noticed: %+v", was, v, ev)
			}
		}
	}
	if ev, err := decode(key, record(key, "device-1", sent)); err != nil || ev.Format != 3 {
		t.Errorf("%+v, %v", ev, err)
	}
	if ev, err := decode(key, firstRecord(key, "device-1", sent, 1, 2)); err != nil || ev.Format != 0 || string(ev.Body) != "abc" || ev.Properties["a"] != "b" {
		t.Errorf("%+v, %v", ev, err)
	}
}

func noticesDamage(t *testing.T, key, rec []byte) {
	t.Helper()
	for i := range rec {
		bad := bytes.Clone(rec)
		bad[i] ^= 0x10
		if ev, err := decode(key, bad); err == nil {
			t.Errorf("byte %d changed and nobody noticed: %+v", i, ev)
		}
	}
	for n := range rec {
		if _, err := decode(key, rec[:n]); err == nil {
			t.Errorf("cut to %d bytes and nobody noticed", n)
		}
	}
	if _, err := decode(eventKey(1, 2, 4), rec); !errors.Is(err, errChecksum) {
		t.Errorf("an event in a foreign place: %v", err)
	}
	if ev, err := decode(key, rec); err != nil || ev.Sequence != 3 || ev.Partition != 2 || ev.Offset != 77 || ev.Enqueued.UnixMilli() != 1763780000000 {
		t.Errorf("%+v, %v", ev, err)
	}
}

func FuzzDecode(f *testing.F) {
	key := eventKey(1, 2, 3)
	for _, ev := range []Event{
		{},
		{Body: []byte("21.5")},
		{Body: bytes.Repeat([]byte{0}, 300), Properties: map[string]string{"level": "high", "": ""}, System: map[string]string{"message-id": "1"}},
	} {
		f.Add(record(key, "device-1", ev)[headerLen:])
	}
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, payload []byte) {
		rec := append(make([]byte, headerLen), payload...)
		seal(key, rec, 5, 6)
		ev, err := decode(key, rec)
		if err != nil {
			return
		}
		again, err := decode(key, record(key, ev.PartitionKey, ev))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Body, ev.Body) || again.PartitionKey != ev.PartitionKey ||
			again.Format != ev.Format || !maps.Equal(again.Properties, ev.Properties) || !maps.Equal(again.System, ev.System) {
			t.Errorf("\n got %+v\nwant %+v", again, ev)
		}
	})
}
