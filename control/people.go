package control

import (
	"context"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

const (
	maxPeople     = 10_000 // of a tenant
	maxPersonName = 100
)

// kindPerson is how people stand in audit records, beside the nouns.
const kindPerson resource.Kind = "Person"

func keyOfPerson(p store.Person) resource.Key {
	return resource.Key{Kind: kindPerson, Tenant: p.Tenant, Name: p.Name}
}

// personPortrait is what an audit record shows of a person.
type personPortrait struct {
	UID      string                `json:"uid"`
	Roles    []resource.TenantRole `json:"roles"`
	Provider string                `json:"provider,omitempty"`
	Subject  string                `json:"subject,omitempty"`
	Disabled bool                  `json:"disabled,omitempty"`
}

func portrayPerson(p store.Person) personPortrait {
	return personPortrait{UID: p.UID, Roles: p.Roles, Provider: p.Provider, Subject: p.Subject, Disabled: !p.Disabled.IsZero()}
}

func personView(p store.Person) Person {
	return Person{
		UID: p.UID, Tenant: p.Tenant, Name: p.Name, Roles: append([]resource.TenantRole{}, p.Roles...), Provider: p.Provider, Subject: p.Subject,
		CreatedAt: p.Created, CreatedBy: p.MadeBy, DisabledAt: p.Disabled, SignedInAt: p.SignedIn,
	}
}

// checkPersonName keeps names to what nobody can mistake for another: no capitals, no letters of other scripts that look like ours.
func checkPersonName(op, name string) error {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_+@", r)
	}
	if name == "" || len(name) > maxPersonName || strings.ContainsFunc(name, strange) || strings.ContainsRune(".-_+@", rune(name[0])) {
		return fault.Newf(op, fault.Invalid, "%q is no name for a person", clipped(name)).
			Advise("use at most %d of a-z, 0-9, '.', '-', '_', '+' and '@', beginning with a letter or digit; an e-mail address will do", maxPersonName)
	}
	return nil
}

// clipped keeps what somebody sent from filling a reply and the record.
func clipped(s string) string {
	if len(s) <= 2*maxPersonName {
		return s
	}
	return strings.ToValidUTF8(s[:2*maxPersonName], "") + "…"
}

func noPerson(op, who string) *fault.Error {
	return fault.Newf(op, fault.NotFound, "there is no person %q", clipped(who)).Advise("list them with: isthmus person list")
}

// CreatePerson makes a person who does not sign in at an identity provider, and who can do nothing before somebody makes a token for
// him. Owners make people of their own tenant. Conflict when the tenant has a person, or a program's token, of this name.
func (c *Control) CreatePerson(ctx context.Context, p Principal, req PersonRequest) (Person, error) {
	op := "control.CreatePerson"
	err := p.mayOwn(op)
	if err == nil {
		err = checkReason(op, req.Reason)
	}
	req.Name = strings.ToLower(req.Name)
	if err == nil {
		err = checkPersonName(op, req.Name)
	}
	if err == nil {
		err = resource.ValidateRoles("roles", req.Roles)
	}
	if err == nil && !p.sees(req.Tenant) {
		err = noSuch(op, tenantKey(req.Tenant))
	}
	if err != nil {
		return Person{}, err
	}
	made := store.Person{UID: newUID(), Tenant: req.Tenant, Name: req.Name, Roles: req.Roles}
	err = c.update(ctx, p.Who(), req.Reason, func(w *work) error {
		if err := w.mustExist(op, tenantKey(req.Tenant)); err != nil {
			return err
		}
		made.Created, made.MadeBy = w.now, w.who
		if err := w.addPerson(op, made); err != nil {
			return err
		}
		return w.record(made.Tenant, "create", keyOfPerson(made), nil, portrayPerson(made))
	})
	if err != nil {
		return Person{}, err
	}
	return personView(made), nil
}

// addPerson keeps a new person if nothing else of the tenant has the name: audit records call both by it.
func (w *work) addPerson(op string, made store.Person) error {
	all, err := w.People(made.Tenant)
	if err != nil {
		return err
	}
	if len(all) >= maxPeople {
		return fault.Newf(op, fault.Exhausted, "the tenant %s has %d people already", made.Tenant, len(all)).Advise("remove some who are gone: isthmus person list")
	}
	if i := slices.IndexFunc(all, func(p store.Person) bool { return p.Name == made.Name }); i >= 0 {
		other := all[i]
		switch {
		case made.Provider == "" || other.Provider == made.Provider && other.Subject == made.Subject:
			return fault.Newf(op, fault.Conflict, "the tenant %s has a person %s already", made.Tenant, made.Name).Advise("show it with: isthmus person show %s", made.Name)
		default:
			return fault.Newf(op, fault.Conflict, "%s has another person called %s", made.Tenant, made.Name).
				Advise("if it is the same one, an owner says so: isthmus person link %s --provider %s --subject %s", made.Name, made.Provider, made.Subject)
		}
	}
	tokens, err := w.APITokens(made.Tenant, false)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(tokens, func(t store.APIToken) bool { return t.Person == "" && t.Revoked.IsZero() && t.Name == made.Name }) {
		return fault.Newf(op, fault.Conflict, "a program of the tenant %s has a token called %s, and the audit log could not tell the two apart", made.Tenant, made.Name).
			Advise("choose another name, or revoke that token: isthmus token list")
	}
	return w.AddPerson(made)
}

// People lists the people of a tenant by name; of every tenant for the deployment's principals who name none. A tenant that may not be
// seen has none.
func (c *Control) People(ctx context.Context, p Principal, tenant string) ([]Person, error) {
	if tenant == "" {
		tenant = p.Tenant
	}
	out := []Person{}
	if !p.sees(tenant) {
		return out, nil
	}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.People(tenant)
		for _, one := range all {
			out = append(out, personView(one))
		}
		return err
	})
	return out, err
}

// Person returns a person by uid.
func (c *Control) Person(ctx context.Context, p Principal, uid string) (Person, error) {
	op := "control.Person"
	var out Person
	err := c.store.View(ctx, func(tx *store.Tx) error {
		one, ok, err := tx.Person(uid)
		if err == nil && (!ok || !p.sees(one.Tenant)) {
			err = noPerson(op, uid)
		}
		out = personView(one)
		return err
	})
	if err != nil {
		return Person{}, err
	}
	return out, nil
}

// changePerson lets an owner, or an administrator, change a person: decide returns what the person becomes, and what the step is called in
// the audit record; an empty step is none.
func (c *Control) changePerson(ctx context.Context, op string, p Principal, uid, reason string, decide func(w *work, before store.Person) (store.Person, string, error)) (Person, error) {
	if err := p.mayOwn(op); err != nil {
		return Person{}, err
	}
	if err := checkReason(op, reason); err != nil {
		return Person{}, err
	}
	var after store.Person
	err := c.update(ctx, p.Who(), reason, func(w *work) error {
		before, ok, err := w.Person(uid)
		if err != nil {
			return err
		}
		if !ok || !p.sees(before.Tenant) {
			return noPerson(op, uid)
		}
		var step string
		if after, step, err = decide(w, before); err != nil || step == "" {
			return err
		}
		if err := w.keepAnOwner(op, p, before, after); err != nil {
			return err
		}
		if err := w.PutPerson(after); err != nil {
			return err
		}
		return w.record(after.Tenant, step, keyOfPerson(after), portrayPerson(before), portrayPerson(after))
	})
	if err != nil {
		return Person{}, err
	}
	return personView(after), nil
}

func owns(p store.Person) bool {
	return p.Disabled.IsZero() && slices.Contains(p.Roles, resource.RoleOwner)
}

// keepAnOwner refuses a change after which nobody would own the tenant, but for an administrator.
func (w *work) keepAnOwner(op string, p Principal, before, after store.Person) error {
	if p.isAdmin() || !owns(before) || owns(after) {
		return nil
	}
	all, err := w.People(before.Tenant)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(o store.Person) bool { return o.UID != before.UID && owns(o) }) {
		return nil
	}
	return fault.Newf(op, fault.Conflict, "%s is the last owner of %s", before.Name, before.Tenant).
		Advise("make somebody else an owner first, or ask an administrator of the deployment")
}

// SetRoles gives a person exactly these roles. Nobody gives himself a role, and nobody but an administrator takes the last owner's away.
// Conflict for people of an identity provider, whose claims give their roles.
func (c *Control) SetRoles(ctx context.Context, p Principal, uid string, roles []resource.TenantRole, reason string) (Person, error) {
	op := "control.SetRoles"
	if err := resource.ValidateRoles("roles", roles); err != nil {
		return Person{}, err
	}
	return c.changePerson(ctx, op, p, uid, reason, func(w *work, before store.Person) (store.Person, string, error) {
		after := before
		after.Roles = roles
		if before.Provider != "" {
			return after, "", fault.Newf(op, fault.Conflict, "%s signs in at %s, and has the roles that its claims give", before.Name, before.Provider).
				Advise("change the person's groups there, or spec.roles of the identity provider %s/%s; it counts from the next sign-in", before.Tenant, before.Provider)
		}
		if i := slices.IndexFunc(roles, func(r resource.TenantRole) bool { return !slices.Contains(before.Roles, r) }); i >= 0 && p.Person == uid {
			return after, "", fault.Newf(op, fault.Denied, "nobody gives himself a role, and %s does not have the role %s", before.Name, roles[i]).
				Advise("ask another owner of the tenant")
		}
		if slices.Equal(before.Roles, roles) {
			return before, "", nil
		}
		return after, "roles", w.outgrown(before, after)
	})
}

// outgrown ends the grants of somebody whose roles do not let him ask for any now, and takes back his approvals when they do not let him approve.
func (w *work) outgrown(before, after store.Person) error {
	if mayApprove(before) && !mayApprove(after) {
		if err := w.unapprove(before); err != nil {
			return err
		}
	}
	if asks(before) && !asks(after) {
		return w.endGrantsOf(before.UID, "the person's roles changed")
	}
	return nil
}

// asks tells whether a person may ask to be let into targets.
func asks(p store.Person) bool {
	return slices.ContainsFunc([]resource.TenantRole{resource.RoleOwner, resource.RoleNetworkAdmin, resource.RoleOperator},
		func(r resource.TenantRole) bool { return slices.Contains(p.Roles, r) })
}

// DisablePerson keeps a person from everything: tokens are revoked and grants end, with open sessions.
func (c *Control) DisablePerson(ctx context.Context, p Principal, uid, reason string) (Person, error) {
	return c.changePerson(ctx, "control.DisablePerson", p, uid, reason, func(w *work, before store.Person) (store.Person, string, error) {
		after := before
		if !before.Disabled.IsZero() {
			return before, "", nil
		}
		after.Disabled = w.now
		return after, "disable", w.shutOut(before, "the person was disabled")
	})
}

// EnablePerson lets a person in again, who signs in or is given a token; what disabling ended stays so.
func (c *Control) EnablePerson(ctx context.Context, p Principal, uid, reason string) (Person, error) {
	return c.changePerson(ctx, "control.EnablePerson", p, uid, reason, func(w *work, before store.Person) (store.Person, string, error) {
		after := before
		if before.Disabled.IsZero() {
			return before, "", nil
		}
		after.Disabled = store.Person{}.Disabled
		return after, "enable", nil
	})
}

// shutOut takes from a person all that lets him do anything now.
func (w *work) shutOut(p store.Person, why string) error {
	tokens, err := w.TokensOf(p.UID)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := w.revokeToken(t); err != nil {
			return err
		}
	}
	if err := w.unapprove(p); err != nil {
		return err
	}
	return w.endGrantsOf(p.UID, why)
}

// RemovePerson forgets a person for good, who is shut out as by DisablePerson; records keep the name. Somebody who signs in at a provider
// comes back as a new person at the next sign-in: that is what disabling is for.
func (c *Control) RemovePerson(ctx context.Context, p Principal, uid, reason string) error {
	op := "control.RemovePerson"
	if err := p.mayOwn(op); err != nil {
		return err
	}
	if err := checkReason(op, reason); err != nil {
		return err
	}
	return c.update(ctx, p.Who(), reason, func(w *work) error {
		before, ok, err := w.Person(uid)
		if err != nil {
			return err
		}
		if !ok || !p.sees(before.Tenant) {
			return noPerson(op, uid)
		}
		if err := w.keepAnOwner(op, p, before, store.Person{}); err != nil {
			return err
		}
		if err := w.shutOut(before, "the person was removed"); err != nil {
			return err
		}
		if err := w.RemovePerson(uid); err != nil {
			return err
		}
		return w.record(before.Tenant, "delete", keyOfPerson(before), portrayPerson(before), nil)
	})
}

// leavePeople forgets the people of a tenant that goes; their tokens end with the tenant's.
func (w *work) leavePeople(tenant string) error {
	people, err := w.People(tenant)
	if err != nil {
		return err
	}
	for _, p := range people {
		if err := w.endGrantsOf(p.UID, "the person's tenant was deleted"); err != nil {
			return err
		}
		if err := w.RemovePerson(p.UID); err != nil {
			return err
		}
	}
	if err := w.DropAccess(tenant); err != nil {
		return err
	}
	for purpose := range w.world().publics[tenant] {
		w.changes = append(w.changes, change{public: &store.PublicKey{Tenant: tenant, Purpose: purpose}})
	}
	return w.DropKeys(tenant)
}
