package control

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted also when nobody asks for them.
type metrics struct {
	watchers   prometheus.Gauge
	plans      *prometheus.CounterVec
	changes    *prometheus.CounterVec
	refused    prometheus.Counter
	unrecorded prometheus.Counter
	grants     *prometheus.CounterVec
	hasty      prometheus.Counter
	sessions   *prometheus.CounterVec
	deliveries *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		watchers: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "isthmus", Subsystem: "control", Name: "plan_watchers", Help: "Agents and relays that follow their plan now.",
		}),
		plans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "control", Name: "plans_compiled_total", Help: "Plans compiled for watchers, by whether they were sent or came out as before.",
		}, []string{"outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "control", Name: "changes_total", Help: "Changes of nouns and connections, by operation.",
		}, []string{"operation"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "control", Name: "credentials_refused_total", Help: "API tokens, join tokens and identities that were refused.",
		}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "control", Name: "denied_unrecorded_total", Help: "Denied decisions without an audit record, because one principal had too many.",
		}),
	}
	m.grants = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: "control", Name: "grant_steps_total", Help: "Steps in the lives of grants, by step; break-glass is one to be alarmed by.",
	}, []string{"step"})
	m.hasty = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: "control", Name: "requests_too_often_total", Help: "Requests of people for access, passes and certificates that were refused because they came too often.",
	})
	m.sessions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: "control", Name: "session_records_total", Help: "Records of sessions that members sent, by phase, or by what was wrong with them.",
	}, []string{"phase"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: "control", Name: "webhook_deliveries_total", Help: "Tries to deliver events to webhooks, by outcome.",
	}, []string{"outcome"})
	if reg == nil {
		return m, nil
	}
	for _, col := range []prometheus.Collector{m.watchers, m.plans, m.changes, m.refused, m.unrecorded, m.grants, m.hasty, m.sessions, m.deliveries} {
		if err := reg.Register(col); err != nil {
			return nil, err
		}
	}
	return m, nil
}
