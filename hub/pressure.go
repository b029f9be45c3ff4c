package hub

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/hub/limit"
)

// pressure collects what was held back, refused, routed and dropped. The numbers are read where they are kept.
type pressure struct{ server *Server }

var (
	descThrottled = prometheus.NewDesc("isthmus_hub_throttled_total", "Times that somebody was over a limit, by class and by whose allowance was used up.", []string{"hub", "class", "level"}, nil)
	descDelayed   = prometheus.NewDesc("isthmus_hub_held_back_seconds_total", "Time for which connections of devices over their limit were not read.", []string{"hub", "class"}, nil)
	descUsed      = prometheus.NewDesc("isthmus_hub_allowance_used_ratio", "How much of the whole hub's allowance is used up now.", []string{"hub", "class"}, nil)
	descRouted    = prometheus.NewDesc("isthmus_hub_routed_total", "Messages and events sent to an endpoint while the hub had routes.", []string{"hub", "endpoint"}, nil)
	descDropped   = prometheus.NewDesc("isthmus_hub_dropped_total", "Messages that no route took, and events of the hub's own for which there was no room.", []string{"hub", "reason"}, nil)
)

// Describe implements prometheus.Collector.
func (p *pressure) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descThrottled, descDelayed, descUsed, descRouted, descDropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p *pressure) Collect(ch chan<- prometheus.Metric) {
	now := p.server.clock.Now()
	for _, h := range p.server.Hubs() {
		name := h.Name()
		counter := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{name}, labels...)...)
		}
		for _, c := range h.limits.Counts() {
			counter(descThrottled, float64(c.Refused), c.Class.String(), c.Level.String())
		}
		for _, c := range limit.Classes() {
			if d := h.limits.DelayedFor(c); d > 0 || c == limit.Messages {
				counter(descDelayed, d.Seconds(), c.String())
			}
			ch <- prometheus.MustNewConstMetric(descUsed, prometheus.GaugeValue, h.limits.Used(c, now), name, c.String())
		}
		h.counters.Range(func(endpoint, n any) bool {
			counter(descRouted, float64(n.(*atomic.Int64).Load()), endpoint.(string)) //nolint:forcetypeassert // the map holds nothing else
			return true
		})
		counter(descDropped, float64(h.unrouted.Load()), "no route")
		counter(descDropped, float64(h.lostEvents.Load()), "event log busy")
	}
}
