package identity_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func TestStatements(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	a, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := a.SignStatement("audit", []byte("record 7"))
	if err != nil {
		t.Fatal(err)
	}
	pin := identity.Fingerprint(a.Certificate())
	both := append(append([]byte{}, other.CertificatePEM()...), a.CertificatePEM()...)
	changed := append([]byte{}, signature...)
	changed[len(changed)-1] ^= 1
	for _, tc := range []struct {
		name              string
		roots             []byte
		pin, purpose, say string
		signature         []byte
		want              fault.Kind
		good              bool
	}{
		{name: "good", roots: both, pin: pin, purpose: "audit", say: "record 7", signature: signature, good: true},
		{name: "another purpose", roots: both, pin: pin, purpose: "audi", say: "trecord 7", signature: signature, want: fault.Unauthenticated},
		{name: "another statement", roots: both, pin: pin, purpose: "audit", say: "record 8", signature: signature, want: fault.Unauthenticated},
		{name: "another signature", roots: both, pin: pin, purpose: "audit", say: "record 7", signature: changed, want: fault.Unauthenticated},
		{name: "no signature", roots: both, pin: pin, purpose: "audit", say: "record 7", want: fault.Unauthenticated},
		{name: "said to be of another", roots: both, pin: identity.Fingerprint(other.Certificate()), purpose: "audit", say: "record 7", signature: signature, want: fault.Unauthenticated},
		{name: "an authority nobody gave", roots: other.CertificatePEM(), pin: pin, purpose: "audit", say: "record 7", signature: signature, want: fault.Unauthenticated},
		{name: "no authority", roots: []byte("x"), pin: pin, purpose: "audit", say: "record 7", signature: signature, want: fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			domain, err := identity.VerifyStatement(tc.roots, tc.pin, tc.purpose, []byte(tc.say), tc.signature)
			if tc.good && (err != nil || domain != "isthmus.test") || !tc.good && fault.KindOf(err) != tc.want {
				t.Errorf("%q, %v", domain, err)
			}
		})
	}
}

// An authority that was brought along may have another sort of key.
func TestStatementsOfOtherKeys(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"ed25519": ed, "rsa": rs} {
		var public any = ed.Public()
		if name == "rsa" {
			public = rs.Public()
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "x.test"}},
			NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		a, err := identity.LoadAuthority(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := a.SignStatement("p", []byte("s"))
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := identity.VerifyStatement(a.CertificatePEM(), identity.Fingerprint(a.Certificate()), "p", []byte("s"), signature); err != nil {
			t.Error(name, err)
		}
		if _, err := identity.VerifyStatement(a.CertificatePEM(), identity.Fingerprint(a.Certificate()), "p", []byte("t"), signature); err == nil {
			t.Error(name, "a signature for something else is taken")
		}
	}
}
