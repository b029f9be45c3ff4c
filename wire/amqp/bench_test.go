package amqp

import (
	"bytes"
	"testing"
)

// telemetry is a message as devices send them: annotations, properties, three application properties, 256 bytes of data.
func telemetry(tb testing.TB) []byte {
	m := Message{
		MessageAnnotations: Map{{Symbol("x-opt-partition-key"), "device-1"}, {Symbol("x-opt-via"), "gateway"}},
		Properties:         &Properties{MessageID: "b1f4c1de-1111-4222-8333-944445555666", To: "/devices/device-1/messages/events", ContentType: "application/json"},
		ApplicationProperties: Map{
			{"temperatureAlert", "false"}, {"site", "north"}, {"line", int32(7)},
		},
		Data: [][]byte{bytes.Repeat([]byte("x"), 256)},
	}
	b, err := m.Append(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestScanningDoesNotAllocate(t *testing.T) {
	b := telemetry(t)
	found := 0
	n := testing.AllocsPerRun(100, func() {
		s, err := Scan(b)
		if err != nil || s.Kind != Data {
			t.Fatal(err)
		}
		err = EachPair(s.ApplicationProperties, func(key, value []byte) bool {
			if string(key) == "site" {
				if text, ok := TextOf(value); ok && string(text) == "north" {
					found++
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := EachData(s.Body, func(data []byte) error { found += len(data); return nil }); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 || found == 0 {
		t.Errorf("%v allocations, found %d", n, found)
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	frame := AppendTransfer(nil, 1, &Transfer{Handle: 1, DeliveryID: Some[uint32](1), DeliveryTag: []byte("1234")}, telemetry(t))
	r := NewReader(&endless{frame: frame})
	r.Limit(65536)
	var in Transfer
	n := testing.AllocsPerRun(1000, func() {
		_, _, body, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if code, ok := DescriptorOf(body); !ok || code != CodeTransfer {
			t.Fatal(code)
		}
		if _, err := in.Decode(body); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// endless repeats one frame, whatever the size of the reads.
type endless struct {
	frame []byte
	at    int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], e.frame[e.at:])
		n += c
		e.at = (e.at + c) % len(e.frame)
	}
	return n, nil
}

func BenchmarkTransfer256(b *testing.B) {
	payload := make([]byte, 256)
	out := Transfer{Handle: 1, DeliveryID: Some[uint32](70000), DeliveryTag: []byte{0, 0, 0, 1}, MessageFormat: Some[uint32](0), Settled: Some(false)}
	var in Transfer
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(AppendTransfer(buf, 1, &out, payload))))
	for b.Loop() {
		frame := AppendTransfer(buf[:0], 1, &out, payload)
		if _, err := in.Decode(frame[8:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDisposition(b *testing.B) {
	out := Disposition{Role: RoleReceiver, First: 70000, Last: Some[uint32](70100), Settled: true, State: Accepted{}}
	var in Disposition
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := in.Decode(AppendDisposition(buf[:0], 1, &out)[8:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFlow(b *testing.B) {
	out := Flow{
		NextIncomingID: Some[uint32](70000), IncomingWindow: 5000, NextOutgoingID: 1, OutgoingWindow: 5000, Handle: Some[uint32](1),
		DeliveryCount: Some[uint32](70000), LinkCredit: Some[uint32](1000),
	}
	var in Flow
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := in.Decode(AppendFlow(buf[:0], 1, &out)[8:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	frame := AppendTransfer(nil, 1, &Transfer{Handle: 1, DeliveryID: Some[uint32](1), DeliveryTag: []byte("1234")}, telemetry(b))
	r := NewReader(&endless{frame: frame})
	r.Limit(65536)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	m := telemetry(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		if _, err := Scan(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEachPair(b *testing.B) {
	s, err := Scan(telemetry(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := EachPair(s.ApplicationProperties, func(_, _ []byte) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	m := telemetry(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		if _, err := Unmarshal(m); err != nil {
			b.Fatal(err)
		}
	}
}
