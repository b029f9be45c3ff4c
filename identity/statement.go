package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"

	"github.com/isthmus-io/isthmus/fault"
)

// statementMark begins everything an authority signs that is no certificate. A certificate's signed part begins with an ASN.1 SEQUENCE
// (0x30), so that neither can be taken for the other.
const statementMark = "isthmus statement\x00"

// digestStatement is what is signed: SHA-256 over the mark, the purpose with its length before it, and the statement.
func digestStatement(purpose string, statement []byte) []byte {
	h := sha256.New()
	h.Write([]byte(statementMark))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(purpose)))
	h.Write(n[:])
	h.Write([]byte(purpose))
	h.Write(statement)
	return h.Sum(nil)
}

// SignStatement signs bytes for one purpose: the signature is good for no other purpose and for no certificate. VerifyStatement checks it.
func (a *Authority) SignStatement(purpose string, statement []byte) ([]byte, error) {
	how := crypto.SHA256
	if _, ok := a.key.Public().(ed25519.PublicKey); ok {
		how = 0 // it hashes by itself
	}
	signature, err := a.key.Sign(rand.Reader, digestStatement(purpose, statement), how)
	if err != nil {
		return nil, fault.Wrap("identity.SignStatement", fault.Internal, err, "")
	}
	return signature, nil
}

// Fingerprint is the SHA-256 of a certificate, in hexadecimal: the pin by which people know an authority.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// VerifyStatement checks a signature of SignStatement against the authority with that fingerprint, which must be among the certificates of
// the PEM text, and returns its trust domain. Unauthenticated when it is not there or did not sign this; Invalid when the text holds no
// certificate of an authority. When the certificate lapsed does not matter: what was signed stays signed.
func VerifyStatement(rootsPEM []byte, fingerprint, purpose string, statement, signature []byte) (trustDomain string, err error) {
	op := "identity.VerifyStatement"
	authorities := 0
	for rest := rootsPEM; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if b.Type != "CERTIFICATE" || err != nil || !c.IsCA {
			continue
		}
		authorities++
		if Fingerprint(c) != fingerprint {
			continue
		}
		if !signed(c, digestStatement(purpose, statement), signature) {
			return "", fault.New(op, fault.Unauthenticated, "the signature does not fit what it should have signed").Advise("it was made up, or what was signed has been changed")
		}
		id, err := FromCertificate(c)
		if err != nil {
			return "", err
		}
		return id.TrustDomain(), nil
	}
	if authorities == 0 {
		return "", fault.New(op, fault.Invalid, "there is no authority's certificate in the PEM text").Advise("give the deployment's ca.pem")
	}
	return "", fault.Newf(op, fault.Unauthenticated, "it is signed by another authority, with the fingerprint %.64q", fingerprint).
		Advise("give the ca.pem of the deployment it is of; if you did, somebody else made it")
}

func signed(c *x509.Certificate, digest, signature []byte) bool {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest, signature)
	}
	return false
}
