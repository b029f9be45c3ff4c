package eventlog_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// gauge is a file system whose free space a test sets.
type gauge struct {
	vfs.FS
	free atomic.Uint64
}

func (g *gauge) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: g.free.Load(), TotalBytes: 100 << 30}, nil
}

func TestAFullDiskRefusesAppendsAndRecovers(t *testing.T) {
	disk := &gauge{FS: vfs.Default}
	disk.free.Store(2 << 30)
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	l := run(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1, FS: disk}, clk)

	mustAppend(t, l, "hub", "k", body(0))
	mustAppend(t, l, "hub", "k", body(1))
	mustAppend(t, l, "large", "k", body(0))
	disk.free.Store(1<<30 - 1) // 1 % of 100 GiB are 1 GiB
	clk.Advance(time.Second)
	for range 3 {
		_, err := l.Append(t.Context(), "hub", "k", body(2))
		if fault.KindOf(err) != fault.Exhausted || !strings.HasPrefix(fault.Message(err), "the disk holding ") ||
			!strings.Contains(fault.Message(err), "is full") || fault.Next(err) == "" {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if err := l.Create(t.Context(), "other", 0); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a new stream on a full disk: %v", err)
	}
	if events, err := l.Read(t.Context(), "hub", 0, 0, 0); err != nil || len(events) != 2 {
		t.Errorf("reading on a full disk: %d events, %v", len(events), err)
	}
	if _, err := l.RegisterProducer(t.Context(), "hub", 0, eventlog.Producer{}); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a new producer on a full disk: %v", err)
	}
	if err := l.Trim("hub", 0, 1); err != nil {
		t.Errorf("trimming on a full disk: %v", err)
	}
	if err := l.SetRetention(t.Context(), "hub", eventlog.Retention{Bytes: 1 << 20}); err != nil {
		t.Errorf("a shorter retention on a full disk: %v", err)
	}
	if err := l.DeleteStream(t.Context(), "large"); err != nil {
		t.Errorf("deleting on a full disk: %v", err)
	}
	disk.free.Store(3 << 30)
	clk.Advance(time.Second)
	if pos := mustAppend(t, l, "hub", "k", body(2)); pos.Sequence != 2 {
		t.Errorf("the refused events took sequence numbers: %+v", pos)
	}
}

// watch is a log handler that passes messages on.
type watch struct{ told chan string }

func (w watch) Enabled(context.Context, slog.Level) bool { return true }
func (w watch) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w watch) WithGroup(string) slog.Handler            { return w }
func (w watch) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the disk") {
		w.told <- r.Message
	}
	return nil
}

// Somebody else may take the last byte between two looks at the free space.
func TestNoSpaceAtAllIsWaitedFor(t *testing.T) {
	var none atomic.Bool
	disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if none.Load() && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	told := make(chan string, 4)
	l := runLogging(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1, Reserve: 1, FS: disk, DiskCheck: time.Millisecond},
		clock.System{}, slog.New(watch{told}))
	mustAppend(t, l, "hub", "k", body(0))
	none.Store(true)
	waiting := make(chan error, 1)
	l.AppendAsync("hub", "k", body(1), func(_ eventlog.Position, err error) { waiting <- err })
	if msg := <-told; !strings.Contains(msg, "no space at all") {
		t.Errorf("it said %q", msg)
	}
	_, err := l.Append(t.Context(), "hub", "k", body(9))
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "full to the last byte") {
		t.Errorf("an append meanwhile: %v", err)
	}
	if events, err := l.Read(t.Context(), "hub", 0, 0, 0); err != nil || len(events) != 1 {
		t.Errorf("a read meanwhile: %d events, %v", len(events), err)
	}
	none.Store(false)
	if err := <-waiting; err != nil {
		t.Errorf("the append that waited: %v", err)
	}
	<-told
	if pos := mustAppend(t, l, "hub", "k", body(2)); pos.Sequence != 2 || l.Err() != nil {
		t.Errorf("afterwards: %+v, %v", pos, l.Err())
	}
}
