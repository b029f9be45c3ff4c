package eventhub

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
	"github.com/isthmus-io/isthmus/workload"
)

// Prove implements Directory. A signature is looked at with the policies of the event hub that the token is for, and then with those of
// the namespace; the key is read as text and as base64.
func (n *Namespace) Prove(ctx context.Context, kind, token string) (Claim, error) {
	var c Claim
	var err error
	switch {
	case n.isTest(token):
		return Claim{Rights: EveryRight, Who: "the test token"}, nil
	case workload.Is(token): // whatever kind it is said to be
		c, err = n.proveWorkload(token)
	case kind == TokenJWT:
		c, err = n.proveIdentity(ctx, token)
	case kind == TokenSAS:
		c, err = n.proveSignature(token)
	default:
		err = fault.Newf("eventhub.Prove", fault.Invalid, "a token of type %.60q is not known here", kind).Advise("use %s or %s", TokenSAS, TokenJWT)
	}
	if err != nil {
		n.server.metrics.refused.WithLabelValues(n.Name(), fault.KindOf(err).String()).Inc()
	}
	return c, err
}

func (n *Namespace) isTest(token string) bool {
	secret := n.server.cfg.TestToken
	return secret != "" && subtle.ConstantTimeCompare([]byte(token), []byte(secret)) == 1
}

func (n *Namespace) proveSignature(token string) (Claim, error) {
	op := "eventhub.Prove"
	if n.spec.Load().KeysOff {
		return Claim{}, keysAreOff(op)
	}
	t, err := sas.Parse(token)
	if err != nil {
		return Claim{}, badSignature(op, err)
	}
	path, here := t.Under(n.HostNames())
	name, _, _ := strings.Cut(path, "/")
	s := n.state.Load()
	h := s.hubs[name]
	var signer eventhubstore.Policy
	if h != nil {
		signer = h.policies[strings.ToLower(t.Policy)]
	}
	i := signerOf(t, signer)
	if i < 0 {
		signer = s.policies[strings.ToLower(t.Policy)]
		i = signerOf(t, signer)
	}
	switch {
	case i < 0:
		return Claim{}, badSignature(op, errors.New("no policy "+shorten(t.Policy)+" of this namespace has signed it"))
	case !here:
		return Claim{}, fault.Newf(op, fault.Unauthenticated, "InvalidAudience: The token is for another namespace than %s.", n.HostName()).
			Advise("sign sr=sb://%s/", n.HostName())
	case !n.server.clock.Now().Before(t.Expires):
		return Claim{}, fault.Newf(op, fault.Expired, "ExpiredToken: The token is expired. Expiration time: %s.", t.Expires.UTC().Format(time.RFC3339)).
			Advise("make a new one, and compare the clocks of both machines if it was just made")
	case path != "" && h == nil:
		return Claim{}, noEntity(op, name)
	}
	c := n.claim(signer, i)
	c.Path, c.Expires = path, t.Expires
	return c, nil
}

// nobodysKey has the form of a policy's key.
const nobodysKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// signerOf tells which of a policy's keys has signed a token, -1 for none. For a policy that is not there that takes as long.
func signerOf(t sas.Token, p eventhubstore.Policy) int {
	if p.PrimaryKey == "" && p.SecondaryKey == "" {
		t.EitherSigner(nobodysKey, nobodysKey)
		return -1
	}
	return t.EitherSigner(p.PrimaryKey, p.SecondaryKey)
}

// claim is what a policy's key gives.
func (n *Namespace) claim(p eventhubstore.Policy, which int) Claim {
	g := &ground{n: n, hub: p.Hub, policy: p.Key, rights: Right(p.Rights).whole(), key: sha256.Sum256([]byte([]string{p.PrimaryKey, p.SecondaryKey}[which]))}
	return Claim{Path: p.Hub, Rights: g.rights, Who: p.Name, Valid: g.holds}
}

// ground is what a claim rests on. The key itself is not kept.
type ground struct {
	n           *Namespace
	hub, policy string
	rights      Right
	key         [sha256.Size]byte
	held        atomic.Int64 // number of the last state in which it held, so that asking often costs nothing
}

func (g *ground) holds() bool {
	if g.n.over.Load() || g.n.spec.Load().KeysOff {
		return false
	}
	s := g.n.state.Load()
	if g.held.Load() == s.number {
		return true
	}
	if !g.in(s) {
		return false
	}
	g.held.Store(s.number)
	return true
}

// in tells whether the policy has the key and the rights that the claim came from.
func (g *ground) in(s *state) bool {
	from := s.policies
	if g.hub != "" {
		h := s.hubs[g.hub]
		if h == nil {
			return false
		}
		from = h.policies
	}
	p := from[g.policy]
	primary, secondary := sha256.Sum256([]byte(p.PrimaryKey)), sha256.Sum256([]byte(p.SecondaryKey))
	known := subtle.ConstantTimeCompare(primary[:], g.key[:]) | subtle.ConstantTimeCompare(secondary[:], g.key[:])
	return known == 1 && Right(p.Rights).whole()&g.rights == g.rights
}

// ProveKey implements Directory. Of policies of event hubs that share a name, the one counts whose key it is.
func (n *Namespace) ProveKey(_ context.Context, policy, key string) (Claim, error) {
	if n.spec.Load().KeysOff {
		n.server.metrics.refused.WithLabelValues(n.Name(), fault.Unauthenticated.String()).Inc()
		return Claim{}, keysAreOff("eventhub.ProveKey")
	}
	s := n.state.Load()
	name := strings.ToLower(policy)
	if i := keyOf(s.policies[name], key); i >= 0 {
		return n.claim(s.policies[name], i), nil
	}
	for _, h := range s.hubs {
		if p, ok := h.policies[name]; ok {
			if i := keyOf(p, key); i >= 0 {
				return n.claim(p, i), nil
			}
		}
	}
	n.server.metrics.refused.WithLabelValues(n.Name(), fault.Unauthenticated.String()).Inc()
	return Claim{}, fault.New("eventhub.ProveKey", fault.Unauthenticated, "the policy is not known, or this is none of its keys").
		Because(errors.New("policy " + shorten(policy)))
}

// keyOf tells which of a policy's keys this is, -1 for none.
func keyOf(p eventhubstore.Policy, key string) int {
	found := -1
	for i, k := range []string{p.PrimaryKey, p.SecondaryKey} {
		if k != "" && subtle.ConstantTimeCompare([]byte(k), []byte(key)) == 1 {
			found = i
		}
	}
	return found
}

func (n *Namespace) proveIdentity(ctx context.Context, token string) (Claim, error) {
	op := "eventhub.Prove"
	check := n.server.cfg.Tokens
	if check == nil {
		return Claim{}, fault.New(op, fault.Unauthenticated, "InvalidToken: This namespace takes no tokens of an identity provider.").
			Advise("use a policy's connection string")
	}
	who, err := check(ctx, *n.spec.Load(), token)
	if err != nil {
		return Claim{}, err
	}
	return Claim{
		Path: strings.ToLower(who.EventHub), Rights: who.Rights.whole(), Expires: who.Expires, Who: who.Who, Valid: func() bool { return !n.over.Load() },
	}, nil
}

// Authorize checks the Authorization header of a request, a SAS token or "Bearer" with that of an identity provider, and that it gives
// the right for a path: the name of an event hub, or "" for the namespace.
func (n *Namespace) Authorize(ctx context.Context, header, path string, need Right) (Claim, error) {
	op := "eventhub.Authorize"
	kind, token := TokenSAS, header
	if scheme, rest, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		kind, token = TokenJWT, strings.TrimSpace(rest)
	}
	if header == "" {
		return Claim{}, fault.New(op, fault.Unauthenticated, "the request has no Authorization header").
			Advise("send a shared access signature for sb://%s/ made with a policy's key", n.HostName())
	}
	c, err := n.Prove(ctx, kind, token)
	if err != nil {
		return c, err
	}
	if !c.Covers(path, need) {
		return c, Unauthorized(op, need)
	}
	return c, nil
}

// Unauthorized is what somebody is told who has proved who he is and may not do what he wants; clients' tests know it by these words.
func Unauthorized(op string, need Right) error {
	for i, name := range rightNames {
		if need&(1<<i) != 0 {
			return fault.Newf(op, fault.Denied, "Unauthorized access. '%s' claim(s) are required to perform this operation.", name).
				Advise("use a policy that has the right, and covers this event hub")
		}
	}
	return fault.New(op, fault.Denied, "Unauthorized access.")
}
