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
	long   time.Duration
	wait   time.Duration
}

func (a *accessAsking) addTo(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.reason, "reason", "", "ask to be let in, for this `REASON`, when no grant lets you in yet, and wait for the answer")
	f.DurationVar(&a.long, "for", 0, "how `LONG` to be let in, with --reason; an hour, or what the policy lets at most, when absent")
	f.DurationVar(&a.wait, "wait", 15*time.Minute, "how `LONG` to wait for the answer, with --reason")
	completingValues(c, "for", "30m", "1h", "2h", "8h")
}

func (a *accessAsking) check(c *cobra.Command) error {
	switch f := c.Flags(); {
	case a.reason == "" && (f.Changed("for") || f.Changed("wait")):
		return usagef("--for and --wait go with --reason").advise("give --reason TEXT to ask to be let in")
	case a.long < 0 || a.wait <= 0:
		return usagef("--for and --wait are lengths of time").advise("write them as 30m or 2h")
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
	asked, err := s.RequestAccess(ctx, client.GrantRequest{Target: t.path(), Reason: a.reason, For: a.long})
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
	ctx, cancel := context.WithTimeout(ctx, a.wait)
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
