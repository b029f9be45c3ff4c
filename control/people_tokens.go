package control

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

const (
	day              = 24 * time.Hour
	defaultTokenLife = 90 * day
	maxTokenLife     = 366 * day
	maxTokensOf      = 20       // live ones of one person, and as many sign-ins
	keepEndedTokens  = 30 * day // so that a token that ended is told so and not called unknown
)

// CreatePersonToken makes a token with which a person does what his roles let him do. People make their own; an owner makes the first one
// for somebody, and the next when no other is good any more. It always has an end. Conflict for somebody who signs in at an identity
// provider, or is disabled.
func (c *Control) CreatePersonToken(ctx context.Context, p Principal, uid string, req PersonTokenRequest) (secret string, t Token, err error) {
	op := "control.CreatePersonToken"
	if req.Name == "" {
		req.Name = "personal"
	}
	if req.Life == 0 {
		req.Life = defaultTokenLife
	}
	own := p.Person != "" && p.Person == uid
	if !own {
		err = p.mayOwn(op)
	}
	if err == nil && len(req.Name) > 100 {
		err = fault.New(op, fault.Invalid, "the token's name has more than 100 bytes").Advise("name the program or the machine that uses it")
	}
	if err == nil && (req.Life < time.Minute || req.Life > maxTokenLife) {
		err = fault.Newf(op, fault.Invalid, "a personal token cannot last %s", req.Life).Advise("give it an end between a minute and %d days from now", int(maxTokenLife/day))
	}
	if err == nil {
		err = checkText(op, "the token's name", req.Name)
	}
	if err != nil {
		return "", Token{}, err
	}
	err = c.update(ctx, p.Who(), "", func(w *work) error {
		of, ok, err := w.Person(uid)
		if err != nil {
			return err
		}
		if !ok || !p.sees(of.Tenant) {
			return noPerson(op, uid)
		}
		if err := w.mayHaveToken(op, of, own); err != nil {
			return err
		}
		kept := store.APIToken{Name: req.Name, Expires: w.now.Add(req.Life)}
		if secret, t, err = w.newPersonToken(of, kept); err != nil {
			return err
		}
		return w.record(of.Tenant, "create", keyOfToken(t.ID), nil, portrayToken(kept, of.Name))
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

func (w *work) mayHaveToken(op string, of store.Person, own bool) error {
	live, err := w.liveTokens(of.UID)
	if err != nil {
		return err
	}
	live = slices.DeleteFunc(live, func(t store.APIToken) bool { return t.Provider != "" })
	switch {
	case !of.Disabled.IsZero():
		return fault.Newf(op, fault.Conflict, "%s is disabled", of.Name).Advise("enable the person first: isthmus person enable %s", of.Name)
	case of.Provider != "":
		return fault.Newf(op, fault.Conflict, "%s signs in at %s, and a token would outlast what happens to the person there", of.Name, of.Provider).
			Advise("sign in: isthmus login --provider %s/%s; programs have tokens of their own: isthmus token create", of.Tenant, of.Provider)
	case !own && len(live) > 0:
		return fault.Newf(op, fault.Denied, "%s has a token and makes others himself", of.Name).
			Advise("if it is lost, revoke it first: isthmus token revoke %s", live[0].ID)
	case len(live) >= maxTokensOf:
		return fault.Newf(op, fault.Exhausted, "%s has %d tokens", of.Name, len(live)).Advise("revoke one that is not used: isthmus token list --mine")
	}
	return nil
}

// liveTokens are a person's tokens that are good now, the oldest first.
func (w *work) liveTokens(uid string) ([]store.APIToken, error) {
	all, err := w.TokensOf(uid)
	return slices.DeleteFunc(all, func(t store.APIToken) bool { return !t.Revoked.IsZero() || !w.now.Before(t.Expires) }), err
}

// newPersonToken makes a token of a person out of its name, end and provider. The record is the caller's.
func (w *work) newPersonToken(of store.Person, t store.APIToken) (string, Token, error) {
	t.ID = letters(12)
	secret := tokenPrefix + t.ID + "_" + letters(52)
	t.Hash, t.Tenant, t.Person, t.Created, t.MadeBy = hashOf(secret), of.Tenant, of.UID, w.now, w.who
	return secret, tokenView(t), w.AddAPIToken(t)
}

// tokenPortrait is what an audit record shows of a person's token.
type tokenPortrait struct {
	Name     string    `json:"name"`
	Person   string    `json:"person"`
	Provider string    `json:"provider,omitempty"`
	Expires  time.Time `json:"expires"`
}

func portrayToken(t store.APIToken, person string) tokenPortrait {
	return tokenPortrait{Name: t.Name, Person: person, Provider: t.Provider, Expires: t.Expires}
}

// PersonTokens lists a person's tokens, the ended ones included: one's own, or for whoever may see tokens of the tenant.
func (c *Control) PersonTokens(ctx context.Context, p Principal, uid string) ([]Token, error) {
	op := "control.PersonTokens"
	out := []Token{}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		of, ok, err := tx.Person(uid)
		if err != nil {
			return err
		}
		if !ok || !p.sees(of.Tenant) || p.Person != uid && !p.seesTokens() {
			return noPerson(op, uid)
		}
		list, err := tx.TokensOf(uid)
		for _, t := range list {
			out = append(out, c.tokenSeen(t))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// seesTokens tells whether the principal may see other people's tokens in its reach.
func (p Principal) seesTokens() bool {
	return p.Person == "" || p.has(resource.RoleOwner, resource.RoleNetworkAdmin, resource.RoleAuditor)
}

// tokenSeen is tokenView with what was not written down yet.
func (c *Control) tokenSeen(t store.APIToken) Token {
	v := tokenView(t)
	if at := c.uses.last(t.ID); at.After(v.LastUsed) {
		v.LastUsed = at
	}
	return v
}

// notAPerson refuses a program's token with a person's name: audit records call both by it.
func (w *work) notAPerson(op string, req TokenRequest) error {
	_, taken, err := w.PersonNamed(req.Tenant, strings.ToLower(req.Name))
	if err == nil && taken {
		err = fault.Newf(op, fault.Conflict, "the tenant %s has a person called %s, and the audit log could not tell the two apart", req.Tenant, req.Name).
			Advise("name the token after its program; the person's own are made with: isthmus person token %s", req.Name)
	}
	return err
}
