package provisioning

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // Azure shows this thumbprint; nothing is decided by it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	maxChain       = 8        // certificates from a device's to the authority's, both included
	maxCertificate = 16 << 10 // bytes of one as text
)

// parseCertificate reads PEM, or base64 of DER or PEM.
func parseCertificate(text string) (*x509.Certificate, error) {
	bad := fault.New("provisioning.Certificate", fault.Invalid, "a certificate cannot be read").Advise("give PEM, or the base64 of DER")
	if len(text) > maxCertificate {
		return nil, bad
	}
	b := []byte(text)
	if !bytes.Contains(b, []byte("-----BEGIN")) {
		plain, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' || r == ' ' {
				return -1
			}
			return r
		}, text))
		if err != nil {
			return nil, bad
		}
		b = plain
	}
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "CERTIFICATE" {
			return nil, bad
		}
		b = block.Bytes
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, bad.Because(err)
	}
	return c, nil
}

func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func infoOf(c *x509.Certificate) *CertificateInfo {
	sum := sha1.Sum(c.Raw) //nolint:gosec // shown, not relied on
	return &CertificateInfo{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), SHA1: strings.ToUpper(hex.EncodeToString(sum[:])), SHA256: thumbprint(c),
		NotBefore: timeText(c.NotBefore), NotAfter: timeText(c.NotAfter), SerialNumber: strings.ToUpper(c.SerialNumber.Text(16)), Version: c.Version,
	}
}

func (x *X509Attestation) check(group bool) error {
	op := "provisioning.ParseEnrollment"
	if x == nil {
		return fault.New(op, fault.Invalid, "attestation.x509 is missing")
	}
	if group {
		x.Client = nil
		if x.CAReferences != nil && x.CAReferences.Primary == "" && x.CAReferences.Secondary == "" {
			x.CAReferences = nil
		}
		switch {
		case x.CAReferences != nil && x.Signing.any():
			return fault.New(op, fault.Invalid, "a group has signingCertificates or caReferences, not both")
		case x.CAReferences != nil:
			return nil
		}
		return x.Signing.check("signingCertificates", true)
	}
	x.Signing, x.CAReferences = nil, nil
	return x.Client.check("clientCertificates", false)
}

func (c *Certificates) any() bool { return c != nil && (c.Primary != nil || c.Secondary != nil) }

func (c *Certificates) check(field string, authority bool) error {
	op := "provisioning.ParseEnrollment"
	if !c.any() {
		return fault.Newf(op, fault.Invalid, "attestation.x509.%s is missing", field)
	}
	for _, one := range []*Certificate{c.Primary, c.Secondary} {
		if one == nil || one.Certificate == "" {
			continue // with an info alone it stays what it is; see keepSecrets
		}
		cert, err := parseCertificate(one.Certificate)
		if err != nil {
			return err
		}
		if authority && !isAuthority(cert) {
			return fault.Newf(op, fault.Invalid, "a certificate in %s is not of an authority (basic constraints, CA)", field).
				Advise("give the certificate that signs those of the devices")
		}
		if err := fitKey(cert); err != nil {
			return err
		}
		one.Certificate, one.Info = base64.StdEncoding.EncodeToString(cert.Raw), infoOf(cert)
	}
	return nil
}

func isAuthority(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

// fitKey refuses certificates that signatures cannot be checked with, so that an operator learns it and not the device.
func fitKey(c *x509.Certificate) error {
	if c.PublicKeyAlgorithm == x509.RSA || c.PublicKeyAlgorithm == x509.ECDSA || c.PublicKeyAlgorithm == x509.Ed25519 {
		return nil
	}
	return fault.New("provisioning.Certificate", fault.Invalid, "a certificate has a key of an unknown sort").Advise("use RSA, ECDSA or Ed25519")
}

// commonName tells whether a certificate is that of a registration id (DPS: X.509 attestation; compared without regard to case).
func commonName(leaf *x509.Certificate, id string) bool {
	name, err := RegistrationID(leaf.Subject.CommonName)
	return err == nil && name == id
}

func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// Chain finds the shortest way from a device's certificate, which is the first of those presented, to one of the authorities, by way
// of the others. All of them must be valid at that time, and for clients or for anything. It returns the authority's certificate.
func Chain(presented []*x509.Certificate, authorities []*x509.Certificate, now time.Time) (*x509.Certificate, error) {
	op := "provisioning.Chain"
	switch {
	case len(presented) == 0:
		return nil, fault.New(op, fault.Unauthenticated, "the device showed no certificate")
	case len(presented) > maxChain:
		return nil, fault.Newf(op, fault.Unauthenticated, "the device showed %d certificates, %d are allowed", len(presented), maxChain)
	case presented[0].IsCA:
		return nil, fault.New(op, fault.Unauthenticated, "the device showed the certificate of an authority as its own")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range authorities {
		roots.AddCert(c)
	}
	for _, c := range presented[1:] {
		between.AddCert(c)
	}
	chains, err := presented[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fault.Wrap(op, fault.Unauthenticated, err, "the device's certificate leads to no authority of an enrollment group")
	}
	var best []*x509.Certificate
	for _, c := range chains {
		if len(c) >= 2 && len(c) <= maxChain && (best == nil || len(c) < len(best)) {
			best = c
		}
	}
	if best == nil {
		return nil, fault.Newf(op, fault.Unauthenticated, "the device's certificate is more than %d steps from its authority", maxChain)
	}
	return best[len(best)-1], nil
}
