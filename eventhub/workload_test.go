package eventhub_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// withWorkloads is a namespace that believes the agents of a deployment. assign gives it other roles.
func withWorkloads(t testing.TB) (w *et.World, d *wt.Deployment, clk *clock.Fake, assign func(keysOff bool, list ...plan.Assignment)) {
	t.Helper()
	clk = clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	d = wt.New(t, clk)
	w = et.Start(t, et.Options{Clock: clk, Change: func(c *eventhub.Config) { c.Workloads = d.Verifier }})
	return w, d, clk, func(keysOff bool, list ...plan.Assignment) {
		t.Helper()
		s := et.Spec()
		s.Assignments, s.KeysOff = list, keysOff
		must(t, w.Server.SetNamespaces(t.Context(), []eventhub.Spec{s}))
	}
}

func TestWorkloads(t *testing.T) {
	w, d, clk, assign := withWorkloads(t)
	w.Create("Telemetry", 1)
	w.Create("other", 1)
	token := d.Token(wt.Agent, wt.Bridge, workload.Audience(et.Host))
	for name, c := range map[string]struct {
		list     []plan.Assignment
		may, not map[string]eventhub.Right
	}{
		"a sender":   {[]plan.Assignment{wt.Assign(resource.RoleDataSender, "")}, map[string]eventhub.Right{"telemetry": eventhub.Send, "": eventhub.Send}, map[string]eventhub.Right{"telemetry": eventhub.Listen}},
		"a receiver": {[]plan.Assignment{wt.Assign(resource.RoleDataReceiver, "")}, map[string]eventhub.Right{"telemetry/partitions/0": eventhub.Listen}, map[string]eventhub.Right{"telemetry": eventhub.Send}},
		"an owner":   {[]plan.Assignment{wt.Assign(resource.RoleDataOwner, "")}, map[string]eventhub.Right{"": eventhub.EveryRight}, nil},
		"of one event hub": {
			[]plan.Assignment{wt.Assign(resource.RoleDataSender, "TELEMETRY")}, map[string]eventhub.Right{"telemetry": eventhub.Send, "Telemetry/partitions/0": eventhub.Send},
			map[string]eventhub.Right{"other": eventhub.Send, "": eventhub.Send, "telemetry2": eventhub.Send, "telemetry": eventhub.Listen},
		},
		"of two in two ways": {
			[]plan.Assignment{wt.Assign(resource.RoleDataSender, "telemetry"), wt.Assign(resource.RoleDataReceiver, "other"), wt.Assign(resource.RoleBlobReader, "")},
			map[string]eventhub.Right{"telemetry": eventhub.Send, "other": eventhub.Listen}, map[string]eventhub.Right{"telemetry": eventhub.Listen, "other": eventhub.Send, "": eventhub.Listen},
		},
	} {
		assign(false, c.list...)
		for _, kind := range []string{eventhub.TokenJWT, eventhub.TokenSAS} {
			claim, err := w.Namespace.Prove(t.Context(), kind, token)
			if err != nil || claim.Workload != string(wt.Bridge) || claim.Who != claim.Workload || !claim.Valid() || !claim.Expires.Equal(clk.Now().Add(workload.Lifetime+workload.Skew)) {
				t.Errorf("%s: %+v, %v", name, claim, err)
				continue
			}
			for path, need := range c.may {
				if !claim.Covers(path, need) {
					t.Errorf("%s may not %s %q", name, need, path)
				}
			}
			for path, need := range c.not {
				if claim.Covers(path, need) {
					t.Errorf("%s may %s %q", name, need, path)
				}
			}
		}
	}
}

func TestWorkloadsThatAreRefused(t *testing.T) {
	w, d, clk, assign := withWorkloads(t)
	w.Create("telemetry", 1)
	elsewhere := wt.New(t, clk)
	old := d.Token(wt.Agent, wt.Bridge, et.Host)
	for name, c := range map[string]struct {
		token string
		role  plan.Assignment
		kind  fault.Kind
		words string
	}{
		"without a role":                {d.Token(wt.Agent, wt.Agent, et.Host), wt.Assign(resource.RoleDataSender, ""), fault.Denied, "Unauthorized access. The workload"},
		"with a role elsewhere":         {old, wt.Assign(resource.RoleBlobContributor, ""), fault.Denied, "Unauthorized access. The workload"},
		"by an agent that is no holder": {d.Token(wt.Other, wt.Bridge, et.Host), wt.Assign(resource.RoleDataSender, ""), fault.Denied, "Unauthorized access. The workload"},
		"for another service":           {d.Token(wt.Agent, wt.Bridge, workload.AudienceStorage), wt.Assign(resource.RoleDataSender, ""), fault.Unauthenticated, "InvalidToken: "},
		"of another deployment":         {elsewhere.Token(wt.Agent, wt.Bridge, et.Host), wt.Assign(resource.RoleDataSender, ""), fault.Unauthenticated, "InvalidToken: "},
		"changed":                       {old[:len(old)-8] + "AAAAAAAA", wt.Assign(resource.RoleDataSender, ""), fault.Unauthenticated, "InvalidToken: "},
	} {
		assign(false, c.role)
		_, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, c.token)
		if err == nil || fault.KindOf(err) != c.kind || !strings.HasPrefix(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	clk.Advance(2 * time.Hour)
	_, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, old)
	if fault.KindOf(err) != fault.Expired || !strings.HasPrefix(fault.Message(err), "ExpiredToken: ") {
		t.Errorf("late: %v", err)
	}
	nobodys := et.Start(t, et.Options{Clock: clk})
	if _, err := nobodys.Namespace.Prove(t.Context(), eventhub.TokenJWT, old); fault.KindOf(err) != fault.Unauthenticated || err == nil {
		t.Errorf("where no workload counts: %v", err)
	}
}

// What a claim stands on goes with the plan: whoever holds it is told, and it is worth nothing.
func TestWhatAWorkloadLoses(t *testing.T) {
	both := []plan.Assignment{wt.Assign(resource.RoleDataSender, ""), wt.Assign(resource.RoleDataReceiver, "telemetry")}
	moved := wt.Assign(resource.RoleDataSender, "")
	moved.Holders = []string{string(wt.Other)}
	for name, c := range map[string]struct {
		after []plan.Assignment
		do    func(*et.World, *wt.Deployment)
		holds bool
	}{
		"nothing":                {both, nil, true},
		"nothing, and gets more": {append([]plan.Assignment{wt.Assign(resource.RoleDataOwner, "")}, both...), nil, true},
		"everything":             {nil, nil, false},
		"one of two":             {both[:1], nil, false},
		"its carrier":            {[]plan.Assignment{moved, both[1]}, nil, false},
		"its agent":              {both, func(_ *et.World, d *wt.Deployment) { d.Revoke(string(wt.Agent)) }, false},
		"the namespace":          {nil, func(w *et.World, _ *wt.Deployment) { must(t, w.Server.SetNamespaces(t.Context(), nil)) }, false},
	} {
		w, d, _, assign := withWorkloads(t)
		w.Create("telemetry", 1)
		assign(false, both...)
		claim, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, d.Token(wt.Agent, wt.Bridge, et.Host))
		must(t, err)
		for range 2 { // the second time it is known
			if !claim.Valid() {
				t.Fatalf("%s: it is not valid to begin with", name)
			}
		}
		told := w.Namespace.Renewed()
		if c.do != nil {
			c.do(w, d)
		}
		assign(false, c.after...)
		select {
		case <-told:
		default:
			t.Errorf("%s: nobody was told", name)
		}
		if claim.Valid() != c.holds {
			t.Errorf("%s: valid is %v", name, claim.Valid())
		}
		w.Stop()
	}
}

func TestKeysThatAreOff(t *testing.T) {
	w, d, _, assign := withWorkloads(t)
	w.Create("telemetry", 1)
	root, key := w.Root(), w.Key("", eventhub.PolicyRoot)
	before, err := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, root)
	must(t, err)
	byKey, err := w.Namespace.ProveKey(t.Context(), eventhub.PolicyRoot, key)
	must(t, err)
	told := w.Namespace.Renewed()
	assign(true, wt.Assign(resource.RoleDataSender, ""))
	<-told
	if before.Valid() || byKey.Valid() {
		t.Error("what keys have proved still holds")
	}
	_, signed := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, root)
	_, plain := w.Namespace.ProveKey(t.Context(), eventhub.PolicyRoot, key)
	_, junk := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, "junk")
	for name, err := range map[string]error{"a signature": signed, "a key": plain, "junk": junk} {
		if fault.KindOf(err) != fault.Unauthenticated || err == nil || !strings.HasPrefix(fault.Message(err), "LocalAuthDisabled: ") || !strings.Contains(fault.Message(err), "use an identity") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, d.Token(wt.Agent, wt.Bridge, et.Host)); err != nil {
		t.Errorf("an identity: %v", err)
	}
	assign(false)
	if _, err := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, root); err != nil || !before.Valid() {
		t.Errorf("keys are on again: %v", err)
	}
}

func BenchmarkProveWorkload(b *testing.B) {
	w, d, _, assign := withWorkloads(b)
	w.Create("telemetry", 1)
	assign(false, wt.Assign(resource.RoleDataSender, ""))
	token := d.Token(wt.Agent, wt.Bridge, et.Host)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Namespace.Prove(b.Context(), eventhub.TokenJWT, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWorkloadClaimValid(b *testing.B) {
	w, d, _, assign := withWorkloads(b)
	assign(false, wt.Assign(resource.RoleDataSender, ""))
	c, err := w.Namespace.Prove(b.Context(), eventhub.TokenJWT, d.Token(wt.Agent, wt.Bridge, et.Host))
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Valid() {
			b.Fatal("it is not")
		}
	}
}

// An identity provider's tokens count beside those of workloads, and neither is taken for the other.
func TestProvidersTokensBesideThoseOfWorkloads(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	d := wt.New(t, clk)
	asked := 0
	w := et.Start(t, et.Options{Clock: clk, Change: func(c *eventhub.Config) {
		c.Workloads = d.Verifier
		c.Tokens = func(context.Context, eventhub.Spec, string) (eventhub.Identity, error) {
			asked++
			return eventhub.Identity{Who: "somebody", Rights: eventhub.EveryRight}, nil
		}
	}})
	c, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA")
	if err != nil || c.Who != "somebody" || c.Workload != "" || asked != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, d.Token(wt.Agent, wt.Bridge, et.Host)); fault.KindOf(err) != fault.Denied || asked != 1 {
		t.Errorf("a workload without a role asks the provider: %+v, %v", c, err)
	}
}
