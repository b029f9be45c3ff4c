package provisioningtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certified is a certificate with its key.
type Certified struct {
	*x509.Certificate
	Key *ecdsa.PrivateKey
	by  *Certified // nil when it signed itself
}

// Template changes a certificate before it is signed.
type Template func(*x509.Certificate)

// Sign makes a certificate; by is nil for one that signs itself.
func Sign(t testing.TB, by *Certified, name string, changes ...Template) *Certified {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, change := range changes {
		change(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.Certificate, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Certified{out, key, by}
}

// CA makes an authority's certificate.
func CA(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
}

// Expired makes one that was valid once.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
}

// For makes a server's, for names and addresses.
func For(names ...string) Template {
	return func(c *x509.Certificate) {
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
	}
}

// Chain returns the certificate and those above it, the self-signed one left out.
func (c *Certified) Chain() []*x509.Certificate {
	out := []*x509.Certificate{c.Certificate}
	for at := c.by; at != nil && at.by != nil; at = at.by {
		out = append(out, at.Certificate)
	}
	return out
}

// PEM returns the certificate as text.
func (c *Certified) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// ChainPEM returns the chain as text.
func (c *Certified) ChainPEM() string {
	var out []byte
	for _, one := range c.Chain() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})...)
	}
	return string(out)
}

// KeyPEM returns the key as text.
func (c *Certified) KeyPEM(t testing.TB) string {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

// Base64 returns the certificate as base64 of DER.
func (c *Certified) Base64() string { return base64.StdEncoding.EncodeToString(c.Raw) }

// TLS returns it for a TLS configuration.
func (c *Certified) TLS() tls.Certificate {
	out := tls.Certificate{PrivateKey: c.Key, Leaf: c.Certificate}
	for _, one := range c.Chain() {
		out.Certificate = append(out.Certificate, one.Raw)
	}
	return out
}
