package amqp

import (
	"bytes"
	"testing"
)

func TestHotPathsDoNotAllocate(t *testing.T) {
	tag := []byte{0, 0, 0, 1}
	payload := make([]byte, 256)
	buf := make([]byte, 0, 4096)
	out := Transfer{Handle: 1, DeliveryID: Some[uint32](70000), DeliveryTag: tag, MessageFormat: Some[uint32](0), Settled: Some(false), State: Accepted{}, Batchable: true}
	var in Transfer
	none := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	none("transfer", func() {
		frame := AppendTransfer(buf[:0], 3, &out, payload[:100], payload[100:])
		if got, err := in.Decode(frame[8:]); err != nil || !bytes.Equal(got, payload) || in.DeliveryID != out.DeliveryID {
			t.Fatal(got, err)
		}
	})
	flow := Flow{NextIncomingID: Some[uint32](0), IncomingWindow: 5000, NextOutgoingID: 1 << 31, OutgoingWindow: 5000, Handle: Some[uint32](3), DeliveryCount: Some[uint32](9), LinkCredit: Some[uint32](1000), Drain: true}
	var flowIn Flow
	none("flow", func() {
		if err := flowIn.Decode(AppendFlow(buf[:0], 3, &flow)[8:]); err != nil || flowIn.LinkCredit != flow.LinkCredit {
			t.Fatal(err)
		}
	})
	for _, state := range []State{nil, Accepted{}, Released{}, Rejected{}} {
		d := Disposition{Role: RoleReceiver, First: 12, Last: Some[uint32](400), Settled: true, State: state}
		var dIn Disposition
		none("disposition", func() {
			if err := dIn.Decode(AppendDisposition(buf[:0], 3, &d)[8:]); err != nil || dIn != d {
				t.Fatal(err, dIn)
			}
		})
	}
}
