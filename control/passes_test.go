package control

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestAPassIsForWhoHasAGrant(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.Socks, p.MaxMinutes = true, 600 })
	relay := s.join(JoinRelay, "eu-1")
	req := PassRequest{CSR: newCSR(t)}
	_, err := s.Pass(ctx, s.alice, req)
	want(t, err, fault.Denied, "has no grant in force")
	g := s.ask(s.alice, pressSSH)
	_, err = s.Pass(ctx, s.alice, req)
	want(t, err, fault.Denied, "it waits for approval")
	s.decide(s.erin, g.ID, ApproveGrant)
	p, err := s.Pass(ctx, s.alice, req)
	if err != nil {
		t.Fatal(err)
	}
	leaf := certificate(t, p.Certificate)
	id, err := identity.FromCertificate(leaf)
	who, ok := id.Person()
	if err != nil || !ok || who.Name != s.alice.Person || who.Tenant != "ot" || who.Pass == "" || who.TrustDomain != "isthmus.test" {
		t.Errorf("the pass is of %s, %v", id, err)
	}
	if now := s.clk.Now(); leaf.NotAfter.After(now.Add(time.Hour)) || !p.Expires.Equal(leaf.NotAfter) {
		t.Errorf("the pass ends at %s, its certificate at %s", p.Expires, leaf.NotAfter)
	}
	if len(p.Relays) != 1 || p.Relays[0].ID != string(relay) || len(p.Grants) != 1 {
		t.Fatalf("%+v", p)
	}
	pg := p.Grants[0]
	if pg.ID != g.ID || pg.Target != pressSSH || pg.Address != "127.0.0.1:22" || !pg.Socks || pg.Recorded || !strings.HasPrefix(pg.HostCA, "ssh-ed25519 ") ||
		!slices.Equal(pg.Providers, []plan.Peer{{ID: string(s.press)}}) {
		t.Errorf("%+v", pg)
	}
	// People of another tenant are not told where it leads.
	i := s.let(s.ivy, pressSSH)
	p, err = s.Pass(ctx, s.ivy, PassRequest{CSR: newCSR(t)})
	if err != nil || len(p.Grants) != 1 || p.Grants[0].ID != i.ID || p.Grants[0].Address != "" || p.Grants[0].HostCA == "" {
		t.Errorf("%+v, %v", p, err)
	}
	// A pass for what is another's is none.
	_, err = s.Pass(ctx, s.ivy, PassRequest{CSR: newCSR(t), Grants: []string{g.ID}})
	want(t, err, fault.Denied, "has no grant in force")
	// A program gets none.
	_, err = s.Pass(ctx, admin, req)
	want(t, err, fault.Denied, "is a program")
	// Nor does somebody whose grant was taken back, whose target is disabled, or whose grant begins tomorrow.
	s.decide(s.alice, g.ID, RevokeGrant)
	_, err = s.Pass(ctx, s.alice, req)
	want(t, err, fault.Denied, "it is Revoked by alice@example.net of ot: decided in a test")
	s.let(s.alice, pressPLC)
	s.apply(otOps, target(pressPLC, "press-4", "192.168.0.10:502", func(s *resource.TargetSpec) { s.State = resource.TargetDisabled }))
	_, err = s.Pass(ctx, s.alice, req)
	want(t, err, fault.Denied, "its target is disabled")
	tomorrow := s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.From = s.clk.Now().Add(24 * time.Hour) })
	s.decide(s.erin, tomorrow.ID, ApproveGrant)
	_, err = s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t), Grants: []string{tomorrow.ID}})
	want(t, err, fault.Denied, "it begins at")
	s.clk.Advance(23*time.Hour + 30*time.Minute)
	if p, err = s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t)}); err != nil || len(p.Grants) != 1 {
		t.Errorf("half an hour before it begins: %+v, %v", p, err)
	}
	_, err = s.Pass(ctx, s.alice, PassRequest{CSR: "no request"})
	want_(t, err, fault.Invalid, "certificate request")
}

func TestAPassLastsNoLongerThanGrants(t *testing.T) {
	s := newSite(t)
	g := s.decide(s.erin, s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.For = 10 * time.Minute }).ID, ApproveGrant)
	p, err := s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t)})
	if err != nil || !p.Expires.Equal(g.Until) {
		t.Errorf("%s, the grant ends at %s, %v", p.Expires, g.Until, err)
	}
	hasty := 0
	for range 10 * passBurst {
		if _, err := s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t)}); err != nil {
			want(t, err, fault.Exhausted, "too often")
			hasty++
			break
		}
	}
	if hasty == 0 {
		t.Error("nobody minds a thousand passes")
	}
}

func TestWorkingHoursHoldForPasses(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.Standing = true })
	g := s.ask(s.alice, pressSSH, func(r *GrantRequest) { // 22 November 2026 is a Sunday
		r.Kind, r.For, r.Hours = grant.Standing, 0, &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "12:00", TimeZone: "UTC"}
	})
	s.decide(s.erin, g.ID, ApproveGrant)
	_, err := s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t)})
	want(t, err, fault.Denied, "its working hours begin at 2026-11-23T08:00:00Z")
	s.clk.Advance(time.Date(2026, 11, 23, 11, 30, 0, 0, time.UTC).Sub(s.clk.Now()))
	if _, err := s.Pass(ctx, s.alice, PassRequest{CSR: newCSR(t)}); err != nil {
		t.Error(err)
	}
	c, err := s.SSHCertificate(ctx, s.alice, SSHCertificateRequest{Grant: g.ID, PublicKey: somebodysKey(t), Login: "service"})
	if err != nil || !c.Expires.Equal(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", c, err)
	}
}

func somebodysKey(t testing.TB) string {
	t.Helper()
	public, _, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func readCertificate(t testing.TB, line string) *ssh.Certificate {
	t.Helper()
	_, text, _ := strings.Cut(line, " ")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ssh.Certificate)
}

func TestSSHCertificates(t *testing.T) {
	s := newSite(t)
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) {
		s.VisibleTo, s.SSH = []string{"it"}, &resource.TargetSSH{Logins: []string{"service", "root"}}
	}))
	g, plc := s.let(s.alice, pressSSH), s.let(s.alice, pressPLC)
	req := SSHCertificateRequest{Grant: g.ID, PublicKey: somebodysKey(t), Login: "service"}
	c, err := s.SSHCertificate(ctx, s.alice, req)
	if err != nil {
		t.Fatal(err)
	}
	cert := readCertificate(t, c.Certificate)
	id := "alice@example.net of ot grant " + g.ID
	if cert.KeyId != id || c.KeyID != id || !slices.Equal(cert.ValidPrincipals, []string{"service", "service@press-ssh.plant-7.ot.isthmus"}) || cert.ValidBefore != uint64(g.Until.Unix()) ||
		len(cert.CriticalOptions) != 0 || len(cert.Extensions) != 1 || cert.CertType != ssh.UserCert {
		t.Errorf("%+v", cert)
	}
	if _, ok := cert.Extensions["permit-pty"]; !ok {
		t.Errorf("%v", cert.Extensions)
	}
	a, err := s.SSHAuthority(ctx, s.alice, "")
	if err != nil || a.Tenant != "ot" || sshca.Line(cert.SignatureKey) != a.Users || a.Hosts == a.Users || a.Hosts == "" {
		t.Errorf("%+v, %v", a, err)
	}
	if got := s.did("ot", kindGrant); got[len(got)-1] != "certify by alice@example.net of ot" {
		t.Errorf("%v", got)
	}
	for name, c := range map[string]struct {
		p     Principal
		with  func(*SSHCertificateRequest)
		kind  fault.Kind
		words string
	}{
		"another's grant":       {s.bob, func(*SSHCertificateRequest) {}, fault.NotFound, "there is no grant"},
		"an approver's look":    {s.erin, func(*SSHCertificateRequest) {}, fault.NotFound, "there is no grant"},
		"a program":             {admin, func(*SSHCertificateRequest) {}, fault.Denied, "is a program"},
		"another account":       {s.alice, func(r *SSHCertificateRequest) { r.Login = "oracle" }, fault.Invalid, `has no account "oracle"`},
		"an account that is no": {s.alice, func(r *SSHCertificateRequest) { r.Login = "root,oracle" }, fault.Invalid, "cannot be an account's name"},
		"an option":             {s.alice, func(r *SSHCertificateRequest) { r.Login = "-oProxyCommand=x" }, fault.Invalid, "cannot be an account's name"},
		"no SSH":                {s.alice, func(r *SSHCertificateRequest) { r.Grant = plc.ID }, fault.Invalid, "speaks tcp, not ssh"},
		"no key":                {s.alice, func(r *SSHCertificateRequest) { r.PublicKey = "key" }, fault.Invalid, "not an SSH public key"},
	} {
		r := req
		c.with(&r)
		_, err := s.SSHCertificate(ctx, c.p, r)
		t.Log(name)
		want(t, err, c.kind, c.words)
	}
	_, err = s.SSHAuthority(ctx, s.xeno, "ot")
	want(t, err, fault.NotFound, "there is no")
	_, err = s.SSHAuthority(ctx, s.xeno, "")
	want(t, err, fault.NotFound, "no SSH authority yet")
	s.clk.Advance(g.Until.Sub(s.clk.Now()))
	_, err = s.SSHCertificate(ctx, s.alice, req)
	want(t, err, fault.Denied, "it is Expired")
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.SSH = &resource.TargetSSH{PortForwarding: true} }))
	g = s.let(s.alice, pressSSH)
	c, err = s.SSHCertificate(ctx, s.alice, SSHCertificateRequest{Grant: g.ID, PublicKey: somebodysKey(t), Login: "anybody"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readCertificate(t, c.Certificate).Extensions["permit-port-forwarding"]; !ok {
		t.Error("ports may not be forwarded")
	}
}

func TestCertificatesOfMembers(t *testing.T) {
	s := newSite(t)
	drill := s.join(JoinAgent, "ot/plant-7/drill-9")
	g := s.let(s.alice, pressSSH)
	s.apply(otOps, policy("ot/default", func(p *resource.AccessPolicySpec) { p.Recording = resource.RecordingRequired }))
	req := SessionCertificateRequest{Grant: g.ID, Session: strings.Repeat("ab", 16), PublicKey: somebodysKey(t), Login: "service"}
	c, err := s.CertifySession(ctx, s.press, req)
	if err != nil || readCertificate(t, c.Certificate).KeyId != "alice@example.net of ot grant "+g.ID {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = s.CertifySession(ctx, drill, req)
	want(t, err, fault.Denied, "does not lead to the target")
	_, err = s.CertifySession(ctx, s.press, SessionCertificateRequest{Grant: "nothing", Session: req.Session, PublicKey: req.PublicKey, Login: "service"})
	want(t, err, fault.Denied, "does not lead to the target")
	req.Session = "../../etc/passwd"
	_, err = s.CertifySession(ctx, s.press, req)
	want_(t, err, fault.Invalid, "session's id")
	h, err := s.HostCertificate(ctx, s.press, somebodysKey(t))
	if err != nil {
		t.Fatal(err)
	}
	cert := readCertificate(t, h.Certificate)
	if cert.CertType != ssh.HostCert || !slices.Equal(cert.ValidPrincipals, []string{"press-ssh.plant-7.ot.isthmus"}) || sshca.Line(cert.SignatureKey) == "" {
		t.Errorf("%+v", cert)
	}
	a, err := s.SSHAuthority(ctx, admin, "ot")
	if err != nil || sshca.Line(cert.SignatureKey) != a.Hosts {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = s.HostCertificate(ctx, drill, somebodysKey(t))
	want(t, err, fault.Denied, "leads to no target")
	s.decide(s.erin, g.ID, RevokeGrant)
	req.Session = strings.Repeat("cd", 16)
	_, err = s.CertifySession(ctx, s.press, req)
	want(t, err, fault.Denied, "it is Revoked")
	if err := s.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/plant-7/press-4"), ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.HostCertificate(ctx, s.press, somebodysKey(t))
	want(t, err, fault.Unauthenticated, "was deleted")
}

func TestConnectionStringsAreForTheirPersonOnly(t *testing.T) {
	s := newSite(t)
	s.join(JoinHub, "ot/ot-cloud/hub-1")
	s.apply(otOps, hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", servedBy("hub-1")))
	tg := noun[*resource.Target](resource.KindTarget, "ot/ot-cloud/drill")
	tg.Spec.Device = &resource.TargetDevice{Service: "contoso", Device: "drill-9", Stream: "ssh"}
	s.apply(otOps, tg)
	g := s.ask(s.alice, "ot/ot-cloud/drill")
	if g.ConnectionString != "" {
		t.Error("a request has a connection string")
	}
	s.decide(s.erin, g.ID, ApproveGrant)
	v, err := s.Grant(ctx, s.alice, g.ID)
	wanted := streamkey.ConnectionString("contoso.azure-devices.net", s.world.keys[s.get(admin, resource.KindService, "ot/ot-cloud/contoso").Head().Metadata.UID], g.ID)
	if err != nil || v.ConnectionString != wanted {
		t.Errorf("%q, want %q, %v", v.ConnectionString, wanted, err)
	}
	for _, p := range []Principal{s.erin, s.odin, s.ute, admin, otOps} {
		if v, err := s.Grant(ctx, p, g.ID); err != nil || v.ConnectionString != "" {
			t.Errorf("%s is shown %q, %v", p.Name, v.ConnectionString, err)
		}
	}
	s.decide(s.alice, g.ID, RevokeGrant)
	if v, err := s.Grant(ctx, s.alice, g.ID); err != nil || v.ConnectionString != "" {
		t.Errorf("a revoked grant has %q, %v", v.ConnectionString, err)
	}
}
