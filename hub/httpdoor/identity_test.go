package httpdoor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// certified makes a certificate, signed by another one or by itself.
func certified(t *testing.T, name string, ca bool, by *tls.Certificate, change ...func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: ca,
	}
	for _, f := range change {
		f(template)
	}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func thumbprint(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// with returns a caller that shows a certificate.
func (c *caller) with(cert *tls.Certificate) *caller {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.w.Roots, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, c.w.HTTPS)
		},
	}
	c.t.Cleanup(tr.CloseIdleConnections)
	return &caller{c.t, c.w, &http.Client{Transport: tr, Timeout: 20 * time.Second}}
}

// send sends a message without an Authorization header, as SDKs do with a certificate.
func (c *caller) send(device string) (int, string) {
	status, _, body := c.call("POST", "/devices/"+device+"/messages/events"+version, "", "x")
	return status, body
}

func TestDevicesWithCertificates(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c, h := newCaller(t, w), w.Hub(hubtest.Contoso)
	authority, self, stranger := certified(t, "authority", true, nil), certified(t, "whatever", false, nil), certified(t, "self", false, nil)
	leaf := certified(t, "leaf", false, authority)
	for _, d := range []hubstore.Device{
		{ID: "self", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: strings.Repeat("00", 20), SecondaryThumbprint: thumbprint(self)},
		{ID: "leaf", AuthType: hub.AuthCertificateAuthority},
		{ID: "other", AuthType: hub.AuthCertificateAuthority},
		{ID: "key"},
	} {
		if _, err := h.CreateDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := c.with(leaf).send("leaf"); status != 401 {
		t.Errorf("before the authority is there: %d %s", status, body)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate[0]}))
	if _, err := h.AddAuthority(t.Context(), "ours", text, true); err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for _, step := range []struct {
		cert   *tls.Certificate
		device string
		status int
	}{
		{self, "self", 204},
		{leaf, "leaf", 204},
		{stranger, "self", 401},
		{leaf, "other", 401}, // another device's name
		{leaf, "self", 401},
		{self, "key", 401},
		{self, "nobody", 401},
		{certified(t, "leaf", false, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "leaf", 401}, // ended, and signed by itself
	} {
		status, body := c.with(step.cert).send(step.device)
		if status != step.status {
			t.Errorf("%s: %d %s", step.device, status, body)
		}
		if status == 401 {
			body, _, _ = strings.Cut(strings.ReplaceAll(body, step.device, "ID"), "ExceptionMessage")
			answers[body] = step.device
		}
	}
	if len(answers) != 1 {
		t.Errorf("a stranger can tell devices apart: %v", answers)
	}
	if e := w.Events(hubtest.Contoso, 2)[0]; e.System["iothub-connection-auth-method"] != `{"scope":"device","type":"x509","issuer":"iothub"}` {
		t.Errorf("%v", e.System)
	}
	told := fmt.Sprint(w.Server.Refusals())
	for _, why := range []string{"is not one the registry names", "common name", "shared access key", `no device "nobody"`} {
		if !strings.Contains(told, why) {
			t.Errorf("people are not told %q: %s", why, told)
		}
	}
}

// An edge device's own token manages its own modules, as its runtime does, and nothing else.
func TestEdgeDevicesManageTheirModules(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c, h := newCaller(t, w), w.Hub(hubtest.Contoso)
	edge, err := h.CreateDevice(t.Context(), hubstore.Device{ID: "edge", Edge: true})
	if err != nil {
		t.Fatal(err)
	}
	plain, other := w.Device(hubtest.Contoso, "plain"), w.Device(hubtest.Contoso, "other")
	own := w.Token(hubtest.Contoso, edge)
	agent, err := h.Identity(t.Context(), hub.Name{Device: "edge", Module: hub.EdgeAgent})
	if err != nil {
		t.Fatal(err)
	}
	ofModule, err := sas.Sign(hubtest.Contoso+"/devices/edge/modules/%24edgeAgent", agent.PrimaryKey, "", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, method, path, token, body string
		headers                         []string
		status                          int
		holds                           string
	}{
		{"list", "GET", "/devices/edge/modules", own, "", nil, 200, `"moduleId":"$edgeAgent"`},
		{"create", "PUT", "/devices/edge/modules/tool", own, `{"managedBy":"IotEdge"}`, nil, 200, `"managedBy":"IotEdge"`},
		{"create again", "PUT", "/devices/edge/modules/tool", own, `{}`, nil, 409, "ModuleAlreadyExistsOnDevice"},
		{"renew the keys of the runtime", "PUT", "/devices/edge/modules/$edgeHub", own, `{}`, []string{"If-Match", `"*"`}, 200, `"moduleId":"$edgeHub"`},
		{"delete the runtime", "DELETE", "/devices/edge/modules/$edgeHub", own, "", []string{"If-Match", "*"}, 400, "$"},
		{"get", "GET", "/devices/edge/modules/tool", own, "", nil, 200, `"cloudToDeviceMessageCount":0`},
		{"get nobody", "GET", "/devices/edge/modules/nobody", own, "", nil, 404, "ModuleNotFound"},
		{"delete", "DELETE", "/devices/edge/modules/tool", own, "", []string{"If-Match", "*"}, 204, ""},
		{"another's modules", "GET", "/devices/other/modules", own, "", nil, 401, "IotHubUnauthorized"},
		{"its device", "GET", "/devices/edge", own, "", nil, 401, "IotHubUnauthorized"},
		{"no edge device", "GET", "/devices/plain/modules", w.Token(hubtest.Contoso, plain), "", nil, 401, "is no edge device"},
		{"the key of another", "GET", "/devices/edge/modules", w.Token(hubtest.Contoso, other), "", nil, 401, ""},
		{"a module's own token", "PUT", "/devices/edge/modules/x", ofModule, "{}", nil, 401, ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, _, body := c.call(step.method, step.path+version, step.token, step.body, step.headers...)
			if status != step.status || !strings.Contains(body, step.holds) {
				t.Errorf("%d %s, want %d %q", status, body, step.status, step.holds)
			}
		})
	}
}
