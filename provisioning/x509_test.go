package provisioning_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func shown(c *pt.Certified, id string) provisioning.Proof {
	return provisioning.Proof{RegistrationID: id, Certificates: c.Chain()}
}

func sum(c *pt.Certified) string {
	s := sha256.Sum256(c.Raw)
	return strings.ToUpper(hex.EncodeToString(s[:]))
}

// C50: a certificate that the enrollment names.
func TestADeviceWithItsOwnCertificate(t *testing.T) {
	w := start(t)
	first, second := pt.Sign(t, nil, "Press-1"), pt.Sign(t, nil, "press-1")
	w.Put(`{"registrationId":"press-1","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(first.PEM()) +
		`},"secondary":{"certificate":"` + second.Base64() + `"}}}}}`)
	for i, c := range []*pt.Certified{first, second} {
		o := w.Register(shown(c, "PRESS-1"), provisioning.Registration{})
		if o.Status != provisioning.Assigned || o.State.X509 == nil || o.State.X509.Leaf.SHA256 != sum(c) || o.State.X509.Authority != nil || o.State.SymmetricKey != nil {
			t.Fatalf("%+v %+v", o, o.State)
		}
		d, _ := w.Hubs.Get(o.State.AssignedHub).Device("press-1")
		other := []*pt.Certified{second, first}[i]
		if !d.X509 || d.PrimaryThumbprint != sum(c) || d.SecondaryThumbprint != sum(other) || d.PrimaryKey != "" {
			t.Errorf("at the hub: %+v", d)
		}
	}
	if err := w.Service.Prove(t.Context(), shown(pt.Sign(t, nil, "press-1"), "press-1")); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("another certificate of the same name: %v", err)
	}
	wrong := pt.Sign(t, nil, "somebody")
	w.Put(`{"registrationId":"press-2","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(wrong.PEM()) + `}}}}}`)
	if err := w.Service.Prove(t.Context(), shown(wrong, "press-2")); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a certificate in another name: %v", err)
	}
	old := pt.Sign(t, nil, "press-3", pt.Expired)
	w.Put(`{"registrationId":"press-3","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(old.PEM()) + `}}}}}`)
	if err := w.Service.Prove(t.Context(), shown(old, "press-3")); fault.KindOf(err) != fault.Expired {
		t.Errorf("a certificate that ended: %v", err)
	}
}

func signing(group string, cs ...*pt.Certified) string {
	text := `{"enrollmentGroupId":"` + group + `","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + quoted(cs[0].PEM()) + `}`
	if len(cs) > 1 {
		text += `,"secondary":{"certificate":` + quoted(cs[1].PEM()) + `}`
	}
	return text + `}}}}`
}

// C50: certificates that lead to the authority of a group.
func TestAGroupByAuthority(t *testing.T) {
	w := start(t)
	root := pt.Sign(t, nil, "root", pt.CA)
	plant := pt.Sign(t, root, "plant", pt.CA)
	hall := pt.Sign(t, plant, "hall", pt.CA)
	stranger := pt.Sign(t, nil, "root", pt.CA)
	w.PutGroup(signing("all", root))
	w.PutGroup(signing("of-hall", hall, stranger))
	for _, c := range []struct {
		leaf  *pt.Certified
		group string
	}{
		{pt.Sign(t, plant, "a"), "all"},
		{pt.Sign(t, hall, "b"), "of-hall"}, // the nearer authority wins
		{pt.Sign(t, root, "c"), "all"},
		{pt.Sign(t, stranger, "e"), "of-hall"},
	} {
		id := c.leaf.Subject.CommonName
		o := w.Register(shown(c.leaf, id), provisioning.Registration{})
		if o.Status != provisioning.Assigned || o.State.X509.GroupID != c.group || o.State.X509.Leaf.SHA256 != sum(c.leaf) || o.State.X509.Authority == nil {
			t.Fatalf("%s: %+v %+v", id, o, o.State)
		}
		if d, _ := w.Hubs.Get(o.State.AssignedHub).Device(id); !d.X509 || d.PrimaryThumbprint != sum(c.leaf) {
			t.Errorf("at the hub: %+v", d)
		}
	}
	ended := pt.Sign(t, root, "ended", pt.CA, pt.Expired)
	good := pt.Sign(t, hall, "f")
	for name, p := range map[string]provisioning.Proof{
		"another name":               shown(good, "g"),
		"a name of other letters":    shown(pt.Sign(t, hall, "k\u212a"), "kk"),
		"an unknown authority":       shown(pt.Sign(t, pt.Sign(t, nil, "root", pt.CA), "f"), "f"),
		"an authority itself":        shown(plant, "plant"),
		"an authority that ended":    shown(pt.Sign(t, ended, "f"), "f"),
		"a device as authority":      shown(pt.Sign(t, good, "f"), "f"),
		"a certificate for servers":  shown(pt.Sign(t, hall, "f", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "f"),
		"the intermediate left away": {RegistrationID: "a", Certificates: pt.Sign(t, plant, "a").Chain()[:1]},
		"nothing":                    {RegistrationID: "a"},
		"a chain too long":           {RegistrationID: "f", Certificates: append(good.Chain(), make([]*x509.Certificate, 8)...)},
	} {
		if err := w.Service.Prove(t.Context(), p); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Service.Prove(t.Context(), shown(pt.Sign(t, hall, "f", pt.Expired), "f")); err == nil {
		t.Error("a certificate that ended")
	}
	// What is changed is in force at once.
	if _, err := w.Service.PutEnrollment(t.Context(), "of-hall", []byte(strings.Replace(signing("of-hall", hall), `{"enr`, `{"provisioningStatus":"disabled","enr`, 1)), true, "*"); err != nil {
		t.Fatal(err)
	}
	if err := w.Service.Prove(t.Context(), shown(good, "f")); fault.KindOf(err) != fault.Denied {
		t.Errorf("a disabled group: %v", err)
	}
	if err := w.Service.DeleteEnrollment(t.Context(), "of-hall", true, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.Service.Prove(t.Context(), shown(good, "f")); err != nil {
		t.Errorf("the group above: %v", err)
	}
}

func TestAuthoritiesAreVerified(t *testing.T) {
	w, ctx := start(t), t.Context()
	ca := pt.Sign(t, nil, "plant", pt.CA)
	a, err := w.Service.PutAuthority(ctx, "plant", ca.PEM(), false, "")
	if err != nil || a.Verified || a.Certificate.SHA256 != sum(ca) {
		t.Fatalf("%+v, %v", a, err)
	}
	group := []byte(`{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"caReferences":{"primary":"plant"}}}}`)
	if _, err := w.Service.PutEnrollment(ctx, "g", group, true, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a reference to what is not verified: %v", err)
	}
	if _, err := w.Service.VerifyAuthority(ctx, "plant", pt.Sign(t, ca, "").PEM(), ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("without a code: %v", err)
	}
	if a, err = w.Service.VerificationCode(ctx, "plant", a.ETag); err != nil || len(a.Code) != 48 {
		t.Fatalf("%+v, %v", a, err)
	}
	for name, proof := range map[string]*pt.Certified{
		"another code": pt.Sign(t, ca, "1234"), "another authority": pt.Sign(t, pt.Sign(t, nil, "plant", pt.CA), a.Code), "too old": pt.Sign(t, ca, a.Code, pt.Expired),
	} {
		if _, err := w.Service.VerifyAuthority(ctx, "plant", proof.PEM(), ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err = w.Service.VerifyAuthority(ctx, "plant", pt.Sign(t, ca, a.Code).PEM(), a.ETag); err != nil || !a.Verified || a.Code != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := w.Service.PutEnrollment(ctx, "g", group, true, ""); err != nil {
		t.Fatal(err)
	}
	o := w.Register(shown(pt.Sign(t, ca, "d"), "d"), provisioning.Registration{})
	if o.Status != provisioning.Assigned || o.State.X509.GroupID != "g" {
		t.Errorf("%+v", o)
	}
	if err := w.Service.DeleteAuthority(ctx, "plant", ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("deleting what a group refers to: %v", err)
	}
	// Another certificate under the name is to be verified again, and opens nothing until then.
	other := pt.Sign(t, nil, "plant", pt.CA)
	if _, err := w.Service.PutAuthority(ctx, "plant", other.PEM(), false, "stale"); fault.KindOf(err) != fault.Precondition {
		t.Errorf("another etag: %v", err)
	}
	if a, err = w.Service.PutAuthority(ctx, "plant", other.PEM(), false, "*"); err != nil || a.Verified {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := w.Service.Prove(ctx, shown(pt.Sign(t, other, "d"), "d")); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("%v", err)
	}
	if a, err = w.Service.PutAuthority(ctx, "plant", other.PEM(), true, "*"); err != nil || !a.Verified {
		t.Errorf("vouched for: %+v, %v", a, err)
	}
	for name, text := range map[string]string{"a device's": pt.Sign(t, ca, "d").PEM(), "text": "hello", "a key": ca.KeyPEM(t)} {
		if _, err := w.Service.PutAuthority(ctx, "x", text, false, ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := w.Service.Authorities(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "plant" {
		t.Errorf("%+v, %v", list, err)
	}
}

func FuzzChain(f *testing.F) {
	root := pt.Sign(f, nil, "root", pt.CA)
	between := pt.Sign(f, root, "between", pt.CA)
	leaf := pt.Sign(f, between, "d")
	now := time.Now()
	f.Add(leaf.Raw, between.Raw)
	f.Add(pt.Sign(f, nil, "d").Raw, root.Raw)
	f.Add(root.Raw, leaf.Raw)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{first, second} {
			if c, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, c)
			}
		}
		a, err := provisioning.Chain(chain, []*x509.Certificate{root.Certificate}, now)
		if err != nil {
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Fatal(err)
			}
			return
		}
		// What nobody signed does not get through: the fuzzer has no key. The signature is over the part before it.
		if !a.Equal(root.Certificate) || string(chain[0].RawTBSCertificate) != string(leaf.RawTBSCertificate) {
			t.Fatalf("forged: %x", chain[0].Raw)
		}
	})
}
