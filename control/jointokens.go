package control

import (
	"context"
	"fmt"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

const (
	defaultJoinTTL = time.Hour
	// maxJoinTTL bounds the life of a join token.
	maxJoinTTL = 30 * 24 * time.Hour
	// maxUses bounds how many processes join with one token.
	maxUses = 1000
	// minEphemeral leaves time for a restart, and for reports, which come every minute.
	minEphemeral = 5 * time.Minute
)

// keyOfJoinToken is how join tokens stand in audit records, beside the nouns.
func keyOfJoinToken(id string) resource.Key { return resource.Key{Kind: "JoinToken", Name: id} }

// anotherToken tells how to make a token like this one.
func anotherToken(t store.JoinToken) string {
	again := "make a new one with: isthmus token join --for " + t.For
	if t.Network != "" {
		again += " --network " + t.Tenant + "/" + t.Network
	}
	if t.Uses > 1 {
		again += fmt.Sprintf(" --uses %d", t.Uses)
	}
	return again
}

// CreateJoinToken makes a token with which one process, or as many as it has uses, joins one network, each once. Relays are for
// administrators of the deployment.
func (c *Control) CreateJoinToken(ctx context.Context, p Principal, req JoinTokenRequest) (JoinToken, error) {
	op := "control.CreateJoinToken"
	if err := p.mayWrite(op); err != nil {
		return JoinToken{}, err
	}
	if req.TTL == 0 {
		req.TTL = defaultJoinTTL
	}
	if req.Uses == 0 {
		req.Uses = 1
	}
	if err := checkJoinRequest(op, p, req); err != nil {
		return JoinToken{}, err
	}
	if len(c.cfg.Addresses) == 0 {
		return JoinToken{}, fault.New(op, fault.Precondition, "the server does not know at which address joiners reach it").
			Advise("start the server with its address, host:port, as joiners see it")
	}
	tok := jointoken.Token{
		Addresses: c.cfg.Addresses, Pin: jointoken.Pin(c.authority.Certificate()), ID: letters(12), Secret: letters(52), TrustDomain: c.cfg.TrustDomain,
	}
	text, err := tok.Encode()
	if err != nil {
		return JoinToken{}, err
	}
	out := JoinToken{ID: tok.ID, Secret: text}
	err = c.update(ctx, p.Who(), "", func(w *work) error {
		if req.For != JoinRelay {
			if err := w.mustExist(op, networkKey(req.Tenant, req.Network)); err != nil {
				return err
			}
		}
		out.Expires = w.now.Add(req.TTL)
		if err := w.AddJoinToken(store.JoinToken{
			ID: tok.ID, Hash: hashOf(tok.Secret), For: string(req.For), Tenant: req.Tenant, Network: req.Network, Name: req.Name,
			Created: w.now, MadeBy: w.who, Expires: out.Expires, Uses: req.Uses, Ephemeral: req.EphemeralAfter,
		}); err != nil {
			return err
		}
		return w.record(req.Tenant, "create", keyOfJoinToken(tok.ID), nil, map[string]any{
			"for": req.For, "tenant": req.Tenant, "network": req.Network, "name": req.Name, "expires": out.Expires,
			"uses": req.Uses, "ephemeralAfter": req.EphemeralAfter.String(),
		})
	})
	if err != nil {
		return JoinToken{}, err
	}
	return out, nil
}

func checkJoinRequest(op string, p Principal, req JoinTokenRequest) error {
	switch req.For {
	case JoinAgent, JoinHub, JoinGateway, JoinBridge:
		if req.Tenant == "" || req.Network == "" {
			return fault.Newf(op, fault.Invalid, "a token for %s needs a tenant and a network", withArticle(req.For)).Advise("name the network as TENANT/NETWORK")
		}
		if !p.sees(req.Tenant) {
			return noSuch(op, networkKey(req.Tenant, req.Network))
		}
	case JoinRelay:
		if req.Tenant != "" || req.Network != "" {
			return fault.New(op, fault.Invalid, "a relay belongs to no tenant and no network").Advise("leave both out")
		}
		if err := p.mustBeAdmin(op, "let a relay join"); err != nil {
			return err
		}
	default:
		return fault.Newf(op, fault.Invalid, "%q cannot join", req.For).Advise("make a token for an agent, a gateway, a bridge, a hub or a relay")
	}
	switch {
	case req.Uses < 0 || req.Uses > maxUses:
		return fault.Newf(op, fault.Invalid, "%d uses are not possible", req.Uses).Advise("a join token has 1 to %d uses", maxUses)
	case req.Uses > 1 && req.Name != "":
		return fault.Newf(op, fault.Invalid, "%d processes cannot all be called %s", req.Uses, req.Name).Advise("leave the name out; each is given one of its own")
	case req.EphemeralAfter == 0:
	case req.For == JoinHub || req.For == JoinRelay:
		return fault.Newf(op, fault.Invalid, "%s does not come and go by itself", withArticle(req.For)).Advise("leave ephemeralAfter out; it is for agents, gateways and bridges")
	case req.EphemeralAfter < minEphemeral || req.EphemeralAfter > maxJoinTTL:
		return fault.Newf(op, fault.Invalid, "removing what was not seen for %s is not possible", req.EphemeralAfter).Advise("choose 5 minutes (5m) to 30 days (720h)")
	}
	if req.TTL < 0 || req.TTL > maxJoinTTL {
		return fault.Newf(op, fault.Invalid, "a life of %s is not possible", req.TTL).Advise("a join token lives at most 30 days (720h), an hour when nothing is said")
	}
	if req.Name != "" {
		return resource.ValidateName(req.Name)
	}
	return nil
}

// withArticle is a joiner in prose.
func withArticle(j Joiner) string {
	if j == JoinAgent {
		return "an agent"
	}
	return "a " + string(j)
}

// ListJoinTokens returns what is known of the join tokens of the principal's reach, the oldest first, those used, expired and revoked
// included. A tenant that is not there, or not to be seen, gives an empty list; those of relays are the deployment's.
func (c *Control) ListJoinTokens(ctx context.Context, p Principal, f Filter) ([]JoinTokenView, error) {
	tenant := p.Tenant
	if f.Tenant != "" {
		if !p.sees(f.Tenant) {
			return nil, nil
		}
		tenant = f.Tenant
	}
	var kept []store.JoinToken
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		kept, err = tx.JoinTokens(tenant, tenant == "")
		return err
	})
	now := c.clock.Now()
	var out []JoinTokenView
	for _, t := range kept {
		if f.Scope == "" || f.Scope == t.Network {
			out = append(out, joinTokenView(t, now))
		}
	}
	return out, err
}

func joinTokenView(t store.JoinToken, now time.Time) JoinTokenView {
	v := JoinTokenView{
		ID: t.ID, For: Joiner(t.For), Tenant: t.Tenant, Network: t.Network, Name: t.Name, State: JoinUnused, CreatedAt: t.Created, CreatedBy: t.MadeBy,
		Expires: t.Expires, UsedAt: t.UsedAt, UsedBy: t.UsedBy, RevokedAt: t.Revoked, RevokedBy: t.RevokedBy, Reason: t.Reason,
		Uses: t.Uses, Used: t.Used,
	}
	if t.Ephemeral > 0 {
		v.EphemeralAfter = t.Ephemeral.String()
	}
	switch {
	case t.Used >= t.Uses:
		v.State = JoinUsed
	case !t.Revoked.IsZero():
		v.State = JoinRevoked
	case now.After(t.Expires):
		v.State = JoinExpired
	}
	return v
}

// RevokeJoinToken ends a join token before it is used, or used up; revoking it again changes nothing. NotFound when there is none the
// principal may see; Conflict when it is used up, because what joined with it does not leave by this.
func (c *Control) RevokeJoinToken(ctx context.Context, p Principal, id, reason string) error {
	op := "control.RevokeJoinToken"
	if err := p.mayWrite(op); err != nil {
		return err
	}
	if err := checkReason(op, reason); err != nil {
		return err
	}
	return c.update(ctx, p.Who(), reason, func(w *work) error {
		t, ok, err := w.JoinToken(id)
		if err != nil {
			return err
		}
		if !ok || !p.sees(t.Tenant) {
			return fault.Newf(op, fault.NotFound, "there is no join token %q", id).Advise("list them with: isthmus token joins list")
		}
		if t.Used >= t.Uses {
			return w.usedAlready(op, t)
		}
		if !t.Revoked.IsZero() {
			return nil
		}
		if ok, err = w.Tx.RevokeJoinToken(id, w.now, w.who, reason); err != nil {
			return err
		}
		if !ok {
			return fault.Newf(op, fault.Conflict, "join token %s was used or revoked at this moment", id).Advise("look at it with: isthmus token joins list")
		}
		return w.record(t.Tenant, "revoke", keyOfJoinToken(id), map[string]any{
			"for": t.For, "tenant": t.Tenant, "network": t.Network, "name": t.Name, "expires": t.Expires,
		}, nil)
	})
}

// usedWords says when a token was used, and by whom.
func usedWords(t store.JoinToken) string {
	last := t.UsedAt.Format(time.RFC3339) + " by " + t.UsedBy
	if t.Uses > 1 {
		return fmt.Sprintf("used %d times, the last time at %s", t.Used, last)
	}
	return "used at " + last
}

// usedAlready tells who has to go when a token fell into the wrong hands and was used.
func (w *work) usedAlready(op string, t store.JoinToken) error {
	e := fault.Newf(op, fault.Conflict, "join token %s was %s", t.ID, usedWords(t))
	kind := resource.KindAgent
	if Joiner(t.For) == JoinRelay {
		kind = resource.KindRelay
	}
	list, err := w.List(kind, storeFilter(t.Tenant, t.Network))
	if err != nil {
		return err
	}
	for _, o := range list {
		if id, err := idOf(o); err == nil && id == identity.ID(t.UsedBy) {
			return e.Advise("if that should not have happened, delete what joined: isthmus delete %s %s --reason ...", singular(kind), o.Head().Key().Path())
		}
	}
	return e.Advise("what joined with it is gone already")
}
