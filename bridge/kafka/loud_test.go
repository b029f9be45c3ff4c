package kafka

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// A broker that announces more than brokers have to say gets no memory for it.
func TestABrokerThatSaysMuch(t *testing.T) {
	e := &end.End{BridgeEnd: plan.BridgeEnd{Name: "it/cloud/kafka", Open: true, Ports: []uint16{9092}}}
	e.Connect = func(context.Context, uint16) (net.Conn, error) {
		a, b := net.Pipe()
		go func() {
			defer b.Close()
			var head [12]byte
			if _, err := io.ReadFull(b, head[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, b, int64(binary.BigEndian.Uint32(head[:]))-8); err != nil {
				return
			}
			answer := binary.BigEndian.AppendUint32(nil, 90<<20)
			_, _ = b.Write(append(answer, head[8:]...))
		}()
		return a, nil
	}
	d, err := New(bridge.DestinationArgs{Bridge: "b", End: e, Destination: resource.BridgeDestination{Kafka: &resource.KafkaDestination{Topic: "t"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = d.Write(ctx, "0", []*event.Event{{Body: []byte("x")}})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 32<<20 {
		t.Errorf("%d MiB were allocated: %v", n>>20, err)
	}
}
