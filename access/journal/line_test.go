package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
)

func segmentOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, e := range entries {
		b, err = appendLine(b, &e)
		must(t, err)
	}
	return b
}

func line(t testing.TB, n uint64, r session.Record) []byte {
	return segmentOf(t, entry{N: n, Record: &r})
}

func TestDamage(t *testing.T) {
	a, b, c := line(t, 1, opened(1)), line(t, 2, opened(2)), line(t, 3, opened(3))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
	long := append(bytes.Repeat([]byte("x"), maxLine+5), '\n')
	for _, tc := range []struct {
		name    string
		text    []byte
		want    string // sessions' last digits
		damaged int
	}{
		{"nothing", nil, "", 0},
		{"whole", join(a, b, c), "123", 0},
		{"half a line at the end", join(a, b, c[:len(c)-7]), "12", 0},
		{"no newline at the end", join(a, b, c[:len(c)-1]), "12", 0},
		{"zeros at the end", join(a, b, make([]byte, 5000)), "12", 0},
		{"damage in the last line", join(a, b, flip(c, 20)), "12", 0},
		{"damage in the middle", join(a, flip(b, 20), c), "13", 1},
		{"a damaged sum", join(a, flip(b, 0), c), "13", 1},
		{"no space after the sum", join(a, flip(b, 8), c), "13", 1},
		{"a newline in the middle of a line", join(a, b[:30], []byte("\n"), b[30:], c), "13", 2},
		{"a lost newline", join(a[:len(a)-1], b, c), "3", 1},
		{"an empty line", join(a, []byte("\n"), c), "13", 1},
		{"a line too long", join(a, long, c), "13", 1},
		{"all damaged", join(flip(a, 12), flip(b, 12)), "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			records, damaged := readRecords(bytes.NewReader(tc.text), map[string]session.Record{})
			got := ""
			for _, r := range records {
				got += r.Session[31:]
			}
			if got != tc.want || damaged != tc.damaged {
				t.Errorf("read %q, %d damaged; want %q, %d", got, damaged, tc.want, tc.damaged)
			}
		})
	}
}

func TestWhatASegmentSaysOfSessions(t *testing.T) {
	open := map[string]session.Record{}
	one, two, three := opened(1), ended(1), opened(3)
	text := segmentOf(t,
		entry{Open: []session.Record{opened(7), opened(8)}, Taken: 4}, entry{N: 5, Record: &one}, entry{Taken: 5}, entry{N: 6, Record: &two}, entry{N: 7, Record: &three})
	end := ended(8)
	text = append(text, line(t, 8, end)...)
	records, damaged := readRecords(bytes.NewReader(text), open)
	if len(records) != 3 || records[0].Phase != session.Ended || damaged != 0 {
		t.Errorf("to be sent: %+v", records)
	}
	if _, ok := open[id(7)]; len(open) != 2 || !ok || open[id(3)].Session == "" {
		t.Errorf("open: %+v", open)
	}
}

func TestALifeWithADamagedSegmentIsTold(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	life := filepath.Join(dir, "lives", "000000000007")
	must(t, os.MkdirAll(life, 0o700))
	middle := line(t, 2, ended(1))
	middle[15] ^= 1
	must(t, os.WriteFile(segmentPath(life, 1), bytes.Join([][]byte{line(t, 1, opened(1)), middle, line(t, 3, opened(3)), []byte("0123")}, nil), 0o600))
	must(t, os.WriteFile(segmentPath(life, 2), line(t, 4, ended(3)), 0o600))
	must(t, os.WriteFile(filepath.Join(life, "other.txt"), []byte("nobody's"), 0o600))
	l := start(t, Config{Dir: dir}, p, clock.NewFake(time.Unix(0, 0))) // as a machine without a battery has it
	p.until(t, "the records", func() bool { return len(p.records) == 4 })
	if r := p.records[3]; r.Session != id(1) || r.End != session.EndLost || !r.At.Equal(r.Opened) {
		t.Errorf("%+v", r)
	}
	if w := l.Problems(); len(w) != 1 || !strings.Contains(w[0], "1 lines") {
		t.Errorf("told %q", w)
	}
}

// The reader takes any bytes, and what it reads can be written and read again.
func FuzzReader(f *testing.F) {
	good := append(line(f, 1, opened(1)), line(f, 2, ended(1))...)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append([]byte("00000000 {}\n"), good...))
	f.Add(segmentOf(f, entry{Open: []session.Record{opened(1)}, Taken: 9}))
	f.Add([]byte("\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newReader(bytes.NewReader(text))
		var again []byte
		n := 0
		for {
			e, ok := r.next()
			if !ok {
				break
			}
			n++
			var err error
			if again, err = appendLine(again, &e); err != nil {
				t.Fatal(err)
			}
		}
		if r.offset > int64(len(text)) || r.damaged+r.pending+n > bytes.Count(text, []byte("\n")) {
			t.Fatalf("offset %d, %d damaged, %d pending, %d read", r.offset, r.damaged, r.pending, n)
		}
		r = newReader(bytes.NewReader(again))
		for range n {
			if _, ok := r.next(); !ok {
				t.Fatal("what was read cannot be read again")
			}
		}
	})
}
