package upstream

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// Servers that no group names are known for a while, and then let go.
func TestUnusedServersAreLetGo(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC))
	p := New(Config{}, slog.New(slog.DiscardHandler), clk, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	at := func(s string) Server { return Server{Address: netip.MustParseAddrPort(s)} }
	known := func() map[Server]bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		out := map[Server]bool{}
		for v, s := range p.servers {
			out[v] = s.groups > 0
		}
		return out
	}
	wait := func(done func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !done(); {
			if time.Now().After(end) {
				t.Fatalf("it does not happen; known: %v", known())
			}
			runtime.GC()
		}
	}
	keep := p.Group([]Server{at("192.0.2.1:53"), at("192.0.2.2:53")})
	for range 100 {
		p.Group([]Server{at("192.0.2.2:53"), at("192.0.2.3:53"), {Address: netip.MustParseAddrPort("192.0.2.4:443"), Transport: HTTPS}})
	}
	wait(func() bool { m := known(); return len(m) == 4 && !m[at("192.0.2.3:53").withDefaults()] })
	clk.Advance(keepUnused - time.Second)
	again := p.Group([]Server{at("192.0.2.3:53")})
	clk.Advance(2 * time.Second)
	wait(func() bool { return len(known()) == 3 })
	runtime.KeepAlive(keep)
	runtime.KeepAlive(again)
	wait(func() bool { clk.Advance(keepUnused); return len(known()) == 0 })
	cancel()
	<-ended
}

// A server that was dead when its last group went is probed when another names it.
func TestDeadServersAreProbedForNewGroups(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC))
	p := New(Config{}, slog.New(slog.DiscardHandler), clk, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := Server{Address: netip.MustParseAddrPort("127.0.0.1:9")}
	func() {
		g := p.Group([]Server{server})
		var w work
		p.mu.Lock()
		p.blame(g.servers[0], clk.Now(), clk.Now(), errNoAnswer, &w)
		p.mu.Unlock()
	}()
	unnamed := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.servers[server.withDefaults()].groups == 0
	}
	for !unnamed() {
		runtime.GC()
	}
	clk.Advance(time.Minute)
	go func() { ended <- p.Run(ctx) }()
	for zero := false; !zero; { // the timekeeper finds nobody to probe
		p.mu.Lock()
		zero = p.running && p.probeAt.IsZero()
		p.mu.Unlock()
	}
	g := p.Group([]Server{server})
	for g.Status()[0].Queries == 0 {
		runtime.Gosched()
	}
	cancel()
	<-ended
}
