package control

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestApplyingTwiceChangesNothing(t *testing.T) {
	r := plant(t)
	zone := noun[*resource.Zone](resource.KindZone, "ot/factory.example")
	zone.Spec.Networks = []string{"plant-7"}
	record := noun[*resource.RecordSet](resource.KindRecordSet, "ot/factory.example/plc")
	record.Spec.TXT = []string{"x"}
	set := []resource.Object{ // in no good order
		endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"), record, zone,
		hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", visibleTo("it"), autoApprove("ot")), network("ot/plant-7", "10.7.0.0/24"),
	}
	first := r.apply(otOps, set...)
	if first[0].Action != Created || first[3].Action != Unchanged || first[0].Path != "ot/plant-7/hub" {
		t.Fatalf("first: %+v", first)
	}
	audit, err := r.Audit(ctx, otOps, AuditFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	before := r.endpoint("ot/plant-7/hub")
	for _, ch := range r.apply(otOps, set...) {
		if ch.Action != Unchanged {
			t.Errorf("second: %+v", ch)
		}
	}
	// What came back from a Get, status and all, is unchanged too.
	if ch := r.apply(otOps, before); ch[0].Action != Unchanged {
		t.Errorf("applying what Get returned: %+v", ch)
	}
	if after := r.endpoint("ot/plant-7/hub"); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	again, err := r.Audit(ctx, otOps, AuditFilter{Limit: 1000})
	if err != nil || len(again) != len(audit) {
		t.Errorf("%d audit records became %d, %v", len(audit), len(again), err)
	}
	// A note is no change of spec; a change of spec is a new generation.
	before.Metadata.Labels = map[string]string{"line": "3"}
	if ch := r.apply(otOps, before); ch[0].Action != Updated || r.endpoint("ot/plant-7/hub").Metadata.Generation != 1 {
		t.Errorf("a label: %+v, generation %d", ch, r.endpoint("ot/plant-7/hub").Metadata.Generation)
	}
	before.Spec.RequestMessage = "please"
	r.apply(otOps, before)
	if e := r.endpoint("ot/plant-7/hub"); e.Metadata.Generation != 2 || !e.Metadata.UpdatedAt.After(e.Metadata.CreatedAt) {
		t.Errorf("after a change of spec: %+v", e.Metadata)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	r := plant(t)
	kinds := func() string {
		var b strings.Builder
		for _, k := range resource.Kinds() {
			list, err := r.List(ctx, admin, k, Filter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range list {
				fmt.Fprintln(&b, o.Head().Key(), o.Head().Metadata.Generation)
			}
		}
		return b.String()
	}
	before := kinds()
	_, err := r.Apply(ctx, admin, []resource.Object{
		tenant("new"), network("new/n", "10.0.0.0/24"), network("ot/plant-7", "10.7.0.0/24", "10.8.0.0/24"), endpointTo("new/n/e", "ot/ot-cloud/nothing"),
	}, ApplyOptions{})
	want(t, err, fault.NotFound, "PrivateEndpoint new/n/e: there is no Service ot/ot-cloud/nothing")
	if after := kinds(); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	changes, err := r.Apply(ctx, admin, []resource.Object{tenant("new"), network("new/n", "10.0.0.0/24")}, ApplyOptions{DryRun: true})
	if err != nil || len(changes) != 2 || changes[1].Action != Created {
		t.Errorf("dry run: %+v, %v", changes, err)
	}
	if after := kinds(); after != before {
		t.Errorf("a dry run left behind:\n%s", after)
	}
	r.restart()
	if after := kinds(); after != before {
		t.Errorf("after a restart:\n%s", after)
	}
}

func TestWhatApplyRefuses(t *testing.T) {
	r := plant(t)
	r.join(JoinAgent, "ot/ot-cloud/gw")
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"), hubService("ot/ot-cloud/served", "s.azure-devices.net", servedBy("hub-1")))
	svc := func(f func(*resource.ServiceSpec)) *resource.Service {
		return hubService("ot/ot-cloud/x", "x.azure-devices.net", f)
	}
	ep := func(path, service string, f func(*resource.PrivateEndpointSpec)) resource.Object {
		e := endpointTo(path, service)
		f(&e.Spec)
		return e
	}
	zone := noun[*resource.Zone](resource.KindZone, "ot/z")
	zone.Spec.Networks = []string{"plant-8"}
	rec := noun[*resource.RecordSet](resource.KindRecordSet, "ot/z/a")
	rec.Spec.TXT = []string{"x"}
	made := noun[*resource.RecordSet](resource.KindRecordSet, "ot/privatelink.azure-devices.net/contoso")
	made.Spec.TXT = []string{"x"}
	privatelink := noun[*resource.Zone](resource.KindZone, "ot/privatelink.azure-devices.net")
	for name, tc := range map[string]struct {
		who   Principal
		set   []resource.Object
		kind  fault.Kind
		words string
	}{
		"a reader":                 {otRead, []resource.Object{network("ot/a")}, fault.Denied, "reader"},
		"a tenant by an operator":  {otOps, []resource.Object{tenant("mine")}, fault.NotFound, "there is no Tenant mine"},
		"another tenant's network": {otOps, []resource.Object{network("it/a")}, fault.NotFound, "there is no Tenant it"},
		"no such tenant":           {otOps, []resource.Object{network("zz/a")}, fault.NotFound, "there is no Tenant zz"},
		"no such tenant, admin":    {admin, []resource.Object{network("zz/a")}, fault.NotFound, "there is no Tenant zz"},
		"an agent":                 {admin, []resource.Object{noun[*resource.Agent](resource.KindAgent, "ot/plant-7/gw")}, fault.Invalid, "made by joining"},
		"a relay":                  {admin, []resource.Object{noun[*resource.Relay](resource.KindRelay, "r")}, fault.Invalid, "made by joining"},
		"twice the same":           {admin, []resource.Object{tenant("a"), tenant("a")}, fault.Invalid, "given twice"},
		"not valid":                {admin, []resource.Object{tenant("A")}, fault.Invalid, "not a name"},
		"overlapping ranges":       {admin, []resource.Object{network("ot/a", "10.0.0.0/24", "10.0.0.0/25")}, fault.Invalid, "overlap"},
		"service without network":  {otOps, []resource.Object{hubService("ot/none/x", "x.azure-devices.net")}, fault.NotFound, "there is no Network ot/none"},
		"endpoint without network": {otOps, []resource.Object{endpointTo("ot/none/x", "ot/ot-cloud/contoso")}, fault.NotFound, "there is no Network ot/none"},
		"endpoint without range":   {otOps, []resource.Object{endpointTo("ot/ot-cloud/x", "ot/ot-cloud/contoso")}, fault.Invalid, "no address range"},
		"zone without network":     {otOps, []resource.Object{zone}, fault.NotFound, "there is no Network ot/plant-8"},
		"record without zone":      {otOps, []resource.Object{rec}, fault.NotFound, "there is no Zone ot/z"},
		"record of an endpoint":    {otOps, []resource.Object{privatelink, made}, fault.Conflict, "made by the endpoint ot/plant-7/hub"},
		"auto beyond visibility":   {otOps, []resource.Object{svc(autoApprove("it"))}, fault.Invalid, "spec.visibility does not"},
		"another service":          {otOps, []resource.Object{endpointTo("ot/plant-7/hub", "ot/ot-cloud/private")}, fault.Conflict, "spec.service cannot change"},
		"another address": {otOps, []resource.Object{ep("ot/plant-7/hub", "ot/ot-cloud/contoso", func(s *resource.PrivateEndpointSpec) { s.Address = mustAddr("10.7.0.9") })},
			fault.Conflict, "spec.address cannot change: the endpoint has 10.7.0.4"},
		"an address outside": {otOps, []resource.Object{ep("ot/plant-7/x", "ot/ot-cloud/contoso", func(s *resource.PrivateEndpointSpec) { s.Address = mustAddr("10.8.0.9") })},
			fault.Invalid, "gives out"},
		"a reserved address": {otOps, []resource.Object{ep("ot/plant-7/x", "ot/ot-cloud/contoso", func(s *resource.PrivateEndpointSpec) { s.Address = mustAddr("10.7.0.3") })},
			fault.Invalid, "gives out"},
		"a taken address": {otOps, []resource.Object{ep("ot/plant-7/x", "ot/ot-cloud/contoso", func(s *resource.PrivateEndpointSpec) { s.Address = mustAddr("10.7.0.4") })},
			fault.Conflict, "taken by PrivateEndpoint ot/plant-7/hub"},
		"shrinking under one": {otOps, []resource.Object{network("ot/plant-7", "10.7.0.128/25")}, fault.Conflict, "PrivateEndpoint ot/plant-7/hub has the address 10.7.0.4"},
		"served by no hub":    {otOps, []resource.Object{svc(servedBy("gw"))}, fault.Invalid, "joined as agent"},
		"one name, one hub": {otOps, []resource.Object{hubService("ot/ot-cloud/x", "s.azure-devices.net", servedBy("hub-1"))},
			fault.Conflict, "serves s.azure-devices.net already, as Service ot/ot-cloud/served"},
		"a name another tenant serves": {itOps, []resource.Object{hubService("it/it-cloud/x", "s.azure-devices.net", servedBy("hub-1"))},
			fault.Conflict, "the host name s.azure-devices.net is taken in this deployment"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Apply(ctx, tc.who, tc.set, ApplyOptions{})
			want(t, err, tc.kind, tc.words)
			if fault.Next(err) == "" {
				t.Errorf("no advice with %v", err)
			}
		})
	}
	_, err := r.Apply(ctx, admin, nil, ApplyOptions{Reason: strings.Repeat("x", 501)})
	want(t, err, fault.Invalid, "501 bytes")
}

func TestWarningsOfApply(t *testing.T) {
	r := plant(t)
	r.apply(itOps, endpointTo("it/it-cloud/e", "ot/ot-cloud/contoso"))
	for name, tc := range map[string]struct {
		set  resource.Object
		want string
	}{
		"a hub to come":       {hubService("ot/ot-cloud/x", "x.azure-devices.net", servedBy("hub-9")), "no hub hub-9 has joined"},
		"narrowed visibility": {hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", autoApprove("ot")), "isthmus endpoint remove it/it-cloud/e"},
		"an agent to come": {func() resource.Object {
			e := endpointTo("ot/plant-7/x", "ot/ot-cloud/contoso")
			e.Spec.Agent = "gw-9"
			return e
		}(), "no agent gw-9 has joined"},
	} {
		ch := r.apply(otOps, tc.set)
		if len(ch[0].Warnings) != 1 || !strings.Contains(ch[0].Warnings[0], tc.want) {
			t.Errorf("%s: %q", name, ch[0].Warnings)
		}
	}
	if s := r.endpoint("it/it-cloud/e").Status.Connection.State; s != resource.Pending {
		t.Errorf("narrowing visibility made the connection %s", s)
	}
	if ch := r.apply(itOps, endpointTo("it/it-cloud/e", "ot/ot-cloud/contoso")); ch[0].Action != Unchanged {
		t.Errorf("the consumer's own manifest: %+v", ch)
	}
}
