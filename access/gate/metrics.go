package gate

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/access/session"
)

// counters are read when somebody asks; bytes are kept as plain numbers, and asked of the open sessions then.
type counters struct {
	sent, received atomic.Uint64
	refused        *prometheus.CounterVec // by reason
	ends           *prometheus.CounterVec // by end
}

func newCounters(g *Gate, reg prometheus.Registerer) *counters {
	vec := func(name, label, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "access", Name: name, Help: help}, []string{label})
	}
	c := &counters{
		refused: vec("refused_total", "reason", "Requests of people that were refused or led nowhere, by reason."),
		ends:    vec("sessions_total", "end", "Sessions of people that have ended, by end."),
	}
	if reg == nil {
		return c
	}
	total := func(name, help string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "access", Name: name, Help: help}, func() float64 {
			for _, v := range g.list() {
				c.progress(v)
			}
			return float64(n.Load())
		})
	}
	for _, m := range []prometheus.Collector{
		c.refused, c.ends,
		total("sent_bytes_total", "Bytes from people to machines.", &c.sent),
		total("received_bytes_total", "Bytes from machines to people.", &c.received),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "access", Name: "sessions", Help: "Sessions of people that are open."},
			func() float64 {
				g.mu.Lock()
				defer g.mu.Unlock()
				return float64(len(g.visits))
			}),
	} {
		if err := reg.Register(m); err != nil {
			g.log.Warn("a metric is not shown", "room", "gate", "error", err)
		}
	}
	return c
}

func (c *counters) progress(v *visit) {
	sent, received := v.progress()
	c.sent.Add(sent)
	c.received.Add(received)
}

func (c *counters) ended(v *visit, end session.End) {
	c.progress(v)
	c.ends.WithLabelValues(string(end)).Inc()
}
