package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// counted is a log that only counts its lines.
type counted struct{ lines atomic.Int64 }

func (c *counted) Write(b []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}

// startQuiet is start with a log that is counted.
func startQuiet(t *testing.T, p plan.Gateway) (*world, *counted) {
	t.Helper()
	lines := &counted{}
	w := &world{t: t, reg: prometheus.NewRegistry(), plan: p, done: make(chan error, 1)}
	w.g = gateway.New(gateway.Config{}, nil, slog.New(slog.NewTextHandler(lines, nil)), clock.System{}, w.reg)
	w.g.Set([]plan.Gateway{p})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.done <- w.g.Run(ctx) })
	w.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(w.stop)
	<-w.g.Ready()
	return w, lines
}

// refusals returns how many there were for a reason.
func (w *world) refusals(reason string) (n uint64) {
	for _, c := range w.g.Status().Refusals {
		if c.Reason == reason {
			n += c.N
		}
	}
	return n
}

// latencies has one client visit again and again until stop, and returns how long each visit took.
func latencies(t *testing.T, address string) (stop func() []time.Duration) {
	var took []time.Duration
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			if err := visitor(address, "a.example")(0); err != nil {
				t.Error("somebody else is not served:", err)
				return
			}
			took = append(took, time.Since(began))
		}
	})
	return func() []time.Duration {
		cancel()
		wg.Wait()
		slices.Sort(took)
		return took
	}
}

func p99(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[len(all)*99/100]
}

func header(source string) []byte {
	h, err := proxyproto.Append(nil, proxyproto.New(netip.AddrPortFrom(netip.MustParseAddr(source), 4711), netip.MustParseAddrPort("192.0.2.1:8883")))
	if err != nil {
		panic(err)
	}
	return h
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// Thousands who send a byte of a ClientHello now and then do not keep anybody from being served, cost little, and are got rid of.
func TestFiveThousandWhoNeverGetToThePoint(t *testing.T) {
	n := min(5000, (raiseFiles()-500)/2)
	p, _ := threeWays(t)
	p.Limits.HelloSeconds = 3
	w, lines := startQuiet(t, p)
	address := w.address()
	calm := latencies(t, address)
	before := heap()
	var slow []net.Conn
	first := append(header(office), 0x16, 3, 1, 2)
	for range n {
		c, err := net.Dial("tcp", address)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, err = c.Write(first)
		must(t, err)
		slow = append(slow, c)
	}
	await(t, "them all", func() bool { return w.g.Status().Carrier.Opening >= n*9/10 || w.refusals("hello-timeout") > 0 })
	opening := w.g.Status().Carrier.Opening
	each := (int64(heap()) - int64(before)) / int64(max(opening, 1))
	for i, c := range slow {
		_, _ = c.Write([]byte{byte(i)}) // the length of the record: something comes, as it should
	}
	await(t, "the end of them all", func() bool { return w.refusals("hello-timeout") == uint64(n) })
	all := calm()
	t.Logf("%d waited, at %d bytes each with their own end; meanwhile %d others were served, 99 of 100 in %v; %d lines in the log",
		opening, each, len(all), p99(all), lines.lines.Load())
	if each > 16<<10 {
		t.Errorf("each costs %d bytes", each)
	}
	if len(all) < 20 || p99(all) > 2*time.Second {
		t.Errorf("%d others were served, 99 of 100 in %v", len(all), p99(all))
	}
	if lines.lines.Load() > 20 {
		t.Errorf("%d lines in the log", lines.lines.Load())
	}
	for _, c := range slow[:10] {
		_ = c.SetDeadline(time.Now().Add(patient))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("not reset")
		}
	}
}

// A source that opens more connections than it may is refused, and the others do not notice.
func TestAFloodFromOneSource(t *testing.T) {
	p, _ := threeWays(t)
	p.Limits.Source = resource.Limit{PerSecond: 100_000}
	p.Allowlists[0].Rules[1].Limit = resource.Limit{PerSecond: 5, Connections: 10}
	w, lines := startQuiet(t, p)
	address := w.address()
	alone := latencies(t, address)
	await(t, "calm visits", func() bool { return w.g.Status().Carrier.Accepted > 30 })
	before := p99(alone())
	size := heap()

	var flood sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	var sent atomic.Int64
	for i := range 4 {
		flood.Go(func() {
			hello := append(header(fmt.Sprintf("198.51.100.%d", i)), helloFor(t, "a.example")...)
			for ctx.Err() == nil {
				c, err := net.Dial("tcp", address)
				if err != nil {
					continue
				}
				_, _ = c.Write(hello)
				_ = c.(*net.TCPConn).SetLinger(0)
				sent.Add(1)
				_ = c.SetDeadline(time.Now().Add(time.Second))
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			}
		})
	}
	others := latencies(t, address)
	await(t, "the flood", func() bool { return w.refusals("rule-rate")+w.refusals("rule-connections") > 2000 })
	cancel()
	flood.Wait()
	during := others()
	grown := int64(heap()) - int64(size)
	t.Logf("%d connections of the flood; %d others were served, 99 of 100 in %v, without the flood in %v; %d bytes more are held; %d lines in the log",
		sent.Load(), len(during), p99(during), before, grown, lines.lines.Load())
	if len(during) < 10 || p99(during) > 2*time.Second {
		t.Errorf("%d others were served, 99 of 100 in %v", len(during), p99(during))
	}
	if lines.lines.Load() > 20 || grown > 8<<20 {
		t.Errorf("%d lines in the log, %d bytes more are held", lines.lines.Load(), grown)
	}
}

// helloFor returns a ClientHello.
func helloFor(t *testing.T, name string) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = dial(l.Addr().String(), "", name) })
	c, err := l.Accept()
	must(t, err)
	b := make([]byte, 4096)
	n, err := c.Read(b)
	must(t, err)
	_ = c.Close()
	wg.Wait()
	return b[:n]
}

// However many names clients make up, the series of metrics are those of the configuration.
func TestLabelsComeFromTheConfiguration(t *testing.T) {
	p, _ := threeWays(t)
	w, _ := startQuiet(t, p)
	for i := range 30 {
		name := fmt.Sprintf("made-up-%d.hub.example", i)
		c, err := dial(w.address(), plant, name)
		must(t, err)
		_ = c.raw.Close()
		if c, err = dial(w.address(), fmt.Sprintf("192.0.2.%d", i), name); err == nil {
			_ = c.raw.Close()
			t.Fatal("let in")
		}
	}
	for i := range 5 {
		w.plan.Allowlists[0].Rules = append(w.plan.Allowlists[0].Rules, rule(fmt.Sprint("r", i), fmt.Sprintf("10.%d.0.0/16", i)))
	}
	w.set()
	all, err := w.reg.Gather()
	must(t, err)
	series, seen := 0, map[string]bool{}
	for _, f := range all {
		if !strings.HasPrefix(f.GetName(), "isthmus_gateway_") {
			t.Error("a name out of line:", f.GetName())
		}
		seen[f.GetName()] = true
		series += len(f.GetMetric())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetValue(), "made-up") || strings.Contains(l.GetValue(), "192.0.2.") {
					t.Errorf("%s has the label %s", f.GetName(), l.GetValue())
				}
			}
		}
	}
	if series > 80 {
		t.Errorf("%d series", series)
	}
	for _, want := range []string{
		"isthmus_gateway_connections", "isthmus_gateway_rule_connections_total", "isthmus_gateway_name_sent_bytes_total",
		"isthmus_gateway_refusals_total", "isthmus_gateway_target_up", "isthmus_gateway_listener_up", "isthmus_gateway_rules",
	} {
		if !seen[want] {
			t.Error("there is no", want)
		}
	}
}
