package abuse

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// One source that opens as many connections as it can gets what limits.source gives it; nobody else notices, and when it stops, it is
// served like everybody.
func TestAFloodFromOneSource(t *testing.T) {
	f := startFront(t, manifest("  openToAll: true\n  limits: {source: {connections: 60, perSecond: 200}}\n", map[string][]string{
		served: {serve(t, repeat).at()}, raw: {serve(t, echo).at()},
	}))
	o := f.besides()
	memory := f.watchMemory()
	hello := records(helloOf(names(raw)), 1<<14)
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var tried, through atomic.Int64
	began := time.Now()
	for i := range 4 {
		flood.Go(func() {
			var held []net.Conn
			for ctx.Err() == nil {
				tried.Add(1)
				c, err := from("127.0.5.5", f.at)
				if err != nil {
					continue
				}
				_ = c.SetDeadline(time.Now().Add(patient))
				_, _ = c.Write(hello)
				if _, err := c.Read(make([]byte, 1<<10)); err != nil {
					_ = c.Close()
					continue
				}
				through.Add(1)
				if i == 0 && len(held) < 100 { // this one keeps what it gets
					held = append(held, c)
					continue
				}
				_ = c.Close()
			}
			for _, c := range held {
				_ = c.Close()
			}
		})
	}
	lasting := time.Duration(more(2, 120)) * time.Second
	<-time.After(lasting)
	lap := time.Since(began)
	if n := f.status().Gateways[0].Connections; n > 60+20 {
		t.Errorf("%d connections are open", n)
	}
	o.fine("beside a flood", 50)
	cancel()
	flood.Wait()
	rate := float64(through.Load()) / lap.Seconds()
	t.Logf("the flood tried %.0f connections a second, and %.0f went through", float64(tried.Load())/lap.Seconds(), rate)
	if allowed := 200 * (1 + 2/lap.Seconds()); rate > allowed*1.1 {
		t.Errorf("%.0f connections a second went through, and %.0f may", rate, allowed)
	}
	if tried.Load() < 2*through.Load() {
		t.Error("that was no flood")
	}
	memory().within(t, 24)
	await(t, "the source that has stopped", func() error { return f.enters("127.0.5.5") })
	refused := f.refusals("source-rate") + f.refusals("source-connections")
	o.stop()
	f.end()
	most := 3 + int(lasting/(10*time.Second))
	var told uint64
	for _, reason := range []string{"source-rate", "source-connections"} {
		if len(f.lines("reason="+reason)) > 0 { // which of the two it runs into is its own choice
			told += f.told(most, reason)
		}
	}
	if told < refused || told > uint64(tried.Load())+100 {
		t.Errorf("the log accounts for %d of %d", told, refused)
	}
	if len(f.lines("reason=source-", "topSources=\"127.0.5.5 (")) == 0 {
		t.Errorf("the log does not say who it was:\n%s", f.tail())
	}
	if n := len(f.lines()); n > 2*most+10 {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}

// A flood from sources that nobody lets in, each asking for a name of its own, costs a refusal each and is told in a few lines.
func TestAFloodOfStrangers(t *testing.T) {
	to := manifest("", map[string][]string{served: {serve(t, repeat).at()}})
	f := startFront(t, to+allow("fabrikam", everyday, "{name: one-name, sources: [127.0.6.0/24], names: [served.example]}"))
	o := f.besides()
	memory := f.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var tried atomic.Int64
	for part := range 4 {
		flood.Go(func() {
			for i := part; ctx.Err() == nil; i += 4 {
				hello := records(helloOf(names(fmt.Sprintf("n%d.made-up.example", i))), 1<<14)
				c, err := from(fmt.Sprintf("127.0.%d.%d", 6+i%2, 1+i/2%250), f.at) // those of 127.0.6.0/24 are refused by their name
				if err != nil {
					continue
				}
				tried.Add(1)
				_, _ = c.Write(hello)
				if err := ended(c, time.Now().Add(patient)); err != nil {
					t.Error(err)
				}
				_ = c.Close()
			}
		})
	}
	<-time.After(time.Duration(more(2, 120)) * time.Second)
	o.fine("beside strangers", 50)
	cancel()
	flood.Wait()
	memory().within(t, 24)
	refused := f.refusals("no-rule")
	if refused < uint64(tried.Load()) { // some are reset before they know that they were connected
		t.Errorf("%d of %d were refused", refused, tried.Load())
	}
	o.stop()
	f.end()
	n := f.told(3+more(0, 12), "no-rule")
	t.Logf("%d strangers in %d lines", n, len(f.lines("reason=no-rule")))
	if n != refused {
		t.Errorf("the log accounts for %d of %d", n, refused)
	}
	if last := f.lines("refused more", "reason=no-rule"); len(last) == 0 || !strings.Contains(last[len(last)-1], "sources=") {
		t.Errorf("the log does not say how many sources there were:\n%s", f.tail())
	}
}
