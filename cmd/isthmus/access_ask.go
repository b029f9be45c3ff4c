package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
)

// accessAsking is the flags with which a command asks to be let in when nothing lets the person in yet.
type accessAsking struct {
	reason string
	long   long
	wait   long
}

func (a *accessAsking) addTo(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.reason, "reason", "", "ask to be let in, for this `REASON`, when no grant lets you in yet, and wait for the answer")
	addLong(c, &a.long, "for", "how `LONG` to be let in, with --reason; an hour, or what the policy lets at most, when absent")
	a.wait = long(15 * time.Minute)
	addLong(c, &a.wait, "wait", "how `LONG` to wait for the answer, with --reason")
}

func (a *accessAsking) check(c *cobra.Command) error {
	if f := c.Flags(); a.reason == "" && (f.Changed("for") || f.Changed("wait")) {
		return usagef("--for and --wait go with --reason").advise("give --reason TEXT to ask to be let in")
	}
	return nil
}

// letIn finds the grant for a target, or asks for one and waits for the answer.
func (a *accessAsking) letIn(ctx context.Context, s *accessSession, t targetName) (dialer.PassGrant, error) {
	done := s.wait()
	g, err := s.find(ctx, t)
	done()
	if err == nil || a.reason == "" || fault.KindOf(err) != fault.Denied {
		return g, err
	}
	if !t.whole() {
		key, err := parseName("Target", t.path(), s.tenant)
		if err != nil {
			return g, err
		}
		t.tenant, t.network = key.Tenant, key.Scope
	}
	asked, err := a.ask(ctx, s, t.path())
	if err != nil {
		return g, err
	}
	if asked, err = a.await(ctx, s, asked); err != nil {
		return g, err
	}
	if err := answer(asked); err != nil {
		return g, err
	}
	p, err := s.dialer.Renew(ctx)
	if err != nil {
		return g, err
	}
	g, ok := p.Grant(asked.ID)
	if !ok {
		return g, fault.Newf("isthmus.access", fault.Denied, "the grant %s for %s lets nobody in now", asked.ID, asked.Target).
			Advise("see: isthmus access show %s", asked.ID)
	}
	return g, nil
}

// ask asks to be let in, unless the person has asked before.
func (a *accessAsking) ask(ctx context.Context, s *accessSession, target string) (client.Grant, error) {
	list, err := s.Grants(ctx, client.GrantFilter{Target: target, Mine: true, State: grant.Requested})
	if err != nil {
		return client.Grant{}, err
	}
	if len(list) > 0 {
		return list[0], nil
	}
	return s.RequestAccess(ctx, client.GrantRequest{Target: target, Reason: a.reason, For: time.Duration(a.long)})
}

// answer is the fault of a request that was not approved.
func answer(g client.Grant) error {
	const op = "isthmus.access"
	switch g.State {
	case grant.Approved:
		return nil
	case grant.Requested:
		return fault.Newf(op, fault.Timeout, "nobody has decided about your request %s for %s yet", g.ID, g.Target).
			Advise("it goes on waiting: try again without --reason once it is approved, or see: isthmus access show %s", g.ID)
	default:
		why := ""
		if g.EndReason != "" {
			why = ": " + g.EndReason
		}
		by := ""
		if g.EndedBy != "" {
			by = " by " + g.EndedBy
		}
		return fault.Newf(op, fault.Denied, "your request %s for %s was %s%s%s", g.ID, g.Target, strings.ToLower(string(g.State)), by, why).
			Advise("see: isthmus access show %s", g.ID)
	}
}

// await waits until somebody has decided, and says so meanwhile.
func (a *accessAsking) await(ctx context.Context, s *accessSession, g client.Grant) (client.Grant, error) {
	if g.State != grant.Requested {
		return g, nil
	}
	w := s.w
	who := first(strings.Join(g.Approvers, ", "), "an approver")
	w.note("asked for %s; %s may approve it: isthmus access approve %s", g.Target, who, g.ID)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.wait))
	defer cancel()
	line := &liveLine{out: w.err, live: w.colourful()}
	stop, ended := make(chan struct{}), make(chan struct{})
	began := w.clock.Now()
	go func() {
		defer close(ended)
		for {
			line.show(fmt.Sprintf("waiting for approval of %s … %s", g.ID, span(w.clock.Now().Sub(began))))
			fired, cancel := w.clock.After(time.Second)
			select {
			case <-fired:
			case <-stop:
				cancel()
				return
			}
		}
	}()
	decided, err := s.WaitGrant(ctx, g.ID)
	close(stop)
	<-ended
	line.end()
	if errors.Is(err, context.DeadlineExceeded) {
		return g, nil
	}
	return decided, err
}
