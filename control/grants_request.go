package control

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// RequestGrant asks for access. NotFound for a target that the person's tenant may not know of, Conflict for one that is disabled, Exhausted
// for a person who asks too often or has too much open, and what grant.New says of the policy. A try that is Denied is recorded.
func (c *Control) RequestGrant(ctx context.Context, p Principal, r GrantRequest) (GrantView, error) {
	op := "control.RequestGrant"
	by, err := p.asPerson(op)
	if err != nil {
		return GrantView{}, err
	}
	if err := c.notTooOften(op, by, r.Kind); err != nil {
		return GrantView{}, err
	}
	key, err := resource.ParseKey(resource.KindTarget, r.Target)
	if err != nil {
		return GrantView{}, err
	}
	for _, name := range []string{key.Tenant, key.Scope, key.Name} { // before anything of it is written down
		if err := resource.ValidateName(name); err != nil {
			return GrantView{}, err
		}
	}
	if err := checkReason(op, r.Reason); err != nil {
		return GrantView{}, err
	}
	var g grant.Grant
	err = c.update(ctx, p.Who(), r.Reason, func(w *work) (err error) {
		g, err = w.request(op, p, by, key, r)
		return err
	})
	if err != nil {
		c.recordDenied(ctx, p, key, "request", printable(r.Reason), err)
		return GrantView{}, err
	}
	c.metrics.grants.WithLabelValues(stepOfNew(g)).Inc()
	level := slog.LevelInfo
	if g.Kind == grant.BreakGlass {
		level = slog.LevelWarn
	}
	c.log.Log(ctx, level, "control: access was asked for", "grant", g.ID, "kind", string(g.Kind), "state", string(g.State), "target", g.Target, "who", p.Who(), "reason", g.Reason)
	return c.grantView(ctx, p, g)
}

// Requests of one person: at once, and one more each. An emergency has an allowance of its own, which nothing else uses up.
const (
	requestBurst = 20
	requestEvery = 6 * time.Second
)

// Grants of one person at a time.
const (
	maxRequested = 20
	maxOpen      = 200
)

func (c *Control) notTooOften(op string, by grant.Person, k grant.Kind) error {
	key := by.ID
	if k == grant.BreakGlass {
		key += "!"
	}
	wait := c.requests.Take(key)
	if wait == 0 {
		return nil
	}
	c.metrics.hasty.Inc()
	return tooOften(op, by.Who()+" asked for access too often", wait)
}

// TooOften is the cause of a fault of the kind Exhausted which time alone ends.
type TooOften struct{ Wait time.Duration }

func (t *TooOften) Error() string { return "too often" }

func tooOften(op, words string, wait time.Duration) error {
	wait = max(wait, time.Second).Round(time.Second)
	return fault.New(op, fault.Exhausted, words).Because(&TooOften{wait}).Advise("ask again in %s", wait.String())
}

// stepOfNew is how a new grant stands in records.
func stepOfNew(g grant.Grant) string {
	if g.Kind == grant.BreakGlass {
		return "break-glass"
	}
	return "request"
}

func (w *work) request(op string, p Principal, by grant.Person, key resource.Key, r GrantRequest) (grant.Grant, error) {
	none := grant.Grant{}
	o, err := w.get(key)
	if err != nil {
		return none, err
	}
	t := asOr[*resource.Target](o)
	switch {
	case t == nil || !t.VisibleTo(p.Tenant):
		return none, noSuch(op, key)
	case !t.Enabled():
		return none, fault.Newf(op, fault.Conflict, "%s is disabled", key).Advise("ask its owner to enable it")
	case r.Kind == grant.BreakGlass && p.Tenant != t.Metadata.Tenant:
		return none, fault.New(op, fault.Denied, "the glass is for people of the tenant that owns the target").Advise("ask for access and for somebody to approve: isthmus access request %s", key.Path())
	}
	req := grant.Request{Kind: r.Kind, Reason: r.Reason, From: r.From, For: r.For, Hours: r.Hours}
	if req.Whom, err = w.whom(op, p, t, r.Person); err != nil {
		return none, err
	}
	if req.Ask, err = w.approvers(op, t.Metadata.Tenant, r.Ask); err != nil {
		return none, err
	}
	g, err := grant.New(req, by, t.Metadata.Tenant, w.world().policy(t), w.now)
	if err != nil {
		return none, err
	}
	if err := w.notTooMany(op, g); err != nil {
		return none, err
	}
	g.ID, g.Target, g.TargetUID = letters(grantLetters), key.Path(), t.Metadata.UID
	if err := w.putGrant(g); err != nil {
		return none, err
	}
	return g, w.recordGrant(stepOfNew(g), none, g)
}

const grantLetters = 16 // 80 random bits

func (w *work) notTooMany(op string, g grant.Grant) error {
	requested, open, err := w.CountGrants(g.Person.ID)
	switch {
	case err != nil:
		return err
	case g.State == grant.Requested && requested >= maxRequested:
		return fault.Newf(op, fault.Exhausted, "%d requests of %s wait for a decision already", requested, g.Person.Who()).
			Advise("withdraw some: isthmus access list --mine, isthmus access revoke ID")
	case open >= maxOpen && (g.Kind != grant.BreakGlass || open >= 2*maxOpen):
		return fault.Newf(op, fault.Exhausted, "%s has %d grants already", g.Person.Who(), open).Advise("revoke those that are not needed: isthmus access list --mine")
	}
	return nil
}

// whom finds the person a standing grant is for; nil when that is who asks. Only an owner or approver of the target's tenant gives one to
// another.
func (w *work) whom(op string, p Principal, t *resource.Target, name string) (*grant.Person, error) {
	if name == "" || name == p.Name {
		return nil, nil
	}
	tenant := t.Metadata.Tenant
	if !p.has(resource.RoleOwner, resource.RoleApprover) || p.Tenant != tenant {
		return nil, fault.Newf(op, fault.Denied, "%s %s, and only an owner or approver of %s asks for others", p.Who(), p.roleWords(), tenant).
			Advise("let the person ask")
	}
	if of, rest, ok := strings.Cut(name, "/"); ok {
		tenant, name = of, rest
	}
	person, ok, err := w.PersonNamed(tenant, name)
	if err != nil {
		return nil, err
	}
	if !ok || !person.Disabled.IsZero() || !t.VisibleTo(tenant) {
		return nil, fault.Newf(op, fault.NotFound, "there is no person %q in %s who may be let in", name, tenant).
			Advise("list people with: isthmus person list; one of another tenant is written TENANT/NAME, and the target must be visible to that tenant")
	}
	return &grant.Person{ID: person.UID, Name: person.Name, Tenant: person.Tenant, Roles: person.Roles}, nil
}

// approvers checks that those who are asked exist and may approve. The words are the same for a stranger and for a person without the role.
func (w *work) approvers(op, tenant string, names []string) ([]string, error) {
	var out []string
	for _, name := range names[:min(len(names), grant.MaxAsk+1)] { // one too many, for grant.New to refuse
		person, ok, err := w.PersonNamed(tenant, name)
		if err != nil {
			return nil, err
		}
		if !ok || !mayApprove(person) {
			return nil, fault.Newf(op, fault.NotFound, "%q is no approver of %s", printable(name), tenant).Advise("leave --ask out: every approver may decide then")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

func mayApprove(p store.Person) bool {
	return p.Disabled.IsZero() && (slices.Contains(p.Roles, resource.RoleApprover) || slices.Contains(p.Roles, resource.RoleOwner))
}

// printable is a short form of what somebody sent, for words and records.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, cut(s, maxReason))
}
