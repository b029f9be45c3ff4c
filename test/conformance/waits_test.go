package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

const idle = 3 * time.Second

// TestWaits has what takes seconds because time is what it is about, beside each other.
func TestWaits(t *testing.T) {
	// Of a peer that says nothing for three seconds the hub thinks that it is gone; the SDK says something in time.
	o := sendingFrom(t, start(t, hubtest.Options{AMQP: amqpDoors{engine: engine.Config{IdleTimeout: idle}}.of}))
	for name, test := range map[string]func(*testing.T, *outbound){"methods": methods, "tokens": tokens, "silence": silence, "queues": queues} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, o.in(t))
		})
	}
}

func silence(t *testing.T, o *outbound) {
	w := o.World
	t.Run("C09 over AMQP", func(t *testing.T) {
		t.Parallel()
		covers(t, "C09", rawAMQP)
		d := w.Device(hubtest.Contoso, "silent-amqp")
		conn, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(hubtest.Contoso, ".")
		p, err := amqptest.Dial(t.Context(), conn, amqptest.Options{Hostname: hubtest.Contoso, SASL: amqptest.Plain(d.ID+"@sas."+name, w.Token(hubtest.Contoso, d))})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err = p.Begin(t.Context(), 0); err == nil {
			_, err = p.Attach(t.Context(), 0, amqptest.SenderTo("s", 0, eventsOf(d)))
		}
		if err != nil || !connected(t, w, d.Name()) {
			t.Fatalf("it is not connected: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		begun := time.Now()
		last, _, err := amqptest.Await[*amqp.Close](ctx, p)
		if took := time.Since(begun); err != nil || last.Error == nil || last.Error.Condition != amqp.ConditionConnectionForced || took < idle-time.Second {
			t.Errorf("after %v of silence it hears %+v, %v", took, last, err)
		}
		_ = p.Close()
		eventually(t, "connectionState Disconnected", func() bool { return !connected(t, w, d.Name()) })
	})
	for _, carrier := range carriers {
		t.Run("C09 over "+carrier, func(t *testing.T) {
			t.Parallel()
			covers(t, "C09", rawMQTT)
			d := w.Device(hubtest.Contoso, "silent-"+strings.Fields(carrier)[0])
			c := hello(w, d)
			c.KeepAlive = 1
			p := connectRaw(t, w, carrier, c, false)
			time.Sleep(time.Second) // that is what is tested: any packet begins the time anew
			p.silent()
			begun := time.Now()
			p.ends()
			if took := time.Since(begun); took < 1400*time.Millisecond || took > 10*time.Second {
				t.Errorf("it was closed after %v of silence", took)
			}
			eventually(t, "connectionState Disconnected", func() bool {
				return rest(t, w, "GET", "/devices/"+d.ID, "").text("connectionState") == "Disconnected"
			})
		})
	}
}
