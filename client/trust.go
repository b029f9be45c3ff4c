package client

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"

	"crypto/sha256"
)

// trust decides whether a server is the right one.
type trust struct {
	pin   string
	roots *x509.CertPool // nil for the machine's own
	seen  *atomic.Pointer[x509.Certificate]
}

func newTrust(roots []byte, pin string) (trust, error) {
	op := "client.New"
	t := trust{seen: &atomic.Pointer[x509.Certificate]{}, pin: strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(pin), "sha256:"), ":", ""))}
	if b, err := hex.DecodeString(t.pin); t.pin != "" && (err != nil || len(b) != sha256.Size) {
		return t, fault.New(op, fault.Invalid, "the pin is not 64 hexadecimal digits").
			Advise("it is the SHA-256 of the authority's certificate, which the server prints when it starts")
	}
	if len(roots) > 0 {
		t.roots = x509.NewCertPool()
		if !t.roots.AppendCertsFromPEM(roots) {
			return t, fault.New(op, fault.Invalid, "the CA file holds no certificate in PEM").Advise("it should begin with -----BEGIN CERTIFICATE-----")
		}
	}
	return t, nil
}

func (t trust) config(host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // verified below, where the pin and the identity are known too
		VerifyConnection:   func(cs tls.ConnectionState) error { return t.verify(cs, host) },
	}
}

func (t trust) verify(cs tls.ConnectionState, host string) error {
	op := "client.verify"
	leaf := cs.PeerCertificates[0]
	roots, between := t.roots, x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if t.pin != "" {
		authority := t.pinned(cs.PeerCertificates)
		if authority == nil {
			return fault.Newf(op, fault.Unauthenticated, "%s is not the pinned server: its authority has another fingerprint", host).
				Advise("somebody stands in between, the address is of another server, or the pin is wrong: compare it with what the server printed")
		}
		roots = x509.NewCertPool()
		roots.AddCert(authority)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return t.refused(host, err)
	}
	for _, chain := range chains {
		if id, err := identity.FromCertificate(chain[len(chain)-1]); err == nil {
			own, err := identity.FromCertificate(leaf)
			if err != nil {
				return fault.Newf(op, fault.Unauthenticated, "%s belongs to this deployment but is not its control plane", host).
					Advise("give the address of the server or of a relay")
			}
			if err := identity.Only(identity.ControlID(id.TrustDomain()))(own); err != nil {
				return err
			}
			t.seen.Store(chain[len(chain)-1])
			return nil
		}
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fault.Newf(op, fault.Unauthenticated, "the server's certificate is not for the name %s", host).Because(err).
			Advise("use the name the certificate was made for, or add this one to the server's")
	}
	return nil
}

func (t trust) pinned(chain []*x509.Certificate) *x509.Certificate {
	for _, c := range chain {
		if sum := sha256.Sum256(c.Raw); hex.EncodeToString(sum[:]) == t.pin {
			return c
		}
	}
	return nil
}

func (t trust) refused(host string, err error) error {
	e := fault.Newf("client.verify", fault.Unauthenticated, "the certificate of %s cannot be verified: %v", host, err).Because(err)
	if invalid, ok := err.(x509.CertificateInvalidError); ok && invalid.Reason == x509.Expired { //nolint:errorlint // Verify returns it bare
		return e.Advise("compare this machine's clock with the server's, then look whether the server still renews its certificate")
	}
	if t.roots == nil && t.pin == "" {
		return e.Advise("a server with its own authority is known by --ca-file FILE or --pin FINGERPRINT, which it prints when it starts")
	}
	return e.Advise("somebody stands in between, the address is of another server, or the CA file is of another deployment")
}

// Authority is the deployment's authority, by which a server was verified, as PEM text. Nil before the first answer, and where the server has a
// certificate of somebody else's authority.
func (c *Client) Authority() []byte {
	seen := c.trust.seen.Load()
	if seen == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: seen.Raw})
}

// Fingerprint returns the pin of the first certificate of PEM text.
func Fingerprint(certificate []byte) (string, error) {
	b, _ := pem.Decode(certificate)
	if b == nil || b.Type != "CERTIFICATE" {
		return "", fault.New("client.Fingerprint", fault.Invalid, "this is no certificate in PEM").Advise("it should begin with -----BEGIN CERTIFICATE-----")
	}
	sum := sha256.Sum256(b.Bytes)
	return hex.EncodeToString(sum[:]), nil
}
