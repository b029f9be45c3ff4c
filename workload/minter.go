package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/base64"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

const (
	// Type is the typ of our tokens' headers: it tells them from an identity provider's, and from anything else an agent signs.
	Type = "isthmus-workload+jwt"
	// Lifetime is how long a token is good, unless the certificate that signed it lapses before.
	Lifetime = time.Hour
	// MaxLifetime is how long a token may be good that somebody else made.
	MaxLifetime = 2 * time.Hour
	// MaxToken bounds a token in bytes. One of ours has about two thousand.
	MaxToken = 12 << 10
	// MaxChain bounds the certificates of a token.
	MaxChain = 3
	// Skew is how far the clocks of two machines may be apart.
	Skew = time.Minute
)

// maxMinted bounds the tokens a minter keeps to give again.
const maxMinted = 1024

// Minter makes tokens with an agent's certificate.
type Minter struct {
	creds *identity.Credentials
	clock clock.Clock

	mu     sync.Mutex // guards the fields below
	by     *tls.Certificate
	minted map[purpose]minted
}

type purpose struct{ workload, audience string }

type minted struct {
	text           string
	renew, expires time.Time
}

// NewMinter returns a minter that signs with what creds hold at the moment.
func NewMinter(creds *identity.Credentials, clk clock.Clock) *Minter {
	return &Minter{creds: creds, clock: clk, minted: map[purpose]minted{}}
}

// Token returns a token by which the workload, a SPIFFE id, proves itself to the services of an audience, such as
// "https://lake.servicebus.example/", and until when it is good. The same one is given again for half of its life. Whether the agent may
// speak for the workload is for the services to say. Invalid for a workload that this agent can never speak for, Expired when the agent's
// certificate has lapsed.
func (m *Minter) Token(_ context.Context, workload, audience string) (text string, expires time.Time, err error) {
	op := "workload.Token"
	self := m.creds.ID()
	if err := mayName(self, identity.ID(workload)); err != nil {
		return "", time.Time{}, fault.Wrap(op, fault.Invalid, err, "")
	}
	if audience == "" || len(audience) > maxAudience {
		return "", time.Time{}, fault.Newf(op, fault.Invalid, "an audience of %d bytes is none", len(audience)).Advise("name the service's host: https://HOST/")
	}
	cert, now := m.creds.Certificate(), m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by != cert { // what a key has signed that was renewed since is not given any more
		m.by = cert
		clear(m.minted)
	}
	p := purpose{workload, audience}
	if t, ok := m.minted[p]; ok && now.Before(t.renew) && !now.Before(t.renew.Add(-Lifetime)) {
		return t.text, t.expires, nil
	}
	t, err := mint(cert, self, p, now)
	if err != nil {
		return "", time.Time{}, fault.Wrap(op, fault.Internal, err, "")
	}
	if len(m.minted) >= maxMinted {
		clear(m.minted)
	}
	m.minted[p] = t
	return t.text, t.expires, nil
}

func mint(cert *tls.Certificate, self identity.ID, p purpose, now time.Time) (minted, error) {
	op := "workload.mint"
	key, ok := cert.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return minted{}, fault.New(op, fault.Invalid, "tokens are signed with keys of P-256, and this agent's is of another sort").
			Advise("join the network again: a fresh key fits")
	}
	now = now.Truncate(time.Second)
	expires := now.Add(Lifetime)
	if cert.Leaf.NotAfter.Before(expires) {
		expires = cert.Leaf.NotAfter
	}
	if !now.Before(expires) {
		return minted{}, fault.Newf(op, fault.Expired, "this agent's certificate has lapsed at %s", cert.Leaf.NotAfter.UTC().Format(time.RFC3339)).
			Advise("it is renewed when the control plane can be reached; compare the clocks of both machines too")
	}
	chain := make([]string, len(cert.Certificate))
	for i, der := range cert.Certificate {
		chain[i] = base64.StdEncoding.EncodeToString(der)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType(Type).WithHeader("x5c", chain))
	if err != nil {
		return minted{}, fault.Wrap(op, fault.Internal, err, "")
	}
	text, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: string(self), Subject: p.workload, Audience: jwt.Audience{p.audience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
	}).Serialize()
	if err != nil {
		return minted{}, fault.Wrap(op, fault.Internal, err, "")
	}
	return minted{text, now.Add(expires.Sub(now) / 2), expires}, nil
}
