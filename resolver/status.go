package resolver

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/resolver/cache"
)

// result is how a query ended, for counts and the log.
type result uint8

const (
	answered result = iota
	nodata
	nxdomain
	forwarded
	cached
	stale
	refused
	failed
	malformed
	notImplemented
	badVersion
	limited
	strangers
	looped
	dropped
	results // how many there are
)

var resultNames = [results]string{
	answered: "answered", nodata: "nodata", nxdomain: "nxdomain", forwarded: "forwarded", cached: "cached", stale: "stale", refused: "refused",
	failed: "failed", malformed: "malformed", notImplemented: "not-implemented", badVersion: "bad-version", limited: "limited",
	strangers: "not-allowed", looped: "looped", dropped: "dropped",
}

func (r result) String() string { return resultNames[r] }

// Status is what a person wants to know of a resolver.
type Status struct {
	Listening []string          // addresses listened on now, those for TLS and HTTPS behind tls:// and https://
	Problems  []string          // what does not work, each a sentence with its reason
	Queries   map[string]uint64 // by result: answered, nodata, nxdomain, forwarded, cached, stale, refused, failed, limited, …
	Names     int               // in the view, with those that exist only above others
	Upstreams []UpstreamStatus  // those of rules first
	Cache     cache.Stats
}

// UpstreamStatus is one server's that is asked.
type UpstreamStatus struct {
	Address string
	Rule    string // for which it is asked; empty for the network's upstreams
	Queries uint64
	Dead    bool // failed lately and is passed over
}

// Status returns the state of this moment.
func (r *Resolver) Status() Status {
	st := r.state.Load()
	s := Status{Queries: map[string]uint64{}, Names: st.table.Names(), Cache: r.cache.Stats()}
	for i := range r.metrics.counts {
		if n := r.metrics.counts[i].Load(); n > 0 {
			s.Queries[result(i).String()] = n
		}
	}
	for _, rt := range st.order {
		for _, sv := range rt.group.Status() {
			s.Upstreams = append(s.Upstreams, UpstreamStatus{
				Address: sv.Server.Address.String(), Rule: rt.target.Rule, Queries: sv.Queries, Dead: !sv.Healthy,
			})
		}
	}
	s.Problems = append(s.Problems, st.problems...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.listeners {
		before := ""
		if l.kind != overUDP {
			before = l.kind.String() + "://"
		}
		if l.bound.IsValid() {
			s.Listening = append(s.Listening, before+l.bound.String())
		}
		if l.problem != "" {
			s.Problems = append(s.Problems, fmt.Sprintf("DNS on %s%s: %s", before, l.wanted, l.problem))
		}
	}
	return s
}

// Problems returns the sentences of Status that something is wrong.
func (r *Resolver) Problems() []string { return r.Status().Problems }

type metrics struct{ counts [results]atomic.Uint64 }

func newMetrics(r *Resolver, reg prometheus.Registerer) *metrics {
	m := &metrics{}
	if reg == nil {
		return m
	}
	var all []prometheus.Collector
	for i := range m.counts {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "resolver", Name: "queries_total", Help: "Queries by how they ended.",
			ConstLabels: prometheus.Labels{"result": result(i).String()},
		}, func() float64 { return float64(m.counts[i].Load()) }))
	}
	for _, c := range []struct {
		name, help string
		value      func(cache.Stats) float64
		gauge      bool
	}{
		{"cache_entries", "Answers of upstreams that are kept.", func(s cache.Stats) float64 { return float64(s.Entries) }, true},
		{"cache_bytes", "Memory of the answers that are kept.", func(s cache.Stats) float64 { return float64(s.Bytes) }, true},
		{"cache_evictions_total", "Answers that made room for others.", func(s cache.Stats) float64 { return float64(s.Evicted) }, false},
		{"prefetches_total", "Answers asked for before they ended.", func(s cache.Stats) float64 { return float64(s.Prefetches) }, false},
	} {
		value := func() float64 { return c.value(r.cache.Stats()) }
		if c.gauge {
			all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "isthmus", Subsystem: "resolver", Name: c.name, Help: c.help}, value))
			continue
		}
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "isthmus", Subsystem: "resolver", Name: c.name, Help: c.help}, value))
	}
	all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "isthmus", Subsystem: "resolver", Name: "forwards", Help: "Queries that wait for upstreams.",
	}, func() float64 { return float64(r.inFlight.Load()) }))
	for _, c := range all {
		// A second resolver of the same process and registry keeps its counts to itself; Status has them.
		if err := reg.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return m
		}
	}
	return m
}
