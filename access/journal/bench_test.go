package journal

import (
	"context"
	"runtime"
	"testing"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
)

// nowhere takes everything.
type nowhere struct{ *plane }

func (nowhere) Sessions(context.Context, []session.Record) error { return nil }

// One after the other, each waited for until it is on disk: what a power cut takes away at most.
func BenchmarkUntilOnDisk(b *testing.B) {
	l := start(b, Config{Dir: b.TempDir()}, nowhere{newPlane()}, clock.System{})
	for i := range b.N {
		l.Note(ended(i))
		for done := false; !done; {
			l.mu.Lock()
			done = l.next == uint64(i+1)
			l.mu.Unlock()
			runtime.Gosched()
		}
	}
}

// As many as the disk takes, sent at once.
func BenchmarkNote(b *testing.B) {
	l := start(b, Config{Dir: b.TempDir(), MaxBytes: 1 << 30}, nowhere{newPlane()}, clock.System{})
	b.ReportAllocs()
	for i := range b.N {
		l.Note(opened(i))
		l.Note(ended(i))
		if i%1000 == 999 {
			l.settled(b)
		}
	}
	l.settled(b)
}

// What a dead life left, 64 MiB.
func BenchmarkTakeOver(b *testing.B) {
	for range b.N {
		b.StopTimer()
		dir := b.TempDir()
		j, err := Open(Config{Dir: dir}, quiet(), clock.System{})
		must(b, err)
		var records []session.Record
		for i := range 1000 {
			records = append(records, opened(i), ended(i))
		}
		for j.next < 200000 {
			must(b, j.append(records, 0))
		}
		must(b, j.Close())
		k, err := Open(Config{Dir: dir}, quiet(), clock.System{})
		must(b, err)
		b.StartTimer()
		k.inherit()
		if k.next != j.next {
			b.Fatal(k.next)
		}
		b.StopTimer()
		must(b, k.Close())
	}
}
