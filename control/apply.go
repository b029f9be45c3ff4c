package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	maxObjects = 10_000
	maxReason  = 500
)

// Apply makes the nouns as they are given: all of them or none. Changes come back in the order of the objects. A noun whose spec,
// labels and annotations are as they were is left alone and leaves no record. Metadata the control plane gives (uid, generation,
// times) and status are ignored. The objects are not kept and not changed.
//
// Faults name the noun they are about: Invalid, NotFound (a reference that is not there or may not be seen), Conflict (a field
// that cannot change any more, an address that is taken), Exhausted (no address left), Denied.
func (c *Control) Apply(ctx context.Context, p Principal, objects []resource.Object, opt ApplyOptions) ([]Change, error) {
	op := "control.Apply"
	if err := p.mayWrite(op); err != nil {
		return nil, err
	}
	if err := checkReason(op, opt.Reason); err != nil {
		return nil, err
	}
	if len(objects) > maxObjects {
		return nil, fault.Newf(op, fault.TooLarge, "%d nouns at once are too many", len(objects)).Advise("apply at most %d at a time", maxObjects)
	}
	seen := map[resource.Key]bool{}
	order := make([]int, len(objects))
	for i, o := range objects {
		key := o.Head().Key()
		order[i] = i
		if err := o.Validate(); err != nil {
			return nil, about(op, key, err)
		}
		if seen[key] {
			return nil, fault.Newf(op, fault.Invalid, "%s is given twice", key).Advise("take one of the two out")
		}
		seen[key] = true
	}
	rank := kindOrder()
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(rank[objects[a].Head().Kind], rank[objects[b].Head().Kind])
	})
	out := make([]Change, len(objects))
	err := c.update(ctx, p.Who(), opt.Reason, func(w *work) error {
		for _, i := range order {
			key := objects[i].Head().Key()
			ch, err := w.apply(p, objects[i])
			if err != nil {
				return about(op, key, err)
			}
			ch.Key, ch.Kind, ch.Path = key, string(key.Kind), key.Path()
			out[i] = ch
		}
		if opt.DryRun {
			return errDry
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !opt.DryRun {
		for _, ch := range out {
			c.metrics.changes.WithLabelValues(string(ch.Action)).Inc()
		}
	}
	return out, nil
}

func checkReason(op, reason string) error {
	if len(reason) > maxReason {
		return fault.Newf(op, fault.Invalid, "the reason has %d bytes", len(reason)).Advise("keep it to %d", maxReason)
	}
	if strings.ContainsFunc(reason, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }) {
		return fault.New(op, fault.Invalid, "the reason has characters that are no text").Advise("leave control characters out: it stands in the audit log for good")
	}
	return checkText(op, "the reason", reason)
}

// checkText refuses what not every database keeps as text.
func checkText(op, what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fault.Newf(op, fault.Invalid, "%s is no text", what).Advise("write it in UTF-8, without NUL")
	}
	return nil
}

// apply makes one noun.
func (w *work) apply(p Principal, wanted resource.Object) (Change, error) {
	op := "control.apply"
	key := wanted.Head().Key()
	if key.Kind == resource.KindAgent || key.Kind == resource.KindRelay {
		return Change{}, fault.Newf(op, fault.Invalid, "a %s is made by joining, not by a manifest", key.Kind).
			Advise("make a join token with: isthmus token join, and take the %s out of the manifest", key.Kind)
	}
	if owner := ownerOf(key); !p.sees(owner) {
		return Change{}, noSuch(op, tenantKey(owner))
	}
	before, err := w.get(key)
	if err != nil {
		return Change{}, err
	}
	after := resource.Clone(wanted)
	if before == nil {
		return w.create(p, after)
	}
	sameSpec, sameNotes := equal(before, after)
	if sameSpec && sameNotes {
		return Change{Action: Unchanged}, nil
	}
	m, was := &after.Head().Metadata, before.Head().Metadata
	m.UID, m.Generation, m.CreatedAt, m.UpdatedAt = was.UID, was.Generation, was.CreatedAt, w.now
	if !sameSpec {
		m.Generation++
	}
	if err := keepStatus(before, after); err != nil {
		return Change{}, err
	}
	warnings, err := w.check(p, before, after)
	if err != nil {
		return Change{}, err
	}
	if n, ok := after.(*resource.Contract); ok && !sameSpec {
		if err := w.propose(n); err != nil {
			return Change{}, err
		}
		if err := w.tellOther("propose", before.(*resource.Contract), n); err != nil {
			return Change{}, err
		}
	}
	if err := w.put(before, after); err != nil {
		return Change{}, err
	}
	if s, ok := after.(*resource.Service); ok && s.Spec.ServedBy != before.(*resource.Service).Spec.ServedBy {
		if err := w.changeKey(s); err != nil {
			return Change{}, err
		}
		if err := w.noteLeadersOf(s); err != nil {
			return Change{}, err
		}
	}
	if t, ok := after.(*resource.Target); ok {
		if err := w.changeTarget(p, before.(*resource.Target), t); err != nil {
			return Change{}, err
		}
	}
	then, now := w.portrayBoth(before, after)
	return Change{Action: Updated, Warnings: warnings}, w.record(ownerOf(key), "update", key, then, now)
}

func (w *work) create(p Principal, o resource.Object) (Change, error) {
	op := "control.create"
	key := o.Head().Key()
	if key.Kind == resource.KindTenant {
		if err := p.mustBeAdmin(op, "make tenants"); err != nil {
			return Change{}, err
		}
	}
	clearStatus(o)
	if e, ok := o.(*resource.PrivateEndpoint); ok {
		return w.createEndpoint(e)
	}
	warnings, err := w.check(p, nil, o)
	if err != nil {
		return Change{}, err
	}
	var ch change
	if s, ok := o.(*resource.Service); ok {
		s.Status.Alias = newAlias(s.Metadata.Name)
		ch.key = newKey()
	}
	n, isContract := o.(*resource.Contract)
	if isContract {
		if err := w.propose(n); err != nil {
			return Change{}, err
		}
	}
	if err := w.insert(o, ch); err != nil {
		return Change{}, err
	}
	if isContract {
		if err := w.addContractKey(n); err != nil {
			return Change{}, err
		}
		if err := w.tellOther("propose", nil, n); err != nil {
			return Change{}, err
		}
	}
	if ch.key != nil {
		if err := w.SetLinkKey(o.Head().Metadata.UID, ch.key); err != nil {
			return Change{}, err
		}
	}
	return Change{Action: Created, Warnings: warnings}, w.record(ownerOf(key), "create", key, nil, w.portray(o))
}

// check decides whether a noun may stand as it is. before is nil for a new one.
func (w *work) check(p Principal, before, after resource.Object) (warnings []string, err error) {
	op := "control.check"
	tenant := tenantKey(after.Head().Metadata.Tenant)
	switch o := after.(type) {
	case *resource.Tenant:
		return nil, nil
	case *resource.Network:
		if err := w.mustExist(op, tenant); err != nil {
			return nil, err
		}
		if err := w.checkNetwork(asOr[*resource.Network](before), o); err != nil {
			return nil, err
		}
		return nil, w.checkUpstreams(o)
	case *resource.Zone:
		if err := w.mustExist(op, tenant); err != nil {
			return nil, err
		}
		for _, l := range o.Linked() {
			if err := w.mustExist(op, networkKey(o.Metadata.Tenant, l.Network)); err != nil {
				return nil, err
			}
		}
		return nil, w.checkLinks(asOr[*resource.Zone](before), o)
	case *resource.RecordSet:
		if err := w.mustExist(op, zoneKey(o)); err != nil {
			return nil, err
		}
		return nil, w.checkRecordSet(o.Key())
	case *resource.Service:
		if err := w.mustExist(op, networkKey(o.Metadata.Tenant, o.Metadata.Network)); err != nil {
			return nil, err
		}
		return w.checkService(asOr[*resource.Service](before), o)
	case *resource.PrivateEndpoint:
		return w.checkEndpoint(before.(*resource.PrivateEndpoint), o) // a new one goes through createEndpoint
	case *resource.Ruleset:
		if err := w.mustExist(op, tenant); err != nil {
			return nil, err
		}
		return nil, w.checkRuleset(o)
	case *resource.Gateway:
		if err := w.mustExist(op, networkKey(o.Metadata.Tenant, o.Metadata.Network)); err != nil {
			return nil, err
		}
		return w.checkGateway(o)
	case *resource.Allowlist:
		if err := w.mustExist(op, networkKey(o.Metadata.Tenant, o.Metadata.Network)); err != nil {
			return nil, err
		}
		return w.checkAllowlist(o)
	case *resource.IdentityProvider:
		if err := p.mayOwn(op); err != nil {
			return nil, err
		}
		return nil, w.mustExist(op, tenant)
	case *resource.AccessPolicy:
		if err := p.mayOwn(op); err != nil {
			return nil, err
		}
		return nil, w.mustExist(op, tenant)
	case *resource.Target:
		if err := p.mayChoosePolicy(op, asOr[*resource.Target](before), o); err != nil {
			return nil, err
		}
		return w.checkTarget(o)
	case *resource.Contract:
		return nil, w.checkContract(asOr[*resource.Contract](before), o)
	case *resource.Bridge:
		return w.checkBridge(o)
	case *resource.RoleAssignment:
		return w.checkRoleAssignment(o)
	}
	return nil, fault.Newf(op, fault.Invalid, "a %s cannot be applied", after.Head().Kind)
}

// checkNetwork refuses ranges that leave an endpoint without its address.
func (w *work) checkNetwork(before, after *resource.Network) error {
	if before == nil {
		return nil
	}
	used, err := w.addresses(before.Metadata.UID)
	if err != nil {
		return err
	}
	for a, uid := range used {
		if resource.Assignable(after.Spec.AddressRanges, a) {
			continue
		}
		who := "an endpoint"
		if e, err := w.ByUID(uid); err == nil {
			who = e.Head().Key().String()
		}
		return fault.Newf("control.checkNetwork", fault.Conflict, "%s has the address %s, which the new ranges do not give out", who, a).
			Advise("an endpoint never changes its address: keep the range, or delete the endpoint first")
	}
	return nil
}

func madeByEndpoint(op string, r *resource.RecordSet) error {
	return fault.Newf(op, fault.Conflict, "the record set was made by the endpoint %s and cannot be changed by hand", r.Status.Endpoint).
		Advise("it goes when the endpoint's connection leaves Approved, or with the endpoint")
}

// mustExist is NotFound when a noun that is referred to is not there. The principal may see it: callers checked the tenant.
func (w *work) mustExist(op string, key resource.Key) error {
	o, err := w.get(key)
	if err == nil && o == nil {
		return noSuch(op, key)
	}
	return err
}

func tenantKey(name string) resource.Key { return resource.Key{Kind: resource.KindTenant, Name: name} }

func networkKey(tenant, name string) resource.Key {
	return resource.Key{Kind: resource.KindNetwork, Tenant: tenant, Name: name}
}

// equal compares what somebody asked for.
func equal(a, b resource.Object) (spec, notes bool) {
	m, n := a.Head().Metadata, b.Head().Metadata
	notes = maps.Equal(m.Labels, n.Labels) && maps.Equal(m.Annotations, n.Annotations)
	if x, ok := a.(*resource.Allowlist); ok {
		y := b.(*resource.Allowlist)
		return x.Spec.Owner == y.Spec.Owner && slices.Equal(x.Spec.Gateways, y.Spec.Gateways) &&
			slices.EqualFunc(x.Spec.Rules, y.Spec.Rules, resource.AllowRule.Equal), notes
	}
	x, _ := a.SpecAndStatus()
	y, _ := b.SpecAndStatus()
	j, err1 := json.Marshal(x)
	k, err2 := json.Marshal(y)
	return err1 == nil && err2 == nil && bytes.Equal(j, k), notes
}

// keepStatus gives after the status of before, whatever a manifest says.
func keepStatus(before, after resource.Object) error {
	_, from := before.SpecAndStatus()
	b, err := json.Marshal(from)
	if err != nil {
		return fault.Wrap("control.keepStatus", fault.Internal, err, "")
	}
	clearStatus(after)
	_, to := after.SpecAndStatus()
	return fault.Wrap("control.keepStatus", fault.Internal, json.Unmarshal(b, to), "")
}

func clearStatus(o resource.Object) {
	switch o := o.(type) {
	case *resource.Tenant:
		o.Status = resource.TenantStatus{}
	case *resource.Network:
		o.Status = resource.NetworkStatus{}
	case *resource.Zone:
		o.Status = resource.ZoneStatus{}
	case *resource.RecordSet:
		o.Status = resource.RecordSetStatus{}
	case *resource.Service:
		o.Status = resource.ServiceStatus{}
	case *resource.PrivateEndpoint:
		o.Status = resource.PrivateEndpointStatus{}
	case *resource.Ruleset:
		o.Status = resource.RulesetStatus{}
	case *resource.Gateway:
		o.Status = resource.GatewayStatus{}
	case *resource.Allowlist:
		o.Status = resource.AllowlistStatus{}
	case *resource.IdentityProvider:
		o.Status = resource.IdentityProviderStatus{}
	case *resource.AccessPolicy:
		o.Status = resource.AccessPolicyStatus{}
	case *resource.Target:
		o.Status = resource.TargetStatus{}
	case *resource.Contract:
		o.Status = resource.ContractStatus{}
	case *resource.Bridge:
		o.Status = resource.BridgeStatus{}
	case *resource.RoleAssignment:
		o.Status = resource.RoleAssignmentStatus{}
	}
}
