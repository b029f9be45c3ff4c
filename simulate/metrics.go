package simulate

import "github.com/prometheus/client_golang/prometheus"

// collector shows a fleet to Prometheus.
type collector struct{ fleet *Fleet }

// NewCollector returns a collector of the fleet's counts and latencies.
func NewCollector(f *Fleet) prometheus.Collector { return collector{f} }

// Describe leaves the collector unchecked: what it collects is always the same.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.fleet.Snapshot()
	one := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("isthmus_simulate_"+name, help, names, nil), kind, v, values...)
	}
	gauge := func(name, help string, v int64) { one(prometheus.GaugeValue, name, help, float64(v)) }
	gauge("devices", "Devices simulated.", int64(s.Devices))
	gauge("devices_online", "Devices connected now.", s.Online)
	for _, d := range []struct {
		state string
		n     int64
	}{{"finished", s.Finished}, {"refused", s.Refused}, {"gave_up", s.GaveUp}} {
		one(prometheus.GaugeValue, "devices_done", "Devices that will send no more, by why.", float64(d.n), "why", d.state)
	}
	for _, d := range []struct {
		what string
		n    int64
	}{{"made", s.Connects}, {"failed", s.FailedConnects}, {"cut_off", s.CutOff}, {"stormed", s.Stormed}, {"renewed", s.Renewed}} {
		one(prometheus.CounterValue, "connections_total", "Connections by what became of them.", float64(d.n), "what", d.what)
	}
	for _, d := range []struct {
		what string
		n    int64
	}{{"sent", s.Sent}, {"acknowledged", s.Acknowledged}, {"resent", s.Resent}, {"duplicated", s.Duplicated}, {"deferred", s.Deferred}} {
		one(prometheus.CounterValue, "messages_total", "Messages by what became of them.", float64(d.n), "what", d.what)
	}
	one(prometheus.CounterValue, "body_bytes_total", "Bytes of acknowledged bodies.", float64(s.Bytes))
	for _, d := range []struct {
		of string
		l  Latency
	}{{"connect", s.Connect}, {"reconnect", s.Reconnect}, {"acknowledge", s.Acknowledge}} {
		out <- prometheus.MustNewConstSummary(
			prometheus.NewDesc("isthmus_simulate_latency_seconds", "Time taken, since the run began.", []string{"of"}, nil),
			uint64(d.l.Count), d.l.Mean*float64(d.l.Count)/1000,
			map[float64]float64{0.5: d.l.P50 / 1000, 0.9: d.l.P90 / 1000, 0.99: d.l.P99 / 1000, 0.999: d.l.P999 / 1000}, d.of)
	}
}
