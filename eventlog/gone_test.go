package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func openRunning(t *testing.T, cfg Config) (l *Log, end func()) {
	t.Helper()
	cfg.Reserve = 1
	l, err := Open(cfg, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	var once sync.Once
	end = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-ran, l.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(end)
	return l, end
}

func TestADeletionLeavesNothingBehind(t *testing.T) {
	cfg := Config{Dir: "log", FS: vfs.NewMem(), Partitions: 2}
	l, end := openRunning(t, cfg)
	for _, name := range []string{"kept", "hub"} {
		for range 5 {
			if _, err := l.AppendTo(t.Context(), name, 1, "", Event{}); err != nil && l.Create(t.Context(), name, 0) != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.RegisterProducer(t.Context(), name, 0, Producer{}); err != nil {
			t.Fatal(err)
		}
		if err := l.Trim(name, 1, 2); err != nil {
			t.Fatal(err)
		}
	}
	id := l.stream("hub").id
	count := func() map[uint32]int {
		n := map[uint32]int{}
		it, err := l.db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			switch k := it.Key(); k[0] {
			case prefixEvent, prefixBounds, prefixProducer, prefixLastProducer:
				n[binary.BigEndian.Uint32(k[1:])]++
			case prefixStream:
				v, err := it.ValueAndErr()
				if err != nil {
					t.Fatal(err)
				}
				n[uint32At(v, 0)]++
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	if before[id] != 1+2+1+1+1 { // itself, two of its events kept, bounds, producer, count of producers
		t.Fatalf("%v", before)
	}
	if err := l.DeleteStream(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	if after := count(); after[id] != 0 || after[id-1] != before[id-1] {
		t.Errorf("%v, then %v", before, after)
	}
	end()
	l, _ = openRunning(t, cfg)
	if err := l.Create(t.Context(), "hub", 0); err != nil {
		t.Fatal(err)
	}
	if again := l.stream("hub").id; again <= id {
		t.Errorf("id %d is used again as %d", id, again)
	}
}

// gateFS lets nobody sync a journal while it is shut.
type gateFS struct {
	vfs.FS
	gate    sync.RWMutex
	waiting chan struct{} // told when somebody comes to the gate
}

type gateFile struct {
	vfs.File
	fs *gateFS
}

func (g *gateFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &gateFile{f, g}, nil
}

func (g *gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, c)
	return g.wrap(name, f, err)
}

func (g *gateFS) ReuseForWrite(from, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(from, name, c)
	return g.wrap(name, f, err)
}

func (f *gateFile) pass() {
	select {
	case f.fs.waiting <- struct{}{}:
	default:
	}
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
}

func (f *gateFile) Sync() error     { f.pass(); return f.File.Sync() }
func (f *gateFile) SyncData() error { f.pass(); return f.File.SyncData() }

func (f *gateFile) SyncTo(length int64) (bool, error) { f.pass(); return f.File.SyncTo(length) }

// The store shows its readers a trim or a deletion before it is on the disk. That must not look like damage.
func TestReadersBesideATrimThatIsNotDurableYet(t *testing.T) {
	fs := &gateFS{FS: vfs.NewMem(), waiting: make(chan struct{}, 1)}
	l, _ := openRunning(t, Config{Dir: "log", FS: fs, Partitions: 1})
	for range 10 {
		if _, err := l.Append(t.Context(), "hub", "k", Event{}); err != nil {
			t.Fatal(err)
		}
	}
	type seen struct {
		n    int
		kind fault.Kind
		bad  bool
	}
	read := func() seen {
		events, err := l.Read(t.Context(), "hub", 0, 0, 0)
		return seen{len(events), fault.KindOf(err), err != nil}
	}
	for _, c := range []struct {
		name string
		do   func() error
		want seen
	}{
		{"trim", func() error { return l.Trim("hub", 0, 4) }, seen{n: 6}},
		{"trim of all", func() error { return l.Trim("hub", 0, 10) }, seen{}},
		{"append", func() error { _, err := l.Append(t.Context(), "hub", "k", Event{}); return err }, seen{}},
		{"deletion", func() error { return l.DeleteStream(t.Context(), "hub") }, seen{kind: fault.NotFound, bad: true}},
	} {
		before := read()
		fs.gate.Lock()
		done := make(chan error, 1)
		go func() { done <- c.do() }()
		<-fs.waiting // it is in the store, or just before, and not on the disk
		got := read()
		for got == before && got != c.want && t.Context().Err() == nil {
			runtime.Gosched()
			got = read()
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if _, err := l.SeekOffset("hub", 0, 1); err != nil && fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", c.name, err)
		}
		fs.gate.Unlock()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		select {
		case <-fs.waiting:
		default:
		}
	}
}

// Readers, trims and deletions beside each other: nobody sees damage or a gap.
func TestReadersBesideTrimsAndDeletions(t *testing.T) {
	l, _ := openRunning(t, Config{Dir: "log", FS: vfs.NewMem(), Partitions: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fine := func(what string, err error) bool {
		if k := fault.KindOf(err); err != nil && k != fault.NotFound && k != fault.Timeout {
			t.Errorf("%s: %v", what, err)
			return false
		}
		return true
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			at := int64(0)
			for ctx.Err() == nil {
				last := int64(-1)
				err := l.Scan(ctx, "hub", 0, at, 0, func(v *View) bool {
					if last >= 0 && v.Sequence != last+1 {
						t.Errorf("%d after %d", v.Sequence, last)
					}
					last = v.Sequence
					return true
				})
				if !fine("scan", err) {
					return
				}
				if at = last + 1; err != nil {
					at = 0
				}
				if at > 0 && !fine("wait", l.Wait(ctx, "hub", 0, at)) {
					return
				}
			}
		})
	}
	for range 40 {
		for i := range 20 {
			if _, err := l.Append(t.Context(), "hub", "k", Event{Body: make([]byte, 100)}); err != nil {
				t.Fatal(err)
			}
			if i%5 == 4 {
				fine("trim", l.Trim("hub", 0, int64(i-2)))
			}
		}
		fine("delete", l.DeleteStream(t.Context(), "hub"))
	}
	cancel()
	wg.Wait()
}
