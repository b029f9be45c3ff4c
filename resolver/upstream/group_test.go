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
