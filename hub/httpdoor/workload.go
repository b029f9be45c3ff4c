package httpdoor

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/resource"
)

// opening says which workloads may use a route beside the holders of policies. Routes that need every right of a policy, and those of
// devices and of tickets, are open to none.
type opening uint8

const (
	toContributors opening = iota // Hub Contributor
	toReaders                     // and Hub Reader
	toReceivers                   // Data Receiver: who reads events
)

// roles are those of which a workload must have one to use a route.
func (r *route) roles() []resource.DataRole {
	switch {
	case r.right == hub.EveryRight || r.local || r.by != byPolicy && r.by != byEdge:
		return nil
	case r.open == toReceivers:
		return []resource.DataRole{resource.RoleDataReceiver}
	case r.open == toReaders:
		return []resource.DataRole{resource.RoleHubReader, resource.RoleHubContributor}
	}
	return []resource.DataRole{resource.RoleHubContributor}
}

// bearer returns what a request shows instead of a shared access signature.
func (x *exchange) bearer() (token string, ok bool) {
	scheme, rest, _ := strings.Cut(x.Header.Get("Authorization"), " ")
	return strings.TrimSpace(rest), strings.EqualFold(scheme, "Bearer")
}

// proveWorkload checks that a workload asks that may use the route.
func (x *exchange) proveWorkload(r *route, token string) error {
	c, err := x.hub.ProveWorkload(token)
	if err != nil {
		return err
	}
	if err := c.May(r.roles()...); err != nil {
		return err
	}
	x.workload, x.roles, x.expires = &c, r.roles(), c.Expires
	return nil
}

// mayStill tells, by an error, that who asks has not, or not any more, what the route needs.
func (x *exchange) mayStill() error {
	if x.workload != nil {
		return x.workload.May(x.roles...)
	}
	_, _, err := x.hub.Authorize(x.Header.Get("Authorization"), x.right)
	return err
}

// mayAlso tells, by an error, that who asks has not a right beside that of the route.
func (x *exchange) mayAlso(need hub.Right) error {
	if x.workload == nil {
		_, _, err := x.hub.Authorize(x.Header.Get("Authorization"), need)
		return err
	}
	if need&hub.DeviceConnect != 0 {
		return fault.Newf("httpdoor.mayAlso", fault.Denied, "no workload has %s", need)
	}
	return x.workload.May(resource.RoleHubContributor)
}

// shown is an identity as who asks may see it: whoever may only read is not given the keys by which one is a device.
func (x *exchange) shown(d hub.Device, waiting int) any {
	if x.workload != nil && !x.workload.Grants.May("", resource.RoleHubContributor) {
		d.PrimaryKey, d.SecondaryKey = "", ""
	}
	return toJSON(d, waiting)
}
