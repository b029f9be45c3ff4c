package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func record(t *testing.T, j *Journal, i int, text string) {
	t.Helper()
	w, err := j.Recording(id(i))
	must(t, err)
	_, err = w.Write([]byte(text))
	must(t, err)
	must(t, w.Close())
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := w.Write([]byte("more")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after Close: %v", err)
	}
}

func recordedEnd(i int) session.Record {
	r := ended(i)
	r.Recording = r.Session
	return r
}

func TestARecordingGoesAfterItsSessionsEnd(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	l := start(t, Config{Dir: dir}, p, clock.System{})
	l.Note(opened(1))
	record(t, l.Journal, 1, "what was shown")
	l.Note(opened(2)) // its arrival shows that the recording had its chance
	p.until(t, "two records", func() bool { return len(p.records) == 2 })
	p.set(func() {
		if len(p.files) != 0 {
			t.Error("the recording came before its session's end")
		}
	})
	l.Note(recordedEnd(1))
	p.until(t, "the recording", func() bool { return string(p.files[id(1)]) == "what was shown" })
	if p.before[id(1)] < 3 {
		t.Errorf("the recording came after %d records", p.before[id(1)])
	}
	p.until(t, "room", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.recorded == 0 && len(l.recordings) == 0 })
	if left, _ := filepath.Glob(filepath.Join(dir, "lives", "*", "*"+closedEnding)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestARecordingOfADeadLife(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	p.away = errAway
	j, err := Open(Config{Dir: dir}, quiet(), clock.System{})
	must(t, err)
	j.direct = true // as if Run had been killed
	j.Note(opened(1))
	j.Note(opened(2))
	j.Note(opened(3))
	half, err := j.Recording(id(1))
	must(t, err)
	_, err = half.Write([]byte("as far as it c"))
	must(t, err)
	record(t, j, 2, "complete")
	j.Note(recordedEnd(2))
	empty, err := j.Recording(id(3))
	must(t, err)
	must(t, j.Close())
	t.Cleanup(func() { half.(*recording).file.Close(); empty.(*recording).file.Close() })

	p = newPlane()
	start(t, Config{Dir: dir}, p, clock.System{})
	p.until(t, "both", func() bool { return len(p.files) == 2 })
	if string(p.files[id(1)]) != "as far as it c" || string(p.files[id(2)]) != "complete" {
		t.Errorf("%q", p.files)
	}
	for _, r := range p.records {
		want := ""
		if r.Phase == session.Ended && r.Session != id(3) {
			want = r.Session
		}
		if r.Recording != want {
			t.Errorf("%s %s names the recording %q", r.Session, r.Phase, r.Recording)
		}
	}
	if len(p.records) != 6 || p.before[id(1)] != 6 {
		t.Errorf("%d records, %v", len(p.records), p.before)
	}
}

func TestThereIsNoRoomForRecordings(t *testing.T) {
	dir, p := t.TempDir(), newPlane()
	p.away = errAway
	l := start(t, Config{Dir: dir, MaxRecordings: 1000}, p, clock.System{})
	one, err := l.Recording(id(1))
	must(t, err)
	_, err = one.Write(bytes.Repeat([]byte("a"), 900))
	must(t, err)
	if _, err := l.Recording(id(1)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	two, err := l.Recording(id(2))
	must(t, err)
	if n, err := two.Write(bytes.Repeat([]byte("b"), 101)); n != 0 || fault.KindOf(err) != fault.Exhausted {
		t.Errorf("written %d, %v", n, err)
	}
	_, err = two.Write(bytes.Repeat([]byte("b"), 100))
	must(t, err)
	_, err = l.Recording(id(3))
	if fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" {
		t.Errorf("begun: %v", err)
	}
	must(t, one.Close())
	must(t, two.Close())
	l.Note(recordedEnd(1))
	l.Note(recordedEnd(2))
	l.stop()

	p.away = nil
	l = start(t, Config{Dir: dir, MaxRecordings: 1000}, p, clock.System{})
	p.until(t, "both", func() bool { return len(p.files) == 2 })
	p.until(t, "room", func() bool {
		w, err := l.Recording(id(4))
		if err == nil {
			must(t, w.Close())
		}
		return err == nil
	})
}

func TestARecordingThatIsRefusedHoldsNothingUp(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Invalid, fault.Denied, fault.TooLarge, fault.NotFound, fault.Conflict} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			dir, p := t.TempDir(), newPlane()
			asked := 0
			p.file = func(s string) error {
				if s != id(1) {
					return nil
				}
				asked++
				return fault.New("plane", kind, "this one never")
			}
			l := start(t, Config{Dir: dir}, p, clock.System{})
			for i := 1; i <= 2; i++ {
				l.Note(opened(i))
				record(t, l.Journal, i, "text")
				l.Note(recordedEnd(i))
			}
			p.until(t, "the other", func() bool { return p.files[id(2)] != nil })
			p.until(t, "it is set aside", func() bool { return exists(filepath.Join(dir, "refused", id(1)+closedEnding)) == nil })
			p.until(t, "the problem", func() bool { return len(l.Problems()) == 1 && strings.Contains(l.Problems()[0], "this one never") })
			p.set(func() {
				if asked != refusals {
					t.Errorf("sent %d times", asked)
				}
			})
			l.mu.Lock()
			if l.recorded != 4 { // until somebody deletes it
				t.Errorf("%d bytes count", l.recorded)
			}
			l.mu.Unlock()
		})
	}
}

func TestNamesOfRecordings(t *testing.T) {
	j, err := Open(Config{Dir: t.TempDir()}, quiet(), clock.System{})
	must(t, err)
	defer j.Close()
	for _, bad := range []string{"", "x", "../../../../../../../etc/passwd1", strings.Repeat("A", 32), strings.Repeat("a", 33), "/" + strings.Repeat("a", 31)} {
		if _, err := j.Recording(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is recorded comes to the disk while the session lasts, at most once in two seconds.
func TestRecordingsAreSyncedWhileTheyGrow(t *testing.T) {
	now := clock.NewFake(time.Unix(9000, 0))
	l := start(t, Config{Dir: t.TempDir()}, newPlane(), now)
	w, err := l.Recording(id(1))
	must(t, err)
	r := w.(*recording)
	dirty := func() bool { l.mu.Lock(); defer l.mu.Unlock(); return r.dirty }
	_, err = w.Write([]byte("some"))
	must(t, err)
	newPlane().until(t, "the fsync", func() bool { now.Advance(syncEvery / 4); return !dirty() })
	_, err = w.Write([]byte("more"))
	must(t, err)
	l.settled(t)
	if !dirty() {
		t.Error("another fsync at once")
	}
	newPlane().until(t, "the second fsync", func() bool { now.Advance(syncEvery / 4); return !dirty() })
	must(t, w.Close())
}
