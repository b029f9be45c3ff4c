package eventlog

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestTablesEndWherePartitionsDo(t *testing.T) {
	l := &Log{}
	if _, end, err := l.apart(eventKey(1, 0, 5)); end != nil || err != nil {
		t.Errorf("while the store recovers a table ends at % x, %v", end, err)
	}
	l.streams.Store(&map[string]*stream{})
	l.busy.Store(mostApart)
	for _, c := range []struct{ start, end []byte }{
		{boundsKey(1, 2), []byte{prefixEvent}},
		{eventKey(1, 0, 5), eventKey(1, 1, 0)[:7]},
		{eventKey(1, 65535, 5), eventKey(2, 0, 0)[:7]},
		{streamKey("a"), nil},
		{layoutKey, nil},
	} {
		if p, end, err := l.apart(c.start); !bytes.Equal(end, c.end) || p != (pebble.SpanPolicy{}) || err != nil {
			t.Errorf("a table that begins at % x ends before % x, %v; want % x", c.start, end, err, c.end)
		}
	}
	l.busy.Store(mostApart + 1)
	if _, end, err := l.apart(eventKey(1, 0, 5)); end != nil || err != nil {
		t.Errorf("with many partitions a table ends at % x, %v", end, err)
	}
}

func TestBusyPartitionsAreCounted(t *testing.T) {
	l, _ := openRunning(t, Config{Dir: "log", FS: vfs.NewMem(), Partitions: 40, MaxEventBytes: 2 << 20})
	for i := range 40 {
		write(t, l, i%40, 10)
	}
	if n := l.busy.Load(); n != 40 {
		t.Errorf("%d partitions are busy, want 40", n)
	}
	for i := range 2*memTable>>20 + 2 {
		write(t, l, i%3, 1<<20)
	}
	if n := l.busy.Load(); n != 3 {
		t.Errorf("%d partitions are busy, want 3", n)
	}
}

func write(t *testing.T, l *Log, partition, bytes int) {
	t.Helper()
	if err := l.Create(t.Context(), "hub", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendTo(t.Context(), "hub", partition, "", Event{Body: make([]byte, bytes)}); err != nil {
		t.Fatal(err)
	}
}
