package contract

import (
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

const reading = `{"sensor":"press-4","celsius":21.549,"at":"2026-01-31T12:00:00.123Z","n":123456789,"operator":"M. Curie","batch":{"id":"b-20260131-77","shift":"early","lots":[1,2,3,4,5]},` +
	`"note":"a text that fills the reading up to its two hundred and fifty-six bytes"}`

func BenchmarkApply(b *testing.B) {
	five := fields{{Path: "sensor", Type: "text", Required: true}, {Path: "celsius", Type: "number", Min: f(-50), Max: f(500), Required: true}, {Path: "at", Type: "text", Required: true}, {Path: "n", Type: "number"}, {Path: "batch.id"}}
	moved := append(fields{{Path: "sensor", Rename: "machine.name", Type: "text"}}, five[1:]...)
	hash := append(fields{{Path: "sensor", Rename: "machine", Hash: true}}, five[1:]...)
	for name, m := range map[string]resource.ContractMessage{
		"five fields":          {Name: "m", Fields: five, System: fields{{Path: event.DeviceID}}},
		"one moved":            {Name: "m", Fields: moved, System: fields{{Path: event.DeviceID}}},
		"one hashed and a key": {Name: "m", Fields: hash, System: fields{{Path: event.DeviceID, Hash: true}}},
		"condition":            {Name: "m", When: `this.celsius.type() == "number"`, Fields: five, System: fields{{Path: event.DeviceID}}},
		"whole":                {Name: "m", WholeBody: true, System: fields{{Path: event.DeviceID}}},
	} {
		b.Run(name, func(b *testing.B) {
			x := compile(b, m)
			system := []event.Property{{Name: event.DeviceID, Value: "press-4"}, {Name: event.ContentType, Value: "application/json"}}
			b.SetBytes(int64(len(reading)))
			b.ReportAllocs()
			for b.Loop() {
				e := event.Event{Body: []byte(reading), System: system, Key: "press-4"}
				if err := x.Apply(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
