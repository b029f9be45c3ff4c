package engine

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// gathered is what a registry shows: sums, and the conditions of errors.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	e := New(Config{}, slog.New(slog.DiscardHandler), clock.System{}, reg)
	New(Config{}, slog.New(slog.DiscardHandler), clock.System{}, reg) // a second one counts together with the first
	h := &house{attach: talker}
	c := h.raw(t, e, amqptest.Options{})
	must[*amqp.Begin](t)(c.Begin(soon(t), 0))
	must[*amqp.Attach](t)(c.Attach(soon(t), 0, sends))
	hears(t, c, "flow next=0 link=0 count=0 credit=1000")
	burst(t, c, say{p: transfer(0, 0, false)}, say{p: amqptest.SenderTo("x", 2, "nowhere")}, say{p: &amqp.Flow{Echo: true}})
	detached := func() {
		t.Helper()
		if _, _, err := amqptest.Await[*amqp.Detach](soon(t), c); err != nil {
			t.Fatal(err)
		}
	}
	detached()
	h.link(t).Detach(&amqp.Error{Condition: "com.example:of-our-own"})
	detached()
	if got := gathered(t, reg); got["isthmus_amqp_connections"] != 1 || got["isthmus_amqp_sessions"] != 1 {
		t.Errorf("while it is open: %v", got)
	}
	_ = c.Close()
	<-h.serve
	got := gathered(t, reg)
	for name, want := range map[string]float64{
		"isthmus_amqp_connections": 0, "isthmus_amqp_sessions": 0, "isthmus_amqp_links": 0, "isthmus_amqp_messages_received_total": 1,
		"isthmus_amqp_frames_received_total": 5, "isthmus_amqp_errors_total amqp:not-found": 1, "isthmus_amqp_errors_total other": 1,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}
