package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	maxToken     = 32 << 10
	maxProviders = 1000
	keepMetadata = time.Hour
	// staleMetadata is how long metadata is still good when the provider does not give it anew.
	staleMetadata = 24 * time.Hour
)

// Verifier verifies identity tokens, and remembers the metadata and keys of providers.
type Verifier struct {
	cfg Config
	clk clock.Clock

	mu   sync.Mutex // guards kept
	kept map[string]*known
}

// NewVerifier returns a Verifier that has asked nobody yet.
func NewVerifier(cfg Config, clk clock.Clock) *Verifier {
	return &Verifier{cfg: cfg, clk: clk, kept: map[string]*known{}}
}

// algorithms are those by which only the provider can sign. With HS256 everybody could who knows its public key, taken for a secret.
func algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}
}

// Verify returns what a token says if all of it holds. Unauthenticated, with words that say why, for one that does not; the faults of
// Discover when the provider cannot be asked for its keys.
func (v *Verifier) Verify(ctx context.Context, p Provider, token string) (*Claims, error) {
	signed, err := shape(token)
	if err != nil {
		return nil, err
	}
	keys, err := v.of(p).ready(ctx, v.cfg, v.clk)
	if err != nil {
		return nil, err
	}
	seen := &witness{keys: keys}
	_, err = oidc.NewVerifier(p.Issuer, seen, &oidc.Config{ClientID: p.ClientID, SupportedSigningAlgs: algorithms(), Now: v.clk.Now}).Verify(ctx, token)
	if seen.payload == nil {
		return nil, seen.why(p, err)
	}
	c, bad := readClaims(seen.payload)
	if bad == nil {
		bad = c.check(p, v.clk.Now())
	}
	if bad != nil {
		return nil, bad
	}
	if err != nil { // the library has a reason of its own
		return nil, refuse("its claims do not hold").Because(err)
	}
	c.Signed = signed
	return c, nil
}

// shape wants the compact form of a signed token (RFC 7515 7.1), which has one signature and nothing beside it, and looks at how it says
// it is signed. It returns the token without its signature.
func shape(token string) (signed string, err error) {
	at := strings.LastIndexByte(token, '.')
	head, _, _ := strings.Cut(token, ".")
	text, bad := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		Algorithm string `json:"alg"`
	}
	if bad == nil {
		bad = json.Unmarshal(text, &header)
	}
	switch {
	case len(token) > maxToken:
		return "", refuse("it is larger than %d KiB", maxToken>>10)
	case strings.Count(token, ".") != 2 || bad != nil:
		return "", refuse("it is no signed token in compact form")
	case header.Algorithm == "" || strings.EqualFold(header.Algorithm, "none"):
		return "", refuse("it is not signed")
	case !slices.Contains(algorithms(), header.Algorithm):
		return "", refuse("it is signed with %q, and only algorithms with a public key count", clip(header.Algorithm)).
			Advise("let the provider sign identity tokens with RS256, ES256 or EdDSA")
	}
	return token[:at], nil
}

// witness remembers what a set of keys said, which the library turns into text.
type witness struct {
	keys    oidc.KeySet
	payload []byte
	err     error
}

func (w *witness) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	w.payload, w.err = w.keys.VerifySignature(ctx, token)
	return w.payload, w.err
}

// why tells an answer that did not come from a signature that does not fit.
func (w *witness) why(p Provider, err error) error {
	var asking interface{ Timeout() bool } // of every error of package http and context
	_, ours := errors.AsType[*fault.Error](w.err)
	switch {
	case w.err == nil:
		return refuse("it cannot be read").Because(err)
	case ours || errors.As(w.err, &asking) || strings.HasPrefix(w.err.Error(), "fetching keys"):
		return unreachable("signin.Verify", p, w.err)
	}
	return refuse("no key of %s has signed it", p.Issuer).Because(w.err).Advise("sign in again: isthmus login; if it stays so, somebody changed the token on its way")
}

// of returns what is known of a provider; nothing when it has changed since.
func (v *Verifier) of(p Provider) *known {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.kept[p.Name]
	if k == nil || k.provider != p {
		if k == nil && len(v.kept) >= maxProviders {
			v.forgetOne()
		}
		k = &known{provider: p, turn: make(chan struct{}, 1)}
		v.kept[p.Name] = k
	}
	k.used = v.clk.Now()
	return k
}

// forgetOne makes room: what was not used for the longest time is asked for again.
func (v *Verifier) forgetOne() {
	oldest := ""
	for name, k := range v.kept {
		if oldest == "" || k.used.Before(v.kept[oldest].used) {
			oldest = name
		}
	}
	delete(v.kept, oldest)
}

// known is what is known of one provider.
type known struct {
	provider Provider
	used     time.Time     // guarded by Verifier.mu
	turn     chan struct{} // holds the fields below, also while asking

	keys   *oidc.RemoteKeySet
	at     time.Time // when the metadata came
	failed time.Time // when it last did not
	err    error
}

// ready returns the provider's keys, after asking for its metadata when it must: once for all who wait.
func (k *known) ready(ctx context.Context, cfg Config, clk clock.Clock) (oidc.KeySet, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, unreachable("signin.Verify", k.provider, ctx.Err())
	}
	now := clk.Now()
	if k.keys != nil && now.Sub(k.at) < keepMetadata {
		return k.keys, nil
	}
	if k.err == nil || now.Sub(k.failed) >= askAgain {
		m, err := Discover(ctx, k.provider, cfg)
		switch {
		case err == nil:
			k.learn(m, now, clk)
		case ctx.Err() != nil: // the asker's own end says nothing about the provider
			return nil, err
		default:
			k.err, k.failed = err, now
		}
	}
	if k.keys != nil && (k.err == nil || now.Sub(k.at) < staleMetadata) {
		return k.keys, nil
	}
	return nil, k.err
}

// learn begins with no keys: one that the provider took back is good for an hour at most.
func (k *known) learn(m *Metadata, now time.Time, clk clock.Clock) {
	k.err, k.at = nil, now
	client := &http.Client{Transport: &memo{next: m.Client.Transport, clk: clk}, CheckRedirect: m.Client.CheckRedirect}
	k.keys = oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), m.keys)
}
