package control

import (
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// PersonRequest asks for a person who does not sign in at an identity provider.
type PersonRequest struct {
	Tenant string                `json:"tenant" example:"ot"`
	Name   string                `json:"name" doc:"stands in audit records and in the certificates of sessions; lower case" example:"ann@example.net"`
	Roles  []resource.TenantRole `json:"roles,omitempty" doc:"owner, network-admin, operator, approver, auditor"`
	Reason string                `json:"reason,omitempty" doc:"stands in the audit record"`
}

// Person is what is known of a person of a tenant.
type Person struct {
	UID        string                `json:"uid"`
	Tenant     string                `json:"tenant"`
	Name       string                `json:"name"`
	Roles      []resource.TenantRole `json:"roles"`
	Provider   string                `json:"provider,omitempty" doc:"the identity provider the person signs in at, whose claims give the roles"`
	Subject    string                `json:"subject,omitempty" doc:"who the person is to that provider"`
	CreatedAt  time.Time             `json:"createdAt"`
	CreatedBy  string                `json:"createdBy"`
	DisabledAt time.Time             `json:"disabledAt,omitzero" doc:"absent while the person may do anything"`
	SignedInAt time.Time             `json:"signedInAt,omitzero" doc:"the last time"`
}

// PersonTokenRequest asks for a token of a person.
type PersonTokenRequest struct {
	Name string        // what it is for; "personal" when empty
	Life time.Duration // 90 days when 0, at most 366
}
