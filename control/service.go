package control

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
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
	if err := checkPartitions(before, after); err != nil {
		return nil, err
	}
	users, err := w.Referring(before.Metadata.UID)
	if err != nil {
		return nil, err
	}
	if err := checkNames(before, after, users); err != nil {
		return nil, err
	}
	if err := w.checkServiceClaims(before, after, users); err != nil {
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

// checkPartitions refuses another number of partitions for an event hub that is there: events of one key would be in two of them.
func checkPartitions(before, after *resource.Service) error {
	const standard = 4
	had := map[string]int{}
	for _, e := range before.Spec.EventHubs {
		had[strings.ToLower(e.Name)] = cmp.Or(e.Partitions, standard)
	}
	for _, e := range after.Spec.EventHubs {
		if n, known := had[strings.ToLower(e.Name)]; known && n != cmp.Or(e.Partitions, standard) {
			return fault.Newf("control.checkPartitions", fault.Conflict, "event hub %s has %d partitions, and that cannot become %d", e.Name, n, cmp.Or(e.Partitions, standard)).
				Advise("keep the number, or declare another event hub")
		}
	}
	return nil
}

// checkNames refuses new names while an endpoint of another tenant leads to the service: the resolvers of that tenant's network answer
// for them, and it asked for the names as they were. Without this a provider could take over any name there.
func checkNames(before, after *resource.Service, users []resource.Object) error {
	had := before.PrivateNames()
	for _, n := range after.PrivateNames() {
		if slices.Contains(had, n) {
			continue
		}
		for _, o := range users {
			e := o.(*resource.PrivateEndpoint)
			if e.Metadata.Tenant == after.Metadata.Tenant || e.Status.Connection.State == resource.Disconnected {
				continue
			}
			return fault.Newf("control.checkNames", fault.Conflict, "the name %s cannot be added while the endpoint %s of another tenant leads to it, which asked for its names as they are",
				n.Public, e.Key().Path()).
				Advise("make another service for the new name, or end the connection first: isthmus endpoint remove %s --reason ...", e.Key().Path())
		}
	}
	return nil
}

// live tells whether a connection may still pass bytes without a new decision, or waits for one.
func live(s resource.ConnectionState) bool { return s == resource.Pending || s == resource.Approved }

// checkServedBy refuses two services of one name in one hub, which could not be told apart, and a name that belongs to somebody else:
// the deployment's authority would certify it. It warns of a hub that is not there yet: manifests are often applied before it joins.
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
	names := certifiable(s)
	for _, o := range all {
		other := o.(*resource.Service)
		om := other.Metadata
		if om.Tenant != m.Tenant || om.Network != m.Network || other.Spec.ServedBy != s.Spec.ServedBy || other.Key() == s.Key() {
			continue
		}
		for _, h := range certifiable(other) {
			if slices.Contains(names, h) {
				return nil, fault.Newf(op, fault.Conflict, "%s serves %s already, as %s", s.Spec.ServedBy, h, other.Key()).
					Advise("a hub tells its services apart by host name: give this one another, or another hub")
			}
		}
	}
	return warnings, w.checkNotTaken(names, m.Tenant, all)
}

// checkNotTaken refuses names of other tenants' services, served by Isthmus or not, and of the deployment's own machines. That a name
// is taken is all one learns.
func (w *work) checkNotTaken(names []string, tenant string, all []resource.Object) error {
	taken := map[string]bool{}
	for _, o := range all {
		if s := o.(*resource.Service); s.Metadata.Tenant != tenant {
			for _, h := range certifiable(s) {
				taken[h] = true
			}
		}
	}
	relays, err := w.List(resource.KindRelay, noFilter)
	if err != nil {
		return err
	}
	own := slices.Clone(w.c.cfg.Addresses)
	for _, o := range relays {
		own = append(own, o.(*resource.Relay).Spec.Address)
	}
	for _, a := range own {
		if host, _, err := net.SplitHostPort(a); err == nil {
			taken[strings.ToLower(host)] = true
		}
	}
	for _, h := range names {
		if taken[h] || workload.Shared(h) { // tokens for such a name are good at other tenants' services too
			return fault.Newf("control.checkServedBy", fault.Conflict, "the host name %s is taken in this deployment", h).
				Advise("a hub here gets a certificate for its names, so each belongs to one tenant: choose another host name, or ask an administrator who has it")
		}
	}
	return nil
}

// certifiable is every name a service may ever get a certificate for.
func certifiable(s *resource.Service) []string {
	names := s.HostNames()
	for _, n := range s.PrivateNames() {
		if !slices.Contains(names, n.Private) {
			names = append(names, n.Private)
		}
	}
	return names
}
