package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // thumbprints of IoT Hub may be SHA-1; nothing else relies on it
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"

	"github.com/isthmus-io/isthmus/fault"
)

// thumbprints are those of one certificate. The registry holds either.
type thumbprints struct {
	sha1   [sha1.Size]byte
	sha256 [sha256.Size]byte
}

func thumbprintsOf(c *x509.Certificate) thumbprints {
	return thumbprints{sha1.Sum(c.Raw), sha256.Sum256(c.Raw)} //nolint:gosec // see above
}

// among tells whether the certificate is one the registry names, in hex of any case.
func (t thumbprints) among(list ...string) bool {
	found := 0
	for _, text := range list {
		want, err := hex.DecodeString(text)
		if err != nil {
			continue
		}
		found |= subtle.ConstantTimeCompare(want, t.sha1[:]) | subtle.ConstantTimeCompare(want, t.sha256[:])
	}
	return found == 1
}

// proveByCertificate checks the certificate a peer showed in TLS, whose handshake proved that it has the key (IoT Hub: authenticate
// identities with X.509 certificates). One that the registry names by its thumbprint is good as long as it is named there: its dates are
// not looked at. One signed by an authority has to be valid now, for an identity whose name is its common name.
func (h *Hub) proveByCertificate(ctx context.Context, n Name, chain []*x509.Certificate) (Identity, error) {
	op := "hub.Authenticate"
	if len(chain) == 0 {
		return Identity{}, fault.Newf(op, fault.Unauthenticated, "%s sent neither a SAS token nor a certificate", n.Words()).
			Advise("connect with a shared access key, or with the certificate the registry knows")
	}
	d, err := h.known(ctx, n)
	if err != nil {
		return Identity{}, err
	}
	leaf := chain[0]
	id := Identity{Device: n.Device, Module: n.Module, Generation: d.Generation, Method: method(scopeOf(n).String(), "x509")}
	switch d.AuthType {
	case AuthSelfSigned:
		id.signer.thumbs = thumbprintsOf(leaf)
		if !id.signer.thumbs.among(d.PrimaryThumbprint, d.SecondaryThumbprint) {
			return Identity{}, fault.Newf(op, fault.Unauthenticated, "the certificate of %s (SHA-256 %x) is not one the registry names", n.Words(), id.signer.thumbs.sha256).
				Advise("put its thumbprint into the registry, or give the device the certificate that is named there")
		}
	case AuthCertificateAuthority:
		if leaf.Subject.CommonName != n.String() {
			return Identity{}, fault.Newf(op, fault.Unauthenticated, "the certificate's common name is %q and it connects as %s", shorten(leaf.Subject.CommonName), n.Words()).
				Advise("the common name of a certificate is the id of its device")
		}
		if id.signer.authority, id.Expires, err = h.trusted.Load().vouches(chain, h.server.clock.Now()); err != nil {
			return Identity{}, err
		}
	default:
		return Identity{}, fault.Newf(op, fault.Unauthenticated, "%s proves itself with a shared access key, and showed a certificate", n.Words()).
			Advise("send a SAS token, or set authentication.type in the registry to selfSigned or certificateAuthority")
	}
	return id, h.mayConnect(ctx, d)
}
