package control

import (
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestWhatDeleteRefuses(t *testing.T) {
	r := plant(t)
	r.join(JoinAgent, "it/it-cloud/gw")
	r.join(JoinRelay, "relay-1")
	zone := noun[*resource.Zone](resource.KindZone, "xx/z")
	zone.Spec.Networks = []string{"lab"}
	rec := noun[*resource.RecordSet](resource.KindRecordSet, "xx/z/a")
	rec.Spec.TXT = []string{"x"}
	r.apply(xxOps, zone, rec)
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	for _, tc := range []struct {
		who   Principal
		kind  resource.Kind
		path  string
		fault fault.Kind
		words string
	}{
		{otRead, resource.KindNetwork, "ot/plant-7", fault.Denied, "reader"},
		{otOps, resource.KindTenant, "ot", fault.Denied, "may not delete a Tenant"},
		{otOps, resource.KindRelay, "relay-1", fault.NotFound, "there is no Relay relay-1"},
		{admin, resource.KindTenant, "ot", fault.Conflict, "2 of kind Network"},
		{otOps, resource.KindNetwork, "ot/plant-7", fault.Conflict, "1 of kind PrivateEndpoint, such as ot/plant-7/hub"},
		{otOps, resource.KindNetwork, "ot/ot-cloud", fault.Conflict, "2 of kind Service"},
		{itOps, resource.KindNetwork, "it/it-cloud", fault.Conflict, "1 of kind Agent"},
		{xxOps, resource.KindNetwork, "xx/lab", fault.Conflict, "Zone xx/z is linked"},
		{xxOps, resource.KindZone, "xx/z", fault.Conflict, "1 of kind RecordSet"},
		{otOps, resource.KindService, "ot/ot-cloud/contoso", fault.Conflict, "PrivateEndpoint ot/plant-7/hub is connected to it (Approved)"},
		{otOps, resource.KindService, "ot/ot-cloud/none", fault.NotFound, "there is no Service"},
	} {
		err := r.Delete(ctx, tc.who, key(t, tc.kind, tc.path), "")
		want(t, err, tc.fault, tc.words)
		if fault.Next(err) == "" {
			t.Errorf("no advice with %v", err)
		}
	}
}

func TestATenantGoesPieceByPiece(t *testing.T) {
	r := plant(t)
	secret, _, err := r.CreateToken(ctx, admin, TokenRequest{Name: "ci", Tenant: "it", Role: RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	old, err := r.CreateJoinToken(ctx, itOps, JoinTokenRequest{For: JoinAgent, Tenant: "it", Network: "it-cloud"})
	if err != nil {
		t.Fatal(err)
	}
	r.join(JoinAgent, "it/it-cloud/gw")
	r.apply(itOps, endpointTo("it/it-cloud/e", "ot/ot-cloud/contoso"))
	for _, step := range []struct {
		kind resource.Kind
		path string
	}{
		{resource.KindPrivateEndpoint, "it/it-cloud/e"}, {resource.KindAgent, "it/it-cloud/gw"}, {resource.KindNetwork, "it/it-cloud"}, {resource.KindTenant, "it"},
	} {
		if err := r.Delete(ctx, admin, key(t, step.kind, step.path), "closing"); err != nil {
			t.Fatal(err)
		}
	}
	// A namesake does not inherit keys to the house.
	r.apply(admin, tenant("it"))
	r.apply(admin, network("it/it-cloud", "10.7.0.0/24"))
	_, err = r.Authenticate(ctx, secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	_, err = r.Enrol(ctx, EnrolRequest{Secret: old.Secret, CSR: newCSR(t)})
	want(t, err, fault.Unauthenticated, "not known")
	if err := r.VerifyAudit(ctx, admin); err != nil {
		t.Error(err)
	}
	withdrawn, err := r.Audit(ctx, otOps, AuditFilter{Path: "it/it-cloud/e", Last: true, Limit: 1})
	if err != nil || len(withdrawn) != 1 || withdrawn[0].Operation != "withdraw" || withdrawn[0].Why != "closing" {
		t.Errorf("the provider was told %+v, %v", withdrawn, err)
	}
}

func TestAServiceGoesWhenNobodyIsConnected(t *testing.T) {
	r := plant(t)
	r.apply(itOps, endpointTo("it/it-cloud/e", "ot/ot-cloud/contoso"))
	r.apply(otOps, endpointTo("ot/plant-7/e", "ot/ot-cloud/contoso"))
	svc := key(t, resource.KindService, "ot/ot-cloud/contoso")
	want(t, r.Delete(ctx, otOps, svc, ""), fault.Conflict, "(Pending)")
	for path, d := range map[string]resource.Decision{"it/it-cloud/e": resource.Reject, "ot/plant-7/e": resource.Remove} {
		if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, path), d, "closing"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Delete(ctx, otOps, svc, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"it/it-cloud/e", "ot/plant-7/e"} {
		if c := r.endpoint(path).Status.Connection; c.State != resource.Disconnected {
			t.Errorf("%s: %+v", path, c)
		}
	}
	_, err := r.Decide(ctx, admin, key(t, resource.KindPrivateEndpoint, "it/it-cloud/e"), resource.Approve, "")
	want(t, err, fault.Conflict, "final")
	r.restart()
	if err := r.Delete(ctx, itOps, key(t, resource.KindPrivateEndpoint, "it/it-cloud/e"), ""); err != nil {
		t.Error(err)
	}
	// A new service of the same name is another service.
	r.apply(otOps, hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net"))
	_, err = r.Apply(ctx, otOps, []resource.Object{func() resource.Object {
		e := endpointTo("ot/plant-7/e", "ot/ot-cloud/contoso")
		e.Spec.RequestMessage = "again"
		return e
	}()}, ApplyOptions{})
	if err != nil {
		t.Error(err)
	}
	if c := r.endpoint("ot/plant-7/e").Status.Connection; c.State != resource.Disconnected {
		t.Errorf("Disconnected is not final: %+v", c)
	}
}
