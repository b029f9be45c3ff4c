package identity

import (
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// ClockAllowance is how far a peer's clock may be behind ours before it finds our fresh certificates not valid yet.
const ClockAllowance = 10 * time.Minute

// Authority issues the deployment's certificates. Its key never leaves the control plane.
type Authority struct {
	TrustDomain string
	cert        *x509.Certificate
	key         crypto.Signer
	certPEM     []byte
}

// NewAuthority makes a key and a self-signed certificate valid for ten years from now.
func NewAuthority(trustDomain string, now time.Time) (*Authority, []byte, error) {
	key, keyPEM, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	td := url.URL{Scheme: "spiffe", Host: trustDomain}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Isthmus authority of " + trustDomain}, URIs: []*url.URL{&td},
		NotBefore: now.Add(-ClockAllowance), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, fault.Wrap("identity.NewAuthority", fault.Internal, err, "")
	}
	a, err := LoadAuthority(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM)
	return a, keyPEM, err
}

// LoadAuthority reads what NewAuthority made.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	op := "identity.LoadAuthority"
	cb, _ := pem.Decode(certPEM)
	kb, _ := pem.Decode(keyPEM)
	if cb == nil || kb == nil {
		return nil, fault.New(op, fault.Invalid, "the authority's certificate or key is no PEM text")
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority's certificate cannot be read")
	}
	k, err := x509.ParsePKCS8PrivateKey(kb.Bytes)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority's key cannot be read")
	}
	id, err := FromCertificate(cert)
	if err != nil {
		return nil, err
	}
	return &Authority{TrustDomain: id.TrustDomain(), cert: cert, key: k.(crypto.Signer), certPEM: certPEM}, nil
}

// CertificatePEM returns the authority's own certificate, which peers trust as root.
func (a *Authority) CertificatePEM() []byte { return a.certPEM }

// Secret derives a secret of 32 bytes from the authority's key (HKDF, RFC 5869), the same one for the same purpose. What is encrypted with
// it can be read wherever the authority is, and not by whoever has only the database.
func (a *Authority) Secret(purpose string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err == nil {
		var out []byte
		if out, err = hkdf.Key(sha256.New, der, nil, "isthmus "+purpose, 32); err == nil {
			return out, nil
		}
	}
	return nil, fault.Wrap("identity.Secret", fault.Internal, err, "")
}

// Certificate returns it parsed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// IssueIdentity signs a PEM request as the given id, for TLS client and server use, valid from ClockAllowance before now for ttl.
// Only the public key is taken from the request; hosts (DNS names or IP addresses) are for peers which check names: the control plane's.
func (a *Authority) IssueIdentity(csrPEM []byte, id ID, now time.Time, ttl time.Duration, hosts ...string) ([]byte, error) {
	u, err := id.URL()
	if err != nil {
		return nil, fault.Wrap("identity.Issue", fault.Invalid, err, "the id is not a URL")
	}
	return a.issue(csrPEM, []*url.URL{u}, now, ttl, hosts)
}

// IssueServer signs a PEM request as a plain TLS server certificate for host names, without a SPIFFE id: what devices see.
func (a *Authority) IssueServer(csrPEM []byte, now time.Time, ttl time.Duration, hosts ...string) ([]byte, error) {
	return a.issue(csrPEM, nil, now, ttl, hosts)
}

func (a *Authority) issue(csrPEM []byte, uris []*url.URL, now time.Time, ttl time.Duration, hosts []string) ([]byte, error) {
	op := "identity.Issue"
	b, _ := pem.Decode(csrPEM)
	if b == nil {
		return nil, fault.New(op, fault.Invalid, "the certificate request is no PEM text")
	}
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		return nil, fault.New(op, fault.Invalid, "the certificate request cannot be read or is not signed by its key").Because(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-ClockAllowance), NotAfter: now.Add(ttl), URIs: uris,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uris == nil {
		tmpl.ExtKeyUsage = tmpl.ExtKeyUsage[:1]
	}
	for _, h := range hosts {
		if tmpl.Subject.CommonName == "" && len(h) <= 64 {
			tmpl.Subject.CommonName = h
		}
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, csr.PublicKey, a.key)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("identity: no randomness: " + err.Error())
	}
	return n
}
