package control

import (
	"github.com/isthmus-io/isthmus/fault"
)

// Role is what a principal may do within its reach.
type Role string

const (
	RoleAdmin    Role = "admin"    // the whole deployment: tenants, relays, and everything in every tenant
	RoleOperator Role = "operator" // everything in its tenant
	RoleReader   Role = "reader"   // sees what an operator of the same reach sees, changes nothing
)

// Principal is who asks. Tenant is empty for the whole deployment, which goes with the roles admin and reader.
type Principal struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant,omitempty"`
	Role   Role   `json:"role"`
}

// Who is how the principal stands in audit records and decisions: "alice of ot", or "admin of the deployment".
func (p Principal) Who() string {
	if p.Tenant == "" {
		return p.Name + " of the deployment"
	}
	return p.Name + " of " + p.Tenant
}

// whole tells whether the principal's reach is the whole deployment.
func (p Principal) whole() bool { return p.Tenant == "" }

// sees tells whether the principal may read what belongs to a tenant; "" is what belongs to none, such as relays.
func (p Principal) sees(tenant string) bool { return p.whole() || p.Tenant == tenant }

func (p Principal) mayWrite(op string) error {
	if p.Role == RoleAdmin && p.whole() || p.Role == RoleOperator && !p.whole() {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s is a %s and may not change anything", p.Who(), p.Role).
		Advise("use a token with the role operator of the tenant")
}

func (p Principal) mustBeAdmin(op, what string) error {
	if p.Role == RoleAdmin && p.whole() {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s may not %s", p.Who(), what).
		Advise("ask an administrator of the deployment")
}
