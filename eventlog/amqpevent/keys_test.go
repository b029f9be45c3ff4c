package amqpevent_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// A batch whose envelope has no key, as one who sends to a partition writes it, leaves each of its events the key it has.
func TestKeysOfTheirOwn(t *testing.T) {
	for name, x := range map[string]struct {
		envelope string
		events   []string
		key      string
		own      bool
	}{
		"none":                   {"", []string{"", ""}, "", false},
		"one for all":            {"", []string{"a", "a"}, "a", false},
		"the envelope's":         {"k", []string{"k", "", "a"}, "k", false},
		"several":                {"", []string{"a", "b", "a"}, "a", true},
		"some have none":         {"", []string{"", "b", ""}, "b", true},
		"the first one has none": {"", []string{"", "b"}, "b", true},
	} {
		t.Run(name, func(t *testing.T) {
			keyed := func(key string, m amqp.Message) []byte {
				if key != "" {
					m.MessageAnnotations = amqp.Map{{Key: amqp.Symbol("x-opt-partition-key"), Value: key}}
				}
				b, err := m.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			var all [][]byte
			for _, k := range x.events {
				all = append(all, keyed(k, amqp.Message{Data: [][]byte{[]byte("body")}}))
			}
			var b amqpevent.Batch
			if err := b.Read(amqpevent.BatchFormat, keyed(x.envelope, amqp.Message{Data: all})); err != nil {
				t.Fatal(err)
			}
			if b.Key != x.key || b.OwnKeys != x.own {
				t.Errorf("the key is %q, own %v", b.Key, b.OwnKeys)
			}
			for i, e := range b.Events {
				if e.PartitionKey != x.events[i] {
					t.Errorf("event %d has %q", i, e.PartitionKey)
				}
			}
		})
	}
}
