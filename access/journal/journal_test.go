package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

var errAway = fault.New("plane", fault.Unavailable, "the control plane cannot be reached")

func TestRecordsArriveInOrderAndOnce(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	l := start(t, Config{Dir: dir}, p, clock.System{})
	var want []session.Record
	note := func(r session.Record) { want = append(want, r); l.Note(r) }
	for i := range 500 {
		note(opened(i))
		if i%2 == 1 {
			note(ended(i - 1))
			note(ended(i))
		}
	}
	p.until(t, "all records", func() bool { return len(p.records) >= len(want) })
	l.stop()
	if !equal(p.records, want) {
		t.Errorf("%d records arrived, %d were noted, or in another order", len(p.records), len(want))
	}
	again := newPlane()
	l = start(t, Config{Dir: dir}, again, clock.System{})
	l.Note(opened(1000))
	again.until(t, "the one record of the second life", func() bool { return len(again.records) > 0 })
	l.stop()
	if len(again.records) != 1 || again.records[0].Session != id(1000) {
		t.Errorf("the second life sent %v", again.records)
	}
}

func equal(a, b []session.Record) bool {
	return slices.EqualFunc(a, b, func(x, y session.Record) bool {
		return x.Session == y.Session && x.Phase == y.Phase && x.At.Equal(y.At)
	})
}

func TestWhileTheControlPlaneIsAway(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	p.away = errAway
	l := start(t, Config{Dir: dir}, p, clock.System{})
	l.Note(opened(1))
	p.until(t, "an attempt", func() bool { return p.calls > 0 })
	p.until(t, "the problem", func() bool { return len(l.Problems()) == 1 })
	if w := l.Problems()[0]; !strings.Contains(w, "does not take records") || !strings.Contains(w, "cannot be reached") {
		t.Errorf("told %q", w)
	}
	l.Note(ended(1))
	l.stop() // the last attempt fails too, and what is noted afterwards is not lost either
	l.Note(opened(2))
	l.Note(ended(2))

	p.set(func() { p.away = nil })
	l = start(t, Config{Dir: dir}, p, clock.System{})
	p.until(t, "all records", func() bool { return len(p.records) == 4 })
	if want := []session.Record{opened(1), ended(1), opened(2), ended(2)}; !equal(p.records, want) {
		t.Errorf("%+v", p.records)
	}
	p.until(t, "no more problems", func() bool { return len(l.Problems()) == 0 })
}

func TestTheEndOfRunSendsWhatWaits(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	l := start(t, Config{Dir: dir}, p, clock.System{})
	l.Note(opened(1))
	p.until(t, "the first", func() bool { return len(p.records) == 1 })
	l.Note(ended(1))
	l.stop()
	if len(p.records) != 2 {
		t.Errorf("%d records arrived before Run returned", len(p.records))
	}
}

func TestSessionsOfADeadLifeAreEndedAsLost(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	// Segments are small, so that the ones in which the sessions were opened are long gone.
	cfg := Config{Dir: dir, MaxBytes: 64 << 10}
	l := start(t, cfg, p, clock.System{})
	l.Note(opened(1))
	l.Note(opened(2))
	for i := 10; i < 400; i++ {
		l.Note(opened(i))
		l.Note(ended(i))
		if i%20 == 0 {
			l.settled(t)
		}
	}
	l.Note(ended(2))
	p.until(t, "all records", func() bool { return len(p.records) == 2+2*390+1 })
	p.until(t, "the segments' end", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.segments) == 1 })
	l.stop()
	if old := filepath.Join(dir, "lives", "000000000001", "000000000001.log"); !errors.Is(exists(old), fs.ErrNotExist) {
		t.Fatal("the test is void: the first segment is still there")
	}
	second := newPlane()
	now := clock.NewFake(time.Unix(9000, 0))
	j, err := Open(cfg, quiet(), now)
	must(t, err)
	j.SetOffset(time.Minute)
	run(t, j, second)
	second.until(t, "the lost session's end", func() bool { return len(second.records) == 1 })
	r := second.records[0]
	if r.Session != id(1) || r.Phase != session.Ended || r.End != session.EndLost || !r.Opened.Equal(time.Unix(1, 0)) || !r.At.Equal(now.Now().Add(time.Minute)) ||
		r.Grant != "g" || r.Target != "t" || r.Person == "" || r.Check() != nil {
		t.Errorf("%+v", r)
	}
}

// run runs a journal until the test ends.
func run(t *testing.T, j *Journal, to Sender) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, to) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		must(t, j.Close())
	})
}

func exists(path string) error { _, err := os.Stat(path); return err }

func TestARecordThatIsRefusedHoldsNothingUp(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Invalid, fault.Denied, fault.TooLarge} {
		t.Run(kind.String(), func(t *testing.T) {
			dir, p := t.TempDir(), newPlane()
			p.away = errAway
			p.refuse = func(r session.Record) error {
				if r.Session == id(5) {
					return fault.New("plane", kind, "this one never")
				}
				return nil
			}
			l := start(t, Config{Dir: dir}, p, clock.System{})
			for i := range 10 {
				l.Note(opened(i))
			}
			l.settled(t)
			p.set(func() { p.away = nil })
			p.until(t, "all others", func() bool { return len(p.records) == 9 })
			p.until(t, "the problem", func() bool { return len(l.Problems()) == 1 && strings.Contains(l.Problems()[0], "this one never") })
			b, err := os.ReadFile(filepath.Join(dir, "refused", "records.jsonl"))
			if err != nil || !strings.Contains(string(b), id(5)) || strings.Contains(string(b), id(6)) || !strings.Contains(string(b), "this one never") {
				t.Errorf("set aside: %s, %v", b, err)
			}
			l.stop()
			l = start(t, Config{Dir: dir}, newPlane(), clock.System{})
			if w := l.Problems(); len(w) != 1 || !strings.Contains(w[0], filepath.Join(dir, "refused")) {
				t.Errorf("after a restart: %q", w)
			}
		})
	}
}

func TestAFullJournalDropsTheOldestAndSaysSo(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	p.away = errAway
	cfg := Config{Dir: dir, MaxBytes: 32 << 10}
	l := start(t, cfg, p, clock.System{})
	const n = 500
	for i := range n {
		l.Note(opened(i))
		l.Note(ended(i))
		if i%5 == 0 {
			l.settled(t)
		}
	}
	l.settled(t)
	var size int64
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			size += info.Size()
		}
		return err
	}))
	if size > cfg.MaxBytes*5/4 {
		t.Errorf("%d bytes are on disk", size)
	}
	p.set(func() { p.away = nil })
	p.until(t, "the last record", func() bool {
		return len(p.records) > 0 && p.records[len(p.records)-1].Session == id(n-1) && p.records[len(p.records)-1].Phase == session.Ended
	})
	told := 0
	for _, r := range p.records {
		var k int
		if _, err := fmt.Sscanf(r.Words, "before this, %d records", &k); err == nil {
			told += k
		}
	}
	// Notices among what was dropped are lost with it, so only a part of the whole is told.
	if missing := 2*n - len(p.first()); missing <= 0 || told == 0 || told > missing {
		t.Errorf("%d records are missing, %d were told", missing, told)
	}
}

func TestMemoryIsBoundedBeforeRun(t *testing.T) {
	j, err := Open(Config{Dir: t.TempDir()}, quiet(), clock.System{})
	must(t, err)
	long := strings.Repeat("x", session.MaxText)
	const n = 5000
	for i := range n {
		r := opened(i)
		r.Words = long[:900]
		j.Note(r)
	}
	if j.waitBytes > maxWaiting || len(j.waiting)+j.dropped != n {
		t.Errorf("%d records of %d bytes wait, %d dropped", len(j.waiting), j.waitBytes, j.dropped)
	}
	dropped := j.dropped
	p := newPlane()
	run(t, j, p)
	p.until(t, "the last", func() bool { return len(p.records) == n-dropped })
	if w := p.records[0].Words; !strings.HasPrefix(w, fmt.Sprintf("before this, %d records", dropped)) || len(w) > session.MaxText {
		t.Errorf("the first says %q", w)
	}
}

func TestADiskThatRefuses(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	j, err := Open(Config{Dir: dir}, quiet(), clock.System{})
	must(t, err)
	must(t, os.RemoveAll(j.life.dir)) // nothing can be made in it
	run(t, j, p)
	j.Note(opened(1))
	j.Note(opened(2))
	p.until(t, "records from memory", func() bool { return len(p.records) == 2 })
	p.until(t, "the problem", func() bool { return len(j.Problems()) == 1 })
	if w := j.Problems()[0]; !strings.Contains(w, "only in memory") {
		t.Errorf("told %q", w)
	}
	p.set(func() { p.away = errAway })
	j.Note(ended(2))
	must(t, os.Mkdir(j.life.dir, 0o700))
	j.settled(t)
	p.until(t, "the end of the problem", func() bool {
		return !slices.ContainsFunc(j.Problems(), func(w string) bool { return strings.Contains(w, "memory") })
	})
	if r := j.openNow(); !slices.Equal(r, []string{id(1)}) {
		t.Errorf("open are %v", r)
	}
	p.set(func() { p.away = nil })
	p.until(t, "the last", func() bool { return len(p.records) >= 3 })
	if got := p.first(); !equal(got, []session.Record{opened(1), opened(2), ended(2)}) {
		t.Errorf("%+v", got)
	}
}

func (j *Journal) openNow() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []string
	for s := range j.open {
		list = append(list, s)
	}
	return list
}

func TestTwoProcessesDoNotDisturbEachOther(t *testing.T) {
	dir, p, q := t.TempDir(), newPlane(), newPlane()
	now := clock.NewFake(time.Unix(9000, 0))
	old := start(t, Config{Dir: dir}, p, clock.System{})
	old.Note(opened(1))
	p.until(t, "the old one's record", func() bool { return len(p.records) == 1 })
	fresh := start(t, Config{Dir: dir}, q, now)
	fresh.Note(opened(2))
	q.until(t, "the new one's record", func() bool { return len(q.records) == 1 })
	old.Note(ended(1))
	p.until(t, "the old one's end", func() bool { return len(p.records) == 2 })
	old.Note(opened(3))
	p.until(t, "the old one's second", func() bool { return len(p.records) == 3 })
	old.stop()
	q.until(t, "what the old one left", func() bool { now.Advance(lookEvery); return len(q.records) == 2 })
	if r := q.records[1]; r.Session != id(3) || r.End != session.EndLost {
		t.Errorf("%+v", r)
	}
	fresh.stop()
	if names, err := lives(filepath.Join(dir, "lives")); err != nil || len(names) != 1 {
		t.Errorf("there are %v, %v", names, err)
	}
}

// However lives and failures follow each other, everything arrives, in the order of the notes, and every session ends.
func TestLives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		p := newPlane()
		count := 0
		p.refuse = func(session.Record) error {
			if count++; count%3 == 0 {
				return errAway
			}
			return nil
		}
		var noted []session.Record
		next := 0
		for range rapid.IntRange(1, 3).Draw(rt, "lives") {
			p.set(func() { p.away = nil })
			if rapid.Bool().Draw(rt, "away") {
				p.set(func() { p.away = errAway })
			}
			l := start(t, Config{Dir: dir, MaxBytes: rapid.SampledFrom([]int64{0, 1 << 20}).Draw(rt, "bytes")}, p, clock.System{})
			var open []int
			for range rapid.IntRange(0, 20).Draw(rt, "notes") {
				if len(open) > 0 && rapid.Bool().Draw(rt, "end") {
					noted = append(noted, ended(open[0]))
					open = open[1:]
				} else {
					noted = append(noted, opened(next))
					open = append(open, next)
					next++
				}
				l.Note(noted[len(noted)-1])
			}
			l.stop()
			for _, i := range open { // in the order in which they were opened
				noted = append(noted, session.Record{Session: id(i), Phase: session.Ended, End: session.EndLost})
			}
		}
		p.set(func() { p.away, p.refuse = nil, nil })
		l := start(t, Config{Dir: dir}, p, clock.System{})
		seen := func() int {
			all := map[string]bool{}
			for _, r := range p.records {
				all[r.Session+string(r.Phase)] = true
			}
			return len(all)
		}
		p.until(t, "everything", func() bool { return seen() == len(noted) })
		l.stop()
		for i, r := range p.first() {
			if w := noted[i]; r.Session != w.Session || r.Phase != w.Phase || r.End != w.End {
				rt.Fatalf("record %d is %s %s %s, want %s %s %s", i, r.Session, r.Phase, r.End, w.Session, w.Phase, w.End)
			}
		}
	})
}
