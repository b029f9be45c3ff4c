package provisioningclient_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is a client over TLS with the connection string of a policy, and the world it speaks to.
func far(t *testing.T, policy string) (*provisioningclient.Client, *pt.World) {
	t.Helper()
	w := pt.Start(t, pt.Options{Host: "example.com"}) // which httptest's certificate is for
	srv := httptest.NewTLSServer(httpdoor.New(httpdoor.Config{Service: func(*http.Request) (*provisioning.Service, error) { return w.Service, nil }},
		w.Server, hubtest.Silent(), w.Clock))
	t.Cleanup(srv.Close)
	text, err := w.Service.ConnectionString(policy)
	must(t, err)
	cs, err := sas.ParseConnectionString(text)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c, err := provisioningclient.New(provisioningclient.Config{Connection: cs, Address: srv.Listener.Addr().String(), Roots: roots}, w.Clock)
	must(t, err)
	t.Cleanup(c.Close)
	return c, w
}

// near is a client over a local socket.
func near(t *testing.T, service string) (*provisioningclient.Client, *pt.World) {
	t.Helper()
	w := pt.Start(t, pt.Options{})
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	must(t, err)
	srv := httptest.NewUnstartedServer(httpdoor.New(httpdoor.Config{Service: httpdoor.Named(w.Server), Local: true}, w.Server, hubtest.Silent(), w.Clock))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	c, err := provisioningclient.New(provisioningclient.Config{Socket: socket, Service: service}, w.Clock)
	must(t, err)
	t.Cleanup(c.Close)
	return c, w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func TestEnrollmentsFromTheirBeginningToTheirEnd(t *testing.T) {
	c, w := far(t, provisioning.PolicyOwner)
	ctx := context.Background()
	e := provisioningclient.Enrollment{RegistrationID: "press-7", Attestation: provisioningclient.Attestation{Type: "symmetricKey"}}
	made, err := c.PutEnrollment(ctx, e, "")
	must(t, err)
	if made.ETag == "" || made.Status != "enabled" || made.Reprovision == nil || !made.Reprovision.MigrateData {
		t.Errorf("%+v", made)
	}
	_, err = c.PutEnrollment(ctx, e, "")
	wants(t, "made twice", err, fault.Conflict)
	if !strings.Contains(fault.Next(err), "If-Match") || strings.Contains(fault.Message(err), fault.Next(err)) {
		t.Errorf("%q, next %q", fault.Message(err), fault.Next(err))
	}

	before, err := c.Mechanism(ctx, "press-7", false)
	must(t, err)
	made.DeviceID = "dev-7"
	changed, err := c.PutEnrollment(ctx, made, made.ETag)
	must(t, err)
	after, err := c.Mechanism(ctx, "press-7", false)
	must(t, err)
	if changed.DeviceID != "dev-7" || *before.SymmetricKey != *after.SymmetricKey || before.SymmetricKey.Primary == "" {
		t.Errorf("what was not written back was lost: %+v", changed)
	}
	_, err = c.PutEnrollment(ctx, made, made.ETag)
	wants(t, "an old etag", err, fault.Precondition)

	o := w.Register(provisioning.Proof{RegistrationID: "press-7", Token: w.Token("press-7", after.SymmetricKey.Primary)}, provisioning.Registration{})
	if o.Status != provisioning.Assigned {
		t.Fatalf("%+v", o)
	}
	r, err := c.Registration(ctx, "press-7")
	must(t, err)
	if r.DeviceID != "dev-7" || r.Status != "assigned" || r.Hub == "" {
		t.Errorf("%+v", r)
	}
	must(t, c.DeleteRegistration(ctx, "press-7", r.ETag))
	_, err = c.Registration(ctx, "press-7")
	wants(t, "a forgotten registration", err, fault.NotFound)
	must(t, c.DeleteEnrollment(ctx, "press-7", false, provisioningclient.Any))
	_, err = c.Enrollment(ctx, "press-7", false)
	wants(t, "a deleted enrollment", err, fault.NotFound)
}

func TestPagesAndBulk(t *testing.T) {
	c, _ := far(t, provisioning.PolicyReadWrite)
	ctx := context.Background()
	const many = 1234 // more than a page
	for from := 0; from < many; from += provisioningclient.MaxBulk {
		var list []json.RawMessage
		for i := from; i < min(from+provisioningclient.MaxBulk, many); i++ {
			list = append(list, fmt.Appendf(nil, `{"registrationId":"d-%04d","attestation":{"type":"symmetricKey"}}`, i))
		}
		failed, err := c.Bulk(ctx, "create", list)
		must(t, err)
		if len(failed) != 0 {
			t.Fatalf("%+v", failed)
		}
	}
	n := 0
	for e, err := range c.Enrollments(ctx, false) {
		must(t, err)
		if want := fmt.Sprintf("d-%04d", n); e.RegistrationID != want {
			t.Fatalf("%s, want %s", e.RegistrationID, want)
		}
		n++
	}
	if n != many {
		t.Errorf("%d enrollments, want %d", n, many)
	}
	for range c.Enrollments(ctx, false) {
		break // whoever has enough may go
	}
	failed, err := c.Bulk(ctx, "create", []json.RawMessage{[]byte(`{"registrationId":"d-0000","attestation":{"type":"symmetricKey"}}`)})
	must(t, err)
	if len(failed) != 1 || failed[0].RegistrationID != "d-0000" || failed[0].Code != 409201 {
		t.Errorf("%+v", failed)
	}
	_, err = c.Authorities(ctx)
	wants(t, "a right it has not", err, fault.Denied)
}

func TestGroupsTheirDevicesAndTheirAuthorities(t *testing.T) {
	c, w := far(t, provisioning.PolicyOwner)
	ctx := context.Background()
	text := pt.Sign(t, nil, "factory", pt.CA).PEM()
	a, err := c.PutAuthority(ctx, "factory", text, false, "")
	must(t, err)
	if a.Verified || a.Certificate.Subject == "" {
		t.Errorf("%+v", a)
	}
	code, err := c.ChallengeAuthority(ctx, "factory")
	must(t, err)
	if code == "" {
		t.Error("no code")
	}
	_, err = c.VerifyAuthority(ctx, "factory", text)
	wants(t, "another certificate than the code's", err, fault.Invalid)
	_, err = c.PutAuthority(ctx, "factory", text, true, provisioningclient.Any)
	must(t, err)
	g := provisioningclient.Enrollment{GroupID: "line-7", Attestation: provisioningclient.Attestation{Type: "x509", X509: &provisioningclient.X509{CAReferences: &provisioningclient.References{Primary: "factory"}}}}
	made, err := c.PutEnrollment(ctx, g, "")
	must(t, err)
	if made.Name() != "line-7" || made.Attestation.X509.CAReferences.Primary != "factory" {
		t.Errorf("%+v", made)
	}
	wants(t, "a certificate in use", c.DeleteAuthority(ctx, "factory"), fault.Conflict)
	must(t, c.DeleteEnrollment(ctx, "line-7", true, made.ETag))
	must(t, c.DeleteAuthority(ctx, "factory"))

	keys := provisioningclient.Enrollment{GroupID: "line-8", Attestation: provisioningclient.Attestation{Type: "symmetricKey"}}
	_, err = c.PutEnrollment(ctx, keys, "")
	must(t, err)
	m, err := c.Mechanism(ctx, "line-8", true)
	must(t, err)
	key, err := provisioning.DeriveKey(m.SymmetricKey.Primary, "press-8")
	must(t, err)
	w.Register(provisioning.Proof{RegistrationID: "press-8", Token: w.Token("press-8", key)}, provisioning.Registration{})
	var seen []string
	for r, err := range c.Registrations(ctx, "line-8") {
		must(t, err)
		seen = append(seen, r.ID+" "+r.Status+" "+r.SymmetricKey.GroupID)
	}
	if strings.Join(seen, ",") != "press-8 assigned line-8" {
		t.Errorf("%v", seen)
	}
	own := provisioningclient.Enrollment{RegistrationID: "x", Attestation: provisioningclient.Attestation{Type: "x509", X509: &provisioningclient.X509{
		Client: &provisioningclient.Certificates{Primary: &provisioningclient.Certificate{Certificate: text}},
	}}}
	own, err = c.PutEnrollment(ctx, own, "")
	must(t, err)
	if shown := own.Attestation.Certificates(); len(shown) != 1 || shown[0].Words != "Certificate" || shown[0].Info.SHA256 == "" {
		t.Errorf("%+v", shown)
	}
	if own, err = c.PutEnrollment(ctx, own, own.ETag); err != nil || len(own.Attestation.Certificates()) != 1 {
		t.Errorf("written back: %+v, %v", own, err)
	}
}

func TestHubsAndPolicies(t *testing.T) {
	c, w := near(t, "")
	ctx := context.Background()
	s, err := c.Service(ctx)
	must(t, err)
	if s.IDScope != w.Service.Scope() || len(s.Hubs) != 2 || !s.Hubs[0].Here || len(s.HostNames) != 1 {
		t.Errorf("%+v", s)
	}
	must(t, c.LinkHub(ctx, pt.HubA, "", 3))
	if s, err = c.Service(ctx); err != nil || s.Hubs[0].Weight != 3 && s.Hubs[1].Weight != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	must(t, c.UnlinkHub(ctx, pt.HubA))
	wants(t, "a hub that is not linked", c.LinkHub(ctx, "nowhere.example", "", 1), fault.NotFound)
	list, err := c.Policies(ctx)
	must(t, err)
	if len(list) != 3 || list[2].Name != provisioning.PolicyOwner {
		t.Errorf("%+v", list)
	}
	before, err := c.PolicyConnectionString(ctx, provisioning.PolicyRead)
	must(t, err)
	must(t, c.RenewPolicyKey(ctx, provisioning.PolicyRead, "primary"))
	after, err := c.PolicyConnectionString(ctx, provisioning.PolicyRead)
	if err != nil || after == before || !strings.Contains(after, "HostName="+pt.Host) {
		t.Errorf("the key stayed: %v", err)
	}
	_, err = c.PolicyConnectionString(ctx, "nobody")
	wants(t, "no such policy", err, fault.NotFound)
	other, _ := near(t, "elsewhere")
	_, err = other.Service(ctx)
	wants(t, "another service", err, fault.NotFound)
	if !strings.Contains(fault.Next(err), "ot/ot-cloud/dps") {
		t.Errorf("next: %s", fault.Next(err))
	}
}

func TestWhatIsNoServiceIsToldFromOne(t *testing.T) {
	ctx := context.Background()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	cs := sas.ConnectionString{HostName: "example.com", Policy: "p", Key: "c2VjcmV0c2VjcmV0c2VjcmV0"}
	for name, tt := range map[string]struct {
		cfg  provisioningclient.Config
		kind fault.Kind
		says string
	}{
		"a proxy":           {provisioningclient.Config{Connection: cs, Address: srv.Listener.Addr().String(), Roots: roots}, fault.Unavailable, "no provisioning service gives"},
		"another authority": {provisioningclient.Config{Connection: cs, Address: srv.Listener.Addr().String(), Roots: x509.NewCertPool()}, fault.Unauthenticated, "is not trusted"},
		"nobody":            {provisioningclient.Config{Connection: cs, Address: "127.0.0.1:1"}, fault.Unavailable, "cannot be reached"},
		"no process":        {provisioningclient.Config{Socket: filepath.Join(t.TempDir(), "s")}, fault.Unavailable, "no hub process answers"},
	} {
		c, err := provisioningclient.New(tt.cfg, clock.System{})
		must(t, err)
		_, err = c.Service(ctx)
		c.Close()
		wants(t, name, err, tt.kind)
		if err == nil || !strings.Contains(fault.Message(err), tt.says) || fault.Next(err) == "" || strings.Contains(err.Error(), cs.Key) {
			t.Errorf("%s: %v, next %q", name, err, fault.Next(err))
		}
	}
	_, err := provisioningclient.New(provisioningclient.Config{Connection: sas.ConnectionString{HostName: "h", DeviceID: "d", Key: cs.Key}}, clock.System{})
	wants(t, "a device's connection string", err, fault.Invalid)
}
