package eventhubs

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// hubs is messages as an IoT hub gives them, of 100 devices.
func hubs(b *testing.B, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = encoded(b, &amqp.Message{
			MessageAnnotations: as(
				amqp.Pair{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.Timestamp(1_700_000_000_123)},
				amqp.Pair{Key: amqp.Symbol(event.DeviceID), Value: fmt.Sprintf("press-%03d", i%100)},
				amqp.Pair{Key: amqp.Symbol("iothub-connection-auth-method"), Value: `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`},
				amqp.Pair{Key: amqp.Symbol("iothub-connection-auth-generation-id"), Value: "638361234567890123"},
				amqp.Pair{Key: amqp.Symbol("iothub-message-source"), Value: "Telemetry"},
			),
			Properties:            &amqp.Properties{ContentType: "application/json", ContentEncoding: "utf-8"},
			ApplicationProperties: amqp.Map{{Key: "unit", Value: "C"}, {Key: "line", Value: "7"}},
			Data:                  [][]byte{bytes.Repeat([]byte("x"), 256)},
		})
	}
	return list
}

func BenchmarkDecode(b *testing.B) {
	list := hubs(b, 1000)
	d := newDecoder("0")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.events(list); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}

func BenchmarkEncode(b *testing.B) {
	list, err := newDecoder("0").events(hubs(b, 1000))
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for _, e := range list {
			if buf, err = appendEvent(buf, e, "0c8d7f5e-8f50-4b0e-9c52-a1a3c5a5b001", true); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}
