package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// shown is what a program has printed so far.
type shown struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *shown) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *shown) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

// all returns every session of a grant that was one, oldest last.
func (s *somebody) all(grant string) (list []client.Session, err error) {
	for before := (time.Time{}); ; {
		page, err := s.Sessions(s.p.t.Context(), client.SessionFilter{Grant: grant, Limit: 1000, Before: before})
		if err != nil || len(page) == 0 {
			return list, err
		}
		list, before = append(list, page...), page[len(page)-1].Opened
	}
}

// told counts the records of an operation about sessions of a grant.
func told(records []client.AuditRecord, operation, grant string) (n int, twice []string) {
	seen := map[string]bool{}
	for _, r := range records {
		var after struct{ Grant string }
		if r.Operation != operation || json.Unmarshal(r.After, &after) != nil || after.Grant != grant {
			continue
		}
		if n++; seen[r.Path] {
			twice = append(twice, r.Path)
		}
		seen[r.Path] = true
	}
	return n, twice
}

// A machine's agent that is killed tells of the sessions it had as lost when it is back, and sends what it had recorded.
func TestAnAgentIsKilled(t *testing.T) {
	p := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patient)
	defer cancel()
	m := startTerminal(t, p)
	carol := p.person("carol", resource.RoleOperator)
	g := carol.letIn(m.auditor, client.GrantRequest{})
	d := carol.visits()
	const many = 8
	var open []dialer.Conn
	for range many {
		c, err := d.Dial(ctx, g.ID)
		must(t, err)
		defer c.Close()
		must(t, echoed(c, 1000))
		open = append(open, c)
	}
	var out shown
	running, stop := context.WithCancel(ctx)
	defer stop()
	c := m.command(running, "ssh", "-F", m.config, "-tt", m.host, "i=0; while :; do i=$((i+1)); echo line-$i-; sleep 0.1; done")
	c.Stdout, c.Stderr = &out, &out
	must(t, c.Start())
	await(t, "fifty lines", func() error {
		if !out.has("line-50-") {
			return errors.New("not yet")
		}
		return nil
	})
	p.press.Kill()
	for _, c := range open {
		_ = c.SetDeadline(time.Now().Add(patient))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a session goes on without its agent")
		}
	}
	must(t, p.press.Restart())
	p.press.says("the agent is ready")
	await(t, "sessions told as lost", func() error {
		list, err := m.auditor.all(g.ID)
		if err != nil {
			return err
		}
		lost := 0
		for _, s := range list {
			if s.Phase == sessions.Ended && s.End == sessions.EndLost {
				lost++
			}
		}
		if lost != many || len(list) != many {
			return fmt.Errorf("%d of %d sessions are lost, wanted %d", lost, len(list), many)
		}
		return nil
	})
	s := m.recorded("the recording that was cut off", func(s client.Session) bool { return s.End == sessions.EndLost })
	// What was shown in the last two seconds may be missing: twenty lines.
	if text := m.plays(s.ID); !strings.Contains(text, "line-1-") || !strings.Contains(text, "line-25-") {
		t.Errorf("the recording ends with %q", text[max(0, len(text)-200):])
	}
	_ = c.Wait()
	must(t, goesIn(ctx, d, g.ID))
	await(t, "the next session", func() error {
		list, err := m.auditor.all(g.ID)
		if err != nil || len(list) != many+1 {
			return fmt.Errorf("%d sessions, %w", len(list), err)
		}
		return nil
	})
	for _, operation := range []string{"session-open", "session-end"} {
		if _, twice := told(p.audited(), operation, g.ID); len(twice) > 0 {
			t.Errorf("%s is told twice of %v", operation, twice)
		}
	}
}

// A control plane that is killed while it is told of sessions knows each of them afterwards, and knows it once.
func TestTheControlPlaneIsKilled(t *testing.T) {
	p := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patient)
	defer cancel()
	alice, bob := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover, resource.RoleAuditor)
	g := alice.letIn(bob, client.GrantRequest{})
	alice.arrives(g)
	d := p.with(alice.mustPass())
	var begun, refused atomic.Int64
	begun.Add(1) // arrives
	visits, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for range 4 {
		all.Go(func() {
			for visits.Err() == nil {
				err := goesIn(ctx, d, g.ID)
				switch {
				case err == nil:
					begun.Add(1)
				case fault.KindOf(err) == fault.Exhausted || strings.Contains(err.Error(), "too many"):
					refused.Add(1)
				default:
					t.Errorf("a visit while the control plane comes and goes: %v", err)
					return
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-visits.Done():
				}
			}
		})
	}
	for range more(3, 40) {
		at := begun.Load() + refused.Load()
		await(t, "visits", func() error {
			if begun.Load()+refused.Load() < at+60 {
				return errors.New("too few")
			}
			return nil
		})
		p.server.Kill()
		must(t, p.server.Restart())
		p.server.says("the control plane is ready")
	}
	stop()
	all.Wait()
	want := int(begun.Load())
	await(t, "every session", func() error {
		list, err := bob.all(g.ID)
		if err != nil {
			return err
		}
		ended := 0
		for _, s := range list {
			if s.Phase == sessions.Ended {
				ended++
			}
		}
		if len(list) < want || ended < want {
			return fmt.Errorf("%d sessions are known, %d of them ended, and %d were begun", len(list), ended, want)
		}
		return nil
	})
	list, err := bob.all(g.ID)
	must(t, err)
	if len(list) != want {
		t.Errorf("%d sessions are known, and %d were begun", len(list), want)
	}
	records := p.audited()
	for _, operation := range []string{"session-open", "session-end"} {
		if n, twice := told(records, operation, g.ID); n != want || len(twice) > 0 {
			t.Errorf("%s: %d records for %d sessions; twice: %v", operation, n, want, twice)
		}
	}
	t.Logf("%d sessions, %d refused", want, refused.Load())
}
