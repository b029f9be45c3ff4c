package flow

import (
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are kept as plain numbers, so that a flow costs no look-up of a label, and are read when somebody asks.
type counters struct {
	opened, sent, received atomic.Uint64
	open                   atomic.Int64
	refused                *prometheus.CounterVec // by reason
}

// newCounters registers the metrics of one side, "endpoint" or "service". live returns its open flows.
func newCounters(side string, reg prometheus.Registerer, log *slog.Logger, live func() []*flow) *counters {
	c := &counters{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: side, Name: "flows_refused_total",
		Help: "Flows that were refused or failed before they carried anything, by reason.",
	}, []string{"reason"})}
	if reg == nil {
		return c
	}
	total := func(name, help string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: side, Name: name, Help: help},
			func() float64 {
				for _, f := range live() {
					f.progress()
				}
				return float64(n.Load())
			})
	}
	for _, m := range []prometheus.Collector{
		c.refused,
		total("flows_total", "Flows that were opened.", &c.opened),
		total("sent_bytes_total", "Bytes from clients to services.", &c.sent),
		total("received_bytes_total", "Bytes from services to clients.", &c.received),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: side, Name: "flows", Help: "Flows that are open."},
			func() float64 { return float64(c.open.Load()) }),
	} {
		if err := reg.Register(m); err != nil {
			log.Warn("a metric is not shown", "side", side, "error", err)
		}
	}
	return c
}
