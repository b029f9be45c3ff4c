package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// watch follows a plan in the background. stop ends it and gives WatchPlan's error.
func (r *rig) watch(id identity.ID) (plans chan plan.Plan, stop func() error) {
	r.t.Helper()
	plans = make(chan plan.Plan, 100)
	c, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- r.WatchPlan(c, id, func(p plan.Plan) error {
			plans <- p
			return nil
		})
	}()
	return plans, func() error {
		cancel()
		return <-done
	}
}

func TestPlansArePushedOnChange(t *testing.T) {
	r := plant(t)
	gw, p1, it := r.join(JoinAgent, "ot/plant-7/gw"), r.join(JoinAgent, "ot/ot-cloud/p1"), r.join(JoinAgent, "it/it-cloud/gw")
	gwPlans, stopGW := r.watch(gw)
	p1Plans, stopP1 := r.watch(p1)
	itPlans, stopIT := r.watch(it)
	if p := <-gwPlans; len(p.Endpoints) != 0 || p.Self.Agent != "gw" || p.Self.ID != string(gw) {
		t.Errorf("first plan: %+v", p)
	}
	<-p1Plans
	<-itPlans
	if a := r.get(otOps, resource.KindAgent, "ot/plant-7/gw").(*resource.Agent); !a.Status.Connected {
		t.Error("an agent that follows its plan is not connected")
	}
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	if p := <-gwPlans; len(p.Endpoints) != 1 || !p.Endpoints[0].Open || len(p.Endpoints[0].Providers) != 1 || len(p.Names) != 2 {
		t.Errorf("consumer: %+v", p)
	}
	if p := <-p1Plans; len(p.Services) != 1 || len(p.Services[0].Links) != 1 {
		t.Errorf("provider: %+v", p)
	}
	if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, "ot/plant-7/hub"), resource.Reject, ""); err != nil {
		t.Fatal(err)
	}
	if p := <-gwPlans; p.Endpoints[0].Open || p.Endpoints[0].Providers != nil || len(p.Names) != 0 {
		t.Errorf("consumer after the rejection: %+v", p)
	}
	if p := <-p1Plans; len(p.Services) != 0 {
		t.Errorf("provider after the rejection: %+v", p)
	}
	if err := r.Report(ctx, p1, AgentReport{Direct: "p1.test:7000"}); err != nil { // reaches consumers only while approved
		t.Fatal(err)
	}
	r.join(JoinRelay, "relay-1")
	for name, plans := range map[string]chan plan.Plan{"gw": gwPlans, "p1": p1Plans, "it": itPlans} {
		if p := <-plans; len(p.Relays) != 1 || p.Relays[0].Address != "relay-1.test:443" {
			t.Errorf("%s does not learn of the relay: %+v", name, p.Relays)
		}
	}
	// A deleted agent is told, and its network's partners are told to refuse it.
	if err := r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/ot-cloud/p1"), ""); err != nil {
		t.Fatal(err)
	}
	for name, stop := range map[string]func() error{"gw": stopGW, "it": stopIT} {
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stopP1(); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the deleted agent's watch ended with %v", err)
	}
	for name, plans := range map[string]chan plan.Plan{"gw": gwPlans, "p1": p1Plans, "it": itPlans} {
		if len(plans) != 0 {
			t.Errorf("%s got %d plans it had no need of", name, len(plans))
		}
	}
	if a := r.get(otOps, resource.KindAgent, "ot/plant-7/gw").(*resource.Agent); a.Status.Connected {
		t.Error("an agent that went is connected")
	}
	err := r.WatchPlan(ctx, p1, nil)
	want(t, err, fault.Unauthenticated, "was deleted, or never joined")
	_, err = r.Renew(ctx, p1, newCSR(t))
	want(t, err, fault.Unauthenticated, "was deleted")
	want(t, r.Report(ctx, p1, AgentReport{}), fault.Unauthenticated, "was deleted")
	if again := r.join(JoinAgent, "ot/ot-cloud/p1"); again == p1 {
		t.Error("a new agent has the id of a deleted one")
	}
	if len(r.watchers) != 0 {
		t.Errorf("%d watchers are left", len(r.watchers))
	}
}

func TestChangesWhileBusyComeTogether(t *testing.T) {
	r := plant(t)
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	entered, leave := make(chan plan.Plan), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- r.WatchPlan(ctx, gw, func(p plan.Plan) error {
			entered <- p
			<-leave
			if len(p.Endpoints) == 20 {
				return io.EOF
			}
			return nil
		})
	}()
	<-entered
	for i := range 20 {
		r.apply(otOps, nameless(fmt.Sprintf("ot/plant-7/e%d", i), "ot/ot-cloud/contoso"))
	}
	leave <- struct{}{}
	if p := <-entered; len(p.Endpoints) != 20 {
		t.Errorf("the second plan has %d endpoints of 20", len(p.Endpoints))
	}
	leave <- struct{}{}
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("the callback's error came back as %v", err)
	}
}

// BenchmarkPush measures the time from a decision's commit until each of the agents concerned has its new plan: 1,000 agents follow
// theirs; in the first case the decision concerns two of them, in the second all.
func BenchmarkPush(b *testing.B) {
	for _, bc := range []struct {
		name               string
		networks, perPlace int
	}{{"1000-networks", 1000, 1}, {"1-network", 1, 1000}} {
		b.Run(bc.name, func(b *testing.B) {
			r := plant(b)
			provider := r.join(JoinAgent, "ot/ot-cloud/p1")
			type got struct {
				id identity.ID
				at time.Time
			}
			pushed := make(chan got, 4000)
			c, cancel := context.WithCancel(ctx)
			var wg sync.WaitGroup
			watch := func(id identity.ID) {
				wg.Go(func() {
					_ = r.WatchPlan(c, id, func(plan.Plan) error {
						pushed <- got{id, time.Now()}
						return nil
					})
				})
				<-pushed
			}
			for n := range bc.networks {
				path := fmt.Sprintf("ot/n%d", n)
				r.apply(otOps, network(path, "10.0.0.0/24"), endpointTo(path+"/e", "ot/ot-cloud/contoso"))
				for a := range bc.perPlace {
					watch(r.enrolDirectly(fmt.Sprintf("%s/a%d", path, a)))
				}
			}
			for len(pushed) > 0 {
				<-pushed
			}
			watch(provider)
			k := key(b, resource.KindPrivateEndpoint, "ot/n0/e")
			var last []time.Duration
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				d := []resource.Decision{resource.Reject, resource.Approve}[i%2]
				if _, err := r.Decide(ctx, otOps, k, d, ""); err != nil {
					b.Fatal(err)
				}
				committed := time.Now() // the pushes are under way by now
				var slowest time.Duration
				for range bc.perPlace + 1 {
					slowest = max(slowest, (<-pushed).at.Sub(committed))
				}
				last = append(last, slowest)
			}
			b.StopTimer()
			slices.Sort(last)
			b.ReportMetric(float64(last[len(last)/2].Microseconds()), "µs-to-the-last-plan")
			cancel()
			wg.Wait()
		})
	}
}

// enrolDirectly makes an agent without a token, for benchmarks with many.
func (r *rig) enrolDirectly(path string) identity.ID {
	a := noun[*resource.Agent](resource.KindAgent, path)
	a.Spec.Role = resource.RoleAgent
	id := identity.AgentID("isthmus.test", a.Metadata.Tenant, a.Metadata.Network, a.Metadata.Name+"."+letters(8))
	a.Status.SPIFFEID = string(id)
	if err := r.update(ctx, "bench", "", func(w *work) error { return w.insert(a, change{}) }); err != nil {
		r.t.Fatal(err)
	}
	return id
}
