package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

var start = time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)

func open(t testing.TB, dir string, limits resource.DeadLetters, clk clock.Clock) *Store {
	t.Helper()
	s, err := Open(bridge.LettersArgs{Bridge: "b1", Dir: dir, Limits: limits, Log: slog.New(slog.DiscardHandler), Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sample(n int) *event.Event {
	return &event.Event{
		Origin: event.Origin{Partition: "3", Sequence: int64(n), Index: 2, Enqueued: start, Name: "row"}, Body: []byte(fmt.Sprintf("body %d", n)), Key: "key", Repeat: n%2 == 0,
		Properties: []event.Property{
			{Name: "text", Value: "é"}, {Name: "int", Value: int64(-1)}, {Name: "uint", Value: uint64(math.MaxUint64)}, {Name: "float", Value: 1.5}, {Name: "yes", Value: true},
			{Name: "no", Value: false}, {Name: "bytes", Value: []byte{0, 1}}, {Name: "time", Value: start}, {Name: "null", Value: nil}, {Name: "zero", Value: time.Time{}},
		},
		System: []event.Property{{Name: event.DeviceID, Value: "press-4"}},
	}
}

func TestALetterComesBackAsItWas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b1", "dead-letters")
	clk := clock.NewFake(start)
	s := open(t, dir, resource.DeadLetters{}, clk)
	if err := s.Put(t.Context(), "3", "contract", sample(7), "celsius is above 500"); err != nil {
		t.Fatal(err)
	}
	if err := s.PutAll(t.Context(), "4", []bridge.Dead{{Event: sample(8), Step: "a", Reason: "x"}, {Event: &event.Event{}, Step: "b"}}); err != nil {
		t.Fatal(err)
	}
	for again := range 2 {
		if again == 1 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(t.Context(), "3", "contract", sample(7), ""); fault.KindOf(err) != fault.Unavailable {
				t.Error("closed:", err)
			}
			s = open(t, dir, resource.DeadLetters{}, clk)
		}
		l, err := s.Get(1)
		if err != nil || !reflect.DeepEqual(l.Event, sample(7)) || l.Lane != "3" || l.Step != "contract" || l.Reason != "celsius is above 500" || !l.At.Equal(start) || l.Size == 0 {
			t.Errorf("%+v %v", l, err)
		}
		if list, err := s.List(Filter{}, 10, 1<<20); err != nil || len(list) != 3 || list[1].Event.Origin.Sequence != 8 || list[2].Step != "b" || s.Kept() != 3 {
			t.Errorf("%v %v", list, err)
		}
	}
	if _, err := s.Get(9); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	for _, f := range []string{dir, filepath.Dir(dir)} {
		if i, err := os.Stat(f); err != nil || i.Mode().Perm() != 0o700 {
			t.Error(i.Mode(), err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if i, err := os.Stat(f); err != nil || i.Mode().Perm() != 0o600 {
			t.Error(i.Mode(), err)
		}
	}
}

func TestFilters(t *testing.T) {
	clk := clock.NewFake(start)
	s := open(t, t.TempDir(), resource.DeadLetters{}, clk)
	for i := range 10 {
		if err := s.Put(t.Context(), fmt.Sprint(i%2), fmt.Sprint("s", i%3), sample(i), ""); err != nil {
			t.Fatal(err)
		}
		clk.Advance(time.Second)
	}
	for _, c := range []struct {
		f    Filter
		want []uint64
	}{
		{Filter{}, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{Filter{Step: "s0"}, []uint64{1, 4, 7, 10}},
		{Filter{Step: "s0", Lane: "1"}, []uint64{4, 10}},
		{Filter{Step: "nobody"}, nil},
		{Filter{First: 3, Last: 4}, []uint64{3, 4}},
		{Filter{After: start.Add(3 * time.Second), Before: start.Add(5 * time.Second)}, []uint64{4, 5}},
	} {
		list, err := s.List(c.f, 100, 1<<20)
		var got []uint64
		for _, l := range list {
			got = append(got, l.ID)
		}
		if err != nil || !reflect.DeepEqual(got, c.want) || s.Count(c.f) != len(c.want) {
			t.Errorf("%+v picks %v, %v", c.f, got, err)
		}
	}
	if list, err := s.List(Filter{}, 100, 400); err != nil || len(list) == 0 || len(list) == 10 {
		t.Errorf("%d letters in 400 bytes, %v", len(list), err)
	}
}

func TestThereIsRoomForSoMuch(t *testing.T) {
	s := open(t, t.TempDir(), resource.DeadLetters{MaxBytes: 4 << 10}, clock.NewFake(start))
	for i := range 4 {
		if err := s.Put(t.Context(), "0", "a", sample(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Put(t.Context(), "0", "a", sample(4), "")
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "4 dead letters") || fault.Next(err) == "" {
		t.Fatal(err)
	}
	if n, err := s.Delete(Filter{First: 2, Last: 2}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Put(t.Context(), "0", "a", sample(4), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "0", "a", &event.Event{Body: make([]byte, 40<<20)}, ""); fault.KindOf(err) != fault.TooLarge {
		t.Error(err)
	}
}

func TestAge(t *testing.T) {
	clk := clock.NewFake(start)
	s := open(t, t.TempDir(), resource.DeadLetters{RetentionHours: 24}, clk)
	put := func() {
		t.Helper()
		if err := s.Put(t.Context(), "0", "a", sample(1), ""); err != nil {
			t.Fatal(err)
		}
	}
	put()
	clk.Advance(23 * time.Hour)
	put()
	if s.Kept() != 2 {
		t.Error("gone too soon")
	}
	clk.Advance(time.Hour + time.Second)
	if s.Kept() != 1 {
		t.Error("kept too long:", s.Kept())
	}
}

// A process that begins with a wrong clock, or whose clock jumps, forgets nothing before an hour has passed.
func TestAClockThatJumpsTakesNothingAway(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, resource.DeadLetters{RetentionHours: 24}, clock.NewFake(start))
	if err := s.Put(t.Context(), "0", "a", sample(1), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := clock.NewFake(start.AddDate(10, 0, 0))
	s = open(t, dir, resource.DeadLetters{RetentionHours: 24}, wrong)
	wrong.Advance(59 * time.Minute)
	if s.Kept() != 1 {
		t.Error("a wrong clock took it away")
	}
	wrong.Advance(2 * time.Minute)
	if s.Kept() != 0 {
		t.Error("it is kept for ever")
	}
}

func TestReplay(t *testing.T) {
	s := open(t, t.TempDir(), resource.DeadLetters{}, clock.NewFake(start))
	var dead []bridge.Dead
	for i := range 1200 {
		dead = append(dead, bridge.Dead{Event: sample(i), Step: "a"})
	}
	if err := s.PutAll(t.Context(), "0", dead); err != nil {
		t.Fatal(err)
	}
	var got []int64
	fail := errors.New("away")
	send := func(_ context.Context, list []*event.Event) error {
		if len(got) >= 500 && fail != nil {
			return fail
		}
		for _, e := range list {
			got = append(got, e.Origin.Sequence)
		}
		return s.Put(t.Context(), "0", "a", list[0], "again") // not replayed once more
	}
	n, err := s.Replay(t.Context(), Filter{Step: "a"}, send)
	if !errors.Is(err, fail) || n != 500 || s.Kept() != 701 {
		t.Fatal(n, err, s.Kept())
	}
	fail = nil
	n, err = s.Replay(t.Context(), Filter{Last: 1200}, send)
	if err != nil || n != 700 || len(got) != 1200 || got[1199] != 1199 {
		t.Fatal(n, err, len(got))
	}
	if n, err = s.Replay(t.Context(), Filter{Step: "nobody"}, send); n != 0 || err != nil {
		t.Error(n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err = s.Replay(ctx, Filter{}, send); n != 0 || fault.KindOf(err) != fault.Timeout {
		t.Error(n, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, resource.DeadLetters{}, clock.NewFake(start))
	s.largest = 8 << 10
	var wg sync.WaitGroup
	for lane := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := s.Put(t.Context(), fmt.Sprint(lane), "a", sample(i), ""); err != nil {
					t.Error(err)
				}
				if i%10 == 9 {
					if _, err := s.Delete(Filter{Lane: fmt.Sprint(lane)}); err != nil {
						t.Error(err)
					}
				}
				if _, err := s.List(Filter{}, 20, 1<<20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.Kept() != 0 {
		t.Error(s.Kept())
	}
}

func TestWhenTheDiskDoesNotLetIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bridge.LettersArgs{Dir: file}); err == nil || fault.Next(err) == "" {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "x")
	s := open(t, dir, resource.DeadLetters{}, clock.NewFake(start))
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "0", "a", sample(1), ""); fault.KindOf(err) != fault.Unavailable || s.Kept() != 0 {
		t.Error(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "0", "a", sample(1), ""); err != nil || s.Kept() != 1 {
		t.Error(err)
	}
}

// Whatever is put, deleted, moved and cut off by kills: what was said to be kept is kept, what was deleted stays deleted.
func TestAgainstAMap(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		clk := clock.NewFake(start)
		begin := func() *Store {
			s, err := Open(bridge.LettersArgs{Dir: dir, Clock: clk})
			if err != nil {
				t.Fatal(err)
			}
			s.largest, s.sync = 600, func(*os.File) error { return nil } // the test kills no machine
			return s
		}
		s := begin()
		twin := map[uint64]string{}
		last := uint64(0)
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				var dead []bridge.Dead
				for range rapid.IntRange(1, 4).Draw(t, "letters") {
					n++
					dead = append(dead, bridge.Dead{Event: &event.Event{Body: []byte(fmt.Sprint(n))}, Step: "a"})
				}
				if err := s.PutAll(context.Background(), "0", dead); err != nil {
					t.Fatal(err)
				}
				list, err := s.List(Filter{First: last + 1}, 100, 1<<20)
				if err != nil || len(list) != len(dead) {
					t.Fatal(list, err)
				}
				for i, l := range list {
					twin[l.ID], last = string(dead[i].Event.Body), l.ID
				}
			},
			"delete": func(t *rapid.T) {
				first := rapid.Uint64Range(1, last+1).Draw(t, "first")
				upto := first + rapid.Uint64Range(0, 8).Draw(t, "more")
				want := 0
				for id := range twin {
					if id >= first && id <= upto {
						delete(twin, id)
						want++
					}
				}
				if n, err := s.Delete(Filter{First: first, Last: upto}); n != want || err != nil {
					t.Fatal(n, want, err)
				}
			},
			"killed": func(t *rapid.T) {
				_ = s.Close()
				if rapid.Bool().Draw(t, "half a record") {
					list, _ := segments(dir)
					if len(list) > 0 {
						f, err := os.OpenFile(list[len(list)-1].path, os.O_APPEND|os.O_WRONLY, 0)
						if err != nil {
							t.Fatal(err)
						}
						half := appendLetter(nil, &Letter{ID: last + 1, Event: sample(1)})
						_, _ = f.Write(half[:rapid.IntRange(1, len(half)-1).Draw(t, "bytes")])
						_ = f.Close()
					}
				}
				s = begin()
			},
			"": func(t *rapid.T) {
				list, err := s.List(Filter{}, 0, 1<<30)
				if err != nil || len(list) != len(twin) || int(s.Kept()) != len(twin) {
					t.Fatalf("%d letters, want %d: %v", len(list), len(twin), err)
				}
				for _, l := range list {
					if twin[l.ID] != string(l.Event.Body) {
						t.Fatalf("letter %d is %s", l.ID, l.Event.Body)
					}
				}
				var live, disk, charged int64
				for _, g := range s.segments {
					i, err := os.Stat(g.path)
					if err != nil || i.Size() != g.size {
						t.Fatal(g, err)
					}
					disk += g.size
				}
				for _, e := range s.letters {
					if e.segment != nil {
						live += int64(e.size)
						charged += charge(int(e.size))
					}
				}
				if live != s.live || disk != s.disk || charged != s.bytes || s.reserved != 0 {
					t.Fatal(live, s.live, disk, s.disk, s.reserved)
				}
			},
		})
		_ = s.Close()
		_ = os.RemoveAll(dir)
	})
}

func TestDamageCostsOnlyWhatItIsIn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, resource.DeadLetters{}, clock.NewFake(start))
	for i := range 5 {
		if err := s.Put(t.Context(), "0", "a", sample(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	path := s.segments[0].path
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[s.letters[2].offset+30] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(3); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	s = open(t, dir, resource.DeadLetters{}, clock.NewFake(start))
	if _, err := s.Get(3); fault.KindOf(err) != fault.NotFound || s.Kept() != 4 {
		t.Error(err, s.Kept())
	}
	if l, err := s.Get(4); err != nil || l.Event.Origin.Sequence != 3 {
		t.Error(l, err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendLetter(nil, &Letter{ID: 1, Lane: "0", Step: "a", Reason: "r", At: start, Event: sample(1)})[headSize:])
	f.Add(appendDeleted(nil, []uint64{1, 2, 300})[headSize:])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, content []byte) {
		l, _, err := parse(content, true)
		if err != nil || l == nil {
			return
		}
		again, _, err := parse(appendLetter(nil, l)[headSize:], true)
		if err != nil {
			t.Fatal(err)
		}
		a, b := appendLetter(nil, l), appendLetter(nil, again)
		if string(a) != string(b) {
			t.Fatalf("%x\n%x", a, b)
		}
		got, skipped, size := next(append([]byte("ILT"), a...))
		if skipped != 3 || size != len(a) || string(got) != string(a[headSize:]) {
			t.Fatal(skipped, size)
		}
	})
}

func BenchmarkPutAll(b *testing.B) {
	s := open(b, b.TempDir(), resource.DeadLetters{MaxBytes: 1 << 40}, clock.System{})
	var dead []bridge.Dead
	for i := range 1000 {
		dead = append(dead, bridge.Dead{Event: sample(i), Step: "contract", Reason: "celsius is above 500"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.PutAll(b.Context(), "0", dead); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "letters/s")
}
