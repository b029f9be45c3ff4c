package eventlog_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	if err := l.Trim("hub", 0, 1); err != nil {
		t.Errorf("trimming on a full disk: %v", err)
	}
	disk.free.Store(3 << 30)
	clk.Advance(time.Second)
	if pos := mustAppend(t, l, "hub", "k", body(2)); pos.Sequence != 2 {
		t.Errorf("the refused events took sequence numbers: %+v", pos)
	}
}
