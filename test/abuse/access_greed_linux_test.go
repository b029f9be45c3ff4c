package abuse

import (
	"context"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// weight is what the files of a folder hold.
func weight(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		i, err := e.Info()
		if err == nil {
			bytes += i.Size()
		}
		return nil //nolint:nilerr // gone meanwhile
	}))
	return bytes
}

// Sessions without end, as many as one person can begin, leave telemetry of the same machine as it was, and the journal small: what is not
// written one by one is told as a number.
func TestSessionsWithoutEnd(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	mallory, bob := p.person("mallory", resource.RoleOperator).login(), p.person("bob", resource.RoleApprover, resource.RoleAuditor)
	g := mallory.letIn(bob, client.GrantRequest{})
	mallory.arrives(g)
	telemetry := use(t, "telemetry", 10*time.Millisecond, p.reports, p.reports)
	memory, server := p.press.watchMemory(), p.server.watchMemory()
	before := telemetry.warm(100)
	d := p.with(mallory.mustPass())
	var in, out atomic.Int64
	began := time.Now()
	for round := 0; round < 5 && out.Load() == 0; round++ {
		pours(ctx, 32, time.Duration(more(3, 60))*time.Second, func(ctx context.Context) int {
			if err := goesIn(ctx, d, g.ID); err != nil {
				out.Add(1)
				return 0
			}
			in.Add(1)
			return 1
		})
	}
	t.Logf("%d sessions, %d refused, %.0f a second", in.Load(), out.Load(), float64(in.Load()+out.Load())/time.Since(began).Seconds())
	during := telemetry.fine("beside sessions without end", 50)
	if limit := 50*before.p99 + 500*time.Millisecond; during.p99 > limit {
		t.Errorf("99 of 100 measurements took %v, before %v", during.p99, before.p99)
	}
	if in.Load() == 0 || out.Load() == 0 {
		t.Error("nobody was let in, or everybody")
	}
	memory().within(t, 150)
	server().within(t, 150)
	// Every session that was one is told of, beginning and end, and of those refused a few.
	p.press.end()
	bob.session("how many were refused", client.SessionFilter{}, func(s client.Session) bool {
		return s.Phase == sessions.Refused && s.End == sessions.TooMany && strings.Contains(s.Words, "more were refused since")
	})
	if n := p.refusals(bob, sessions.TooMany); n > 20 {
		t.Errorf("%d refusals were written one by one", n)
	}
	mallory.explains("too many sessions were begun", "ot/plant-7/echo")
	if n := weight(t, filepath.Join(p.Data("press-4"), "access")); n > 20<<20 {
		t.Errorf("the journal holds %d bytes", n)
	}
	p.audited()
}

// pouring sends without end whoever connects whatever he takes.
func pouring(t testing.TB) string {
	t.Helper()
	return answering(t, func(c net.Conn) {
		for chunk := make([]byte, 64<<10); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
}

const moreTargets = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: screen}
spec: {agent: press-4, address: "%s", protocol: rdp}
`

// takes reads from targets as fast as it can until the end is asked for.
func takes(t testing.TB, conns ...dialer.Conn) (end func() (bytes int64)) {
	t.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			for buf := make([]byte, 64<<10); ; {
				k, err := c.Read(buf)
				n.Add(int64(k))
				if err != nil {
					return
				}
			}
		})
	}
	stop := sync.OnceFunc(func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	})
	t.Cleanup(stop)
	return func() int64 { stop(); return n.Load() }
}

// Remote desktops take what is left: with --access-rate each its share of that rate, which telemetry has no part in.
func TestRemoteDesktopBesideTelemetry(t *testing.T) {
	for _, c := range []struct {
		name  string
		agent []string
		rate  int64 // bytes a second of all sessions; 0: no limit
	}{{"with a rate", []string{"--access-rate", "2MB"}, 2_000_000}, {"without", nil, 0}} {
		t.Run(c.name, func(t *testing.T) {
			p := startShop(t, c.agent...)
			ctx := t.Context()
			p.apply(ctx, strings.Replace(moreTargets, "%s", pouring(t), 1))
			greedy, small, bob := p.person("greedy", resource.RoleOperator), p.person("small", resource.RoleOperator), p.person("bob", resource.RoleApprover)
			screen, echo := greedy.letIn(bob, client.GrantRequest{Target: "ot/plant-7/screen"}), small.letIn(bob, client.GrantRequest{})
			small.arrives(echo)
			telemetry := use(t, "telemetry", 10*time.Millisecond, p.reports)
			d := small.visits()
			keys, err := d.Dial(ctx, echo.ID)
			must(t, err)
			defer keys.Close()
			typing := use(t, "a small session", 10*time.Millisecond, func() error { return echoed(keys, 1000) })
			telemetry.warm(50)
			typing.warm(50)
			watcher := greedy.visits()
			var open []dialer.Conn
			for range 4 {
				conn, err := watcher.Dial(ctx, screen.ID)
				must(t, err)
				open = append(open, conn)
			}
			began := time.Now()
			end := takes(t, open...)
			telemetry.served(100)
			typing.served(50)
			if c.rate > 0 { // what would take ten seconds at the rate, if telemetry had a part in it
				bulk, err := net.DialTimeout("tcp", p.telemetry, 5*time.Second)
				must(t, err)
				defer bulk.Close()
				start := time.Now()
				must(t, echoed(bulk, 10<<20))
				if took := time.Since(start); took > 9*time.Second {
					t.Errorf("20 MiB of telemetry took %v", took)
				}
			}
			telemetry.fine("beside remote desktops", 20)
			typing.fine("beside remote desktops", 20)
			lasted, got := time.Since(began), end()
			speed := float64(got) / lasted.Seconds()
			t.Logf("remote desktops took %.1f MB a second", speed/1e6)
			// What the relay and the windows held is more than was metered, once.
			if most := float64(c.rate)*1.3 + 8e6/lasted.Seconds(); c.rate > 0 && speed > most || speed < 300_000 {
				t.Errorf("they took %.1f MB a second", speed/1e6)
			}
			must(t, keys.SetDeadline(time.Now().Add(patient)))
			must(t, keys.CloseWrite())
			_, _ = io.Copy(io.Discard, keys)
		})
	}
}
