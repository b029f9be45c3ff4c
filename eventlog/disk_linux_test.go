package eventlog_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// smallDisk is a real file system of that size, for the length of the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a disk of its own")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this machine does not let root mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp takes all the space there is and returns what gives it back.
func fillUp(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(zeros)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARealDiskRunsFull(t *testing.T) {
	disk := smallDisk(t, "160m")
	cfg := eventlog.Config{Dir: filepath.Join(disk, "log"), Partitions: 1, Reserve: 40 << 20, DiskCheck: 1}
	l := open(t, cfg, clock.System{})
	noise := rand.NewChaCha8([32]byte{7})
	content := func() []byte {
		b := make([]byte, 128<<10)
		_, _ = noise.Read(b)
		return b
	}
	var stored [][]byte
	put := func() error {
		b := content()
		_, err := l.Append(t.Context(), "hub", "k", eventlog.Event{Body: b})
		if err == nil {
			stored = append(stored, b)
		}
		return err
	}
	var err error
	for err == nil && len(stored) < 10_000 {
		err = put()
	}
	if fault.KindOf(err) != fault.Exhausted || l.Err() != nil || len(stored) < 100 {
		t.Fatalf("after %d events: %v; the log says %v", len(stored), err, l.Err())
	}
	n := len(stored)
	empty := fillUp(t, disk)
	for range 10 {
		if err := put(); fault.KindOf(err) != fault.Exhausted || l.Err() != nil {
			t.Fatalf("on a disk without a byte left: %v; the log says %v", err, l.Err())
		}
	}
	check := func() {
		t.Helper()
		for from := 0; from < n; {
			events, err := l.Read(t.Context(), "hub", 0, int64(from), 0)
			if err != nil || len(events) == 0 {
				t.Fatalf("event %d: %v", from, err)
			}
			for _, ev := range events {
				if !bytes.Equal(ev.Body, stored[ev.Sequence]) {
					t.Fatalf("event %d is another", ev.Sequence)
				}
			}
			from += len(events)
		}
		if _, next := l.Bounds("hub", 0); next != int64(len(stored)) {
			t.Errorf("%d events, want %d", next, len(stored))
		}
	}
	check()
	empty()
	if err := l.Trim("hub", 0, int64(n/2)); err != nil {
		t.Fatal(err)
	}
	l.end(t)

	// Closed, the store gives trimmed space back at its next start or compaction; a bigger disk does as well.
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=400m"); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg, clock.System{})
	for range 10 {
		if err := put(); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	n = len(stored)
	if first, next := l.Bounds("hub", 0); int(first) == 0 || int(next) != n {
		t.Errorf("bounds %d, %d of %d", first, next, n)
	}
	l.end(t)

	empty = fillUp(t, disk)
	_, err = eventlog.Open(cfg, quiet(), clock.System{}, nil)
	if fault.KindOf(err) != fault.Exhausted {
		t.Errorf("opening on a full disk: %v", err)
	}
	empty()
	l = open(t, cfg, clock.System{})
	if _, next := l.Bounds("hub", 0); int(next) != n {
		t.Errorf("%d events of %d", next, n)
	}
}
