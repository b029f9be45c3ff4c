package carry

import (
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats are the numbers of a Carrier. Those below Accepted only grow.
type Stats struct {
	Open      int    `json:"open"`    // connections that are open, the next four in sum
	Opening   int    `json:"opening"` // waiting for a PROXY header or a ClientHello
	Joining   int    `json:"joining"` // waiting for a target
	Passing   int    `json:"passing"` // passing bytes
	Handed    int    `json:"handed"`  // given to Way.Hand
	Accepted  uint64 `json:"accepted"`
	Refused   uint64 `json:"refused"`   // by the gate
	Full      uint64 `json:"full"`      // reset because there were MaxConnections already, or no file descriptors
	Dropped   uint64 `json:"dropped"`   // ended before the gate saw them: Config.Dropped
	Failed    uint64 `json:"failed"`    // attempts at a target that failed
	Sent      uint64 `json:"sent"`      // bytes to targets
	Received  uint64 `json:"received"`  // bytes from targets
	HeldBytes uint64 `json:"heldBytes"` // now held for slow peers, in buffers; Linux only
	Pipes     int    `json:"pipes"`     // pipes now between two sockets; Linux only
}

// stage is where in its life a connection is.
type stage uint8

const (
	opening stage = iota // its header or hello is incomplete
	joining              // a target is being connected
	passing
	handed
	ended
)

// tally counts for one worker, so that workers do not wait for each other's processor caches.
type tally struct {
	stages                                                   [ended]atomic.Int64
	accepted, refused, full, dropped, failed, sent, received atomic.Uint64
	held, pipes                                              atomic.Int64
	_                                                        [64]byte
}

// move takes a connection from one stage to another.
func (t *tally) move(from, to stage) {
	if from < ended {
		t.stages[from].Add(-1)
	}
	if to < ended {
		t.stages[to].Add(1)
	}
}

func (t *tally) add(s *Stats) {
	s.Opening += int(t.stages[opening].Load())
	s.Joining += int(t.stages[joining].Load())
	s.Passing += int(t.stages[passing].Load())
	s.Handed += int(t.stages[handed].Load())
	s.Open = s.Opening + s.Joining + s.Passing + s.Handed
	s.Accepted += t.accepted.Load()
	s.Refused += t.refused.Load()
	s.Full += t.full.Load()
	s.Dropped += t.dropped.Load()
	s.Failed += t.failed.Load()
	s.Sent += t.sent.Load()
	s.Received += t.received.Load()
	s.HeldBytes += uint64(max(0, t.held.Load()))
	s.Pipes += int(t.pipes.Load())
}

// register shows the numbers to Prometheus.
func register(reg prometheus.Registerer, log *slog.Logger, stats func() Stats) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, of func(Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "gateway", Name: name, Help: help},
			func() float64 { return float64(of(stats())) })
	}
	total := func(name, help string, of func(Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "gateway", Name: name, Help: help},
			func() float64 { return float64(of(stats())) })
	}
	for _, m := range []prometheus.Collector{
		gauge("connections", "Connections that are open.", func(s Stats) int { return s.Open }),
		gauge("connections_opening", "Connections whose PROXY header or ClientHello is awaited.", func(s Stats) int { return s.Opening }),
		gauge("connections_joining", "Connections that wait for a target.", func(s Stats) int { return s.Joining }),
		gauge("held_bytes", "Bytes held for slow peers.", func(s Stats) int { return int(s.HeldBytes) }),
		total("connections_accepted_total", "Connections that were accepted.", func(s Stats) uint64 { return s.Accepted }),
		total("connections_full_total", "Connections that were reset because there were too many.", func(s Stats) uint64 { return s.Full }),
		total("connections_dropped_total", "Connections that ended before their source was known.", func(s Stats) uint64 { return s.Dropped }),
		total("target_failures_total", "Attempts at a target that failed.", func(s Stats) uint64 { return s.Failed }),
		total("sent_bytes_total", "Bytes from clients to targets.", func(s Stats) uint64 { return s.Sent }),
		total("received_bytes_total", "Bytes from targets to clients.", func(s Stats) uint64 { return s.Received }),
	} {
		if err := reg.Register(m); err != nil {
			log.Warn("a metric of the gateway is not shown", "error", err)
		}
	}
}
