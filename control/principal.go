package control

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Role is what a program may do within its reach. People have roles of their own, resource.TenantRole.
type Role string

const (
	RoleAdmin        Role = "admin"         // the whole deployment: tenants, relays, and everything in every tenant but being let into targets
	RoleOwner        Role = "owner"         // everything in its tenant
	RoleNetworkAdmin Role = "network-admin" // nouns of its tenant, but people, policies and identity providers
	RoleAuditor      Role = "auditor"       // reads, the audit log included
	RoleReader       Role = "reader"        // sees what an owner of the same reach sees, changes nothing
)

// Principal is who asks: a program with an API token, which has a Role, or a person, who has Roles. Tenant is empty for the whole
// deployment, which goes with the roles admin and reader.
type Principal struct {
	Name   string                `json:"name"`
	Tenant string                `json:"tenant,omitempty"`
	Role   Role                  `json:"role,omitempty" enum:"admin,owner,network-admin,auditor,reader" doc:"of a program"`
	Person string                `json:"person,omitempty" doc:"the person's uid"`
	Roles  []resource.TenantRole `json:"roles,omitempty" doc:"of a person"`
	// Expires is when the token of a person ends.
	Expires time.Time `json:"expires,omitzero" doc:"when a person's token ends"`
}

// Who is how the principal stands in audit records and decisions: "alice of ot", or "admin of the deployment".
func (p Principal) Who() string {
	if p.Tenant == "" {
		return p.Name + " of the deployment"
	}
	return p.Name + " of " + p.Tenant
}

// has tells whether the principal has one of the roles in its tenant.
func (p Principal) has(roles ...resource.TenantRole) bool {
	for _, r := range roles {
		if p.Person == "" && string(p.Role) == string(r) || p.Person != "" && slices.Contains(p.Roles, r) {
			return !p.whole()
		}
	}
	return false
}

// isAdmin tells whether the principal is an administrator of the deployment.
func (p Principal) isAdmin() bool { return p.Role == RoleAdmin && p.whole() && p.Person == "" }

// asPerson is the person as grants know one. Denied for a program.
func (p Principal) asPerson(op string) (grant.Person, error) {
	if p.Person == "" {
		return grant.Person{}, fault.Newf(op, fault.Denied, "%s is a program, and only people are let into machines and decide who is", p.Who()).
			Advise("sign in as yourself: isthmus login --provider TENANT/NAME, or ask an owner for a personal token")
	}
	return grant.Person{ID: p.Person, Name: p.Name, Tenant: p.Tenant, Roles: p.Roles}, nil
}

// whole tells whether the principal's reach is the whole deployment.
func (p Principal) whole() bool { return p.Tenant == "" }

// sees tells whether the principal may read what belongs to a tenant; "" is what belongs to none, such as relays.
func (p Principal) sees(tenant string) bool { return p.whole() || p.Tenant == tenant }

// mayWrite tells whether the principal may change nouns. What belongs to owners only is asked for by mayOwn beside it.
func (p Principal) mayWrite(op string) error {
	if p.isAdmin() || p.has(resource.RoleOwner, resource.RoleNetworkAdmin) {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s %s and may not change anything", p.Who(), p.roleWords()).
		Advise("use a token with the role owner or network-admin of the tenant")
}

// mayOwn tells whether the principal may change what decides about people: policies, identity providers, roles, tokens.
func (p Principal) mayOwn(op string) error {
	if p.isAdmin() || p.has(resource.RoleOwner) {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s %s, and this is for owners of the tenant", p.Who(), p.roleWords()).Advise("ask an owner of the tenant")
}

// mayAudit tells whether the principal may read the audit log of its reach.
func (p Principal) mayAudit(op string) error {
	if p.Person == "" && p.Role != RoleNetworkAdmin || p.has(resource.RoleOwner, resource.RoleAuditor) {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s %s, and may not read the audit log", p.Who(), p.roleWords()).Advise("ask for the role auditor")
}

// mayReplay tells whether the principal may open recordings, in which passwords may stand: who sees everything else, as a reader does, need not.
func (p Principal) mayReplay(op string) error {
	if p.isAdmin() || p.has(resource.RoleOwner, resource.RoleAuditor) || p.Person == "" && p.Role == RoleAuditor {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s %s, and may not open recordings", p.Who(), p.roleWords()).Advise("ask for the role auditor")
}

// roleWords is "is a reader" or "has the roles operator and approver".
func (p Principal) roleWords() string {
	if p.Person == "" {
		return "is a program with the role " + string(p.Role)
	}
	if len(p.Roles) == 0 {
		return "has no role"
	}
	words := make([]string, len(p.Roles))
	for i, r := range p.Roles {
		words[i] = string(r)
	}
	return "has only the roles " + strings.Join(words, ", ")
}

func (p Principal) mustBeAdmin(op, what string) error {
	if p.isAdmin() {
		return nil
	}
	return fault.Newf(op, fault.Denied, "%s may not %s", p.Who(), what).
		Advise("ask an administrator of the deployment")
}
