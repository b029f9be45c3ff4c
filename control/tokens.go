package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// An API token is "isthmus_" id "_" secret, with an id of 12 letters to find it by and a secret of 256 bits in base32. The hash of
// the whole is kept; as the secret is random, a plain SHA-256 gives nothing away.
const tokenPrefix = "isthmus_"

const bootstrapped = "bootstrapped" // the setting which says that the first token was given out

// keyOfToken is how tokens stand in audit records, beside the nouns.
func keyOfToken(id string) resource.Key { return resource.Key{Kind: "Token", Name: id} }

func hashOf(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// Bootstrap makes the first administrator's token and returns it; on every later call it returns an empty string.
func (c *Control) Bootstrap(ctx context.Context) (adminToken string, err error) {
	err = c.update(ctx, "first start", "", func(w *work) error {
		done, err := w.Setting(bootstrapped)
		if err != nil || done != "" {
			return err
		}
		secret, _, err := w.newToken(TokenRequest{Name: "admin", Role: RoleAdmin})
		if err != nil {
			return err
		}
		adminToken = secret
		return w.SetSetting(bootstrapped, w.now.Format(time.RFC3339))
	})
	if err != nil {
		return "", err
	}
	return adminToken, nil
}

func (w *work) newToken(req TokenRequest) (secret string, t Token, err error) {
	id := letters(12)
	secret = tokenPrefix + id + "_" + letters(52) // 260 bits
	kept := store.APIToken{ID: id, Hash: hashOf(secret), Name: req.Name, Tenant: req.Tenant, Role: string(req.Role), Created: w.now, MadeBy: w.who}
	if err := w.AddAPIToken(kept); err != nil {
		return "", Token{}, err
	}
	t = tokenView(kept)
	return secret, t, w.record(req.Tenant, "create", keyOfToken(id), nil, req)
}

func tokenView(t store.APIToken) Token {
	return Token{
		ID: t.ID, Name: t.Name, Tenant: t.Tenant, Role: Role(t.Role), Person: t.Person, Provider: t.Provider,
		CreatedAt: t.Created, CreatedBy: t.MadeBy, LastUsed: t.LastUsed, ExpiresAt: t.Expires, RevokedAt: t.Revoked,
	}
}

// Authenticate tells whose token it is. Unauthenticated with the same words for one that is malformed, unknown or wrong; a token
// that was right and is revoked is told so.
func (c *Control) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	op := "control.Authenticate"
	no := func() (Principal, error) {
		c.metrics.refused.Inc()
		return Principal{}, fault.New(op, fault.Unauthenticated, "the token is not known here").
			Advise("check that the whole token was copied, and that it belongs to this server")
	}
	rest, ok := strings.CutPrefix(bearer, tokenPrefix)
	id, _, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || len(bearer) > 200 {
		return no()
	}
	var t store.APIToken
	var person store.Person
	var known bool
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if t, ok, err = tx.APIToken(id); err == nil && t.Person != "" {
			person, known, err = tx.Person(t.Person)
		}
		return err
	})
	if err != nil {
		return Principal{}, err
	}
	if subtle.ConstantTimeCompare(hashOf(bearer), t.Hash) != 1 || !ok {
		return no()
	}
	if !t.Revoked.IsZero() {
		c.metrics.refused.Inc()
		return Principal{}, fault.Newf(op, fault.Unauthenticated, "the token %s was revoked at %s", t.Name, t.Revoked.Format(time.RFC3339)).
			Advise("ask for a new one")
	}
	if !t.Expires.IsZero() && !c.clock.Now().Before(t.Expires) {
		c.metrics.refused.Inc()
		return Principal{}, fault.Newf(op, fault.Unauthenticated, "the token %s ended at %s", t.Name, t.Expires.Format(time.RFC3339)).
			Advise("sign in again: isthmus login; or make a new token before the old one ends: isthmus token create --mine")
	}
	c.uses.note(id, c.clock.Now())
	if t.Person != "" {
		who, err := c.principalOf(op, person, known)
		who.Expires = t.Expires
		return who, err
	}
	return Principal{Name: t.Name, Tenant: t.Tenant, Role: Role(t.Role)}, nil
}

// principalOf is a person who asks with a token of his own.
func (c *Control) principalOf(op string, p store.Person, known bool) (Principal, error) {
	if !known || !p.Disabled.IsZero() {
		c.metrics.refused.Inc()
		return Principal{}, fault.New(op, fault.Unauthenticated, "the person this token belongs to may not sign in any more").
			Advise("ask an owner of the tenant")
	}
	return Principal{Name: p.Name, Tenant: p.Tenant, Person: p.UID, Roles: p.Roles}, nil
}

// CreateToken makes an API token. Administrators make any; owners make every sort but admins for their own tenant.
func (c *Control) CreateToken(ctx context.Context, p Principal, req TokenRequest) (secret string, t Token, err error) {
	op := "control.CreateToken"
	if err := p.mayOwn(op); err != nil {
		return "", Token{}, err
	}
	switch {
	case req.Name == "" || len(req.Name) > 100:
		err = fault.New(op, fault.Invalid, "the token needs a name of 1 to 100 bytes").Advise("name the person or the program that uses it")
	case !slices.Contains([]Role{RoleAdmin, RoleOwner, RoleNetworkAdmin, RoleAuditor, RoleReader}, req.Role):
		err = fault.Newf(op, fault.Invalid, "%q is not a role of a program", req.Role).Advise("roles are admin, owner, network-admin, auditor, reader; people have roles of their own: isthmus person create")
	case req.Role == RoleAdmin && req.Tenant != "":
		err = fault.New(op, fault.Invalid, "an admin is of the whole deployment, not of a tenant").Advise("leave the tenant out, or make an owner")
	case (req.Role == RoleOwner || req.Role == RoleNetworkAdmin) && req.Tenant == "":
		err = fault.Newf(op, fault.Invalid, "an %s is of one tenant", req.Role).Advise("name the tenant, or make an admin")
	case !p.whole() && req.Tenant == "":
		err = p.mustBeAdmin(op, "make tokens for the whole deployment")
	case !p.sees(req.Tenant):
		err = noSuch(op, resource.Key{Kind: resource.KindTenant, Name: req.Tenant})
	}
	if err == nil {
		err = checkText(op, "the token's name", req.Name)
	}
	if err != nil {
		return "", Token{}, err
	}
	err = c.update(ctx, p.Who(), "", func(w *work) error {
		if req.Tenant != "" {
			if err := w.mustExist(op, resource.Key{Kind: resource.KindTenant, Name: req.Tenant}); err != nil {
				return err
			}
			if err := w.notAPerson(op, req); err != nil {
				return err
			}
		}
		secret, t, err = w.newToken(req)
		return err
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

// RevokeToken ends a token at once: any of the reach for owners, their own for people. NotFound when there is none the principal may see.
func (c *Control) RevokeToken(ctx context.Context, p Principal, id string) error {
	op := "control.RevokeToken"
	notOwner := p.mayOwn(op)
	if notOwner != nil && p.Person == "" {
		return notOwner
	}
	return c.update(ctx, p.Who(), "", func(w *work) error {
		t, ok, err := w.APIToken(id)
		if err != nil {
			return err
		}
		own := p.Person != "" && t.Person == p.Person
		if ok && !own && notOwner != nil && p.sees(t.Tenant) && p.seesTokens() {
			return notOwner
		}
		if !ok || !own && (notOwner != nil || !p.sees(t.Tenant)) {
			return fault.Newf(op, fault.NotFound, "there is no token %q", id).Advise("list them with: isthmus token list")
		}
		return w.revokeToken(t)
	})
}

// revokeToken does nothing to a token that has ended.
func (w *work) revokeToken(t store.APIToken) error {
	ok, err := w.RevokeAPIToken(t.ID, w.now)
	if err != nil || !ok {
		return err
	}
	if t.Person != "" {
		of, _, err := w.Person(t.Person)
		if err != nil {
			return err
		}
		return w.record(t.Tenant, "revoke", keyOfToken(t.ID), portrayToken(t, of.Name), nil)
	}
	return w.record(t.Tenant, "revoke", keyOfToken(t.ID), TokenRequest{Name: t.Name, Tenant: t.Tenant, Role: Role(t.Role)}, nil)
}

// ListTokens returns what is known of the tokens of the principal's reach, the ended ones included; of their own for people who are neither
// owners nor network admins nor auditors.
func (c *Control) ListTokens(ctx context.Context, p Principal) ([]Token, error) {
	var out []Token
	err := c.store.View(ctx, func(tx *store.Tx) error {
		list, err := tx.APITokens(p.Tenant, p.whole())
		for _, t := range list {
			if p.seesTokens() || t.Person == p.Person {
				out = append(out, c.tokenSeen(t))
			}
		}
		return err
	})
	return out, err
}

// tokenUses is when tokens were used since it was last written down.
type tokenUses struct {
	mu sync.Mutex // guards at
	at map[string]time.Time
}

func (u *tokenUses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at[id] = at.UTC().Truncate(time.Minute)
}

func (u *tokenUses) last(id string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at[id]
}

func (c *Control) keepUses(ctx context.Context) error {
	c.uses.mu.Lock()
	uses := c.uses.at
	c.uses.at = map[string]time.Time{}
	c.uses.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		for id, at := range uses {
			if err := tx.TouchAPIToken(id, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil { // what was not written is not forgotten
		c.uses.mu.Lock()
		defer c.uses.mu.Unlock()
		for id, at := range uses {
			if c.uses.at[id].Before(at) {
				c.uses.at[id] = at
			}
		}
	}
	return err
}
