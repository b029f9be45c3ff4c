package control

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

func joinPlant(r *rig, name string) JoinToken {
	r.t.Helper()
	tok, err := r.CreateJoinToken(ctx, otOps, JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7", Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return tok
}

func certificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		t.Fatalf("no PEM: %q", text)
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEnrolment(t *testing.T) {
	r := plant(t)
	tok := joinPlant(r, "gw")
	text, err := jointoken.Parse(tok.Secret)
	if err != nil || text.Addresses[0] != "relay.test:443" || text.Pin != jointoken.Pin(r.authz.Certificate()) || text.TrustDomain != "isthmus.test" {
		t.Fatalf("%+v, %v", text, err)
	}
	if !tok.Expires.Equal(r.clk.Now().Add(time.Hour)) {
		t.Errorf("expires %s", tok.Expires)
	}
	reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t), Version: "1.0", Direct: "gw.test:7000", Now: r.clk.Now()})
	if err != nil {
		t.Fatal(err)
	}
	a, ok := reply.ID.Agent()
	if !ok || a.Tenant != "ot" || a.Network != "plant-7" || !strings.HasPrefix(a.Name, "gw.") || reply.Name != "gw" || reply.Plan.Self.ID != string(reply.ID) {
		t.Errorf("%+v", reply)
	}
	c := certificate(t, reply.Certificate)
	if id, err := identity.FromCertificate(c); err != nil || id != reply.ID || !c.NotAfter.Equal(r.clk.Now().Add(7*24*time.Hour)) || !reply.Expires.Equal(c.NotAfter) {
		t.Errorf("certificate of %s until %s, %v", id, c.NotAfter, err)
	}
	if err := c.CheckSignatureFrom(certificate(t, reply.Roots)); err != nil {
		t.Error(err)
	}
	st := r.get(otOps, resource.KindAgent, "ot/plant-7/gw").(*resource.Agent)
	if st.Spec.Role != resource.RoleAgent || st.Status.Version != "1.0" || st.Status.DirectAddress != "gw.test:7000" || !st.Status.CertificateEnd.Equal(c.NotAfter) {
		t.Errorf("%+v", st)
	}
	recs, err := r.Audit(ctx, otOps, AuditFilter{Last: true, Limit: 2})
	if err != nil || recs[0].Kind != "JoinToken" || recs[1].Operation != "enrol" || recs[1].Who != "join token "+tok.ID+" made by olga of ot" {
		t.Errorf("%+v, %v", recs, err)
	}
	for _, rec := range recs {
		if strings.Contains(string(rec.After)+rec.Why+rec.Who, text.Secret) {
			t.Errorf("the secret is in %+v", rec)
		}
	}
	r.clk.Advance(48 * time.Hour)
	renewed, err := r.Renew(ctx, reply.ID, newCSR(t))
	if err != nil {
		t.Fatal(err)
	}
	if c2 := certificate(t, renewed.Certificate); !c2.NotAfter.Equal(c.NotAfter.Add(48*time.Hour)) || c2.URIs[0].String() != string(reply.ID) {
		t.Errorf("renewed until %s as %s", c2.NotAfter, c2.URIs[0])
	}
}

func TestJoinTokensThatAreNoGood(t *testing.T) {
	r := plant(t)
	other := plant(t)
	named, used, old, fresh := joinPlant(r, "gw-7"), joinPlant(r, ""), joinPlant(r, ""), joinPlant(r, "")
	used2 := newCSR(t)
	if _, err := r.Enrol(ctx, EnrolRequest{Secret: used.Secret, CSR: used2, Name: "gw"}); err != nil {
		t.Fatal(err)
	}
	now := r.clk.Now()
	for name, tc := range map[string]struct {
		req   EnrolRequest
		kind  fault.Kind
		words string
		next  string
	}{
		"no token":           {EnrolRequest{Secret: "hello"}, fault.Invalid, "", "token"},
		"another server's":   {EnrolRequest{Secret: joinPlant(other, "").Secret}, fault.Unauthenticated, "not known here", "isthmus token join"},
		"used by another":    {EnrolRequest{Secret: used.Secret}, fault.Conflict, "was used at " + now.Format(time.RFC3339) + " by spiffe://isthmus.test/tenant/ot/network/plant-7/agent/gw.", "isthmus token join --for agent --network ot/plant-7"},
		"another name":       {EnrolRequest{Secret: named.Secret, Name: "gw-8"}, fault.Denied, `is for "gw-7", not for "gw-8"`, "join as gw-7"},
		"a taken name":       {EnrolRequest{Secret: fresh.Secret, Name: "gw"}, fault.Conflict, "Agent ot/plant-7/gw joined already", "isthmus delete agent ot/plant-7/gw"},
		"no name":            {EnrolRequest{Secret: fresh.Secret, Name: "GW"}, fault.Invalid, "not a name", "a-z"},
		"no request":         {EnrolRequest{Secret: fresh.Secret, CSR: "x"}, fault.Invalid, "no PEM", ""},
		"a clock behind":     {EnrolRequest{Secret: fresh.Secret, Now: now.Add(-5 * time.Minute)}, fault.Invalid, "clock is 5m0s behind the server's (2026-11-22T02:55:", "NTP"},
		"a clock ahead":      {EnrolRequest{Secret: fresh.Secret, Now: now.Add(121 * time.Second)}, fault.Invalid, "clock is 2m1s ahead of", "still good"},
		"a direct of no use": {EnrolRequest{Secret: fresh.Secret, Direct: "here"}, fault.Invalid, "is not host:port", "write"},
	} {
		if tc.req.CSR == "" {
			tc.req.CSR = newCSR(t)
		}
		_, err := r.Enrol(ctx, tc.req)
		if fault.KindOf(err) != tc.kind || !strings.Contains(fault.Message(err), tc.words) || !strings.Contains(fault.Next(err), tc.next) {
			t.Errorf("%s: %v\nnext: %s", name, err, fault.Next(err))
		}
		if parsed, perr := jointoken.Parse(tc.req.Secret); perr == nil && err != nil && strings.Contains(err.Error(), parsed.Secret) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
	// None of this used a token up; and two minutes are no offence.
	if _, err := r.Enrol(ctx, EnrolRequest{Secret: fresh.Secret, CSR: newCSR(t), Now: now.Add(-2 * time.Minute)}); err != nil {
		t.Error(err)
	}
	// The reply may have been lost: the same key may ask again for a while, another never.
	if again, err := r.Enrol(ctx, EnrolRequest{Secret: used.Secret, CSR: used2}); err != nil || again.Name != "gw" {
		t.Errorf("asking again: %+v, %v", again, err)
	}
	r.clk.Advance(time.Hour + time.Second)
	_, err := r.Enrol(ctx, EnrolRequest{Secret: used.Secret, CSR: used2})
	want(t, err, fault.Conflict, "was used at")
	_, err = r.Enrol(ctx, EnrolRequest{Secret: old.Secret, CSR: newCSR(t)})
	want(t, err, fault.Expired, "expired at "+old.Expires.Format(time.RFC3339))
	if !strings.Contains(fault.Next(err), "isthmus token join --for agent --network ot/plant-7") {
		t.Errorf("next: %s", fault.Next(err))
	}
}

func TestWhichJoinTokensAreMade(t *testing.T) {
	r := plant(t)
	for name, tc := range map[string]struct {
		who  Principal
		req  JoinTokenRequest
		kind fault.Kind
	}{
		"a reader":          {otRead, JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7"}, fault.Denied},
		"another tenant":    {otOps, JoinTokenRequest{For: JoinAgent, Tenant: "it", Network: "it-cloud"}, fault.NotFound},
		"no network":        {otOps, JoinTokenRequest{For: JoinHub, Tenant: "ot", Network: "none"}, fault.NotFound},
		"network left out":  {otOps, JoinTokenRequest{For: JoinHub, Tenant: "ot"}, fault.Invalid},
		"relay by operator": {otOps, JoinTokenRequest{For: JoinRelay}, fault.Denied},
		"relay of a tenant": {admin, JoinTokenRequest{For: JoinRelay, Tenant: "ot"}, fault.Invalid},
		"nobody":            {admin, JoinTokenRequest{For: "cat"}, fault.Invalid},
		"31 days":           {admin, JoinTokenRequest{For: JoinRelay, TTL: 31 * 24 * time.Hour}, fault.Invalid},
		"no time":           {admin, JoinTokenRequest{For: JoinRelay, TTL: -1}, fault.Invalid},
		"a bad name":        {admin, JoinTokenRequest{For: JoinRelay, Name: "R"}, fault.Invalid},
	} {
		tok, err := r.CreateJoinToken(ctx, tc.who, tc.req)
		if fault.KindOf(err) != tc.kind || tok.Secret != "" || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	tok, err := r.CreateJoinToken(ctx, admin, JoinTokenRequest{For: JoinRelay, TTL: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	want(t, err, fault.Invalid, "joins with the address")
	reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t), Address: "relay.example.net:443"})
	if err != nil || !strings.HasPrefix(reply.Name, "relay-") {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, err := r.Renew(ctx, reply.ID, newCSR(t)); err != nil {
		t.Error(err)
	}
	mute, err := New(Config{}, r.st, r.authz, slog.New(slog.DiscardHandler), r.clk, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = mute.CreateJoinToken(ctx, admin, JoinTokenRequest{For: JoinRelay})
	want(t, err, fault.Precondition, "at which address")
	_, err = New(Config{TrustDomain: "other.test"}, r.st, r.authz, slog.New(slog.DiscardHandler), r.clk, nil)
	want(t, err, fault.Invalid, "trust domain")
}

func TestServingCertificates(t *testing.T) {
	r := plant(t)
	hub, other, gw := r.join(JoinHub, "ot/ot-cloud/hub-1"), r.join(JoinHub, "ot/ot-cloud/hub-2"), r.join(JoinAgent, "ot/ot-cloud/gw")
	private := func(s *resource.ServiceSpec) { s.PrivateLinkCertificate = true }
	r.apply(otOps,
		hubService("ot/ot-cloud/a", "a.azure-devices.net", servedBy("hub-1")),
		hubService("ot/ot-cloud/b", "b.azure-devices.net", servedBy("hub-1"), private),
		hubService("ot/ot-cloud/c", "c.azure-devices.net", servedBy("gw-9")))
	for _, tc := range []struct {
		id    identity.ID
		hosts []string
		want  string // the names, or a part of the refusal
	}{
		{hub, nil, "a.azure-devices.net b.azure-devices.net b.privatelink.azure-devices.net"},
		{hub, []string{"b.azure-devices.net"}, "b.azure-devices.net"},
		{hub, []string{"a.privatelink.azure-devices.net"}, `serves no service with the name "a.privatelink.azure-devices.net"`},
		{hub, []string{"a.azure-devices.net", "c.azure-devices.net"}, `serves no service with the name "c.azure-devices.net"`},
		{hub, []string{"*.azure-devices.net"}, "serves no service"},
		{other, nil, "serves no service"},
		{gw, []string{"a.azure-devices.net"}, "serves no service"},
		{"spiffe://isthmus.test/tenant/ot/network/ot-cloud/agent/hub-1", nil, "never joined"},
	} {
		reply, err := r.ServingCertificate(ctx, tc.id, newCSR(t), tc.hosts)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Denied && k != fault.Unauthenticated || !strings.Contains(fault.Message(err), tc.want) {
				t.Errorf("%s %q: %v", tc.id, tc.hosts, err)
			}
			continue
		}
		c := certificate(t, reply.Certificate)
		if got := strings.Join(c.DNSNames, " "); got != tc.want || len(c.URIs) != 0 || !c.NotAfter.Equal(r.clk.Now().Add(90*24*time.Hour)) {
			t.Errorf("%s %q: %q %v until %s", tc.id, tc.hosts, got, c.URIs, c.NotAfter)
		}
	}
}
