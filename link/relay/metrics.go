package relay

import "github.com/prometheus/client_golang/prometheus"

// metrics are the relay's; with no registerer they count for nobody.
type metrics struct {
	visits          *prometheus.CounterVec // by what the first bytes were
	turnedAway      *prometheus.CounterVec // by limit
	refusedHalves   *prometheus.CounterVec // by status
	asks            *prometheus.CounterVec // by answer
	handshakes      *prometheus.CounterVec // by result
	pairs           prometheus.Counter
	bytes           prometheus.Counter
	controlFailures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Relay) *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "relay", Name: name, Help: help}, []string{label})
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "relay", Name: name, Help: help})
	}
	gauge := func(name, help string, read func() int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "relay", Name: name, Help: help},
			func() float64 { return float64(read()) })
	}
	m := &metrics{
		visits:          vec("visits_total", "Connections by what their first bytes were.", "kind"),
		turnedAway:      vec("turned_away_total", "Connections closed at once because a limit was met.", "limit"),
		refusedHalves:   vec("refused_halves_total", "Data connections refused, by status.", "status"),
		asks:            vec("asks_total", "Questions of agents for a ticket, by answer.", "answer"),
		handshakes:      vec("handshakes_total", "TLS handshakes of agents, by result.", "result"),
		pairs:           one("pairs_total", "Pairs made."),
		bytes:           one("pair_bytes_total", "Bytes moved by pairs that have ended, both directions."),
		controlFailures: one("control_failures_total", "Connections that could not be passed to the control plane."),
	}
	if reg != nil {
		reg.MustRegister(m.visits, m.turnedAway, m.refusedHalves, m.asks, m.handshakes, m.pairs, m.bytes, m.controlFailures,
			gauge("visitors", "Connections held now.", r.door.count),
			gauge("agents", "Agents connected now.", r.agents.count),
			gauge("persons", "Connections of people for signalling now.", r.persons.count),
			gauge("pairs", "Pairs carrying now.", r.pairCount))
	}
	return m
}
