package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/store"
)

// defaultScopes are asked for beside openid where the provider's rules say nothing.
func defaultScopes() []string { return []string{"profile", "email"} }

// identityProvider reads a provider for somebody who is nobody yet.
func (c *Control) identityProvider(ctx context.Context, op, tenant, name string) (*resource.IdentityProvider, error) {
	var o resource.Object
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		o, err = tx.Get(resource.Key{Kind: resource.KindIdentityProvider, Tenant: tenant, Name: name})
		return err
	})
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(op, fault.NotFound, "there is no such identity provider").Advise("ask an owner of the tenant how it is called: TENANT/NAME")
	}
	if err != nil {
		return nil, err
	}
	return o.(*resource.IdentityProvider), nil
}

// SignInProvider tells whoever names a provider exactly how to sign in there.
func (c *Control) SignInProvider(ctx context.Context, tenant, name string) (SignInProvider, error) {
	p, err := c.identityProvider(ctx, "control.SignInProvider", tenant, name)
	if err != nil {
		return SignInProvider{}, err
	}
	out := SignInProvider{Tenant: tenant, Name: name, Issuer: p.Spec.Issuer, ClientID: p.Spec.ClientID, Scopes: p.Spec.Scopes, CA: p.Spec.CA}
	if len(out.Scopes) == 0 {
		out.Scopes = defaultScopes()
	}
	return out, nil
}

// SignIn begins a session of whoever an identity token is about. Each token counts once. A person is made at the first sign-in; his roles
// are, at each, what the claims give by the provider's rules, and no others.
//
// Faults: NotFound when there is no such provider; Unauthenticated when the token does not hold; Denied for somebody without roles, or
// disabled; Conflict when the person cannot be told from another; what signin.Discover has when the provider cannot be asked. All but the
// first are recorded, within bounds.
func (c *Control) SignIn(ctx context.Context, req SignInRequest) (SignedIn, error) {
	op := "control.SignIn"
	p, err := c.identityProvider(ctx, op, req.Tenant, req.Provider)
	if err != nil {
		return SignedIn{}, err
	}
	out, err := c.signIn(ctx, op, p, req)
	if err != nil {
		c.recordSignInRefused(ctx, p.Key(), err)
		return SignedIn{}, err
	}
	c.log.Info("control: signed in", "person", out.Person.Name, "tenant", req.Tenant, "provider", req.Provider, "until", out.Token.ExpiresAt)
	return out, nil
}

func (c *Control) signIn(ctx context.Context, op string, p *resource.IdentityProvider, req SignInRequest) (SignedIn, error) {
	if req.Challenge != "" {
		if err := c.checkChallenge(op, p.Key(), req.Challenge); err != nil {
			return SignedIn{}, err
		}
	}
	claims, err := c.verifier.Verify(ctx, signin.Provider{Name: p.Key().Path(), Issuer: p.Spec.Issuer, ClientID: p.Spec.ClientID, CA: p.Spec.CA}, req.IDToken)
	if err != nil {
		return SignedIn{}, err
	}
	switch {
	case req.Challenge == "" && claims.Nonce != "":
		return SignedIn{}, fault.New(op, fault.Unauthenticated, "the identity token is refused: it carries a nonce, and nobody shows the challenge to it").Advise("sign in again: isthmus login")
	case req.Challenge != "" && claims.Nonce != nonceOf(req.Challenge):
		return SignedIn{}, fault.New(op, fault.Unauthenticated, "the identity token is refused: it does not carry the nonce of this sign-in").Advise("sign in again: isthmus login")
	}
	var out SignedIn
	var refusal error // of a sign-in that changed something all the same
	err = c.update(ctx, "", "", func(w *work) (err error) {
		if err := w.useOnce(op, p.Key(), claims, req.Challenge); err != nil {
			return err
		}
		out, refusal, err = w.signIn(op, p, claims)
		return err
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return SignedIn{}, err
	}
	return out, nil
}

// useOnce marks a token, and the challenge it answers to, as used.
func (w *work) useOnce(op string, provider resource.Key, claims *signin.Claims, challenge string) error {
	used := [][]byte{hashOf("token\n" + provider.Path() + "\n" + claims.Signed)}
	if challenge != "" {
		used = append(used, hashOf("challenge\n"+challenge))
	}
	end := w.now.Add(max(signin.MaxAge+signin.Ahead, challengeLife) + time.Minute) // after which both are refused for their age
	for _, h := range used {
		fresh, err := w.UseSignIn(h, end, w.now)
		if err != nil {
			return err
		}
		if !fresh {
			return fault.New(op, fault.Unauthenticated, "the identity token was used before").
				Advise("sign in again: isthmus login; if it was not you who used it, tell an owner of the tenant")
		}
	}
	return nil
}

// signIn finds or makes the person and begins the session. refusal is a fault of a change that is kept.
func (w *work) signIn(op string, p *resource.IdentityProvider, claims *signin.Claims) (out SignedIn, refusal, err error) {
	if now, err := w.get(p.Key()); err != nil || now == nil || now.Head().Metadata.Generation != p.Metadata.Generation || now.Head().Metadata.UID != p.Metadata.UID {
		return SignedIn{}, nil, cmp.Or(err, error(fault.New(op, fault.Conflict, "the identity provider was changed meanwhile").Advise("sign in again: isthmus login")))
	}
	before, known, err := w.PersonOf(p.Metadata.Tenant, p.Metadata.Name, claims.Subject)
	if err != nil {
		return SignedIn{}, nil, err
	}
	roles := signin.Roles(&p.Spec, claims)
	after := before
	if known {
		after.Roles = roles
	} else if after, err = newcomer(op, p, claims, roles); err != nil {
		return SignedIn{}, nil, err
	}
	w.who = Principal{Name: after.Name, Tenant: after.Tenant}.Who()
	noRoles := fault.Newf(op, fault.Denied, "%s has no role in %s: none of the claims of %s gives one", after.Name, after.Tenant, p.Metadata.Name).
		Advise("ask an owner of the tenant, or to be put into a group that spec.roles of %s names", p.Key().Path())
	switch {
	case known && !before.Disabled.IsZero():
		return SignedIn{}, nil, fault.Newf(op, fault.Denied, "%s is disabled in %s", before.Name, before.Tenant).Advise("ask an owner of the tenant")
	case known && before.Issuer != p.Spec.Issuer:
		return SignedIn{}, nil, fault.Newf(op, fault.Conflict, "%s is known from the issuer %s, and who %q is to %s is not certain", before.Name, before.Issuer, clipped(claims.Subject), p.Spec.Issuer).
			Advise("if it is the same person, an owner says so: isthmus person link %s --provider %s --subject %s", before.Name, p.Metadata.Name, clipped(claims.Subject))
	case !known && len(roles) == 0:
		return SignedIn{}, nil, noRoles
	case len(roles) == 0:
		return SignedIn{}, noRoles, w.loseRoles(before, after)
	}
	after.SignedIn = w.now
	if !known {
		after.UID, after.Created, after.MadeBy = newUID(), w.now, w.who
		err = w.addPerson(op, after)
	} else if err = w.PutPerson(after); err == nil {
		err = w.outgrown(before, after)
	}
	if err == nil {
		err = w.makeRoom(after)
	}
	if err != nil {
		return SignedIn{}, nil, err
	}
	out, err = w.beginSession(p, before, after, known)
	return out, nil, err
}

// newcomer is somebody the provider names for the first time.
func newcomer(op string, p *resource.IdentityProvider, claims *signin.Claims, roles []resource.TenantRole) (store.Person, error) {
	names := signin.Names(&p.Spec, claims)
	for _, name := range names {
		if name = strings.ToLower(name); checkPersonName(op, name) == nil {
			return store.Person{Tenant: p.Metadata.Tenant, Name: name, Provider: p.Metadata.Name, Issuer: p.Spec.Issuer, Subject: claims.Subject, Roles: roles}, nil
		}
	}
	return store.Person{}, fault.Newf(op, fault.Denied, "no claim of %s gives a name that a person can have here (it has %q)", p.Metadata.Name, clipped(strings.Join(names, ", "))).
		Advise("let spec.nameClaim of %s name a claim of a-z, 0-9, '.', '-', '_', '+' and '@', such as an e-mail address", p.Key().Path())
}

// loseRoles keeps what a sign-in told of somebody who gets none: sessions that are still open may do nothing from now on.
func (w *work) loseRoles(before, after store.Person) error {
	if len(before.Roles) == 0 {
		return nil
	}
	if err := w.PutPerson(after); err != nil {
		return err
	}
	if err := w.outgrown(before, after); err != nil {
		return err
	}
	return w.record(after.Tenant, "roles", keyOfPerson(after), portrayPerson(before), portrayPerson(after))
}

// makeRoom ends the oldest session of somebody who has as many as one may have.
func (w *work) makeRoom(p store.Person) error {
	live, err := w.liveTokens(p.UID)
	if err != nil {
		return err
	}
	live = slices.DeleteFunc(live, func(t store.APIToken) bool { return t.Provider == "" })
	if len(live) < maxTokensOf {
		return nil
	}
	return w.revokeToken(live[0])
}

// signInPortrait is what an audit record shows of a sign-in.
type signInPortrait struct {
	personPortrait
	Token string    `json:"token"`
	Until time.Time `json:"until"`
}

func (w *work) beginSession(p *resource.IdentityProvider, before, after store.Person, known bool) (SignedIn, error) {
	secret, t, err := w.newPersonToken(after, store.APIToken{
		Name: "sign-in at " + p.Metadata.Name, Provider: p.Metadata.Name, Expires: w.now.Add(p.Spec.Session()),
	})
	if err != nil {
		return SignedIn{}, err
	}
	var was any
	if known {
		was = portrayPerson(before)
	}
	now := signInPortrait{portrayPerson(after), t.ID, t.ExpiresAt}
	return SignedIn{Secret: secret, Token: t, Person: personView(after)}, w.record(after.Tenant, "sign-in", keyOfPerson(after), was, now)
}

// recordSignInRefused keeps why nobody was let in, within bounds: anybody can make it happen.
func (c *Control) recordSignInRefused(ctx context.Context, provider resource.Key, why error) {
	if fault.KindOf(why) == fault.Internal {
		return
	}
	c.metrics.refused.Inc()
	c.log.Debug("control: a sign-in was refused", "provider", provider.Path(), "error", why)
	if c.denied.Take("a sign-in at "+provider.Tenant) > 0 {
		c.metrics.unrecorded.Inc()
		return
	}
	err := c.update(ctx, "somebody who signs in", "", func(w *work) error {
		return w.record(provider.Tenant, "sign-in-refused", provider, nil, map[string]string{"why": fault.Message(why), "kind": fault.KindOf(why).String()})
	})
	if err != nil {
		c.log.Warn("control: a refused sign-in could not be recorded", "provider", provider.Path(), "error", err)
	}
}

// SignOut ends the session of the token a person asks with. Conflict for a program's, which others may use.
func (c *Control) SignOut(ctx context.Context, p Principal, bearer string) error {
	if p.Person == "" {
		return fault.Newf("control.SignOut", fault.Conflict, "%s is a program, and other programs may use its token", p.Who()).Advise("if nobody does: isthmus token revoke ID")
	}
	rest, _ := strings.CutPrefix(bearer, tokenPrefix)
	id, _, _ := strings.Cut(rest, "_")
	return c.RevokeToken(ctx, p, id)
}

// LinkPerson says who a person is at an identity provider. From then on the person signs in there and has the roles its claims give; tokens
// that were made for him end. Conflict when the provider's subject is another person here.
func (c *Control) LinkPerson(ctx context.Context, p Principal, uid, provider, subject, reason string) (Person, error) {
	op := "control.LinkPerson"
	if subject == "" || len(subject) > 255 || checkText(op, "the subject", subject) != nil {
		return Person{}, fault.New(op, fault.Invalid, "the subject is missing, or no text of 255 bytes at most").Advise("give the claim sub of the person's identity tokens; a refused sign-in shows it")
	}
	return c.changePerson(ctx, op, p, uid, reason, func(w *work, before store.Person) (store.Person, string, error) {
		after := before
		key := resource.Key{Kind: resource.KindIdentityProvider, Tenant: before.Tenant, Name: provider}
		o, err := w.get(key)
		if err == nil && o == nil {
			err = noSuch(op, key)
		}
		if err != nil {
			return after, "", err
		}
		other, taken, err := w.PersonOf(before.Tenant, provider, subject)
		if err != nil {
			return after, "", err
		}
		if taken && other.UID != uid {
			return after, "", fault.Newf(op, fault.Conflict, "that is %s already", other.Name).Advise("remove that person first, if both are one: isthmus person remove %s", other.Name)
		}
		after.Provider, after.Issuer, after.Subject = provider, o.(*resource.IdentityProvider).Spec.Issuer, subject
		tokens, err := w.TokensOf(uid)
		if err != nil {
			return after, "", err
		}
		for _, t := range tokens {
			if err := w.revokeToken(t); err != nil {
				return after, "", err
			}
		}
		return after, "link", nil
	})
}

// leaveProvider refuses while people sign in there: without it nobody could say who they are.
func (w *work) leaveProvider(p *resource.IdentityProvider) error {
	people, err := w.People(p.Metadata.Tenant)
	if err != nil {
		return err
	}
	people = slices.DeleteFunc(people, func(o store.Person) bool { return o.Provider != p.Metadata.Name })
	if len(people) == 0 {
		return nil
	}
	return fault.Newf("control.Delete", fault.Conflict, "%d people sign in there, such as %s", len(people), people[0].Name).
		Advise("remove them first (isthmus person remove), or link them to another provider (isthmus person link)")
}
