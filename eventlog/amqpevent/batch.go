package amqpevent

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Batch is the events of one transfer. It may be read into again and again; its zero value is empty.
type Batch struct {
	Key      string            // partition key; empty when none
	OwnKeys  bool              // events have keys of their own, or none: Key is that of the first one that has any
	Events   []eventlog.Event  // of format Encoded; bodies point into the transfer, mostly
	Producer eventlog.Producer // of the first event; ID 0 when none
	Bytes    int               // of the events as their sender encoded them
}

// Rest lets go of the transfer it was read from, for a batch that is kept for later.
func (b *Batch) Rest() {
	clear(b.Events)
	if cap(b.Events) > 1024 {
		b.Events = nil
	}
	*b = Batch{Events: b.Events[:0]}
}

var errEmpty = errors.New("there is nothing in it")

// Read takes the payload of a transfer apart. The events are good as long as the payload is. Errors are Invalid, but that of a batch
// whose events are not numbered one after the other, which is Conflict because of eventlog.ErrOutOfOrder; TooLarge for a batch of more
// than eventlog.MaxBatchEvents.
func (b *Batch) Read(format uint32, payload []byte) error {
	*b = Batch{Events: b.Events[:0]}
	switch format {
	case SingleFormat:
		return b.single(payload)
	case BatchFormat:
	default:
		return fault.Newf("amqpevent", fault.Invalid, "The message format 0x%x is not known here: it is 0, or 0x80013700 for a batch of events.", format)
	}
	envelope, err := amqp.Scan(payload)
	if err != nil {
		return malformed("The batch is no AMQP message", err)
	}
	if envelope.Kind != amqp.Data {
		return fault.New("amqpevent", fault.Invalid, "A batch of events has one data section for each of them.")
	}
	if err := checkKeys(envelope.MessageAnnotations, textCodes+ulongCodes); err != nil {
		return malformed("The annotations of the batch cannot be read", err)
	}
	if err := b.annotations(envelope.MessageAnnotations, nil, nil); err != nil {
		return err
	}
	common := b.Key != ""
	b.Producer = eventlog.Producer{} // an envelope repeats what stands in the first of its events
	if err := amqp.EachData(envelope.Body, b.single); err != nil {
		return err
	}
	b.OwnKeys = !common && slices.ContainsFunc(b.Events, func(e eventlog.Event) bool { return e.PartitionKey != b.Key })
	return nil
}

// single adds one event.
func (b *Batch) single(message []byte) error {
	s, err := amqp.Scan(message)
	if err == nil {
		err = check(&s)
	}
	if err == nil && len(s.Header)+len(s.Properties)+len(s.ApplicationProperties)+len(s.Body)+len(s.Footer) == 0 {
		err = errEmpty
	}
	if err != nil {
		return malformed("The event is no well-formed AMQP message", err)
	}
	if len(b.Events) == eventlog.MaxBatchEvents {
		return fault.Newf("amqpevent", fault.TooLarge, "A batch has at most %d events.", eventlog.MaxBatchEvents)
	}
	var p eventlog.Producer
	var key string
	if err := b.annotations(s.MessageAnnotations, &p, &key); err != nil {
		return err
	}
	if len(b.Events) == 0 {
		b.Producer = p
	} else if want := b.Producer; p.ID != want.ID || p.ID != 0 && (p.Epoch != want.Epoch || p.Sequence != after(want.Sequence, len(b.Events))) {
		return fault.New("amqpevent", fault.Conflict, "The events of a batch are numbered one after the other, by one producer.").
			Because(eventlog.ErrOutOfOrder)
	}
	b.Bytes += len(message)
	b.Events = append(b.Events, eventlog.Event{Body: strip(message, &s), Format: Encoded, PartitionKey: key})
	return nil
}

// after adds as producers do: 0 comes after 2147483647.
func after(sequence int32, n int) int32 { return int32((int64(sequence) + int64(n)) & (1<<31 - 1)) }

// annotations reads what the service wants to know of an event, or of a batch when p and own are nil. The first partition key is that of the
// batch: clients write it on the envelope and on each of its events.
func (b *Batch) annotations(section []byte, p *eventlog.Producer, own *string) error {
	if section == nil {
		return nil
	}
	var wrong string
	err := amqp.EachPair(section, func(key, value []byte) bool {
		switch string(key) {
		case partitionKey:
			text, ok := amqp.TextOf(value)
			if !ok || len(text) > MaxKeyBytes {
				wrong = partitionKey
				break
			}
			if b.Key == "" {
				b.Key = string(text)
			}
			if own == nil {
				break
			}
			if *own = b.Key; *own != string(text) {
				*own = string(text)
			}
		case producerID, producerEpoch, producerSequence:
			if p == nil {
				break
			}
			n, ok := amqp.IntegerOf(value)
			switch {
			case !ok:
				wrong = string(key)
			case string(key) == producerID:
				p.ID = n
			case string(key) == producerEpoch && int64(int16(n)) == n:
				p.Epoch = int16(n)
			case string(key) == producerSequence && n >= 0 && n < 1<<31:
				p.Sequence = int32(n)
			default:
				wrong = string(key)
			}
		}
		return wrong == ""
	})
	if err != nil {
		return malformed("The annotations of an event cannot be read", err)
	}
	if wrong == partitionKey {
		return fault.Newf("amqpevent", fault.Invalid, "The annotation %s is text of at most %d bytes.", wrong, MaxKeyBytes)
	} else if wrong != "" {
		return fault.Newf("amqpevent", fault.Invalid, "The annotation %s is no number of its range.", wrong)
	}
	return nil
}

func malformed(words string, err error) error {
	return fault.Newf("amqpevent", fault.Invalid, "%s: %v.", words, err).Because(err)
}

// strip returns the message without delivery annotations and without the annotations that are the service's. Mostly there are none, and
// it is the message itself.
func strip(message []byte, s *amqp.Sections) []byte {
	kept, all := 0, 0
	var n int
	var items []byte
	if s.MessageAnnotations != nil {
		n, items, _ = itemsOf(s.MessageAnnotations) // check has read them
		eachItem(n, items, func(key, pair []byte) {
			all++
			if !ours(key) {
				kept++
			}
		})
	}
	if kept == all && s.DeliveryAnnotations == nil {
		return message
	}
	out := make([]byte, 0, len(message))
	out = append(out, s.Header...)
	if kept == all {
		out = append(out, s.MessageAnnotations...)
	} else if kept > 0 {
		out = append(out, 0x00, 0x53, byte(amqp.CodeMessageAnnotations), 0xd1, 0, 0, 0, 0, 0, 0, 0, 0)
		at := len(out)
		eachItem(n, items, func(key, pair []byte) {
			if !ours(key) {
				out = append(out, pair...)
			}
		})
		binary.BigEndian.PutUint32(out[at-8:], uint32(len(out)-at+4))
		binary.BigEndian.PutUint32(out[at-4:], uint32(2*kept))
	}
	return append(out, message[len(s.Header)+len(s.DeliveryAnnotations)+len(s.MessageAnnotations):]...)
}

// eachItem calls f with each pair of a map that was checked: the text of its key, nil when it is none, and its bytes.
func eachItem(n int, items []byte, f func(key, pair []byte)) {
	for range n / 2 {
		behind, err := skip(items, 1)
		if err != nil {
			return
		}
		key, _ := amqp.TextOf(items[:len(items)-len(behind)])
		rest, err := skip(behind, 1)
		if err != nil {
			return
		}
		f(key, items[:len(items)-len(rest)])
		items = rest
	}
}
