package control

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// BenchmarkRequestThatComesTooOften is what one of a thousand requests a second of one person costs.
func BenchmarkRequestThatComesTooOften(b *testing.B) {
	s := newSite(b)
	for range requestBurst {
		s.ask(s.alice, pressSSH)
	}
	for b.Loop() {
		if _, err := s.RequestGrant(ctx, s.alice, GrantRequest{Target: pressSSH, Reason: "again"}); fault.KindOf(err) != fault.Exhausted {
			b.Fatal(err)
		}
	}
}

// BenchmarkFromAskingToThePlan is a request, its approval, and the agent's next plan.
func BenchmarkFromAskingToThePlan(b *testing.B) {
	s := newSite(b)
	plans, stop := s.watch(s.press)
	<-plans
	for b.Loop() {
		s.clk.Advance(time.Minute)
		g := s.let(s.alice, pressSSH)
		<-plans
		s.decide(s.alice, g.ID, RevokeGrant)
		<-plans
	}
	_ = stop()
}
