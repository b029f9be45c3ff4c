package sshca

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/fault"
)

// Authority signs. Its zero value is not usable: see Load.
type Authority struct {
	signer ssh.Signer
}

// NewKey makes an authority's key (Ed25519): the public half as a line of an authorized_keys file without comment, the private half
// as OpenSSH writes private keys (PEM, no passphrase), which Load reads. The caller keeps the latter secret.
func NewKey() (public string, private []byte, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, fault.Wrap("sshca.NewKey", fault.Internal, err, "no key could be made")
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", nil, fault.Wrap("sshca.NewKey", fault.Internal, err, "no key could be made")
	}
	p, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", nil, fault.Wrap("sshca.NewKey", fault.Internal, err, "no key could be made")
	}
	return Line(p), pem.EncodeToMemory(block), nil
}

// Load reads a private key of NewKey. What is not one is Invalid; the words never hold any of it.
func Load(private []byte) (*Authority, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil || signer.PublicKey().Type() != ssh.KeyAlgoED25519 {
		// The cause is left out: it is about secret bytes.
		return nil, fault.New("sshca.Load", fault.Invalid, "the SSH authority's private key cannot be read").
			Advise("give an Ed25519 key as ssh-keygen writes it, without a passphrase")
	}
	return &Authority{signer}, nil
}

// Public returns the authority's public key as a line of an authorized_keys file without comment: what stands in TrustedUserCAKeys.
func (a *Authority) Public() string { return Line(a.signer.PublicKey()) }

// Line writes a public key or certificate as a line of an authorized_keys file, without comment and without end of line.
func Line(key ssh.PublicKey) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
}
