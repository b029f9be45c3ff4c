package control

import (
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/resource"
)

const maxGrantsOfTarget = 100_000

// kindGrant is how grants stand in audit records, beside the nouns.
const kindGrant resource.Kind = "Grant"

// keyOfGrant names a grant in the chain of the target's tenant.
func keyOfGrant(g grant.Grant) resource.Key {
	return resource.Key{Kind: kindGrant, Tenant: g.Tenant, Name: g.ID}
}

// grantPortrait is what an audit record shows of a grant.
type grantPortrait struct {
	Target     string                 `json:"target"`
	Person     string                 `json:"person"`
	Kind       grant.Kind             `json:"kind"`
	State      grant.State            `json:"state"`
	Reason     string                 `json:"reason"`
	From       time.Time              `json:"from,omitzero"`
	Until      time.Time              `json:"until,omitzero"`
	For        string                 `json:"for"`
	Hours      *resource.WorkingHours `json:"hours,omitempty"`
	Needed     int                    `json:"needed"`
	ApprovedBy []string               `json:"approvedBy,omitempty"`
	Extension  string                 `json:"extension,omitempty"`
}

func portrayGrant(g grant.Grant) *grantPortrait {
	p := &grantPortrait{
		Target: g.Target, Person: g.Person.Who(), Kind: g.Kind, State: g.State, Reason: g.Reason, From: g.From, Until: g.Until, For: g.For.String(),
		Hours: g.Hours, Needed: g.Needed, ApprovedBy: g.ApprovedBy(),
	}
	if g.Extension != nil {
		p.Extension = g.Extension.For.String()
	}
	return p
}

// recordGrant writes a step into the chains of the target's tenant and of the person's. before is the zero value for a new grant.
func (w *work) recordGrant(step string, before, after grant.Grant) error {
	var was any
	if before.ID != "" {
		was = portrayGrant(before)
	}
	return w.recordBoth(step, keyOfGrant(after), after.Tenant, after.Person.Tenant, was, portrayGrant(after))
}
