package agentnode_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const nouns = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: echo}
spec: {agent: press-4, address: "%s"}
`

const patient = 30 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ahead is a clock that is wrong.
type ahead struct {
	clock.System
	by time.Duration
}

func (a ahead) Now() time.Time { return a.System.Now().Add(a.by) }

// plant is a world with one agent, which can be stopped and started, and alice, whom bob lets in.
type plant struct {
	t          *testing.T
	world      *testworld.World
	alice, bob *testworld.Person
	dialer     *dialer.Dialer
	cfg        agentnode.Config
	clock      clock.Clock
	agent      *agent.Agent
	stop       func()
}

func newPlant(t *testing.T, ctx context.Context, clk clock.Clock) *plant {
	t.Helper()
	w, err := testworld.Start(ctx, testworld.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	must(t, w.Apply(ctx, fmt.Sprintf(nouns, echo(t))))
	p := &plant{t: t, world: w, clock: clk, stop: func() {}}
	p.alice, err = w.Person(ctx, "ot", "alice", resource.RoleOperator)
	must(t, err)
	p.bob, err = w.Person(ctx, "ot", "bob", resource.RoleApprover, resource.RoleAuditor)
	must(t, err)
	p.cfg = agentnode.Config{DataDir: filepath.Join(t.TempDir(), "press-4"), Proxy: "none"}
	token := func() (string, error) {
		tk, err := w.Client.CreateJoinToken(ctx, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7"})
		return tk.Secret, err
	}
	must(t, agentnode.JoinOnce(ctx, p.cfg, token, "press-4", clk))
	never := func() (string, error) { t.Error("who has joined needs no token"); return "", nil }
	must(t, agentnode.JoinOnce(ctx, p.cfg, never, "press-4", clk))
	return p
}

func echo(t *testing.T) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, _ = io.Copy(struct{ io.Writer }{c}, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr()
}

// start runs the agent until stop.
func (p *plant) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg, ready, done := p.cfg, make(chan *agent.Agent, 1), make(chan error, 1)
	cfg.Ready = func(a *agent.Agent) { ready <- a }
	go func() { done <- agentnode.Run(ctx, cfg, slog.New(slog.DiscardHandler), p.clock, nil) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(p.stop)
	select {
	case p.agent = <-ready:
	case err := <-done:
		done <- err
		p.t.Fatal(err)
	}
}

func (p *plant) letIn(ctx context.Context, howLong time.Duration) string {
	p.t.Helper()
	g, err := p.alice.LetIn(ctx, client.GrantRequest{Target: "ot/plant-7/echo", For: howLong}, p.bob)
	must(p.t, err)
	p.dialer, _, err = p.alice.Dialer(ctx)
	must(p.t, err)
	return g.ID
}

func (p *plant) hello(ctx context.Context, grant string) net.Conn {
	p.t.Helper()
	c, err := p.dialer.Dial(ctx, grant)
	must(p.t, err)
	p.t.Cleanup(func() { c.Close() })
	must(p.t, c.SetDeadline(time.Now().Add(patient)))
	_, err = c.Write([]byte("hello"))
	must(p.t, err)
	_, err = io.ReadFull(c, make([]byte, 5))
	must(p.t, err)
	return c
}

// told waits until the control plane knows of n sessions that ended in this way.
func (p *plant) told(ctx context.Context, end session.End, n int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	for {
		list, err := p.bob.Sessions(ctx, client.SessionFilter{})
		found := 0
		for _, s := range list {
			if s.Phase == session.Ended && s.End == end && s.Sent == 5 && s.Received == 5 {
				found++
			}
		}
		if err == nil && found == n {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("of %d sessions that ended as %s %d were told: %+v, %v", n, end, found, list, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What happened while the control plane was away is told when it is back, also by another life of the process.
func TestSessionsWithoutAControlPlane(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := newPlant(t, ctx, clock.System{})
	p.start()
	id := p.letIn(ctx, time.Hour)
	p.hello(ctx, id).Close()
	p.told(ctx, session.EndClosed, 1)
	must(t, p.world.Server().Stop())
	p.hello(ctx, id).Close()
	open := p.hello(ctx, id)
	for len(p.agent.Gate().Sessions()) > 1 { // the end of the one before is on its way
		select {
		case <-ctx.Done():
			t.Fatal("a session does not end")
		case <-time.After(time.Millisecond):
		}
	}
	p.stop()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a session outlives its agent")
	}
	p.start() // with the plan of the disk
	p.hello(ctx, id).Close()
	must(t, p.world.Server().Start(ctx))
	p.told(ctx, session.EndClosed, 3)
	p.told(ctx, session.EndStopping, 1)
}

// A grant ends by the control plane's clock on a machine whose own clock is wrong.
func TestAGrantEndsByTheControlPlanesClock(t *testing.T) {
	for name, by := range map[string]time.Duration{"behind": -30 * time.Second, "ahead": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := newPlant(t, ctx, ahead{by: by})
			p.start()
			begin, watch := time.Now(), clocktest.Start(t)
			c := p.hello(ctx, p.letIn(ctx, 5*time.Second))
			must(t, p.world.Server().Stop())
			_, err := c.Read(make([]byte, 1))
			if all, took := time.Since(begin), watch.Took(); err == nil || all < 3*time.Second || took > 8*time.Second {
				t.Errorf("five seconds were %s, and %s with the machine's pauses: %v", took, all, err)
			}
			must(t, p.world.Server().Start(ctx))
			p.told(ctx, session.EndExpired, 1)
			list, err := p.bob.Sessions(ctx, client.SessionFilter{})
			must(t, err)
			if off := list[0].Opened.Sub(begin).Abs(); off > 10*time.Second {
				t.Errorf("the session began %s from when it did", off)
			}
		})
	}
}

// An agent that cannot write down what happens lets nobody in, and does everything else.
func TestNoDiskForSessions(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := newPlant(t, ctx, clock.System{})
	must(t, os.WriteFile(filepath.Join(p.cfg.DataDir, "access"), nil, 0o600))
	p.start()
	id := p.letIn(ctx, time.Hour)
	for len(p.agent.Problems()) == 0 {
		select {
		case <-ctx.Done():
			t.Fatal("no problem is told")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if w := strings.Join(p.agent.Problems(), " "); !strings.Contains(w, "cannot be written down") {
		t.Errorf("told %q", w)
	}
	soon, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	if c, err := p.dialer.Dial(soon, id); err == nil {
		c.Close()
		t.Error("somebody was let in")
	}
}
