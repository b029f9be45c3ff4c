package sshproxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	version  = "SSH-2.0-Isthmus"
	maxTries = 3
)

// KeyID is what the id of a person's certificate is, or begins with before a space: whom it names, and by which grant.
func KeyID(name, grant string) string { return name + " grant " + grant }

// welcome does the handshake with the person. The machine is logged in to, and the recording begun, before the person is told that he is in, so
// that what fails can still be told in words.
func (v *visit) welcome(ctx context.Context, person, machine net.Conn) error {
	const op = "sshproxy.welcome"
	signers, err := v.p.host.signers(ctx, v.s.Target.ID)
	if err != nil {
		return v.fail(session.Unreachable, err)
	}
	cfg := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.CipherAES256CTR},
			MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512,
		},
		MaxAuthTries:        maxTries,
		ServerVersion:       version,
		PreAuthConnCallback: func(c ssh.ServerPreAuthConn) { v.greet = c.SendAuthBanner },
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			permissions, err := v.check(meta.User(), key)
			return permissions, spoken(err)
		},
		VerifiedPublicKeyCallback: func(meta ssh.ConnMetadata, _ ssh.PublicKey, permissions *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			v.account = meta.User()
			v.mayPTY, v.mayForward = has(permissions.Extensions, "permit-pty"), has(permissions.Extensions, "permit-port-forwarding")
			if err := v.login(ctx, machine); err != nil {
				return nil, spoken(err)
			}
			if err := v.record(); err != nil {
				return nil, spoken(err)
			}
			return permissions, nil
		},
	}
	for _, s := range signers {
		cfg.AddHostKey(s)
	}
	conn, chans, reqs, err := ssh.NewServerConn(person, cfg)
	if err == nil {
		v.person, v.personChans, v.personReqs = conn, chans, reqs
		return nil
	}
	if v.refusal != nil {
		return v.fail(session.BadLogin, v.refusal)
	}
	return v.fail(session.BadLogin, fault.New(op, fault.Unauthenticated, "the person's program did not log in with a certificate").
		Advise("use isthmus ssh, or the configuration that isthmus access ssh-config prints").Because(err))
}

// spoken makes of a fault what the person's program shows.
func spoken(err error) error {
	if err == nil || errors.Is(err, errPlainKey) {
		return err
	}
	words := "isthmus: " + fault.Message(err)
	if next := fault.Next(err); next != "" {
		words += "\nisthmus: " + next
	}
	return &ssh.BannerError{Err: err, Message: words + "\n"}
}

var errPlainKey = errors.New("a key without a certificate")

// check decides about a certificate before its key is proven. Whatever the words, they tell nothing the person's own certificate and grant
// do not.
func (v *visit) check(login string, key ssh.PublicKey) (*ssh.Permissions, error) {
	const op = "sshproxy.check"
	if v.failed() {
		return nil, v.err
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok { // programs try all the keys they have; no word about those
		return nil, errPlainKey
	}
	refuse := func(format string, args ...any) (*ssh.Permissions, error) {
		v.refusal = fault.Newf(op, fault.Denied, format, args...).Advise("ask for another certificate: isthmus ssh does")
		return nil, v.refusal
	}
	authority, _, _, _, err := ssh.ParseAuthorizedKey([]byte(v.s.Target.Record.UserCA))
	if err != nil {
		return nil, v.fail(session.NotRecordable, fault.New(op, fault.Internal, "the plan's SSH authority cannot be read").Because(err))
	}
	now := v.now()
	checker := ssh.CertChecker{
		IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(authority.Marshal()) },
		Clock:           func() time.Time { return now },

		SupportedCriticalOptions: []string{sshca.RecordedOnly},
	}
	switch {
	case cert.CertType != ssh.UserCert || !checker.IsUserAuthority(cert.SignatureKey):
		return refuse("the certificate is not from the tenant's SSH authority")
	case sshca.Check(cert.Key) != nil:
		return refuse("the certificate is for a key that is too weak")
	case cert.ValidBefore <= uint64(now.Unix()):
		return refuse("the certificate ended at %s", time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339))
	case cert.ValidAfter > uint64(now.Unix()):
		return refuse("the certificate is not valid yet")
	case !slices.Contains(cert.ValidPrincipals, login): // also when it names none: nobody is let in as anybody
		return refuse("the certificate is not for the account %.64q", login)
	case len(v.s.Target.Record.Logins) > 0 && !slices.Contains(v.s.Target.Record.Logins, login):
		return refuse("people do not log in to this target as %.64q", login)
	}
	want := KeyID(v.s.Grant.Name, v.s.Grant.ID)
	if cert.KeyId != want && !strings.HasPrefix(cert.KeyId, want+" ") {
		return refuse("the certificate is another person's, or for another grant")
	}
	if err := checker.CheckCert(login, cert); err != nil {
		v.log.Warn("a certificate was refused", "error", err)
		return refuse("the certificate is not good")
	}
	return &cert.Permissions, nil
}

func has(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}
