package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collector shows what the gateways count to Prometheus. Its labels come from the configuration.
type collector struct{ g *Gateway }

type usesDesc struct{ open, total, sent, received *prometheus.Desc }

func describe(of string) usesDesc {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("isthmus_gateway_"+of+"_"+name, help, []string{"gateway", of}, nil)
	}
	return usesDesc{
		desc("connections", "Connections that are open, by "+of+"."),
		desc("connections_total", "Connections that were let in, by "+of+"."),
		desc("sent_bytes_total", "Bytes from clients to targets of connections that have ended, by "+of+"."),
		desc("received_bytes_total", "Bytes from targets to clients of connections that have ended, by "+of+"."),
	}
}

func (d *usesDesc) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.open, d.total, d.sent, d.received}
}

var (
	descRule  = describe("rule")
	descName  = describe("name")
	descRules = prometheus.NewDesc("isthmus_gateway_rules", "Rules of allowlists, by gateway.", []string{"gateway"}, nil)
	descOpen  = prometheus.NewDesc("isthmus_gateway_let_in", "Connections that are open and were let in by their source.", []string{"gateway"}, nil)
	descUp    = prometheus.NewDesc("isthmus_gateway_listener_up", "Whether a listener is open.", []string{"listener"}, nil)
)

// Describe is prometheus's.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append(append(descRule.all(), descName.all()...), descRules, descOpen, descUp) {
		ch <- d
	}
}

// Collect is prometheus's.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	show := func(d usesDesc, gateway string, t *tally) {
		for _, u := range t.list() {
			total := func(d *prometheus.Desc, n uint64) {
				ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), gateway, u.label)
			}
			ch <- prometheus.MustNewConstMetric(d.open, prometheus.GaugeValue, float64(u.open.Load()), gateway, u.label)
			total(d.total, u.total.Load())
			total(d.sent, u.sent.Load())
			total(d.received, u.recvd.Load())
		}
	}
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	for name, f := range c.g.fronts {
		show(descRule, name, &f.rules)
		show(descName, name, &f.names)
		ch <- prometheus.MustNewConstMetric(descRules, prometheus.GaugeValue, float64(f.now().decide.Rules().Len()), name)
		ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(f.open.Load()), name)
	}
	for _, w := range c.g.open {
		up := 0.0
		if w.listener != nil {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up, w.name)
	}
}
