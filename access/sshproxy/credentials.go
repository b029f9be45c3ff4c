package sshproxy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	// maxKept bounds what is kept for each target, grant and account.
	maxKept = 4096
	// notWorthIt is how little time a certificate may have left to be used for another session: time to log in.
	notWorthIt = time.Minute
)

// credentials are what we log in to machines with: for each grant and account a key that only this process has, and its certificate,
// kept until the certificate ends, so that another session can begin while the control plane is away.
type credentials struct {
	certify func(context.Context, CertifyRequest) (string, error)
	clk     clock.Clock

	mu   sync.Mutex // guards the fields below
	kept map[account]*credential
}

type account struct{ grant, login string }

type credential struct {
	signer ssh.Signer
	until  time.Time
}

// get returns what logs a person in, from before or newly certified. The clock's error is offset: the control plane's time minus ours.
func (c *credentials) get(ctx context.Context, r CertifyRequest, offset time.Duration) (ssh.Signer, error) {
	const op = "sshproxy.credentials"
	at := account{r.Grant, r.Login}
	c.mu.Lock()
	kept := c.kept[at]
	c.mu.Unlock()
	if kept != nil && c.clk.Now().Add(offset+notWorthIt).Before(kept.until) {
		return kept.signer, nil
	}
	if c.certify == nil {
		return nil, fault.New(op, fault.Unavailable, "this process has nobody to certify it to the machine")
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	r.PublicKey = sshca.Line(line)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text string
	bounded(c.clk, askTime, cancel, func() { text, err = c.certify(ctx, r) })
	if err != nil {
		return nil, err
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the control plane's certificate cannot be read").Because(err)
	}
	cert, ok := parsed.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.UserCert {
		return nil, fault.New(op, fault.Invalid, "the control plane sent no user certificate")
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the control plane's certificate is for another key").Because(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clk.Now().Add(offset)
	for a, k := range c.kept {
		if !now.Before(k.until) || len(c.kept) >= maxKept {
			delete(c.kept, a)
		}
	}
	c.kept[at] = &credential{signer, time.Unix(int64(min(cert.ValidBefore, 1<<40)), 0)}
	return signer, nil
}
