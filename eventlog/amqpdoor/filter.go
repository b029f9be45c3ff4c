package amqpdoor

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// The filter by which a consumer says where to begin: its key in the source's filter map, and its descriptor.
const (
	filterName = "apache.org:selector-filter:string"
	filterCode = 0x468C00000004
)

// position is where a consumer wants to begin.
type position struct {
	by        by
	latest    bool
	value     int64 // offset, sequence number, or milliseconds since 1970; -1 of the first two: the beginning
	inclusive bool  // >= instead of >
	text      string
}

type by uint8

const (
	byBeginning by = iota
	byOffset
	bySequence
	byTime
)

// positionOf reads the filter of a source: Begin at the first event without one. What else is filtered by is not done here, and left out
// of the filters that are answered (3.5.3). kept are those.
func positionOf(source *amqp.Source) (p position, kept amqp.Map, err error) {
	if source == nil {
		return p, nil, nil
	}
	for _, pair := range source.Filter {
		d, ok := pair.Value.(amqp.Described)
		if !ok {
			continue
		}
		switch d.Descriptor {
		case uint64(filterCode), amqp.Symbol(filterName):
		default:
			continue
		}
		text, ok := d.Value.(string)
		if !ok {
			return p, nil, badFilter("")
		}
		if kept != nil {
			return p, nil, fault.New("amqpdoor", fault.Invalid, "A consumer begins at one position: there is more than one filter.")
		}
		if p, err = parsePosition(text); err != nil {
			return p, nil, err
		}
		kept = amqp.Map{pair}
	}
	return p, kept, nil
}

// parsePosition reads "amqp.annotation.x-opt-offset > '4711'".
func parsePosition(text string) (position, error) {
	if len(text) > 256 {
		return position{}, badFilter(text[:256])
	}
	s := strings.TrimSpace(text)
	rest, ok := cutPrefixFold(s, "amqp.annotation.")
	if !ok {
		return position{}, badFilter(text)
	}
	at := strings.IndexAny(rest, " >")
	if at < 0 {
		return position{}, badFilter(text)
	}
	var p position
	switch strings.ToLower(rest[:at]) {
	case "x-opt-offset":
		p.by = byOffset
	case "x-opt-sequence-number":
		p.by = bySequence
	case "x-opt-enqueued-time", "x-opt-enqueuedtimeutc":
		p.by = byTime
	default:
		return position{}, badFilter(text)
	}
	if rest, ok = strings.CutPrefix(strings.TrimLeft(rest[at:], " "), ">"); !ok {
		return position{}, badFilter(text)
	}
	rest, p.inclusive = strings.CutPrefix(rest, "=")
	rest = strings.TrimSpace(rest)
	if len(rest) >= 2 && rest[0] == '\'' && rest[len(rest)-1] == '\'' {
		rest = rest[1 : len(rest)-1]
	}
	p.text = rest
	if p.by != byTime && strings.EqualFold(rest, "@latest") {
		p.latest = true
		return p, nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil || p.by != byTime && n < -1 {
		return position{}, badFilter(text)
	}
	p.value = n
	return p, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func badFilter(text string) error {
	return fault.Newf("amqpdoor", fault.Invalid, "The filter \"%s\" is none that is known: it is amqp.annotation.{x-opt-offset, x-opt-sequence-number or x-opt-enqueued-time} > or >= '{value}'.", text)
}

// begin turns a position into the sequence number of the first event to send. A position behind the last event is Invalid, in the words of
// Azure's service.
func (p position) begin(e eventhub.Entity, partition int) (int64, error) {
	info, err := e.Info(partition)
	if err != nil {
		return 0, err
	}
	if p.latest {
		return info.Next, nil
	}
	switch p.by {
	case byOffset:
		if p.value > info.LastOffset {
			return 0, past("offset", p.text, info.LastOffset)
		}
		from := p.value
		if !p.inclusive {
			from++
		}
		if from <= 0 {
			return info.First, nil
		}
		return e.SeekOffset(partition, from)
	case bySequence:
		if p.value > info.Next-1 {
			return 0, past("sequence number", p.text, info.Next-1)
		}
		from := p.value
		if !p.inclusive {
			from++
		}
		return max(from, info.First), nil
	case byTime:
		return fromTime(e, partition, info, p)
	}
	return info.First, nil
}

func fromTime(e eventhub.Entity, partition int, info eventlog.Info, p position) (int64, error) {
	const farthest = 1 << 53 // milliseconds that time.UnixMilli takes
	switch {
	case p.value > farthest:
		return info.Next, nil
	case p.value < -farthest:
		return info.First, nil
	}
	from := p.value
	if !p.inclusive {
		from++ // enqueued times are whole milliseconds
	}
	return e.SeekTime(partition, time.UnixMilli(from))
}

func past(what, given string, last int64) error {
	return fault.Newf("amqpdoor", fault.Invalid, "The supplied %s '%s' is invalid. The last %s in the system is '%d'", what, given, what, last)
}
