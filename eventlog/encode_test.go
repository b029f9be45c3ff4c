package eventlog

import (
	"bytes"
	"errors"
	"maps"
	"testing"
)

func record(key []byte, partitionKey string, ev Event) []byte {
	rec := appendPayload(make([]byte, headerLen), partitionKey, &ev)
	seal(key, rec, 1763780000000, 77)
	return rec
}

func TestDamageIsNoticed(t *testing.T) {
	key := eventKey(1, 2, 3)
	rec := record(key, "device-1", Event{Body: []byte("abc"), Properties: map[string]string{"a": "b"}})
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
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
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
			!maps.Equal(again.Properties, ev.Properties) || !maps.Equal(again.System, ev.System) {
			t.Errorf("\n got %+v\nwant %+v", again, ev)
		}
	})
}
