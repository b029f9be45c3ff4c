package control

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// The names of a service are answered in the networks of those who connected to it. A provider that could change them afterwards would
// answer any name there, and a served one with a certificate of the deployment too.
func TestNamesStayWhileAnotherTenantIsConnected(t *testing.T) {
	host := func(s *resource.ServiceSpec) { s.HostName = "erp.factory.example" }
	more := func(s *resource.ServiceSpec) { s.AdditionalHostNames = []string{"fabrikam.azure-devices.net"} }
	typ := func(s *resource.ServiceSpec) { s.Type = resource.TypeBlob }
	change := func(r *rig, f func(*resource.ServiceSpec)) error {
		_, err := r.Apply(ctx, otOps, []resource.Object{hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", visibleTo("it"), f)}, ApplyOptions{})
		return err
	}
	for name, f := range map[string]func(*resource.ServiceSpec){"the name": host, "more names": more, "the type": typ} {
		for _, d := range []resource.Decision{"", resource.Approve, resource.Reject} {
			r := plant(t)
			r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
			if d != "" {
				if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, "it/it-cloud/hub"), d, "test"); err != nil {
					t.Fatal(err)
				}
			}
			want(t, change(r, f), fault.Conflict, "it/it-cloud/hub of another tenant leads to it")
			if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, "it/it-cloud/hub"), resource.Remove, "over"); err != nil {
				t.Fatal(err)
			}
			if err := change(r, f); err != nil {
				t.Errorf("%s, when it is over: %v", name, err)
			}
		}
		r := plant(t)
		r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
		if err := change(r, f); err != nil {
			t.Errorf("%s, with an endpoint of one's own: %v", name, err)
		}
	}
	r := plant(t)
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
	if err := change(r, func(s *resource.ServiceSpec) { s.Target = "192.0.2.2" }); err != nil {
		t.Errorf("where it is served is the provider's own affair: %v", err)
	}
}

// The deployment's authority must not certify for one tenant what another one, or the deployment itself, is called.
func TestNamesThatAreNotOnesOwnAreNotServed(t *testing.T) {
	withLink := func(s *resource.ServiceSpec) { s.PrivateLinkCertificate = true }
	tcp := func(s *resource.ServiceSpec) {
		s.Type, s.Ports = resource.TypeTCP, []resource.ServicePort{{Port: 443}}
	}
	try := func(r *rig, host string, with ...func(*resource.ServiceSpec)) error {
		_, err := r.Apply(ctx, itOps, []resource.Object{hubService("it/it-cloud/fake", host, append(with, servedBy("hub-x"))...)}, ApplyOptions{})
		return err
	}
	r := plant(t)
	r.join(JoinRelay, "relay-9")
	r.apply(otOps, hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-1"), withLink))
	for name, tc := range map[string]struct {
		host string
		with func(*resource.ServiceSpec)
	}{
		"a name another tenant serves":           {"served.azure-devices.net", visibleTo()},
		"a name that leads to Azure":             {"private.azure-devices.net", visibleTo()},
		"the privatelink name of another tenant": {"served.privatelink.azure-devices.net", tcp},
		"the control plane's":                    {"relay.test", tcp},
		"a relay's":                              {"relay-9.test", tcp},
		"what tokens for all event hubs are for": {"eventhubs.azure.net", visibleTo()},
		"what those for all hubs are for":        {"iothubs.azure.net", tcp},
	} {
		err := try(r, tc.host, tc.with)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), "the host name "+tc.host+" is taken in this deployment") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try(r, "own.azure-devices.net", withLink); err != nil {
		t.Errorf("a name of one's own: %v", err)
	}
	id := r.join(JoinHub, "it/it-cloud/hub-x")
	for _, host := range []string{"served.azure-devices.net", "relay.test", "*.azure-devices.net", "azure-devices.net", ""} {
		_, err := r.ServingCertificate(ctx, id, newCSR(t), []string{host})
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("a certificate for %q: %v", host, err)
		}
	}
}

// A request for a certificate is taken for its key only.
func TestNothingButTheKeyOfARequestCounts(t *testing.T) {
	r := plant(t)
	r.apply(otOps, hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-1")))
	id := r.join(JoinHub, "ot/ot-cloud/hub-1")
	k, _, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	greedy, err := identity.NewRequest(k, identity.ControlID("isthmus.test"), "served.azure-devices.net", "relay.test", "*.azure-devices.net")
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := r.Renew(ctx, id, string(greedy))
	if err != nil {
		t.Fatal(err)
	}
	c := certificate(t, renewed.Certificate)
	if len(c.URIs) != 1 || c.URIs[0].String() != string(id) || len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) != 0 || c.IsCA {
		t.Errorf("identity: %v %v, authority %v", c.URIs, c.DNSNames, c.IsCA)
	}
	serving, err := r.ServingCertificate(ctx, id, string(greedy), nil)
	if err != nil {
		t.Fatal(err)
	}
	c = certificate(t, serving.Certificate)
	if len(c.URIs) != 0 || len(c.DNSNames) != 1 || c.DNSNames[0] != "served.azure-devices.net" || len(c.ExtKeyUsage) != 1 || c.IsCA {
		t.Errorf("serving: %v %v %v, authority %v", c.URIs, c.DNSNames, c.ExtKeyUsage, c.IsCA)
	}
}

// People's TLS to the control plane passes through the relay, often under the relay's own name. With a certificate for that name the
// relay's machine could end it.
func TestARelayHasNoCertificateForAName(t *testing.T) {
	r := plant(t)
	tok, err := r.CreateJoinToken(ctx, admin, JoinTokenRequest{For: JoinRelay})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, Name: "relay-1", CSR: newCSR(t), Address: "relay.test:443"})
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := r.Renew(ctx, reply.ID, newCSR(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{reply.Certificate, renewed.Certificate} {
		if c := certificate(t, text); len(c.DNSNames)+len(c.IPAddresses) != 0 || c.Subject.CommonName != "" {
			t.Errorf("the relay may call itself %v %v %q", c.DNSNames, c.IPAddresses, c.Subject.CommonName)
		}
	}
}

// Whoever held a link key and is sent away must not be able to make PROXY headers any more.
func TestLinkKeysChangeWithWhoHoldsThem(t *testing.T) {
	r := plant(t)
	r.apply(otOps, hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-1"), autoApprove("ot")))
	r.apply(otOps, endpointTo("ot/plant-7/served", "ot/ot-cloud/served"))
	r.join(JoinHub, "ot/ot-cloud/hub-1")
	hub2 := r.join(JoinHub, "ot/ot-cloud/hub-2")
	r.join(JoinAgent, "ot/ot-cloud/p-1")
	p2, gw := r.join(JoinAgent, "ot/ot-cloud/p-2"), r.join(JoinAgent, "ot/plant-7/gw")
	key1 := linkKey(t, r, p2)
	step := func(name string, act func() error) {
		t.Helper()
		if err := act(); err != nil {
			t.Fatal(err)
		}
		key2 := linkKey(t, r, p2)
		if bytes.Equal(key1, key2) || len(key2) != 32 {
			t.Errorf("%s: the key stays", name)
		}
		key1 = key2
	}
	step("an agent is deleted", func() error { return r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/ot-cloud/p-1"), "") })
	step("another hub serves", func() error {
		_, err := r.Apply(ctx, otOps, []resource.Object{
			hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-2"), autoApprove("ot"))}, ApplyOptions{})
		return err
	})
	p, err := r.plan("test", hub2)
	if err != nil || len(p.Hubs) != 1 || !bytes.Equal(p.Hubs[0].LinkKey, key1) {
		t.Errorf("the hub has another key than the agents: %+v, %v", p.Hubs, err)
	}
	step("the hub is deleted", func() error { return r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/ot-cloud/hub-2"), "") })
	if err := r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/plant-7/gw"), ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key1, linkKey(t, r, p2)) {
		t.Errorf("the key changes with %s, which never had it", gw)
	}
	r.restart()
	if !bytes.Equal(key1, linkKey(t, r, p2)) {
		t.Error("the new key was not kept")
	}
}

func linkKey(t *testing.T, r *rig, agent identity.ID) []byte {
	t.Helper()
	p, err := r.plan("test", agent)
	if err != nil || len(p.Services) != 1 {
		t.Fatalf("%+v, %v", p.Services, err)
	}
	return p.Services[0].LinkKey
}

// A plan holds what its member needs for its own work and nothing of anybody else's.
func TestPlansTellNobodyMoreThanHeNeeds(t *testing.T) {
	r := plant(t)
	r.apply(otOps,
		hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-1"), visibleTo("it")),
		hubService("ot/ot-cloud/alone", "alone.azure-devices.net", servedBy("hub-2")))
	r.apply(otOps, endpointTo("ot/plant-7/a", "ot/ot-cloud/alone"))
	r.apply(itOps, endpointTo("it/it-cloud/a", "ot/ot-cloud/served"))
	ids := map[string]identity.ID{
		"provider": r.join(JoinAgent, "ot/ot-cloud/p"), "hub": r.join(JoinHub, "ot/ot-cloud/hub-1"), "consumer": r.join(JoinAgent, "it/it-cloud/gw"),
		"stranger": r.join(JoinAgent, "xx/lab/gw"), "relay": r.join(JoinRelay, "relay-1"), "neighbour": r.join(JoinAgent, "ot/plant-7/gw"),
	}
	of := func(who string) plan.Plan {
		p, err := r.plan("test", ids[who])
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := of("consumer"); len(p.Endpoints) != 1 || p.Endpoints[0].Providers != nil || p.Names != nil {
		t.Errorf("a pending endpoint tells of its provider: %+v", p)
	}
	if p := of("provider"); len(p.Services) != 0 {
		t.Errorf("keys of services nobody may reach: %+v", p.Services)
	}
	for _, e := range []string{"ot/plant-7/a", "it/it-cloud/a"} {
		if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, e), resource.Approve, ""); err != nil {
			t.Fatal(err)
		}
	}
	for who := range ids {
		p := of(who)
		keys := 0
		for _, s := range p.Services {
			keys += min(len(s.LinkKey), 1)
		}
		for _, h := range p.Hubs {
			keys += min(len(h.LinkKey), 1)
		}
		if want := map[string]int{"provider": 2, "hub": 1}[who]; keys != want {
			t.Errorf("%s has %d link keys, not %d", who, keys, want)
		}
		if who == "stranger" || who == "relay" {
			if len(p.Endpoints)+len(p.Services)+len(p.Names)+len(p.Hubs) != 0 {
				t.Errorf("%s: %+v", who, p)
			}
		}
	}
	for _, s := range of("consumer").Endpoints {
		if s.Name != "it/it-cloud/a" || len(s.Providers) != 1 {
			t.Errorf("consumer: %+v", s)
		}
	}
}

// What an operator of one tenant may not do to another, nor to the deployment.
func TestAnOperatorStaysInItsTenant(t *testing.T) {
	r := plant(t)
	r.join(JoinRelay, "relay-1")
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	join := joinPlant(r, "")
	_, tok, err := r.CreateToken(ctx, otOps, TokenRequest{Name: "robot", Tenant: "ot", Role: RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		kind fault.Kind
		try  func(p Principal) error
	}{
		"a token of another tenant": {fault.NotFound, func(p Principal) error {
			_, _, err := r.CreateToken(ctx, p, TokenRequest{Name: "x", Tenant: "ot", Role: RoleReader})
			return err
		}},
		"a token of a tenant that is not there": {fault.NotFound, func(p Principal) error {
			_, _, err := r.CreateToken(ctx, p, TokenRequest{Name: "x", Tenant: "zz", Role: RoleReader})
			return err
		}},
		"a reader of everything": {fault.Denied, func(p Principal) error {
			_, _, err := r.CreateToken(ctx, p, TokenRequest{Name: "x", Role: RoleReader})
			return err
		}},
		"an administrator": {fault.Denied, func(p Principal) error {
			_, _, err := r.CreateToken(ctx, p, TokenRequest{Name: "x", Role: RoleAdmin})
			return err
		}},
		"revoking another's token": {fault.NotFound, func(p Principal) error { return r.RevokeToken(ctx, p, tok.ID) }},
		"a join token elsewhere": {fault.NotFound, func(p Principal) error {
			_, err := r.CreateJoinToken(ctx, p, JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7"})
			return err
		}},
		"a relay's join token": {fault.Denied, func(p Principal) error {
			_, err := r.CreateJoinToken(ctx, p, JoinTokenRequest{For: JoinRelay})
			return err
		}},
		"revoking another's join token": {fault.NotFound, func(p Principal) error { return r.RevokeJoinToken(ctx, p, join.ID, "") }},
		"a tenant": {fault.NotFound, func(p Principal) error {
			_, err := r.Apply(ctx, p, []resource.Object{tenant("new")}, ApplyOptions{})
			return err
		}},
		"an agent": {fault.NotFound, func(p Principal) error { return r.Delete(ctx, p, key(t, resource.KindAgent, "ot/plant-7/gw"), "") }},
		"a relay":  {fault.NotFound, func(p Principal) error { return r.Delete(ctx, p, key(t, resource.KindRelay, "relay-1"), "") }},
		"audit": {fault.NotFound, func(p Principal) error {
			_, err := r.Audit(ctx, p, AuditFilter{Tenant: "ot"})
			return err
		}},
	} {
		if err := tc.try(itOps); fault.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, not %s", name, err, tc.kind)
		}
		reader := Principal{Name: "r", Tenant: "it", Role: RoleReader}
		if err := tc.try(reader); err == nil {
			t.Errorf("a reader: %s", name)
		}
	}
	recs, err := r.Audit(ctx, itOps, AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if rec.Tenant != "it" {
			t.Errorf("the deployment's own records are for its own: %+v", rec)
		}
	}
	if list, err := r.ListTokens(ctx, itOps); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := r.Renew(ctx, gw, newCSR(t)); err != nil {
		t.Errorf("the agent is harmed: %v", err)
	}
}

// A stranger with a token of his own invention must not hold up those who write.
func TestAStrangerWaitsForNoWriter(t *testing.T) {
	r := plant(t)
	tok, err := jointoken.Parse(joinPlant(r, "").Secret)
	if err != nil {
		t.Fatal(err)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	for _, tc := range []struct{ id, secret string }{{tok.ID, strings.Repeat("a", 52)}, {"aaaaaaaaaaaa", tok.Secret}} {
		tok.ID, tok.Secret = tc.id, tc.secret
		text, err := tok.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Enrol(ctx, EnrolRequest{Secret: text, CSR: newCSR(t)})
		want(t, err, fault.Unauthenticated, "not known here")
	}
}

// One member cannot take all the streams there are.
func TestAMemberFollowsItsPlanAFewTimesOnly(t *testing.T) {
	r := plant(t)
	id := r.join(JoinAgent, "ot/plant-7/gw")
	ctx, cancel := context.WithCancel(ctx)
	came, ended := make(chan struct{}), make(chan error)
	for range maxWatches {
		go func() {
			ended <- r.WatchPlan(ctx, id, func(plan.Plan) error { came <- struct{}{}; return nil })
		}()
		<-came
	}
	err := r.WatchPlan(ctx, id, func(plan.Plan) error { return errors.New("came in") })
	want(t, err, fault.Unavailable, "follows its plan 16 times already")
	cancel()
	for range maxWatches {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	err = r.WatchPlan(t.Context(), id, func(plan.Plan) error { return errEnough })
	if !errors.Is(err, errEnough) {
		t.Errorf("after they ended: %v", err)
	}
}

var errEnough = errors.New("enough")
