package hub

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	server  *Server
	refused *prometheus.CounterVec

	deliveries deliveryMetrics

	connected, messages, bytes *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	m := &metrics{
		server: s, deliveries: newDeliveryMetrics(reg),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "hub", Name: "refused_total", Help: "Peers turned away, by door and kind of reason.",
		}, []string{"door", "kind"}),
		connected: prometheus.NewDesc("isthmus_hub_connected_devices", "Devices connected now.", []string{"hub"}, nil),
		messages:  prometheus.NewDesc("isthmus_hub_messages_total", "Messages from devices made durable.", []string{"hub"}, nil),
		bytes:     prometheus.NewDesc("isthmus_hub_message_bytes_total", "Bytes of the bodies of those messages.", []string{"hub"}, nil),
	}
	if reg != nil {
		reg.MustRegister(m, m.refused, &pressure{s})
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.connected
	ch <- m.messages
	ch <- m.bytes
}

// Collect implements prometheus.Collector: the numbers are read where they are kept, so the way of a message has no extra counter.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, h := range m.server.Hubs() {
		s := h.Stats()
		ch <- prometheus.MustNewConstMetric(m.connected, prometheus.GaugeValue, float64(s.Connected), s.Hub)
		ch <- prometheus.MustNewConstMetric(m.messages, prometheus.CounterValue, float64(s.Messages), s.Hub)
		ch <- prometheus.MustNewConstMetric(m.bytes, prometheus.CounterValue, float64(s.Bytes), s.Hub)
	}
}
