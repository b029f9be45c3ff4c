package eventlog

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

const (
	memTable = 16 << 20
	// mostApart is how many busy partitions get tables of their own, of 1 MiB then. With 16 that still saves a quarter of the processor
	// time, with 32 nothing any more.
	mostApart = 16
)

// apart has the store end a table where the events of a partition end. Later tables of a partition then lie behind its earlier ones, and
// the store moves them down as they are, instead of writing everything anew that lies between two partitions.
func (l *Log) apart(start []byte) (pebble.SpanPolicy, []byte, error) {
	switch {
	case l.streams.Load() == nil: // the store recovers
		return pebble.SpanPolicy{}, nil, nil
	case l.busy.Load() > mostApart || len(start) == 0 || start[0] > prefixEvent:
		return pebble.SpanPolicy{}, nil, nil
	case start[0] < prefixEvent:
		return pebble.SpanPolicy{}, []byte{prefixEvent}, nil
	case len(start) < partitionKeyLen: // there is no such key
		return pebble.SpanPolicy{}, nil, nil
	}
	end := bytes.Clone(start[:partitionKeyLen])
	for i := partitionKeyLen - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			break
		}
	}
	return pebble.SpanPolicy{}, end, nil
}

// business counts the partitions that are written to. It belongs to the committer.
type business struct {
	turn    int // counts how often a memory table was filled
	count   int32
	written int
}

// wrote counts a partition once for each memory table, those of the commit at hand while they are written.
func (c *committer) wrote(p *partition) {
	if p.turn == c.turn {
		return
	}
	p.turn = c.turn
	if c.count++; c.count > c.busy.Load() {
		c.busy.Store(c.count)
	}
}

// filled counts what was written.
func (c *committer) filled(bytes int) {
	if c.written += bytes; c.written >= memTable {
		c.busy.Store(c.count)
		c.business = business{turn: c.turn + 1}
	}
}
