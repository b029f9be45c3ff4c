package workload

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// Proof is what a good token says.
type Proof struct {
	Workload string    // SPIFFE id
	Agent    string    // SPIFFE id of the agent that signed for it
	Expires  time.Time // when doors stop to believe it
}

// maxKnown bounds the tokens a verifier remembers, all of them good ones.
const maxKnown = 4096

// Verifier checks tokens.
type Verifier struct {
	roots   func() *x509.CertPool
	revoked func() []string
	clock   clock.Clock

	most int // of those known

	mu    sync.Mutex // guards the fields below
	under *x509.CertPool
	known map[[sha256.Size]byte]known
}

// known is a token whose signature and chain were good under the roots.
type known struct {
	Proof
	from     time.Time
	audience string
}

// NewVerifier returns a verifier. roots returns the authorities of the deployment, revoked the SPIFFE ids of agents that are no more; both
// are asked at every look and must be quick; revoked may be nil.
func NewVerifier(roots func() *x509.CertPool, revoked func() []string, clk clock.Clock) *Verifier {
	if revoked == nil {
		revoked = func() []string { return nil }
	}
	return &Verifier{roots: roots, revoked: revoked, clock: clk, most: maxKnown, known: map[[sha256.Size]byte]known{}}
}

// Is tells by a cheap look whether a token says it is one of ours, and not an identity provider's.
func Is(token string) bool {
	first, _, ok := strings.Cut(token, ".")
	if !ok || len(token) > MaxToken {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(first)
	return err == nil && bytes.Contains(text, []byte(`"`+Type+`"`))
}

// Verify checks a token for a service that goes by any of the audiences: those SDKs ask for and its own host names. The signature and the
// agent's chain, the time, the audience, and that the agent can speak for the workload are looked at; whether it may is in the assignments,
// see [Rights]. A token that is good once more costs a look into a table. Faults are Unauthenticated and Expired.
func (v *Verifier) Verify(token string, audiences ...string) (Proof, error) {
	op := "workload.Verify"
	if len(token) > MaxToken {
		return Proof{}, fault.Newf(op, fault.Unauthenticated, "a token of %d bytes is no token of a workload", len(token))
	}
	roots, now, sum := v.roots(), v.clock.Now(), sha256.Sum256([]byte(token))
	k, ok := v.recall(sum, roots)
	if !ok {
		var err error
		if k, err = examine(token, roots, now); err != nil {
			return Proof{}, fault.Wrap(op, fault.Internal, err, "")
		}
	}
	switch {
	case !meant(k.audience, audiences):
		return Proof{}, fault.Newf(op, fault.Unauthenticated, "the token is for %.200q, and not for this service", k.audience).
			Advise("ask for a token for the service's host name")
	case now.Before(k.from):
		return Proof{}, fault.Newf(op, fault.Unauthenticated, "the token is good only from %s on", k.from.Add(Skew).UTC().Format(time.RFC3339)).
			Advise("compare the clocks of both machines")
	case !now.Before(k.Expires):
		return Proof{}, fault.Newf(op, fault.Expired, "the token has expired at %s", k.Expires.Add(-Skew).UTC().Format(time.RFC3339)).
			Advise("make a new one, and compare the clocks of both machines if it was just made")
	case !v.Holds(k.Proof):
		return Proof{}, fault.Newf(op, fault.Unauthenticated, "the agent %s has been removed from the deployment", k.Agent).
			Advise("join the network again under another name")
	}
	if !ok {
		v.remember(sum, roots, k)
	}
	return k.Proof, nil
}

// Holds tells whether the agent of a proof is still one of the deployment's.
func (v *Verifier) Holds(p Proof) bool { return !slices.Contains(v.revoked(), p.Agent) }

func (v *Verifier) recall(sum [sha256.Size]byte, roots *x509.CertPool) (known, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.under != roots {
		if !v.under.Equal(roots) { // what other authorities vouched for
			clear(v.known)
		}
		v.under = roots
	}
	k, ok := v.known[sum]
	return k, ok
}

func (v *Verifier) remember(sum [sha256.Size]byte, roots *x509.CertPool, k known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.under != roots {
		return
	}
	if len(v.known) >= v.most {
		now := v.clock.Now()
		for other, o := range v.known {
			if !now.Before(o.Expires) {
				delete(v.known, other)
			}
		}
		for other := range v.known { // any: whose it was pays a look more
			if len(v.known) < v.most {
				break
			}
			delete(v.known, other)
		}
	}
	v.known[sum] = k
}

// examine checks everything about a token that does not change with the time.
func examine(token string, roots *x509.CertPool, now time.Time) (known, error) {
	op := "workload.examine"
	bad := func(words string, err error) (known, error) {
		return known{}, fault.New(op, fault.Unauthenticated, words).Because(err)
	}
	h, err := headerOf(token)
	if err != nil {
		return known{}, err
	}
	if h.typ != Type || h.alg != string(jose.ES256) {
		return bad("the token is not one of a workload, signed with ES256", nil)
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(token[strings.LastIndexByte(token, '.')+1:]); err != nil { // one text for one signature
		return bad("the signature of the token cannot be read", err)
	}
	chain, err := h.chain()
	if err != nil {
		return known{}, err
	}
	leaf := chain[0]
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return bad("the certificate of the token has no key for ES256", nil)
	}
	agent, err := identity.FromCertificate(leaf)
	if err != nil {
		return known{}, err
	}
	if _, ok := agent.Agent(); !ok {
		return bad("the certificate of the token is no agent's", nil)
	}
	if err := vouched(chain, roots, now); err != nil {
		return known{}, err
	}
	signed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return bad("the token cannot be read", err)
	}
	var c jwt.Claims
	if err := signed.Claims(key, &c); err != nil {
		return bad("the signature of the token does not fit its certificate", err)
	}
	if c.Expiry == nil || c.IssuedAt == nil || len(c.Audience) != 1 || len(c.Audience[0]) > maxAudience {
		return bad("the token does not say when it was made, until when it is good, and for whom alone", nil)
	}
	from := c.IssuedAt.Time()
	if c.NotBefore != nil && c.NotBefore.Time().After(from) {
		from = c.NotBefore.Time()
	}
	expires := c.Expiry.Time()
	switch {
	case c.Issuer != string(agent):
		return bad("the issuer of the token is not the agent that signed it", nil)
	case expires.Sub(c.IssuedAt.Time()) > MaxLifetime:
		return bad("the token is good for too long: two hours are the most", nil)
	case !expires.After(from):
		return bad("the token is never good", nil)
	}
	if err := mayName(agent, identity.ID(c.Subject)); err != nil {
		return known{}, err
	}
	until := expires.Add(Skew)
	if leaf.NotAfter.Before(until) {
		until = leaf.NotAfter
	}
	return known{Proof{c.Subject, string(agent), until.UTC()}, from.Add(-Skew), c.Audience[0]}, nil
}

// vouched checks a chain against the deployment's authorities.
func vouched(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	op := "workload.vouched"
	if roots == nil { // which would mean the machine's
		return fault.New(op, fault.Unauthenticated, "this service knows no authority that could vouch for an agent")
	}
	leaf := chain[0]
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	switch {
	case err == nil && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fault.New(op, fault.Unauthenticated, "the certificate of the token is not one to sign with")
	case err == nil:
		return nil
	case now.After(leaf.NotAfter):
		return fault.Newf(op, fault.Expired, "the certificate of the token has lapsed at %s", leaf.NotAfter.UTC().Format(time.RFC3339)).Because(err)
	}
	return fault.New(op, fault.Unauthenticated, "the certificate of the token was not issued by this deployment").Because(err)
}
