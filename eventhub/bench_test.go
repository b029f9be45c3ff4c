package eventhub_test

import (
	"fmt"
	"testing"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/resource"
)

// What the namespace takes of an event's way into the log, beside the log itself.
func BenchmarkAppend(b *testing.B) {
	w := start(b)
	e := w.Create("telemetry", 4)
	batch := eventlog.Batch{Partition: 0, Events: make([]eventlog.Event, 0)} // which the log refuses at once
	b.ReportAllocs()
	for b.Loop() {
		e.Append(batch, func(eventlog.Position, error) {})
	}
}

func BenchmarkProve(b *testing.B) {
	w := start(b)
	w.Create("telemetry", 1)
	token := w.Token("telemetry", eventhub.PolicyRoot, w.Key("", eventhub.PolicyRoot))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Namespace.Prove(b.Context(), eventhub.TokenSAS, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClaimValid(b *testing.B) {
	w := start(b)
	c, err := w.Namespace.Prove(b.Context(), eventhub.TokenSAS, w.Root())
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Valid() {
			b.Fatal("it is not")
		}
	}
}

// A plan that changes nothing, with as many event hubs as there can be.
func BenchmarkDeclareTheSame(b *testing.B) {
	w := start(b)
	list := make([]resource.EventHub, eventhub.MaxEventHubs)
	for i := range list {
		list[i] = resource.EventHub{Name: fmt.Sprint("hub-", i), Partitions: 1, ConsumerGroups: []string{"g"}, Policies: []resource.EventHubPolicy{{Name: "p", Rights: []resource.EventHubRight{resource.EventHubSend}}}}
	}
	w.Declare(list...)
	for b.Loop() {
		w.Declare(list...)
	}
}

// Checkpoints of many processors at once share transactions.
func BenchmarkSetCheckpoint(b *testing.B) {
	w := start(b)
	e := w.Create("telemetry", 1)
	w.Append(e, 0, "one")
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.Namespace.SetCheckpoint(b.Context(), "telemetry", "$Default", eventhub.Checkpoint{Offset: "0"}, ""); err != nil {
				b.Error(err)
			}
		}
	})
}
