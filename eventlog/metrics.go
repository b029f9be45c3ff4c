package eventlog

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events, bytes, commits, refused prometheus.Counter
	seconds                         prometheus.Histogram
	free, failed                    prometheus.Gauge
}

// newMetrics registers with reg, which may be nil. Logs that share a registry share their counts.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "eventlog", Name: name, Help: help}))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "eventlog", Name: name, Help: help}))
	}
	return &metrics{
		events:  counter("events_total", "Events appended and fsynced."),
		bytes:   counter("bytes_total", "Bytes appended and fsynced, as stored."),
		commits: counter("commits_total", "Commits, each one fsync."),
		refused: counter("refused_total", "Appends refused because the disk is full."),
		seconds: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "isthmus", Subsystem: "eventlog", Name: "commit_seconds", Help: "Time of one commit with its fsync.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2, 16),
		})),
		free:   gauge("disk_free_bytes", "Free space on the disk when last looked at."),
		failed: gauge("failed", "1 when a write failed and the log accepts nothing more."),
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

func (m *metrics) commit(events, bytes int, took time.Duration) {
	m.events.Add(float64(events))
	m.bytes.Add(float64(bytes))
	m.commits.Inc()
	m.seconds.Observe(took.Seconds())
}
