package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// longestPass is the longest life of a pass, and how long before its beginning a grant is in one.
const longestPass = time.Hour

// Passes and certificates of one person: at once, and one more each.
const (
	passBurst = 100
	passEvery = time.Second
)

// maxPassGrants bounds what one pass tells of.
const maxPassGrants = maxOpen

// Pass gives a person a certificate for an hour at most and not beyond his last grant, with what is needed for using it. Denied when no grant
// of his is in force or begins within the hour, with words that say what is wrong; the certificate itself opens nothing without one.
func (c *Control) Pass(ctx context.Context, p Principal, r PassRequest) (Pass, error) {
	op := "control.Pass"
	by, err := p.asPerson(op)
	if err != nil {
		return Pass{}, err
	}
	if err := c.notTooManyPasses(op, by); err != nil {
		return Pass{}, err
	}
	now := c.clock.Now().UTC()
	out, last := c.passGrants(p, r.Grants, now)
	if len(out.Grants) == 0 {
		return Pass{}, c.whyNoPass(ctx, op, p, r.Grants, now)
	}
	ttl := min(longestPass, last.Sub(now))
	id := identity.PersonID(c.cfg.TrustDomain, p.Tenant, p.Person, letters(grantLetters))
	cert, err := c.authority.IssueIdentity([]byte(r.CSR), id, now, ttl)
	if err != nil {
		return Pass{}, err
	}
	out.Certificate, out.Roots, out.Expires = string(cert), c.compiler.roots, now.Add(ttl)
	c.log.Info("control: a pass was given", "who", p.Who(), "grants", len(out.Grants), "expires", out.Expires)
	return out, nil
}

func (c *Control) notTooManyPasses(op string, by grant.Person) error {
	wait := c.passes.Take(by.ID)
	if wait == 0 {
		return nil
	}
	c.metrics.hasty.Inc()
	return tooOften(op, by.Who()+" asked for passes and certificates too often", wait)
}

// passGrants collects the person's grants that let him in now or within the hour, and when the last of them ends.
func (c *Control) passGrants(p Principal, only []string, now time.Time) (out Pass, last time.Time) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w := c.world
	out.Relays, out.Grants = c.compiler.relays(w), []PassGrant{}
	for uid, of := range w.grants {
		t := w.owned[uid]
		for _, g := range of {
			if g.Person.ID != p.Person || len(only) > 0 && !slices.Contains(only, g.ID) || t == nil || !t.Enabled() || !soon(g, now) {
				continue
			}
			out.Grants = append(out.Grants, w.passGrant(p, t, g))
			last = later(last, g.Until)
		}
	}
	slices.SortFunc(out.Grants, func(a, b PassGrant) int {
		return cmp.Or(strings.Compare(a.Target, b.Target), strings.Compare(a.ID, b.ID))
	})
	out.Grants = out.Grants[:min(len(out.Grants), maxPassGrants)]
	return out, last
}

// soon tells whether a grant lets its person in now, or begins to within the hour.
func soon(g *grant.Grant, now time.Time) bool {
	if !g.Live(now) || g.From.After(now.Add(longestPass)) {
		return false
	}
	if g.Hours == nil {
		return true
	}
	from, _, ok := g.Hours.At(later(now, g.From))
	return ok && from.Before(g.Until) && !from.After(now.Add(longestPass))
}

func (w *world) passGrant(p Principal, t *resource.Target, g *grant.Grant) PassGrant {
	policy := w.policy(t)
	out := PassGrant{
		ID: g.ID, Target: t.Key().Path(), TargetUID: t.Metadata.UID, Protocol: t.Protocol(), From: g.From, Until: g.Until, Hours: g.Hours,
		Providers: w.leaders(t), Recorded: recorded(t, policy), Socks: policy.Socks,
	}
	if out.Providers == nil {
		out.Providers = []plan.Peer{}
	}
	if p.Tenant == t.Metadata.Tenant {
		out.Address = t.Spec.Address
	}
	if out.Protocol == resource.ProtocolSSH {
		out.HostCA = w.publics[t.Metadata.Tenant][store.KeySSHHosts]
		if t.Spec.SSH != nil {
			out.Logins, out.HostKeys = t.Spec.SSH.Logins, t.Spec.SSH.HostKeys
		}
	}
	return out
}

// whyNoPass says why none of a person's grants lets him in.
func (c *Control) whyNoPass(ctx context.Context, op string, p Principal, only []string, now time.Time) error {
	var list []grant.Grant
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Grants(store.GrantFilter{Person: p.Person})
		return err
	}); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(g grant.Grant) bool { return len(only) > 0 && !slices.Contains(only, g.ID) })
	no := fault.Newf(op, fault.Denied, "%s has no grant in force", p.Who()).Advise("ask for access: isthmus access request TARGET --reason ...; see: isthmus access list --mine")
	if len(list) == 0 {
		return no
	}
	g := nearest(list, now)
	words, next := c.whyClosed(g, now)
	if words == "" {
		return no
	}
	return fault.Newf(op, fault.Denied, "the grant %s of %s for %s lets nobody in: %s", g.ID, g.Person.Who(), g.Target, words).Advise("%s", next)
}

// whyClosed says what is wrong with a grant that lets nobody in now; nothing when it does.
func (c *Control) whyClosed(g grant.Grant, now time.Time) (words, next string) {
	if aged, changed := g.Age(now); changed {
		g = aged
	}
	c.mu.RLock()
	t := c.world.owned[g.TargetUID]
	c.mu.RUnlock()
	switch {
	case g.State == grant.Requested:
		return "it waits for approval", "isthmus access show " + g.ID + " says who may approve it"
	case g.State != grant.Approved:
		words = "it is " + string(g.State)
		if g.EndedBy != "" {
			words += " by " + g.EndedBy
		}
		if g.EndReason != "" {
			words += ": " + g.EndReason
		}
		return words, "ask again: isthmus access request " + g.Target + " --reason ..."
	case t == nil:
		return "its target was deleted", "list targets: isthmus get targets"
	case !t.Enabled():
		return "its target is disabled", "ask the target's owner to enable it"
	case now.Before(g.From):
		return "it begins at " + g.From.UTC().Format(time.RFC3339), "wait until then"
	case g.Hours != nil:
		if _, holds := g.Hours.Hold(now); !holds {
			from, _, ok := g.Hours.At(now)
			if !ok {
				return "its working hours are over for good", "ask for another grant"
			}
			return "its working hours begin at " + from.Format(time.RFC3339), "wait until then, or ask for access for a while"
		}
	}
	return "", ""
}

// nearest is the grant that lets its person in, or is next to it: one in force before one that waits before one that has ended.
func nearest(list []grant.Grant, now time.Time) grant.Grant {
	rank := func(g grant.Grant) int {
		switch {
		case g.Live(now) && !now.Before(g.From):
			return 0
		case g.Live(now):
			return 1
		case g.State == grant.Requested:
			return 2
		}
		return 3
	}
	return slices.MinFunc(list, func(a, b grant.Grant) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.RequestedAt.Compare(a.RequestedAt))
	})
}
