package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

var frontMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"connect", "new connections", "/s", false},
	{"bulk1", "one flow", "Gbit/s", false},
	{"bulk64", "64 flows, sum", "Gbit/s", false},
	{"exchange", "256-byte exchanges, 64 flows", "/s", false},
	{"paced50", "p50 at half of HAProxy's least", "µs", true},
	{"paced99", "p99 at half of HAProxy's least", "µs", true},
	{"cpu", "processor time per new connection", "µs", true},
	{"idleKiB", "memory per idle connection", "KiB", true},
}

const (
	frontName  = "hub-7.front.example"
	frontIdle  = 10_000
	frontRules = 1000
)

// front is the suite's one parameter: how many idle connections a proxy can hold with two files each.
type front struct{ idle int }

// measure brings a subject up, takes every figure once, and takes it down.
func (fr front) measure(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, err := withHello(ctx, frontName)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "isthmus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	target, stop, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer stop()
	p := &processes{dir: dir, pids: map[string]func() int{}}
	defer p.stop()
	fail := func(err error) error { return fmt.Errorf("%w\n%s", err, p.logs()) }
	w, err := s.start(ctx, target, p)
	if err != nil {
		return fail(err)
	}
	if err := waitDriven(ctx, w); err != nil {
		return fail(err)
	}
	add := r.adder(s)
	before := sum(p.residentKiB())
	f, err := driveIdle(ctx, w, fr.idle, func() error {
		if len(p.residentKiB()) > 0 {
			add("idleKiB", float64(sum(p.residentKiB())-before)/float64(fr.idle), figures{})
		}
		return nil
	})
	r.Errors[s.name()] += f.Errors
	if err != nil {
		return fail(err)
	}
	cpu := p.cpuSeconds()
	f, err = driveOnce(ctx, w, "connect", connectWorkers, seconds)
	if err != nil {
		return fail(err)
	}
	add("connect", f.FlowsPerSec, f)
	if len(p.running) > 0 {
		add("cpu", (p.cpuSeconds()-cpu)*1e6/(f.FlowsPerSec*seconds), figures{})
	}
	for _, m := range []struct {
		key   string
		flows int
	}{{"bulk1", 1}, {"bulk64", 64}} {
		f, err := driveOnce(ctx, w, "bulk", m.flows, seconds)
		if err != nil {
			return fail(err)
		}
		add(m.key, f.BitsPerSecond/1e9, f)
	}
	if f, err = driveOnce(ctx, w, "exchange", 64, seconds); err != nil {
		return fail(err)
	}
	add("exchange", f.Messages, f)
	half := r.Samples["haproxy"]["exchange"]
	if len(half) == 0 {
		return nil
	}
	if f, err = drivePaced(ctx, w, "paced", 64, seconds, slices.Min(half)/2); err != nil {
		return fail(err)
	}
	add("paced50", f.MedianRTT, f)
	add("paced99", f.P99RTT, figures{})
	return nil
}

// waitDriven waits for the first message through the way, hello and all.
func waitDriven(ctx context.Context, w way) error {
	var last error
	for range 100 {
		f, err := driveOnce(ctx, w, "exchange", 1, 0.02)
		if err == nil && f.Messages > 0 && f.Errors == 0 {
			return nil
		}
		last = err
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("nothing came through %s: %w", w.addr, last)
}

// sources are ranges that do not hold the load's own address, which has a rule of its own.
func sources(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("10.%d.%d.0/24", i>>8&0xff, i&0xff)
	}
	return append(out, "127.0.0.0/8")
}

// haproxy in TCP mode with the same names and sources, as many threads as processors.
type haproxy struct{ splice bool }

func (h haproxy) name() string {
	if h.splice {
		return "haproxy+splice"
	}
	return "haproxy"
}
func (haproxy) needs() []string { return []string{"haproxy"} }

func (h haproxy) start(ctx context.Context, target string, p *processes) (way, error) {
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	var rules strings.Builder
	for _, s := range sources(frontRules) {
		fmt.Fprintf(&rules, "%s allow\n", s)
	}
	table, err := p.file("sources.map", rules.String())
	if err != nil {
		return way{}, err
	}
	splice := ""
	if h.splice {
		splice = "    option splice-auto\n"
	}
	config, err := p.file("haproxy.cfg", fmt.Sprintf(`global
    maxconn 9800
    maxpipes 128
defaults
    mode tcp
    timeout client 1h
    timeout server 1h
    timeout connect 5s
%sfrontend front
    bind %s
    tcp-request inspect-delay 5s
    tcp-request content reject unless { src,map_ip(%s,deny) -m str allow }
    tcp-request content accept if { req.ssl_hello_type 1 }
    tcp-request content reject
    use_backend hub if { req.ssl_sni,lower -m str %s }
    use_backend other if { req.ssl_sni,lower -m end .other.example }
backend hub
    server one %s
backend other
    server one 127.0.0.1:1
`, splice, entry, table, frontName, target))
	if err != nil {
		return way{}, err
	}
	if _, err := p.run(ctx, "haproxy", "haproxy", "-f", config, "-db"); err != nil {
		return way{}, err
	}
	return way{addr: entry}, waitListening(ctx, entry)
}

// gatewayFront is `isthmus gateway run` with a file.
type gatewayFront struct{ *binaries }

func (*gatewayFront) name() string    { return "isthmus" }
func (*gatewayFront) needs() []string { return []string{"go"} }

func (g *gatewayFront) start(ctx context.Context, target string, p *processes) (way, error) {
	if err := g.build(ctx); err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	var rules strings.Builder
	for i, s := range sources(frontRules) {
		fmt.Fprintf(&rules, "    - {name: rule-%d, sources: [%s]}\n", i, s)
	}
	config, err := p.file("gateway.yaml", fmt.Sprintf(`apiVersion: isthmus/v1
kind: Gateway
metadata: {tenant: bench, network: front, name: front}
spec:
  listeners:
    - {name: mqtt, address: 127.0.0.1, port: %s}
  routes:
    - {names: [%s], group: hub}
    - {names: ["*.other.example"], group: other}
  groups:
    - {name: hub, targets: ["%s"], health: {check: none}}
    - {name: other, targets: ["127.0.0.1:1"], health: {check: none}}
---
apiVersion: isthmus/v1
kind: Allowlist
metadata: {tenant: bench, network: front, name: sources}
spec:
  rules:
%s`, portOf(entry), frontName, target, rules.String()))
	if err != nil {
		return way{}, err
	}
	if _, err := p.run(ctx, "gateway", g.main, "gateway", "run", "--config", config, "--data-dir", p.dir+"/gateway", "--log-level", "warn"); err != nil {
		return way{}, err
	}
	return way{addr: entry}, waitListening(ctx, entry)
}
