package eventlog

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Numbers that begin again at 0 behave as ones that do not.
func TestProducersNumbersGoRound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const round = math.MaxInt32 + 1
		edge := rapid.Int64Range(1, 3).Draw(t, "round") * round
		last := edge + rapid.Int64Range(-30, 30).Draw(t, "last") // of the events stored, all before it are
		first := last + rapid.Int64Range(-40, 20).Draw(t, "first")
		n := rapid.Int64Range(1, 30).Draw(t, "n")
		batch := last - rapid.Int64Range(0, 5).Draw(t, "batch")
		s := &producer{epoch: 1, last: int32(last % round), batch: int32(batch % round), first: Position{Sequence: 77}}
		stored, err := s.admit("", Producer{ID: 1, Epoch: 1, Sequence: int32(first % round)}, int(n))
		switch {
		case first == last+1:
			if stored || err != nil {
				t.Fatalf("the next: %v, %v", stored, err)
			}
			if end := after(int32(first%round), int(n-1)); int64(end) != (first+n-1)%round {
				t.Fatalf("%d events from %d end at %d", n, first, end)
			}
		case first+n-1 <= last:
			if !stored || err != nil {
				t.Fatalf("an old one: %v, %v", stored, err)
			}
			if pos := s.duplicate(Producer{Sequence: int32(first % round)}); (pos.Sequence == 77) != (first == batch) {
				t.Fatalf("%+v", pos)
			}
		case stored || !errors.Is(err, ErrOutOfOrder):
			t.Fatalf("a part of it, or a gap: %v, %v", stored, err)
		}
	})
	s := &producer{epoch: 1, last: -1}
	for _, first := range []int32{1, 2, math.MaxInt32/2 + 2, math.MaxInt32} {
		if stored, err := s.admit("", Producer{ID: 1, Epoch: 1, Sequence: first}, 1); stored || !errors.Is(err, ErrOutOfOrder) {
			t.Errorf("%d before anything: %v, %v", first, stored, err)
		}
	}
}

func FuzzStored(f *testing.F) {
	f.Add((&producer{epoch: 3, last: 9, batch: 7, used: 5}).encode())
	f.Add(streamMeta{id: 7, partitions: 4, made: 5, hashed: hashLookup3, retention: Retention{Age: 1, Bytes: 2}}.encode())
	f.Add(ends{first: 1, next: 2, nextOffset: 3, lastOffset: 4, lastEnqueued: 5}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := decodeProducer(b, 0); ok && string(s.encode()) != string(b) && s.first.Enqueued.UnixMilli() == int64At(b, 26) {
			t.Errorf("producer % x became % x", b, s.encode())
		}
		if m, ok := decodeStreamMeta(b); ok && len(b) == streamMetaLen && string(m.encode()) != string(b) {
			t.Errorf("stream % x became % x", b, m.encode())
		}
		if e, ok := decodeEnds(b); ok && string(e.encode()) != string(b) {
			t.Errorf("bounds % x became % x", b, e.encode())
		}
	})
}
