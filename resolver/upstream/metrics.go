package upstream

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// drop is why a datagram or message was not taken as an answer.
type drop uint8

const (
	dropMalformed drop = iota
	dropUnasked        // nobody waits for its identifier: late, or guessed
	dropQuestion       // of another question
	dropCase           // the question's letters have another case
	dropCookie         // without our cookie, or with another
	drops
)

var dropNames = [drops]string{
	dropMalformed: "malformed", dropUnasked: "unasked", dropQuestion: "question", dropCase: "case", dropCookie: "cookie",
}

type metrics struct {
	failures, joined, refused, overTCP prometheus.Counter
	dropped                            [drops]prometheus.Counter
}

func newMetrics(p *Pool, reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "upstream", Name: name, Help: help}
	}
	m := &metrics{
		failures: prometheus.NewCounter(opts("failures_total", "Tries at a server that got no answer.")),
		joined:   prometheus.NewCounter(opts("joined_total", "Questions that were in flight already and got the same answer.")),
		refused:  prometheus.NewCounter(opts("refused_total", "Questions for which there was no room.")),
		overTCP:  prometheus.NewCounter(opts("over_tcp_total", "Questions asked again over TCP, because the answer over UDP was cut or in doubt.")),
	}
	all := []prometheus.Collector{
		m.failures, m.joined, m.refused, m.overTCP,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "upstream", Name: "in_flight", Help: "Questions that wait for a server."},
			func() float64 {
				p.mu.Lock()
				defer p.mu.Unlock()
				return float64(p.asks)
			}),
	}
	for i := range m.dropped {
		o := opts("dropped_total", "Messages that were not taken as answers, by what was wrong with them.")
		o.ConstLabels = prometheus.Labels{"reason": dropNames[i]}
		m.dropped[i] = prometheus.NewCounter(o)
		all = append(all, m.dropped[i])
	}
	if reg == nil {
		return m
	}
	for _, c := range all {
		// A second pool of the same process and registry keeps its counts to itself; Group.Status has the servers'.
		if err := reg.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return m
		}
	}
	return m
}
