package bridge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/resource"
)

// metrics are read from the same accounts as the status, when somebody asks.
type metrics struct {
	b        *Bridges
	duration *prometheus.HistogramVec
}

var (
	bridgeLabels   = []string{"bridge"}
	describeSent   = prometheus.NewDesc("isthmus_bridge_sent_total", "Events the destination has acknowledged.", bridgeLabels, nil)
	describeAgain  = prometheus.NewDesc("isthmus_bridge_repeated_total", "Of these, marked as possibly sent before.", bridgeLabels, nil)
	describeFilter = prometheus.NewDesc("isthmus_bridge_filtered_total", "Events that steps have left out.", bridgeLabels, nil)
	describeDrop   = prometheus.NewDesc("isthmus_bridge_dropped_total", "Second copies from other bridges that were left out.", bridgeLabels, nil)
	describeDead   = prometheus.NewDesc("isthmus_bridge_dead_total", "Events that were dead-lettered.", bridgeLabels, nil)
	describeKept   = prometheus.NewDesc("isthmus_bridge_dead_kept", "Dead letters that are kept.", bridgeLabels, nil)
	describeLag    = prometheus.NewDesc("isthmus_bridge_lag_events", "Events of the source that are not sent yet.", bridgeLabels, nil)
	describeOldest = prometheus.NewDesc("isthmus_bridge_oldest_unsent_seconds", "How long ago the oldest event that was read and not sent came in; 0 when there is none.", bridgeLabels, nil)
	describeRate   = prometheus.NewDesc("isthmus_bridge_events_per_second", "Events sent, over the last ten seconds.", bridgeLabels, nil)
	describeState  = prometheus.NewDesc("isthmus_bridge_running", "1 while the bridge runs without waiting for anything.", bridgeLabels, nil)
	describeWaits  = prometheus.NewDesc("isthmus_bridge_waiting", "Lanes and tasks of the bridge that wait, by step.", []string{"bridge", "step"}, nil)
)

func newMetrics(b *Bridges, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{b: b, duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "isthmus_bridge_batch_seconds", Help: "From when a batch was read to when it was done with.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
	}, bridgeLabels)}
	if reg == nil {
		return m, nil
	}
	return m, reg.Register(m)
}

// took counts a batch.
func (m *metrics) took(c *carrier, d time.Duration) {
	h := c.duration.Load()
	if h == nil {
		o := m.duration.WithLabelValues(c.name())
		h = &o
		c.duration.Store(h)
	}
	(*h).Observe(d.Seconds())
}

// Describe tells the names.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.duration.Describe(ch)
	for _, d := range []*prometheus.Desc{
		describeSent, describeAgain, describeFilter, describeDrop, describeDead, describeKept, describeLag, describeOldest, describeRate, describeState, describeWaits,
	} {
		ch <- d
	}
}

// Collect tells the numbers.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.duration.Collect(ch)
	for _, c := range m.b.list() {
		s := c.status()
		tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, append([]string{s.Name}, labels...)...)
		}
		count, gauge := prometheus.CounterValue, prometheus.GaugeValue
		tell(describeSent, count, float64(s.Sent))
		tell(describeAgain, count, float64(s.Repeated))
		tell(describeFilter, count, float64(s.Filtered))
		tell(describeDrop, count, float64(s.Dropped))
		tell(describeDead, count, float64(s.Dead))
		tell(describeKept, gauge, float64(s.DeadKept))
		tell(describeLag, gauge, float64(s.Lag))
		oldest, running := 0.0, 0.0
		if !s.OldestUnsent.IsZero() {
			oldest = max(0, m.b.clk.Now().Sub(s.OldestUnsent).Seconds())
		}
		if s.State == resource.BridgeRunning {
			running = 1
		}
		tell(describeOldest, gauge, oldest)
		tell(describeRate, gauge, s.EventsPerSec)
		tell(describeState, gauge, running)
		for step, n := range c.troubles.bySteps() {
			tell(describeWaits, gauge, float64(n), step)
		}
	}
}
