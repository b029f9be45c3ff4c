package sshca

import (
	"crypto/rand"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/fault"
)

// Early is how long before its moment a certificate is valid already, for machines whose clock is behind.
const Early = 2 * time.Minute

// Bounds of a certificate's text.
const (
	maxID         = 512
	maxPrincipals = 64
	maxPrincipal  = 255
)

// RecordedOnly is the critical option of certificates for targets that are recorded. An sshd refuses options that it does not know
// (PROTOCOL.certkeys): so the certificate is good where sessions are recorded, and not at the machine itself, whichever way leads there.
const RecordedOnly = "recorded-only@isthmus.io"

// UserCertificate is what a person's certificate says.
type UserCertificate struct {
	ID         string    // the key id that sshd writes into its log; 1 to 512 printable bytes
	Principals []string  // accounts it is good for; at least one
	From       time.Time // valid from Early before this moment
	Until      time.Time // valid until this moment, in whole seconds
	Serial     uint64
	PTY        bool // a terminal may be asked for (permit-pty)
	Forwarding bool // ports and the agent may be forwarded (permit-port-forwarding, permit-agent-forwarding)
	UserRC     bool // sshd runs the account's ~/.ssh/rc (permit-user-rc)
	Recorded   bool // no sshd takes it, only who records (RecordedOnly)
}

// User certifies a person's key, as a line of an id_*-cert.pub file. Of a certificate the key in it is certified. A key that Check refuses,
// no principal, an end that is not after the beginning, and text with control characters are Invalid.
func (a *Authority) User(key ssh.PublicKey, c UserCertificate) (string, error) {
	extensions := map[string]string{}
	for name, asked := range map[string]bool{
		"permit-pty": c.PTY, "permit-port-forwarding": c.Forwarding, "permit-agent-forwarding": c.Forwarding, "permit-user-rc": c.UserRC,
	} {
		if asked {
			extensions[name] = ""
		}
	}
	critical := map[string]string{}
	if c.Recorded {
		critical[RecordedOnly] = ""
	}
	return a.sign("sshca.User", key, &ssh.Certificate{
		Serial: c.Serial, CertType: ssh.UserCert, KeyId: c.ID, ValidPrincipals: c.Principals,
		Permissions: ssh.Permissions{CriticalOptions: critical, Extensions: extensions},
	}, c.From, c.Until)
}

// Host certifies a host's key for names, the first of which is its key id. Limits and errors are those of User.
func (a *Authority) Host(key ssh.PublicKey, principals []string, from, until time.Time) (string, error) {
	id := ""
	if len(principals) > 0 {
		id = principals[0]
	}
	return a.sign("sshca.Host", key, &ssh.Certificate{CertType: ssh.HostCert, KeyId: id, ValidPrincipals: principals}, from, until)
}

// sign fills in what both sorts of certificate have.
func (a *Authority) sign(op string, key ssh.PublicKey, c *ssh.Certificate, from, until time.Time) (string, error) {
	if inner, ok := key.(*ssh.Certificate); ok {
		key = inner.Key
	}
	if err := Check(key); err != nil {
		return "", fault.Wrap(op, fault.Internal, err, "")
	}
	// A certificate without principals is good for every account in some implementations.
	if len(c.ValidPrincipals) == 0 || len(c.ValidPrincipals) > maxPrincipals {
		return "", fault.Newf(op, fault.Invalid, "the certificate names %d principals", len(c.ValidPrincipals)).Advise("name 1 to %d", maxPrincipals)
	}
	for _, p := range c.ValidPrincipals {
		if !plain(p, maxPrincipal) || strings.ContainsAny(p, ", \t") {
			return "", fault.Newf(op, fault.Invalid, "%q cannot be a principal", p).Advise("give 1 to %d printable characters without space or comma", maxPrincipal)
		}
	}
	if !plain(c.KeyId, maxID) {
		return "", fault.Newf(op, fault.Invalid, "%q cannot be a certificate's id", c.KeyId).Advise("give 1 to %d printable characters", maxID)
	}
	begin := from.Add(-Early).Unix()
	if begin < 0 || !until.After(from) {
		return "", fault.New(op, fault.Invalid, "the certificate would end before it begins")
	}
	c.Key, c.ValidAfter, c.ValidBefore = key, uint64(begin), uint64(until.Unix())
	if err := c.SignCert(rand.Reader, a.signer); err != nil {
		return "", fault.Wrap(op, fault.Internal, err, "the certificate could not be signed")
	}
	return Line(c), nil
}

// plain tells whether a text can stand in a log and in a terminal.
func plain(s string, most int) bool {
	if s == "" || len(s) > most || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
