package resolver

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// result is how a query ended, for counts and the log.
type result uint8

const (
	answered result = iota
	nodata
	nxdomain
	forwarded
	refused
	failed
	malformed
	notImplemented
	badVersion
	dropped
	results // how many there are
)

var resultNames = [results]string{
	answered: "answered", nodata: "nodata", nxdomain: "nxdomain", forwarded: "forwarded", refused: "refused", failed: "failed",
	malformed: "malformed", notImplemented: "not-implemented", badVersion: "bad-version", dropped: "dropped",
}

func (r result) String() string { return resultNames[r] }

// Status is what a person wants to know of a resolver.
type Status struct {
	Listening []string          // addresses listened on now
	Problems  []string          // what does not work, each a sentence with its reason
	Queries   map[string]uint64 // by result: answered, nodata, nxdomain, forwarded, refused, failed, …
	Names     int               // in the view, with those that exist only above others
	Upstreams []UpstreamStatus
}

// UpstreamStatus is one upstream's.
type UpstreamStatus struct {
	Address string
	Queries uint64
	Dead    bool // failed lately and is passed over
}

// Status returns the state of this moment.
func (r *Resolver) Status() Status {
	v := r.view.Load()
	s := Status{Queries: map[string]uint64{}, Names: len(v.nodes)}
	for i := range r.metrics.counts {
		if n := r.metrics.counts[i].Load(); n > 0 {
			s.Queries[result(i).String()] = n
		}
	}
	for _, u := range v.upstream {
		s.Upstreams = append(s.Upstreams, UpstreamStatus{Address: u.addr.String(), Queries: u.queries.Load(), Dead: u.skipTo.Load() != 0})
		if r.isSelf(u.addr) {
			s.Problems = append(s.Problems, fmt.Sprintf("upstream %v is this resolver itself and is not asked", u.addr))
		}
	}
	s.Problems = append(s.Problems, v.problems...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		if l.bound.IsValid() {
			s.Listening = append(s.Listening, l.bound.String())
		}
		if l.problem != "" {
			s.Problems = append(s.Problems, fmt.Sprintf("DNS on %s: %s", l.wanted, l.problem))
		}
	}
	return s
}

// Problems returns the sentences of Status that something is wrong.
func (r *Resolver) Problems() []string { return r.Status().Problems }

type metrics struct {
	counts           [results]atomic.Uint64
	upstreamFailures prometheus.Counter
}

func (r *Resolver) count(res result) { r.metrics.counts[res].Add(1) }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{upstreamFailures: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "isthmus", Subsystem: "resolver", Name: "upstream_failures_total", Help: "Tries at an upstream that got no answer.",
	})}
	if reg == nil {
		return m
	}
	all := []prometheus.Collector{m.upstreamFailures}
	for i := range m.counts {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "resolver", Name: "queries_total", Help: "Queries by how they ended.",
			ConstLabels: prometheus.Labels{"result": result(i).String()},
		}, func() float64 { return float64(m.counts[i].Load()) }))
	}
	for _, c := range all {
		// A second resolver of the same process and registry keeps its counts to itself; Status has them.
		if err := reg.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return m
		}
	}
	return m
}
