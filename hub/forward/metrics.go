package forward

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/hub"
)

type metrics struct {
	waiting, oldest, delivered, aside, lost *prometheus.GaugeVec
	failures                                *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"hub", "endpoint"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "hub_endpoint", Name: name, Help: help}, labels)
	}
	m := &metrics{
		waiting:   gauge("waiting_events", "Events that are not delivered to an endpoint yet."),
		oldest:    gauge("oldest_waiting_seconds", "Age of the oldest of them; 0 when none waits."),
		delivered: gauge("delivered_events", "Events delivered to an endpoint since the process started."),
		aside:     gauge("deadlettered_events", "Events an endpoint refused so often that they were put aside, since the process started."),
		lost:      gauge("lost_events", "Events the log had to trim before an endpoint took them, since the process started."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "hub_endpoint", Name: "failures_total", Help: "Attempts to deliver to an endpoint that failed.",
		}, labels),
	}
	if reg != nil {
		reg.MustRegister(m.waiting, m.oldest, m.delivered, m.aside, m.lost, m.failures)
	}
	return m
}

func (m *metrics) set(hubName, endpoint string, p hub.Progress, now time.Time) {
	age := 0.0
	if !p.Oldest.IsZero() {
		age = max(0, now.Sub(p.Oldest).Seconds())
	}
	for _, g := range []struct {
		vec   *prometheus.GaugeVec
		value float64
	}{{m.waiting, float64(p.Waiting)}, {m.oldest, age}, {m.delivered, float64(p.Delivered)}, {m.aside, float64(p.PutAside)}, {m.lost, float64(p.Lost)}} {
		g.vec.WithLabelValues(hubName, endpoint).Set(g.value)
	}
}

// forget removes what was told of an endpoint that is gone.
func (m *metrics) forget(hubName, endpoint string) {
	for _, g := range []*prometheus.GaugeVec{m.waiting, m.oldest, m.delivered, m.aside, m.lost} {
		g.DeleteLabelValues(hubName, endpoint)
	}
	m.failures.DeleteLabelValues(hubName, endpoint)
}
