package transport

import "github.com/prometheus/client_golang/prometheus"

// metrics are the transport's; with no registerer they count for nobody.
type metrics struct {
	tunnels  *prometheus.CounterVec // by direction and way
	attempts *prometheus.CounterVec // to reach a peer, by result
	inbound  *prometheus.CounterVec // tunnels of others, by result
	lost     prometheus.Counter     // connections to relays that ended or could not be made
}

func newMetrics(reg prometheus.Registerer, tr *Transport) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "transport", Name: name, Help: help}, labels)
	}
	m := &metrics{
		tunnels:  vec("tunnels_total", "Tunnels that came up.", "direction", "way"),
		attempts: vec("attempts_total", "Attempts to reach a peer.", "result"),
		inbound:  vec("inbound_total", "Tunnels that peers wanted to make.", "result"),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "transport", Name: "relay_lost_total", Help: "Connections to relays that ended or could not be made.",
		}),
	}
	if reg != nil {
		gauge := func(name, help string, read func(Status) int) prometheus.GaugeFunc {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "transport", Name: name, Help: help},
				func() float64 { return float64(read(tr.Status())) })
		}
		reg.MustRegister(m.tunnels, m.attempts, m.inbound, m.lost,
			gauge("tunnels", "Tunnels up now.", func(s Status) int { return len(s.Tunnels) }),
			gauge("relays_connected", "Relays connected now.", func(s Status) (n int) {
				for _, r := range s.Relays {
					if r.Connected {
						n++
					}
				}
				return n
			}))
	}
	return m
}
