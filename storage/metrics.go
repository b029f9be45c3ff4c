package storage

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	server              *Server
	blobs, bytes, waits *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	m := &metrics{
		server: s,
		blobs:  prometheus.NewDesc("isthmus_storage_blobs", "Blobs of an account.", []string{"account"}, nil),
		bytes:  prometheus.NewDesc("isthmus_storage_bytes", "Bytes of an account's blobs together; copies count as often as there are.", []string{"account"}, nil),
		waits:  prometheus.NewDesc("isthmus_storage_waiting_bytes", "Bytes of blocks that wait to become blobs, of all accounts.", nil, nil),
	}
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.blobs
	ch <- m.bytes
	ch <- m.waits
}

// Collect implements prometheus.Collector: the numbers are read where they are kept.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, a := range m.server.Accounts() {
		blobs, bytes := a.Usage()
		ch <- prometheus.MustNewConstMetric(m.blobs, prometheus.GaugeValue, float64(blobs), a.Name())
		ch <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(bytes), a.Name())
	}
	ch <- prometheus.MustNewConstMetric(m.waits, prometheus.GaugeValue, float64(m.server.contents.Staging()))
}
