package provisioning

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	registered *prometheus.CounterVec
	refused    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		registered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "provisioning", Name: "registrations_total", Help: "Registrations that ended, by service and what became of them.",
		}, []string{"service", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "provisioning", Name: "refused_total", Help: "Devices that did not prove who they are, by service and kind of reason.",
		}, []string{"service", "kind"}),
	}
	if reg != nil {
		reg.MustRegister(m.registered, m.refused)
	}
	return m
}
