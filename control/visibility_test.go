package control

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// A tenant must not be able to tell a service it may not see from one that is not there, whatever it tries.
func TestHiddenAndMissingAreTheSame(t *testing.T) {
	r := plant(t)
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	alias := r.get(otOps, resource.KindService, "ot/ot-cloud/contoso").(*resource.Service).Status.Alias
	for name, try := range map[string]func(kind resource.Kind, path string) error{
		"get": func(kind resource.Kind, path string) error {
			_, err := r.Get(ctx, xxOps, key(t, kind, path))
			return err
		},
		"delete": func(kind resource.Kind, path string) error { return r.Delete(ctx, xxOps, key(t, kind, path), "") },
		"connect": func(kind resource.Kind, path string) error {
			_, err := r.Apply(ctx, xxOps, []resource.Object{endpointTo("xx/lab/e", path)}, ApplyOptions{})
			return err
		},
		"decide": func(_ resource.Kind, path string) error {
			_, err := r.Decide(ctx, xxOps, key(t, resource.KindPrivateEndpoint, path), resource.Approve, "")
			return err
		},
	} {
		for kind, hidden := range map[resource.Kind]string{resource.KindService: "ot/ot-cloud/private", resource.KindPrivateEndpoint: "ot/plant-7/hub"} {
			missing := strings.TrimSuffix(hidden, hidden[strings.LastIndex(hidden, "/"):]) + "/nothing"
			a, b := try(kind, hidden), try(kind, missing)
			if fault.KindOf(a) != fault.NotFound || fault.KindOf(b) != fault.NotFound {
				t.Errorf("%s %s: %v and %v", name, kind, a, b)
				continue
			}
			for _, say := range []func(error) string{fault.Message, fault.Next} {
				if x, y := say(a), strings.ReplaceAll(say(b), missing, hidden); x != y {
					t.Errorf("%s %s:\nhidden  %s\nmissing %s", name, kind, x, y)
				}
			}
		}
	}
	for _, a := range []string{alias, "contoso.aaaaaaaaaaaaaaaaaaaaaaaaaa.isthmus"} {
		_, err := r.Apply(ctx, xxOps, []resource.Object{endpointTo("xx/lab/e", a)}, ApplyOptions{})
		want(t, err, fault.NotFound, `there is no service with the alias "`+a+`"`)
	}
}

func TestWhoSeesWhat(t *testing.T) {
	r := plant(t)
	r.join(JoinAgent, "ot/plant-7/gw")
	r.join(JoinRelay, "relay-1")
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
	for _, tc := range []struct {
		who  Principal
		kind resource.Kind
		want string
	}{
		{admin, resource.KindTenant, "it ot xx"},
		{otOps, resource.KindTenant, "ot"},
		{otRead, resource.KindNetwork, "ot/ot-cloud ot/plant-7"},
		{xxOps, resource.KindAgent, ""},
		{otRead, resource.KindAgent, "ot/plant-7/gw"},
		{xxOps, resource.KindRelay, "relay-1"},
		{otOps, resource.KindService, "ot/ot-cloud/contoso ot/ot-cloud/private"},
		{itOps, resource.KindService, "ot/ot-cloud/contoso"},
		{xxOps, resource.KindService, ""},
		{otOps, resource.KindPrivateEndpoint, "ot/plant-7/hub"}, // the other side's endpoint is seen as a connection only
		{itOps, resource.KindPrivateEndpoint, "it/it-cloud/hub"},
		{otOps, resource.KindRecordSet, "ot/privatelink.azure-devices.net/contoso"},
		{itOps, resource.KindRecordSet, ""}, // pending
	} {
		list, err := r.List(ctx, tc.who, tc.kind, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range list {
			got = append(got, o.Head().Key().Path())
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s sees of %s %q, want %q", tc.who.Who(), tc.kind, s, tc.want)
		}
	}
	for _, tc := range []struct {
		who  Principal
		want string
	}{{admin, "it/it-cloud/hub ot/plant-7/hub"}, {otOps, "it/it-cloud/hub ot/plant-7/hub"}, {itOps, "it/it-cloud/hub"}, {xxOps, ""}} {
		list, err := r.Connections(ctx, tc.who, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range list {
			got = append(got, v.Endpoint)
			if may := tc.who.Who() != itOps.Who(); v.MayDecide != may {
				t.Errorf("%s may decide %s: %t", tc.who.Who(), v.Endpoint, v.MayDecide)
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s sees the connections %q, want %q", tc.who.Who(), s, tc.want)
		}
	}
	pending, err := r.Connections(ctx, otOps, Filter{State: resource.Pending, Tenant: "it"})
	if err != nil || len(pending) != 1 || pending[0].Service != "ot/ot-cloud/contoso" {
		t.Errorf("pending: %+v, %v", pending, err)
	}
}

func TestAnotherTenantsServiceShowsOnlyItsFace(t *testing.T) {
	r := plant(t)
	s := r.get(itOps, resource.KindService, "ot/ot-cloud/contoso").(*resource.Service)
	if s.Spec.Target != "" || s.Spec.Visibility != nil || s.Spec.AutoApprove != nil || s.Status.Alias != "" || s.Status.Connections != nil {
		t.Errorf("it sees %+v %+v", s.Spec, s.Status)
	}
	if s.Spec.HostName != "contoso.azure-devices.net" || s.Spec.Type != resource.TypeIoTHub {
		t.Errorf("it does not see %+v", s.Spec)
	}
}

func TestAnAliasHidesWhatItStandsFor(t *testing.T) {
	r := plant(t)
	alias := r.get(otOps, resource.KindService, "ot/ot-cloud/contoso").(*resource.Service).Status.Alias
	if !strings.HasPrefix(alias, "contoso.") || !strings.HasSuffix(alias, ".isthmus") || strings.Contains(alias, "ot-cloud") {
		t.Errorf("alias %q", alias)
	}
	r.apply(itOps, endpointTo("it/it-cloud/e", alias))
	views, err := r.Connections(ctx, itOps, Filter{})
	if err != nil || len(views) != 1 || views[0].Service != alias {
		t.Errorf("the consumer sees %+v, %v", views, err)
	}
	// The same service under its path is no other service.
	if ch := r.apply(itOps, endpointTo("it/it-cloud/e", "ot/ot-cloud/contoso")); ch[0].Action != Updated {
		t.Errorf("path for alias: %+v", ch)
	}
}

func TestStatusIsFilledIn(t *testing.T) {
	r := plant(t)
	r.join(JoinAgent, "ot/plant-7/gw")
	zone := noun[*resource.Zone](resource.KindZone, "ot/privatelink.azure-devices.net")
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"), zone)
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
	if n := r.get(otOps, resource.KindNetwork, "ot/plant-7").(*resource.Network).Status; n != (resource.NetworkStatus{Agents: 1, Endpoints: 1}) {
		t.Errorf("network: %+v", n)
	}
	if s := r.get(otOps, resource.KindService, "ot/ot-cloud/contoso").(*resource.Service).Status.Connections; s["Approved"] != 1 || s["Pending"] != 1 {
		t.Errorf("service: %+v", s)
	}
	if z := r.get(otOps, resource.KindZone, "ot/privatelink.azure-devices.net").(*resource.Zone).Status; z.RecordSets != 1 {
		t.Errorf("zone: %+v", z)
	}
	e := r.endpoint("ot/plant-7/hub").Status
	if e.Agent != "gw" || len(e.HostNames) != 1 || len(e.Ports) != 3 {
		t.Errorf("endpoint: %+v", e)
	}
	if e := r.endpoint("it/it-cloud/hub").Status; e.Agent != "" || e.HostNames != nil || e.Ports != nil {
		t.Errorf("a pending endpoint: %+v", e)
	}
	rec := r.get(otRead, resource.KindRecordSet, "ot/privatelink.azure-devices.net/contoso").(*resource.RecordSet)
	if rec.Status.Endpoint != "ot/plant-7/hub" || rec.Status.Network != "plant-7" || len(rec.Spec.A) != 1 || rec.Spec.A[0] != e.Address {
		t.Errorf("record: %+v", rec)
	}
	_, err := r.Get(ctx, itOps, rec.Key())
	want(t, err, fault.NotFound, "there is no RecordSet")
	err = r.Delete(ctx, otOps, rec.Key(), "")
	want(t, err, fault.Conflict, "made by the endpoint")
}
