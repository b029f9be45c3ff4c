package sshca

import (
	"crypto/rsa"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/fault"
)

// Bounds of what is certified.
const (
	minRSA  = 2048     // bits
	maxRSA  = 16384    // bits; OpenSSH's own limit
	maxLine = 16 << 10 // bytes of a public key's line
)

// ParseKey reads a public key as it stands in a .pub file: algorithm, base64, and perhaps a comment. Of a certificate it returns the key
// in it. Options before the key, a second line, and keys that Check refuses are Invalid.
func ParseKey(line string) (ssh.PublicKey, error) {
	const op = "sshca.ParseKey"
	if len(line) > maxLine {
		return nil, fault.Newf(op, fault.TooLarge, "the public key has %d bytes", len(line)).Advise("a key has at most %d", maxLine)
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "this is not an SSH public key").Advise("give one line such as ~/.ssh/id_ed25519.pub has").Because(err)
	}
	if len(options) > 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, fault.New(op, fault.Invalid, "there is more than one public key, or options before it").Advise("give one line such as ~/.ssh/id_ed25519.pub has")
	}
	if c, ok := key.(*ssh.Certificate); ok {
		key = c.Key
	}
	if err := Check(key); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	return key, nil
}

// Check refuses, as Invalid, keys that no certificate should be given for: anything but Ed25519, ECDSA and RSA of 2048 bits or more,
// each also on a security key (sk-).
func Check(key ssh.PublicKey) error {
	bad := func(what string) error {
		return fault.New("sshca.Check", fault.Invalid, what).Advise("make a key with: ssh-keygen -t ed25519")
	}
	if key == nil {
		return bad("there is no public key")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		c, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return bad("the RSA key cannot be looked at")
		}
		k, ok := c.CryptoPublicKey().(*rsa.PublicKey)
		if !ok {
			return bad("the RSA key cannot be looked at")
		}
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return bad(fmt.Sprintf("the RSA key has %d bits; %d to %d are taken", bits, minRSA, maxRSA))
		}
		return nil
	case "ssh-dss":
		return bad("DSA keys are too weak to rely on")
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return bad("a certificate stands where a public key should")
	}
	return bad("keys of this algorithm are not taken")
}
