package amqpdoor

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	in, out, transfers, rejected, stolen, trimmed prometheus.Counter
	connections, senders, receivers               prometheus.Gauge
}

// newMetrics registers with reg, which may be nil. Doors that share a registry share their counts.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "eventhub_amqp", Name: name, Help: help}))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "eventhub_amqp", Name: name, Help: help}))
	}
	return &metrics{
		in:          counter("events_in_total", "Events accepted from senders: durable, or known to be from before."),
		out:         counter("events_out_total", "Events sent to receivers."),
		transfers:   counter("transfers_total", "Transfers accepted from senders, each with one event or more."),
		rejected:    counter("rejected_total", "Transfers from senders that were rejected."),
		stolen:      counter("stolen_total", "Receivers detached because another one took their partition over."),
		trimmed:     counter("trimmed_total", "Events that were trimmed before a receiver which was on its way to them had read them."),
		connections: gauge("connections", "Connections served."),
		senders:     gauge("senders", "Links that events come on."),
		receivers:   gauge("receivers", "Links that events go out on."),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if old, ok := dup.ExistingCollector.(C); ok {
				return old
			}
		}
	}
	return c
}
