package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// metric is one row of the report. Higher is better unless lower is set.
type metric struct {
	key, title, unit string
	lower            bool
}

var pathMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"bulk1", "one flow", "Gbit/s", false},
	{"bulk64", "64 flows, sum", "Gbit/s", false},
	{"connect", "new flows", "/s", false},
	{"rtt", "64-byte round trip, median", "µs", true},
	{"rtt99", "64-byte round trip, p99", "µs", true},
	{"idleKiB", "memory per idle flow, all processes", "KiB", true},
	{"bulk1idle", "one flow beside 1,000 idle", "Gbit/s", false},
}

const (
	idleFlows      = 1000
	connectWorkers = 64
)

// suite is one comparison: ways to do the same thing, and what is measured of each.
type suite struct {
	name, title, reference string
	metrics                []metric
	subjects               []subject
	one                    func(ctx context.Context, r *result, s subject, seconds float64) error
}

// result is everything of one run, as bench/out/*.json holds it.
type result struct {
	Suite    string                          `json:"suite"`
	Time     time.Time                       `json:"time"`
	CPUs     int                             `json:"cpus"`
	Go       string                          `json:"go"`
	Rounds   int                             `json:"rounds"`
	Seconds  float64                         `json:"seconds"`
	Samples  map[string]map[string][]float64 `json:"samples"` // subject -> metric -> one value a round
	Errors   map[string]int64                `json:"errors"`
	LeftOut  map[string]string               `json:"leftOut,omitempty"`
	Binaries map[string]int64                `json:"binaryBytes,omitempty"`
	order    []string
	suite    suite
}

func measure(ctx context.Context, su suite, rounds int, seconds float64) (*result, error) {
	res := &result{suite: su, Suite: su.name, Time: time.Now(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: rounds, Seconds: seconds,
		Samples: map[string]map[string][]float64{}, Errors: map[string]int64{}, Binaries: map[string]int64{}}
	for _, s := range su.subjects {
		res.order = append(res.order, s.name())
		res.Samples[s.name()] = map[string][]float64{}
	}
	for round := range rounds {
		for _, s := range su.subjects {
			fmt.Fprintf(os.Stderr, "\r%s: round %d/%d  %-16s", su.name, round+1, rounds, s.name())
			if err := su.one(ctx, res, s, seconds); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name(), err)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r                              \r")
	return res, nil
}

// measurePath brings a subject up, takes every figure once, and takes it down.
func measurePath(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
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
	w, err := s.start(ctx, target, p)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	if _, err := driveReady(ctx, w); err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	add := r.adder(s)
	// Idle flows come first: memory that a storm of flows left behind would hide theirs.
	before := sum(p.residentKiB())
	f, err := driveIdle(ctx, w, idleFlows, func() error {
		if len(p.residentKiB()) > 0 {
			add("idleKiB", float64(sum(p.residentKiB())-before)/idleFlows, figures{})
		}
		f, err := driveOnce(ctx, w, "bulk", 1, seconds)
		add("bulk1idle", f.BitsPerSecond/1e9, f)
		return err
	})
	r.Errors[s.name()] += f.Errors
	if b, ok := s.(interface{ sizes() map[string]int64 }); ok {
		r.Binaries = b.sizes()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	for _, m := range []struct {
		key, mode string
		flows     int
	}{{"bulk1", "bulk", 1}, {"bulk64", "bulk", 64}, {"connect", "connect", connectWorkers}, {"rtt", "rtt", 1}} {
		f, err := driveOnce(ctx, w, m.mode, m.flows, seconds)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		switch m.mode {
		case "bulk":
			add(m.key, f.BitsPerSecond/1e9, f)
		case "connect":
			add(m.key, f.FlowsPerSec, f)
		case "rtt":
			add("rtt", f.MedianRTT, f)
			add("rtt99", f.P99RTT, figures{})
		}
	}
	return nil
}

// adder keeps figures of a subject.
func (r *result) adder(s subject) func(key string, v float64, f figures) {
	return func(key string, v float64, f figures) {
		r.Samples[s.name()][key] = append(r.Samples[s.name()][key], v)
		r.Errors[s.name()] += f.Errors
	}
}

// driveReady waits for the first byte through the way, from the namespace the client will use.
func driveReady(ctx context.Context, w way) (figures, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		if w.netns == "" {
			return figures{}, waitReady(ctx, w.addr)
		}
		f, err := driveOnce(ctx, w, "rtt", 1, 0.01)
		if err == nil || time.Now().After(deadline) {
			return f, err
		}
	}
}

func waitListening(ctx context.Context, addr string) error {
	return waitListeningFor(ctx, addr, 15*time.Second)
}

func waitListeningFor(ctx context.Context, addr string, limit time.Duration) error {
	var d net.Dialer
	deadline := time.Now().Add(limit)
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("nobody listens on %s: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// report prints medians, each with what isthmus has in ratio to it, and writes the samples as JSON.
func (r *result) report(w io.Writer, dir string) error {
	fmt.Fprintf(w, "%s\n\n%d rounds of %g s, %d CPUs, %s. Medians; in brackets how many times better isthmus was, as the median of the ratios within each round.\n\n", r.suite.title, r.Rounds, r.Seconds, r.CPUs, r.Go)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "figure\tunit")
	for _, s := range r.order {
		fmt.Fprintf(tw, "\t%s", s)
	}
	fmt.Fprintln(tw)
	for _, m := range r.suite.metrics {
		fmt.Fprintf(tw, "%s\t%s", m.title, m.unit)
		ours := r.Samples[r.suite.reference][m.key]
		for _, s := range r.order {
			theirs := r.Samples[s][m.key]
			if len(theirs) == 0 {
				fmt.Fprint(tw, "\t-")
				continue
			}
			fmt.Fprintf(tw, "\t%s", short(median(theirs)))
			if s != r.suite.reference && len(ours) == len(theirs) {
				ratios := make([]float64, len(ours))
				for i := range ours {
					ratios[i] = ours[i] / theirs[i]
					if m.lower {
						ratios[i] = theirs[i] / ours[i]
					}
				}
				fmt.Fprintf(tw, " (%.2fx)", median(ratios))
			}
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for s, why := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s (%s)\n", s, why)
	}
	for s, n := range r.Errors {
		if n > 0 {
			fmt.Fprintf(w, "errors: %s had %d\n", s, n)
		}
	}
	for b, n := range r.Binaries {
		fmt.Fprintf(w, "size: %s %.1f MB\n", b, float64(n)/1e6)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, r.Time.UTC().Format("20060102-150405")+"-"+r.Suite+".json")
	fmt.Fprintf(w, "samples: %s\n\n", path)
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func short(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
