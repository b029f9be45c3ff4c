package testworld_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
)

const accessManifest = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: maker}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {breakGlass: true}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: echo}
spec: {agent: press-4, address: "%s", visibleTo: [maker]}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: nobody-there}
spec: {agent: press-4, address: "%s"}
`

// visited is a world with a machine that echoes, somebody who wants in, and somebody who can let him in.
type visited struct {
	*testworld.World
	alice, bob *testworld.Person
}

func visit(t *testing.T) *visited {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	v := &visited{World: w}
	if err := w.Apply(ctx, fmt.Sprintf(accessManifest, l.Addr(), gone.Addr())); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Agent(ctx, "ot/plant-7", "press-4", agent.Config{}); err != nil {
		t.Fatal(err)
	}
	if v.alice, err = w.Person(ctx, "ot", "alice", resource.RoleOperator); err != nil {
		t.Fatal(err)
	}
	if v.bob, err = w.Person(ctx, "ot", "bob", resource.RoleApprover, resource.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *visited) letIn(ctx context.Context, t *testing.T, r client.GrantRequest) client.Grant {
	t.Helper()
	if r.Target == "" {
		r.Target = "ot/plant-7/echo"
	}
	g, err := v.alice.LetIn(ctx, r, v.bob)
	if err != nil || g.State != grant.Approved {
		t.Fatalf("%+v, %v", g, err)
	}
	return g
}

func (v *visited) dialer(ctx context.Context, t *testing.T, p *testworld.Person) *dialer.Dialer {
	t.Helper()
	d, _, err := p.Dialer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// echoes passes some bytes there and back.
func echoes(c net.Conn, n int) error {
	sent := bytes.Repeat([]byte("isthmus "), n/8)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	failed := make(chan error, 1)
	go func() { _, err := c.Write(sent); failed <- err }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return errors.New("what came back is not what was sent")
	}
	return <-failed
}

// ended waits for the connection's end and returns what the watch says then, and why it ended.
func ended(t *testing.T, c net.Conn, watch *clocktest.Stopwatch) (time.Duration, error) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return watch.Took(), err
}

func TestAPersonComesInForAsLongAsSomebodyAgreed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	v := visit(t)
	g := v.letIn(ctx, t, client.GrantRequest{For: time.Hour})
	d := v.dialer(ctx, t, v.alice)
	c, err := d.Dial(ctx, g.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := echoes(c, 4<<20); err != nil {
		t.Fatal(err)
	}
	stolen, err := v.alice.Pass(ctx)
	if err != nil {
		t.Fatal(err)
	}
	watch := clocktest.Start(t)
	if _, err := v.bob.DecideGrant(ctx, g.ID, "revoke", "enough", 0); err != nil {
		t.Fatal(err)
	}
	took, err := ended(t, c, watch)
	if err == nil || took > 2*time.Second {
		t.Errorf("the session lived for %s, and ended with %v", took, err)
	}
	if _, err := d.Dial(ctx, g.ID); err == nil {
		t.Error("in again without a grant")
	}
	// Whoever took the pass, key and all, has nothing.
	thief, err := dialer.New(dialer.Config{Pass: func(context.Context) (dialer.Pass, error) { return stolen, nil }, Patience: time.Second, Settle: time.Millisecond}, discard(), systemClock())
	if err != nil {
		t.Fatal(err)
	}
	stop, over := context.WithCancel(ctx)
	running := make(chan error, 1)
	go func() { running <- thief.Run(stop) }()
	if _, err := thief.Dial(ctx, g.ID); err == nil {
		t.Error("a stolen pass opens what its person may not open any more")
	}
	over()
	<-running
	v.waitFor(ctx, t, func(s client.Session) bool {
		return s.Phase == session.Ended && s.End == session.EndRevoked && s.Grant == g.ID && s.Sent == 4<<20 && s.Received == 4<<20 && s.Reason == "testworld" &&
			len(s.ApprovedBy) == 1 && s.ApprovedBy[0] == "bob of ot" && s.Person == "alice of ot"
	})
}

// waitFor waits until a session of this sort has been told to the control plane.
func (v *visited) waitFor(ctx context.Context, t *testing.T, is func(client.Session) bool) client.Session {
	t.Helper()
	var last []client.Session
	soon, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for {
		list, err := v.bob.Sessions(soon, client.SessionFilter{Refused: true})
		for _, s := range list {
			if is(s) {
				return s
			}
		}
		if err == nil {
			last = list
		}
		select {
		case <-soon.Done():
			t.Fatalf("no such session: %+v, %v", last, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestAGrantEndsWithoutAControlPlane(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	v := visit(t)
	asked := time.Now()
	g := v.letIn(ctx, t, client.GrantRequest{For: 6 * time.Second})
	watch := clocktest.Start(t)
	d := v.dialer(ctx, t, v.alice)
	c, err := d.Dial(ctx, g.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := v.Server().Stop(); err != nil {
		t.Fatal(err)
	}
	if err := echoes(c, 1<<10); err != nil {
		t.Errorf("without a control plane: %v", err)
	}
	other, err := d.Dial(ctx, g.ID)
	if err != nil {
		t.Errorf("a new session without a control plane: %v", err)
	} else {
		defer other.Close()
	}
	took, err := ended(t, c, watch)
	if all := time.Since(asked); err == nil || took > 8*time.Second || all < 5*time.Second {
		t.Errorf("six seconds were %s, and %s with the asking: %v", took, all, err)
	}
	if err := v.Server().Start(ctx); err != nil {
		t.Fatal(err)
	}
	v.waitFor(ctx, t, func(s client.Session) bool { return s.Phase == session.Ended && s.End == session.EndExpired })
}

func TestRefusalsAreRecordedAndExplained(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	v := visit(t)
	maker, err := v.Person(ctx, "maker", "mia", resource.RoleOperator, resource.RoleApprover)
	if err != nil {
		t.Fatal(err)
	}
	mine := v.letIn(ctx, t, client.GrantRequest{})
	theirs, err := maker.LetIn(ctx, client.GrantRequest{Target: "ot/plant-7/echo"}, v.bob)
	if err != nil || theirs.State != grant.Approved {
		t.Fatalf("%+v, %v", theirs, err)
	}
	alice, mia := v.dialer(ctx, t, v.alice), v.dialer(ctx, t, maker)
	for _, c := range []struct {
		d     *dialer.Dialer
		grant string
		in    bool
	}{{alice, mine.ID, true}, {mia, theirs.ID, true}, {alice, theirs.ID, false}, {mia, mine.ID, false}, {alice, "no-such-grant", false}} {
		conn, err := c.d.Dial(ctx, c.grant)
		if (err == nil) != c.in {
			t.Errorf("grant %s: %v", c.grant, err)
		}
		if err == nil {
			if err := echoes(conn, 1<<10); err != nil {
				t.Error(err)
			}
			conn.Close()
		}
	}
	gone := v.letIn(ctx, t, client.GrantRequest{Target: "ot/plant-7/nobody-there"})
	if _, err := alice.Dial(ctx, gone.ID); err == nil || !strings.Contains(fault.Message(err), "target") {
		t.Errorf("a target where nobody listens: %v", err)
	}
	v.waitFor(ctx, t, func(s client.Session) bool { return s.Phase == session.Refused && s.End == session.Unreachable })
	why, err := v.alice.WhyAccess(ctx, "ot/plant-7/nobody-there", "", "")
	if err != nil || len(why.Refused) == 0 || why.Refused[0].End != session.Unreachable {
		t.Errorf("%+v, %v", why, err)
	}
	// The vendor's person sees that the plant let her in, and nothing of anybody else.
	list, err := maker.Grants(ctx, client.GrantFilter{})
	if err != nil || len(list) != 1 || list[0].ID != theirs.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := v.alice.DecideGrant(ctx, theirs.ID, "revoke", "", 0); err == nil {
		t.Error("an operator revokes another's grant")
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func systemClock() clock.Clock { return clock.System{} }
