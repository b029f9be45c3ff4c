package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Credentials are a key, its certificate chain and the authorities trusted, replaceable at run time.
type Credentials struct {
	current atomic.Pointer[material]
}

type material struct {
	id    ID
	cert  *tls.Certificate
	roots *x509.CertPool
}

// NewCredentials reads PEM texts; the certificate must carry a SPIFFE id and fit the key.
func NewCredentials(certPEM, keyPEM, rootsPEM []byte) (*Credentials, error) {
	c := &Credentials{}
	if err := c.Replace(certPEM, keyPEM, rootsPEM); err != nil {
		return nil, err
	}
	return c, nil
}

// Replace swaps everything at once; on an error nothing changes.
func (c *Credentials) Replace(certPEM, keyPEM, rootsPEM []byte) error {
	op := "identity.Replace"
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the certificate and key do not belong together or cannot be read")
	}
	id, err := FromCertificate(cert.Leaf)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(rootsPEM) {
		return fault.New(op, fault.Invalid, "no authority certificate in the roots")
	}
	c.current.Store(&material{id: id, cert: &cert, roots: roots})
	return nil
}

// SetRoots replaces only the trusted authorities.
func (c *Credentials) SetRoots(rootsPEM []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(rootsPEM) {
		return fault.New("identity.SetRoots", fault.Invalid, "no authority certificate in the roots")
	}
	old := c.current.Load()
	c.current.Store(&material{id: old.id, cert: old.cert, roots: roots})
	return nil
}

// ID returns who we are.
func (c *Credentials) ID() ID { return c.current.Load().id }

// Certificate returns our chain with its key, another one after each Replace. Do not change it.
func (c *Credentials) Certificate() *tls.Certificate { return c.current.Load().cert }

// Leaf returns our certificate.
func (c *Credentials) Leaf() *x509.Certificate { return c.current.Load().cert.Leaf }

// Roots returns the authorities trusted now.
func (c *Credentials) Roots() *x509.CertPool { return c.current.Load().roots }

// Accept decides on a peer whose chain has been verified. It returns a fault to refuse.
type Accept func(peer ID) error

// Only accepts exactly one peer.
func Only(want ID) Accept {
	return func(peer ID) error {
		if peer != want {
			return fault.Newf("identity.Only", fault.Unauthenticated, "the peer is %s, not %s", peer, want)
		}
		return nil
	}
}

// AnyAgent accepts every agent of the given trust domain; who may do what is decided by the caller, stream by stream.
func AnyAgent(trustDomain string) Accept {
	return func(peer ID) error {
		if a, ok := peer.Agent(); !ok || a.TrustDomain != trustDomain {
			return fault.Newf("identity.AnyAgent", fault.Unauthenticated, "%s is no agent of %s", peer, trustDomain)
		}
		return nil
	}
}

// AnyCaller accepts every agent and every person with a pass of the given trust domain, as AnyAgent does agents.
func AnyCaller(trustDomain string) Accept {
	return func(peer ID) error {
		if p, ok := peer.Person(); ok && p.TrustDomain == trustDomain {
			return nil
		}
		return AnyAgent(trustDomain)(peer)
	}
}

// ClientTLS returns a TLS 1.3 configuration for dialling a peer that accept allows. Names in the certificate play no part: the
// SPIFFE id does.
func (c *Credentials) ClientTLS(accept Accept, alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{alpn},
		DynamicRecordSizingDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.current.Load().cert, nil
		},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection below verifies chain and SPIFFE id, which is what counts here
		VerifyConnection:   c.verify(accept, x509.ExtKeyUsageServerAuth),
	}
}

// ServerTLS returns a TLS 1.3 configuration for peers that must show a certificate accept allows.
func (c *Credentials) ServerTLS(accept Accept, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  alpn,
		DynamicRecordSizingDisabled: true,
		ClientAuth:                  tls.RequireAnyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load().cert, nil
		},
		VerifyConnection: c.verify(accept, x509.ExtKeyUsageClientAuth),
	}
}

// verify is called on resumed connections too, so a certificate that lapsed or a peer no longer accepted is refused there as well.
func (c *Credentials) verify(accept Accept, usage x509.ExtKeyUsage) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return fault.New("identity.verify", fault.Unauthenticated, "the peer showed no certificate")
		}
		id, err := c.VerifyChain(cs.PeerCertificates, usage)
		if err != nil {
			return err
		}
		return accept(id)
	}
}

// VerifyChain checks a peer's chain against our roots now and returns its SPIFFE id.
func (c *Credentials) VerifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage) (ID, error) {
	inter := x509.NewCertPool()
	for _, ic := range chain[1:] {
		inter.AddCert(ic)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: c.Roots(), Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return "", fault.Wrap("identity.VerifyChain", fault.Unauthenticated, err, certificateWords(chain[0], time.Now()))
	}
	return FromCertificate(chain[0])
}

func certificateWords(leaf *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(leaf.NotBefore):
		return "the peer's certificate is not valid yet: compare the clocks of both machines"
	case now.After(leaf.NotAfter):
		return "the peer's certificate has lapsed: it could not renew it with the control plane in time, or a clock is wrong"
	}
	return "the peer's certificate was not issued by this deployment"
}

// PeerID returns the SPIFFE id of a connection that ClientTLS or ServerTLS verified.
func PeerID(cs tls.ConnectionState) (ID, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", fault.New("identity.PeerID", fault.Unauthenticated, "the peer showed no certificate")
	}
	return FromCertificate(cs.PeerCertificates[0])
}

// NewKey makes a P-256 key and returns it with its PKCS #8 PEM.
func NewKey() (crypto.Signer, []byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fault.Wrap("identity.NewKey", fault.Internal, err, "")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, fault.Wrap("identity.NewKey", fault.Internal, err, "")
	}
	return k, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// NewRequest returns the PEM of a certificate request for the id and DNS names, signed by the key.
func NewRequest(key crypto.Signer, id ID, dnsNames ...string) ([]byte, error) {
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "isthmus"}, DNSNames: dnsNames}
	if id != "" {
		u, err := id.URL()
		if err != nil {
			return nil, fault.Wrap("identity.NewRequest", fault.Invalid, err, "the id is not a URL")
		}
		tmpl.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, fault.Wrap("identity.NewRequest", fault.Internal, err, "")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
