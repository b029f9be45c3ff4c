package window

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

// Prefixes of the names of rows; start, end (seconds of the epoch) and a hash of the group follow, with slashes between.
const (
	WindowName  = "window"
	SessionName = "session"
)

// row makes an event of a group. Its members stand in the order of the manifest.
func (s *spec) row(start, end int64, key string, g *group) *event.Event {
	b := make([]byte, 0, 96+32*(len(s.groups)+len(s.aggregates)))
	b = column.At(time.Unix(0, start)).AppendJSON(append(b, `{"windowStart":`...))
	b = column.At(time.Unix(0, end)).AppendJSON(append(b, `,"windowEnd":`...))
	rest := key
	for i := range s.groups {
		var v column.Value
		v, rest, _ = column.ReadKey(rest) // keys are made by AppendKey
		b = v.AppendJSON(append(b, s.groupHead[i]...))
	}
	for i, a := range g.accs {
		b = a.result().AppendJSON(append(b, s.aggregateHead[i]...))
	}
	b = append(b, '}')
	return &event.Event{
		Origin: event.Origin{Name: s.rowName(start, end, key), Enqueued: time.Unix(0, end).UTC()},
		Body:   b,
		System: []event.Property{{Name: event.ContentType, Value: "application/json"}},
	}
}

func (s *spec) rowName(start, end int64, key string) string {
	b := make([]byte, 0, 80)
	if s.kind == resource.WindowSession {
		b = append(b, SessionName...)
	} else {
		b = append(b, WindowName...)
	}
	b = appendSeconds(append(b, '/'), start)
	b = appendSeconds(append(b, '/'), end)
	sum := sha256.Sum256([]byte(key))
	return string(hex.AppendEncode(append(b, '/'), sum[:8]))
}

// appendSeconds writes nanoseconds as seconds, with as many decimals as they need.
func appendSeconds(b []byte, nanos int64) []byte {
	second := int64(time.Second)
	if nanos < 0 {
		b = append(b, '-')
		nanos = -nanos
	}
	b = strconv.AppendInt(b, nanos/second, 10)
	part := nanos % second
	if part == 0 {
		return b
	}
	b = append(b, '.')
	for digit := second / 10; part > 0; digit /= 10 {
		b = append(b, '0'+byte(part/digit))
		part %= digit
	}
	return b
}
