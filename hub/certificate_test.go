package hub_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" // IoT Hub's thumbprints
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// signing is a certificate with its key.
type signing struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func (s *signing) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Raw}))
}

// certify makes a certificate, signed by itself when by is nil.
func certify(t *testing.T, name string, ca bool, by *signing, change ...func(*x509.Certificate)) *signing {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(24 * time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	for _, f := range change {
		f(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signing{out, key}
}

func (w *world) connectWith(n hub.Name, chain ...*signing) (*hub.Session, *causes, error) {
	cuts := &causes{}
	r := hub.Request{Device: n.Device, Module: n.Module, Side: public, Door: "test", Cut: cuts.add}
	for _, c := range chain {
		r.Certificates = append(r.Certificates, c.Certificate)
	}
	s, err := w.hub().Connect(w.t.Context(), r)
	return s, cuts, err
}

func (w *world) create(d hubstore.Device) hub.Device {
	w.t.Helper()
	made, err := w.hub().CreateDevice(w.t.Context(), d)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// TestThumbprints is the core of C03.
func TestThumbprints(t *testing.T) {
	w := newWorld(t)
	first, second, stranger := certify(t, "anything", false, nil), certify(t, "d", false, nil), certify(t, "d", false, nil)
	old, next := sha1.Sum(first.Raw), sha256.Sum256(second.Raw)
	w.create(hubstore.Device{
		ID: "d", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: strings.ToUpper(hex.EncodeToString(old[:])), SecondaryThumbprint: hex.EncodeToString(next[:]),
	})
	d := hub.Name{Device: "d"}
	for name, c := range map[string]*signing{"SHA-1": first, "SHA-256": second} {
		s, _, err := w.connectWith(d, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Method != `{"scope":"device","type":"x509","issuer":"iothub"}` || !s.Expires.IsZero() {
			t.Errorf("%s: %q until %v", name, s.Method, s.Expires)
		}
		s.End()
	}
	if _, _, err := w.connectWith(d, stranger); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a stranger with the right name: %v", err)
	}
	if _, _, err := w.connectWith(d); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("nothing: %v", err)
	}
	w.device("sas")
	if _, _, err := w.connectWith(hub.Name{Device: "sas"}, first); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a certificate for a device with keys: %v", err)
	}
	w.clock.Advance(48 * time.Hour) // the certificate's dates are not looked at: the registry names it
	s, cuts, err := w.connectWith(d, first)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	if _, err := w.hub().UpdateDevice(t.Context(), hubstore.Device{ID: "d", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: hex.EncodeToString(next[:])}, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	if cuts.last() != hub.KeyGone {
		t.Errorf("its thumbprint was taken away: cut for %q", cuts.last())
	}
}

// TestAuthoritiesVouch is the core of C04: the chain, the common name, the dates, and the proof that somebody has the authority's key.
func TestAuthoritiesVouch(t *testing.T) {
	w := newWorld(t)
	ctx, h := t.Context(), w.hub()
	root, other := certify(t, "root", true, nil), certify(t, "root", true, nil)
	between := certify(t, "between", true, root)
	leaf, foreign, wrongName := certify(t, "d", false, between), certify(t, "d", false, other), certify(t, "e", false, between)
	w.create(hubstore.Device{ID: "d", AuthType: hub.AuthCertificateAuthority})
	w.create(hubstore.Device{ID: "d", Module: "m", AuthType: hub.AuthCertificateAuthority})
	d := hub.Name{Device: "d"}

	if _, err := h.AddAuthority(ctx, "plant", leaf.pem(), true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a certificate that signs nobody: %v", err)
	}
	if a, err := h.AddAuthority(ctx, "plant", root.pem(), false); err != nil || a.Verified || a.Subject != "CN=root" {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, _, err := w.connectWith(d, leaf, between); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("before the proof: %v", err)
	}
	if _, err := h.VerifyAuthority(ctx, "plant", certify(t, "", false, root).pem()); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a proof nobody asked for: %v", err)
	}
	nonce, err := h.ChallengeAuthority(ctx, "plant")
	if err != nil {
		t.Fatal(err)
	}
	for name, proof := range map[string]*signing{"of another": certify(t, nonce, false, other), "with another code": certify(t, "x", false, root)} {
		if _, err := h.VerifyAuthority(ctx, "plant", proof.pem()); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a proof %s: %v", name, err)
		}
	}
	if a, err := h.VerifyAuthority(ctx, "plant", certify(t, nonce, false, root).pem()); err != nil || !a.Verified {
		t.Fatalf("%+v, %v", a, err)
	}
	for name, c := range map[string]struct {
		as    hub.Name
		chain []*signing
		want  fault.Kind
	}{
		"another authority of the same name": {d, []*signing{foreign}, fault.Unauthenticated},
		"another device's certificate":       {d, []*signing{wrongName, between}, fault.Unauthenticated},
		"without what is between":            {d, []*signing{leaf}, fault.Unauthenticated},
		"its device's certificate":           {hub.Name{Device: "d", Module: "m"}, []*signing{leaf, between}, fault.Unauthenticated},
	} {
		if _, _, err := w.connectWith(c.as, c.chain...); fault.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	use := func(u x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }
	}
	if _, _, err := w.connectWith(d, certify(t, "d", false, between, use(x509.ExtKeyUsageServerAuth)), between); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a certificate for servers: %v", err)
	}
	brief := certify(t, "brief", true, root, func(c *x509.Certificate) { c.NotAfter = start.Add(time.Hour) })
	short, _, err := w.connectWith(d, certify(t, "d", false, brief, use(x509.ExtKeyUsageClientAuth)), brief)
	if err != nil {
		t.Fatal(err)
	}
	if !short.Expires.Equal(brief.NotAfter) {
		t.Errorf("the session ends %v, what is above its certificate %v", short.Expires, brief.NotAfter)
	}
	short.End()
	module, _, err := w.connectWith(hub.Name{Device: "d", Module: "m"}, certify(t, "d/m", false, between), between)
	if err != nil {
		t.Fatal(err)
	}
	defer module.End()
	s, cuts, err := w.connectWith(d, leaf, between)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	if !s.Expires.Equal(leaf.NotAfter) {
		t.Errorf("the session ends %v, the certificate %v", s.Expires, leaf.NotAfter)
	}
	w.server = nil // opened again: what is trusted was kept
	w.open()
	if list := w.hub().Authorities(); len(list) != 1 || !list[0].Verified {
		t.Errorf("after a restart: %+v", list)
	}
	if cut, err := h.DeleteAuthority(ctx, "plant"); err != nil || cut != 2 || cuts.last() != hub.KeyGone {
		t.Errorf("%d cut, for %q, %v", cut, cuts.last(), err)
	}
	w.clock.Advance(25 * time.Hour)
	if _, _, err := w.connectWith(d, leaf, between); fault.KindOf(err) != fault.Expired {
		t.Errorf("after its end: %v", err)
	}
}
