package eventlog

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

const (
	memTable = 16 << 20
	// mostApart is how many partitions get tables of their own: with more, tables would become smaller than those the store makes by
	// itself, of 2 MiB.
	mostApart = 8
)

// apart has the store end a table where the events of a partition end. Later tables of a partition then lie behind its earlier ones, and
// the store moves them down as they are, instead of writing everything anew that lies between two partitions.
func (l *Log) apart(start []byte) (pebble.SpanPolicy, []byte, error) {
	all := l.streams.Load() // nil while the store recovers
	if all == nil {
		return pebble.SpanPolicy{}, nil, nil
	}
	n := 0
	for _, st := range *all {
		n += len(st.partitions)
	}
	switch {
	case n > mostApart || len(start) == 0 || start[0] > prefixEvent:
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
