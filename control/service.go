package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const aliasSuffix = ".isthmus"

// newAlias is what a provider hands out: the service's name, cut short, and something that cannot be guessed.
func newAlias(name string) string {
	prefix := strings.TrimRight(name[:min(len(name), 16)], "-")
	return prefix + "." + letters(26) + aliasSuffix
}

// findService resolves what an endpoint names, for the eyes of a tenant. The same NotFound comes back for a service which is not
// there and for one the tenant may not see.
func (w *work) findService(tenant, text string) (*resource.Service, error) {
	op := "control.findService"
	if !strings.Contains(text, "/") && strings.HasSuffix(text, aliasSuffix) {
		all, err := w.List(resource.KindService, noFilter)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			if s := o.(*resource.Service); s.Status.Alias == text && s.VisibleTo(tenant) {
				return s, nil
			}
		}
		return nil, fault.Newf(op, fault.NotFound, "there is no service with the alias %q", text).
			Advise("ask its owner for the alias, and to let your tenant see it")
	}
	key, err := resource.ParseKey(resource.KindService, text)
	if err != nil {
		return nil, err
	}
	o, err := w.get(key)
	if err != nil {
		return nil, err
	}
	if s := asOr[*resource.Service](o); s != nil && s.VisibleTo(tenant) {
		return s, nil
	}
	return nil, noSuch(op, key).Advise("check the name with the service's owner, who must let your tenant see it")
}

// checkService looks at what a service meets in its network and, when it changes, at who is connected.
func (w *work) checkService(before, after *resource.Service) (warnings []string, err error) {
	if after.Spec.ServedBy != "" {
		if warnings, err = w.checkServedBy(after); err != nil {
			return nil, err
		}
	}
	if before == nil {
		return warnings, nil
	}
	users, err := w.Referring(before.Metadata.UID)
	if err != nil {
		return nil, err
	}
	for _, o := range users {
		e := o.(*resource.PrivateEndpoint)
		if state := e.Status.Connection.State; live(state) && before.VisibleTo(e.Metadata.Tenant) && !after.VisibleTo(e.Metadata.Tenant) {
			path := e.Key().Path()
			warnings = append(warnings, fmt.Sprintf("tenant %s may not see the service any more, but its endpoint %s stays %s; end it with: isthmus endpoint remove %s",
				e.Metadata.Tenant, path, state, path))
		}
	}
	return warnings, nil
}

// live tells whether a connection may still pass bytes without a new decision, or waits for one.
func live(s resource.ConnectionState) bool { return s == resource.Pending || s == resource.Approved }

// checkServedBy refuses two services of one name in one hub, which could not be told apart, and a name that another tenant serves:
// the deployment's authority would give both a certificate for it. That a name is taken is all one learns. It warns of a hub that is
// not there yet: manifests are often applied before it joins.
func (w *work) checkServedBy(s *resource.Service) (warnings []string, err error) {
	op := "control.checkServedBy"
	m := s.Metadata
	o, err := w.get(resource.Key{Kind: resource.KindAgent, Tenant: m.Tenant, Scope: m.Network, Name: s.Spec.ServedBy})
	if err != nil {
		return nil, err
	}
	if a := asOr[*resource.Agent](o); a == nil {
		warnings = append(warnings, fmt.Sprintf("no hub %s has joined the network %s yet; let it join with a token for a hub", s.Spec.ServedBy, m.Network))
	} else if a.Spec.Role != resource.RoleHub {
		return nil, fault.Newf(op, fault.Invalid, "spec.servedBy names %s, which joined as %s", s.Spec.ServedBy, a.Spec.Role).
			Advise("name a process that joined with a token for a hub")
	}
	all, err := w.List(resource.KindService, noFilter)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		other := o.(*resource.Service)
		om := other.Metadata
		ours, same := om.Tenant == m.Tenant, om.Network == m.Network && other.Spec.ServedBy == s.Spec.ServedBy
		if other.Spec.ServedBy == "" || other.Key() == s.Key() || ours && !same {
			continue
		}
		for _, h := range s.HostNames() {
			switch {
			case !slices.Contains(other.HostNames(), h):
			case ours:
				return nil, fault.Newf(op, fault.Conflict, "%s serves %s already, as %s", s.Spec.ServedBy, h, other.Key()).
					Advise("a hub tells its services apart by host name: give this one another, or another hub")
			default:
				return nil, fault.Newf(op, fault.Conflict, "the host name %s is served in this deployment already", h).
					Advise("choose another host name")
			}
		}
	}
	return warnings, nil
}
