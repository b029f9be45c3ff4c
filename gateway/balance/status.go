package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// GroupStatus is what a person wants to know of a group.
type GroupStatus struct {
	Gateway  string         `json:"gateway"`
	Name     string         `json:"name"`
	Balance  string         `json:"balance"`
	Check    string         `json:"check"`
	Targets  []TargetStatus `json:"targets"`
	Problems []string       `json:"problems,omitempty"`
}

// TargetStatus is one address of a group.
type TargetStatus struct {
	Host        string         `json:"host"` // as it was written, without the port
	Address     netip.AddrPort `json:"address"`
	State       string         `json:"state"` // up, untested, down, ejected or returning
	Since       time.Time      `json:"since"`
	Until       time.Time      `json:"until,omitzero"` // the pause lasts, of one that is ejected
	Connections int            `json:"connections"`    // open, or being opened
	Total       uint64         `json:"total"`          // that it answered
	Failed      uint64         `json:"failed"`         // that it did not
	Because     string         `json:"because,omitempty"`
}

// Status returns all groups by gateway and name, their targets by address.
func (b *Balancer) Status() []GroupStatus {
	b.mu.Lock()
	groups := make([]*Group, 0, len(b.groups))
	for _, g := range b.groups {
		groups = append(groups, g)
	}
	b.mu.Unlock()
	slices.SortFunc(groups, func(x, y *Group) int {
		return strings.Compare(x.id.gateway+"\x00"+x.id.name, y.id.gateway+"\x00"+y.id.name)
	})
	out := make([]GroupStatus, len(groups))
	for i, g := range groups {
		out[i] = g.Status()
	}
	return out
}

// Status returns the group as it is now.
func (g *Group) Status() GroupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	set := g.set.Load()
	s := GroupStatus{Gateway: g.id.gateway, Name: g.id.name, Balance: "least-connections", Check: string(set.check), Targets: []TargetStatus{}}
	if set.bySource {
		s.Balance = "source"
	}
	works := false
	for _, t := range g.targets {
		one := t.status()
		works = works || t.now() == Up || t.now() == Untested
		s.Targets = append(s.Targets, one)
	}
	slices.SortFunc(s.Targets, func(x, y TargetStatus) int { return x.Address.Compare(y.Address) })
	for _, h := range g.hosts {
		if h.problem != "" {
			s.Problems = append(s.Problems, h.problem)
		}
	}
	switch {
	case len(s.Targets) == 0:
		s.Problems = append(s.Problems, "no target has an address")
	case !works:
		s.Problems = append(s.Problems, "no target works")
	}
	if g.tooMany {
		s.Problems = append(s.Problems, fmt.Sprintf("its names lead to more than the %d targets that are used", MostTargets))
	}
	return s
}

func (t *target) status() TargetStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TargetStatus{
		Host: t.host.Load().name, Address: t.at, State: t.now().String(), Since: t.since, Connections: int(t.open.Load()),
		Total: t.total.Load(), Failed: t.failed.Load(), Because: t.last,
	}
	if t.now() == Ejected {
		s.Until = t.until
	}
	return s
}

// collector shows targets to Prometheus: as many lines as the configuration has targets.
type collector struct{ b *Balancer }

var (
	targetLabels = []string{"gateway", "group", "target"}
	descUp       = prometheus.NewDesc("isthmus_gateway_target_up", "Whether connections go to a target: 1 up, 0 not.", targetLabels, nil)
	descOpen     = prometheus.NewDesc("isthmus_gateway_target_connections", "Connections that are open to a target.", targetLabels, nil)
	descTotal    = prometheus.NewDesc("isthmus_gateway_target_connections_total", "Connections which a target answered.", targetLabels, nil)
	descFailed   = prometheus.NewDesc("isthmus_gateway_target_failed_total", "Connections which a target did not answer.", targetLabels, nil)
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descOpen, descTotal, descFailed} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, g := range c.b.Status() {
		for _, t := range g.Targets {
			up := 0.0
			if t.State == Up.String() {
				up = 1
			}
			at := t.Address.String()
			ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up, g.Gateway, g.Name, at)
			ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(t.Connections), g.Gateway, g.Name, at)
			ch <- prometheus.MustNewConstMetric(descTotal, prometheus.CounterValue, float64(t.Total), g.Gateway, g.Name, at)
			ch <- prometheus.MustNewConstMetric(descFailed, prometheus.CounterValue, float64(t.Failed), g.Gateway, g.Name, at)
		}
	}
}
