package builtin

import (
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// proveWorkload checks the token of a workload: it may read what its role as Data Receiver is for, all of the hub's events or those of
// one endpoint.
func (d directory) proveWorkload(token string) (eventhub.Claim, error) {
	op := "builtin.Prove"
	w, err := d.hub.ProveWorkload(token)
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		err = fault.New(op, fault.Unauthenticated, "InvalidToken: "+fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
	case fault.Expired:
		err = fault.New(op, fault.Expired, "ExpiredToken: "+fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
	}
	if err != nil {
		return eventhub.Claim{}, err
	}
	c := eventhub.Claim{Expires: w.Expires, Who: w.Workload, Workload: w.Workload, Valid: w.Valid}
	for _, g := range w.Grants {
		switch {
		case g.Role != resource.RoleDataReceiver:
		case g.Scope == "":
			c.Rights = eventhub.Listen
		default:
			if path, ok := split(d.hub, strings.ToLower(strings.Trim(g.Scope, "/"))); ok {
				c.Also = append(c.Also, eventhub.Scope{Path: path, Rights: eventhub.Listen})
			}
		}
	}
	return c, nil
}

func keysAreOff(op string) error {
	return fault.New(op, fault.Unauthenticated, "LocalAuthDisabled: Authorization failed because SAS authentication has been disabled. "+
		"Shared keys are switched off for this service: use an identity.").
		Advise("give the workload the role %s by a RoleAssignment, or set spec.keyAccess of the service to Enabled", resource.RoleDataReceiver)
}
