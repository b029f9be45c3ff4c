package checkpoint_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/fault"
)

func full() *checkpoint.State {
	return &checkpoint.State{
		Partitions: map[string]checkpoint.Partition{
			"0": {Next: 7, Reserved: 50_007, Origins: []checkpoint.Origin{{Bridge: "u", Partition: "3", Sequence: 1 << 60, Index: 2}}}, "1": {Next: -1, Foreign: true},
		},
		Assignment: 3, Days: []checkpoint.Day{{Date: "2026-11-22", Events: 5, Bytes: 600}}, Counts: checkpoint.Counts{Sent: 1, Repeated: 2, Filtered: 3, Dropped: 4, Dead: 5},
		Steps: "abc", Window: []byte{0, 1, 2, 255},
	}
}

func TestThereAndBack(t *testing.T) {
	f := checkpoint.Open(filepath.Join(t.TempDir(), "b1", "checkpoint"))
	if s, err := f.Read(); s != nil || err != nil {
		t.Fatalf("a file that is not there is %+v, %v", s, err)
	}
	for _, want := range []*checkpoint.State{full(), {Partitions: map[string]checkpoint.Partition{}}} {
		if err := f.Write(want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Read(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// A file that differs in one byte, or has one more or less, is never read as something.
func TestDamage(t *testing.T) {
	whole, err := checkpoint.Append(nil, full())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "checkpoint")
	for i := range whole {
		for _, b := range [][]byte{append(append(append([]byte(nil), whole[:i]...), whole[i]^4), whole[i+1:]...), whole[:i]} {
			if s, why := checkpoint.Parse(b); s != nil || why == "" {
				t.Fatalf("byte %d: %+v", i, s)
			}
		}
	}
	for content, want := range map[string]string{"": "no checkpoint", "isthmus-bridge-checkpoint/2\nx": "another version", string(whole) + "x": "damaged", string(whole[:len(whole)-1]): "damaged"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := checkpoint.Open(path).Read()
		if s != nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) || !strings.Contains(fault.Next(err), "move it away") {
			t.Errorf("%.30q: %+v, %v", content, s, err)
		}
	}
	if _, err := checkpoint.Open(t.TempDir()).Read(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	whole, err := checkpoint.Append(nil, full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("isthmus-bridge-checkpoint/1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, why := checkpoint.Parse(b)
		if (s == nil) == (why == "") {
			t.Errorf("%+v, %q", s, why)
		}
	})
}

// A clock that jumps ahead and back finds the days it left.
func TestDays(t *testing.T) {
	s := &checkpoint.State{}
	now := time.Date(2026, 11, 22, 23, 59, 0, 0, time.FixedZone("", -3600))
	s.Today(now).Events = 5
	for i := range 7 {
		s.Today(now.AddDate(i+1, 0, 0)).Events++
	}
	if d := s.Today(now); d.Events != 5 || d.Date != "2026-11-23" || len(s.Days) != 8 {
		t.Errorf("%+v", s.Days)
	}
	s.Today(now.AddDate(30, 0, 0))
	if len(s.Days) != 8 || s.Days[7].Date != "2056-11-23" || s.Today(now).Events != 0 {
		t.Errorf("%+v", s.Days)
	}
}
