package eventhubs

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// TestWorkloads: the SDKs take a workload's token as that of a credential; a key is refused where only identities count.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	d := wt.New(t, clock.System{})
	w := start(t, options{who: node.LocalIdentities{
		Verifier: d.Verifier, KeysOff: true, Assignments: []plan.Assignment{wt.Assign(resource.RoleDataSender, ""), wt.Assign(resource.RoleDataReceiver, "")},
	}})
	codes := map[string]string{js.name: "UnauthorizedError", golang.name: "unauthorized"}
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			hub := w.hub(t, 1)
			program := w.driver(t, s)
			tls := w.by(t, "TLS", program.sdk, hub)
			for name, audience := range map[string]string{"for all event hubs": workload.AudienceEventHubs, "for this host": workload.Audience(w.namespace)} {
				t.Run(name, func(t *testing.T) {
					p := program.in(t)
					q := m{"namespace": w.namespace, "hub": hub, "token": d.Token(wt.Agent, wt.Bridge, audience), "tokenFor": 3600000}
					p.must("open", tls, m{"client": name, "kind": "producer"}, q)
					p.must("send", m{"client": name, "partition": "0"}, texts(name))
					before := p.must("partition", m{"client": name, "partition": "0"}).number("last") - 1
					p.must("open", tls, m{"client": name + " reads", "kind": "consumer"}, q)
					p.must("read", m{"client": name + " reads", "reader": name, "partition": "0", "position": m{"sequence": before}})
					wantBodies(t, p.receives(name, "0", 1), name)
					p.must("close", m{"client": name + " reads"})
				})
			}
			for name, c := range map[string]struct {
				q     m
				words string
			}{
				"a key":          {m{"connection": w.connection(hub, rootPolicy, w.key(t, "", rootPolicy))}, "LocalAuthDisabled: "},
				"a SAS token":    {m{"connection": w.ready(w.token(t, "", rootPolicy, time.Hour), hub)}, "LocalAuthDisabled: "},
				"without a role": {m{"namespace": w.namespace, "hub": hub, "token": d.Token(wt.Agent, wt.Agent, workload.AudienceEventHubs)}, "has no role"},
				"another's":      {m{"namespace": w.namespace, "hub": hub, "token": d.Token(wt.Other, wt.Bridge, workload.AudienceEventHubs)}, "has no role"},
				"elsewhere":      {m{"namespace": w.namespace, "hub": hub, "token": d.Token(wt.Agent, wt.Bridge, workload.AudienceStorage)}, "InvalidToken: "},
			} {
				t.Run(name, func(t *testing.T) {
					p := program.in(t)
					p.must("open", tls, m{"client": name, "kind": "producer"}, c.q)
					if e := p.fails("send", m{"client": name}, texts("no")); e.text("code") != codes[s.name] || !strings.Contains(e.text("message"), c.words) {
						t.Errorf("the error is %v, want %s with %q", e, codes[s.name], c.words)
					}
				})
			}
		})
	}
}
