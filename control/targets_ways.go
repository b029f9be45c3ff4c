package control

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// mayChoosePolicy lets owners alone say which policy holds for a target. Who looks after targets could else approve his own requests by the one
// that asks for the least.
func (p Principal) mayChoosePolicy(op string, before, after *resource.Target) error {
	was := resource.DefaultPolicy
	if before != nil && before.Spec.Policy != "" {
		was = before.Spec.Policy
	}
	if now := after.Spec.Policy; now == was || now == "" && was == resource.DefaultPolicy || p.mayOwn(op) == nil {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s %s, and which policy holds for a target is for owners of the tenant to say", p.Who(), p.roleWords()).
		Advise("leave spec.policy as it is (%s), or ask an owner", was)
}

// sameWay tells whether a target leads where it led, and is spoken to as it was: that is what somebody approved.
func sameWay(a, b *resource.Target) bool {
	if a.Spec.Agent != b.Spec.Agent || a.Spec.Address != b.Spec.Address || a.Protocol() != b.Protocol() || (a.Spec.Device == nil) != (b.Spec.Device == nil) {
		return false
	}
	return a.Spec.Device == nil || *a.Spec.Device == *b.Spec.Device
}

// changeTarget ends grants that a change of their target leaves without ground: those of people whose tenant may not know of it any more, and,
// when somebody who could not have approved them lets the target lead elsewhere, all of them. Others stay when an owner gives it another address,
// agent or policy: whoever leads there cuts the sessions, and the next ones go where the target leads now.
func (w *work) changeTarget(p Principal, before, after *resource.Target) error {
	if err := w.noteLeaders(before); err != nil {
		return err
	}
	elsewhere := !sameWay(before, after) && p.mayOwn("") != nil
	narrower := false
	for _, tenant := range before.Spec.VisibleTo {
		narrower = narrower || !after.VisibleTo(tenant)
	}
	if !narrower && !elsewhere {
		return nil
	}
	open, err := w.Grants(store.GrantFilter{TargetUID: after.Metadata.UID, Open: true, Limit: maxGrantsOfTarget})
	if err != nil {
		return err
	}
	for _, g := range open {
		why := "the target is not visible to " + g.Person.Tenant + " any more"
		switch {
		case !after.VisibleTo(g.Person.Tenant):
		case elsewhere:
			why = "the target leads somewhere else"
		default:
			continue
		}
		if err := w.cancelGrant(g, why); err != nil {
			return err
		}
	}
	return nil
}
