package eventlog

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

func TestTablesEndWherePartitionsDo(t *testing.T) {
	l := &Log{}
	if _, end, err := l.apart(eventKey(1, 0, 5)); end != nil || err != nil {
		t.Errorf("while the store recovers a table ends at % x, %v", end, err)
	}
	few := map[string]*stream{"a": l.newStream("a", streamMeta{id: 1, partitions: 4}), "b": l.newStream("b", streamMeta{id: 2, partitions: 4})}
	l.streams.Store(&few)
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
	many := map[string]*stream{"a": l.newStream("a", streamMeta{id: 1, partitions: 9})}
	l.streams.Store(&many)
	if _, end, err := l.apart(eventKey(1, 0, 5)); end != nil || err != nil {
		t.Errorf("with many partitions a table ends at % x, %v", end, err)
	}
}
