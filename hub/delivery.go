package hub

import "github.com/prometheus/client_golang/prometheus"

// listens is called when a device begins or ends to listen: who waits for that can go on.
func (s *Session) listens(t Topic, on bool) {
	if on && t&(Methods|Streams) != 0 {
		s.hub.calls.arrive(s.Name())
	}
	if on && t&Commands != 0 { // whether there are any, NextCommand finds out, which may wait
		s.give(Commands, Receiver.CommandsWaiting)
	}
}

// ended is called once when a session is over: what was being delivered is given back.
func (s *Session) ended() { s.giveBackCommands() }

type deliveryMetrics struct {
	sent    prometheus.Counter
	settled *prometheus.CounterVec
	calls   *prometheus.CounterVec
	stale   prometheus.Counter
}

func newDeliveryMetrics(reg prometheus.Registerer) deliveryMetrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "hub", Name: name, Help: help}
	}
	m := deliveryMetrics{
		sent:    prometheus.NewCounter(opts("commands_sent_total", "Cloud-to-device messages made durable.")),
		settled: prometheus.NewCounterVec(opts("commands_settled_total", "Cloud-to-device messages that left their queue, by what became of them."), []string{"status"}),
		calls:   prometheus.NewCounterVec(opts("method_calls_total", "Direct methods called, by what came of it."), []string{"outcome"}),
		stale:   prometheus.NewCounter(opts("method_answers_dropped_total", "Answers of devices to method calls that nobody waited for.")),
	}
	if reg != nil {
		reg.MustRegister(m.sent, m.settled, m.calls, m.stale)
	}
	return m
}
