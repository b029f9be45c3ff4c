package eventhub

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	server *Server

	refused      *prometheus.CounterVec
	events, hubs *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	m := &metrics{
		server: s,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "eventhub", Name: "refused_total", Help: "Tokens and keys refused, by namespace and kind of reason.",
		}, []string{"namespace", "kind"}),
		events: prometheus.NewDesc("isthmus_eventhub_events_total", "Events an event hub was given since it was made.", []string{"namespace", "eventhub"}, nil),
		hubs:   prometheus.NewDesc("isthmus_eventhub_event_hubs", "Event hubs of a namespace.", []string{"namespace"}, nil),
	}
	if reg != nil {
		reg.MustRegister(m, m.refused)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.events
	ch <- m.hubs
}

// Collect implements prometheus.Collector: the numbers are read where they are kept, so the way of an event has no extra counter.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, n := range m.server.Namespaces() {
		hubs := n.state.Load().hubs
		ch <- prometheus.MustNewConstMetric(m.hubs, prometheus.GaugeValue, float64(len(hubs)), n.Name())
		for key, h := range hubs {
			total := int64(0)
			for p := range h.Partitions {
				_, next := m.server.events.Bounds(n.stream(key), p)
				total += next
			}
			ch <- prometheus.MustNewConstMetric(m.events, prometheus.CounterValue, float64(total), n.Name(), h.Name)
		}
	}
}
