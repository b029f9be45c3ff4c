package servicedoor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

type everybody struct{ claim hub.ServiceClaim }

func (e everybody) Service(string) (hub.ServiceClaim, error) { return e.claim, nil }

type benchArrival struct {
	door  *servicedoor.Door
	hub   *hub.Hub
	claim everybody
}

func (benchArrival) Mechanisms() []amqp.Symbol { return nil }
func (benchArrival) Authenticate(context.Context, *engine.SASL) (any, error) {
	return nil, context.Canceled
}
func (a benchArrival) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	return a.door.Converse(c, a.hub, a.claim, func(string, error) {}), nil
}

// BenchmarkMessages measures messages of 256 bytes to 200 devices, from a back end on loopback through the door to the disk and back.
func BenchmarkMessages(b *testing.B) {
	for _, waiting := range []int{1, 100} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) { sendAll(b, waiting) })
	}
}

func sendAll(b *testing.B, waiting int) {
	const devices, queue = 200, 50
	w := hubtest.Start(b, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	none := map[string]limit.Rate{}
	for _, c := range limit.Classes() {
		none[c.String()] = limit.Rate{}
	}
	text, err := json.Marshal(map[string]any{"device": none, "hub": none})
	must(b, err)
	_, err = h.SetLimits(b.Context(), text, "bench")
	must(b, err)
	messages := make([][]byte, devices)
	for i := range messages {
		w.Device(hubtest.Contoso, fmt.Sprint("d", i))
		m := amqp.Message{Properties: &amqp.Properties{To: fmt.Sprintf("/devices/d%d/messages/devicebound", i)}, Data: [][]byte{make([]byte, 256)}}
		messages[i], err = m.Append(nil)
		must(b, err)
	}
	claim, err := h.ProveService(w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	must(b, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	defer ln.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := ln.Accept()
		if err == nil {
			_ = engine.New(engine.Config{}, hubtest.Silent(), clock.System{}, nil).
				Serve(context.Background(), conn, benchArrival{servicedoor.New(servicedoor.Config{}, hubtest.Silent(), clock.System{}), h, everybody{claim}})
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	must(b, err)
	c, err := amqptest.Connect(b.Context(), conn, amqptest.Options{Hostname: hubtest.Contoso})
	must(b, err)
	defer func() { c.Abort(); <-served }()
	session, err := c.Session(b.Context())
	must(b, err)
	sender, err := session.Sender(b.Context(), "/messages/devicebound", nil)
	must(b, err)
	room := make(chan struct{}, waiting)
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i > 0 && i%(devices*queue) == 0 {
			all.Wait()
			b.StopTimer()
			for d := range devices {
				_, err := h.PurgeCommands(b.Context(), hub.Name{Device: fmt.Sprint("d", d)})
				must(b, err)
			}
			b.StartTimer()
		}
		room <- struct{}{}
		all.Add(1)
		must(b, sender.Start(b.Context(), messages[i%devices], 0, func(s amqp.State) {
			if _, ok := s.(amqp.Accepted); !ok {
				b.Errorf("%+v", s)
			}
			<-room
			all.Done()
		}))
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
