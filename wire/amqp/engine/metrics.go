package engine

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

type metrics struct {
	connections, sessions, links                 prometheus.Gauge
	framesIn, framesOut, messagesIn, messagesOut prometheus.Counter
	errors                                       *prometheus.CounterVec // by condition
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return register[prometheus.Gauge](reg, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "amqp", Name: name, Help: help}))
	}
	counter := func(name, help string) prometheus.Counter {
		return register[prometheus.Counter](reg, prometheus.NewCounter(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "amqp", Name: name, Help: help}))
	}
	return &metrics{
		connections: gauge("connections", "AMQP connections being served."),
		sessions:    gauge("sessions", "AMQP sessions."),
		links:       gauge("links", "AMQP links."),
		framesIn:    counter("frames_received_total", "AMQP frames received."),
		framesOut:   counter("frames_sent_total", "AMQP frames sent."),
		messagesIn:  counter("messages_received_total", "AMQP messages received whole."),
		messagesOut: counter("messages_sent_total", "AMQP messages sent."),
		errors: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "amqp", Name: "errors_total",
			Help: "Errors told to AMQP peers by detach, end and close, by condition."}, []string{"condition"})),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if old, ok := dup.ExistingCollector.(C); ok {
				return old
			}
		}
	}
	return c
}

// told counts an error. Conditions that are not the standard's have one label together, so that there are few.
func (m *metrics) told(e *amqp.Error) {
	if e == nil {
		return
	}
	label := "other"
	switch e.Condition {
	case amqp.ConditionInternalError, amqp.ConditionNotFound, amqp.ConditionUnauthorizedAccess, amqp.ConditionDecodeError,
		amqp.ConditionResourceLimitExceeded, amqp.ConditionNotAllowed, amqp.ConditionInvalidField, amqp.ConditionNotImplemented,
		amqp.ConditionResourceLocked, amqp.ConditionPreconditionFailed, amqp.ConditionResourceDeleted, amqp.ConditionIllegalState,
		amqp.ConditionFrameSizeTooSmall, amqp.ConditionConnectionForced, amqp.ConditionFramingError, amqp.ConditionConnectionRedirect,
		amqp.ConditionWindowViolation, amqp.ConditionErrantLink, amqp.ConditionHandleInUse, amqp.ConditionUnattachedHandle,
		amqp.ConditionDetachForced, amqp.ConditionTransferLimitExceeded, amqp.ConditionMessageSizeExceeded, amqp.ConditionLinkRedirect,
		amqp.ConditionStolen:
		label = string(e.Condition)
	}
	m.errors.WithLabelValues(label).Inc()
}
