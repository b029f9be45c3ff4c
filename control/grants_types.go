package control

import (
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/resource"
)

// GrantRequest asks for access to a target.
type GrantRequest struct {
	Target string        // TENANT/NETWORK/NAME
	Kind   grant.Kind    // Once when empty
	Reason string        // stands in the audit log for good
	From   time.Time     // as soon as it is approved when zero
	For    time.Duration // an hour when 0, or what the policy lets at most
	Ask    []string      // names of people who are to approve; every approver when empty

	Hours  *resource.WorkingHours // Standing only
	Person string                 // Standing only: who is let in, by name, or as TENANT/NAME; who asks when empty
}

// GrantDecision is a step somebody takes with a grant.
type GrantDecision string

const (
	ApproveGrant GrantDecision = "approve" // the request, or the longer time that was asked for
	DenyGrant    GrantDecision = "deny"    // the same
	RevokeGrant  GrantDecision = "revoke"  // at once; a request is withdrawn
	ExtendGrant  GrantDecision = "extend"
	ReviewGrant  GrantDecision = "review" // afterwards, of an emergency
)

// GrantFilter narrows a list of grants. Empty fields let everything pass that the principal may see.
type GrantFilter struct {
	Tenant     string      // the target's
	Target     string      // TENANT/NETWORK/NAME
	Person     string      // name
	State      grant.State // in which they stand
	Open       bool        // requested or approved
	Mine       bool        // the principal's own
	Unreviewed bool        // emergencies nobody has looked at
	Before     time.Time   // requested before; for paging
	Limit      int         // 100 when 0, at most 1000
}

// GrantView is a grant as one who may see it sees it.
type GrantView struct {
	grant.Grant
	Recorded         bool     `json:"recorded,omitempty" doc:"sessions are recorded"`
	Unreviewed       bool     `json:"unreviewed,omitempty" doc:"an emergency that nobody has looked at afterwards"`
	MayDecide        bool     `json:"mayDecide" doc:"the caller may approve or deny what waits"`
	Approvers        []string `json:"approvers,omitempty" doc:"who may approve what waits; for people of the target's tenant"`
	Sessions         int      `json:"sessions" doc:"open now, as far as reported"`
	ConnectionString string   `json:"connectionString,omitempty" doc:"for programs written for IoT Hub device streams: a secret of the person of the grant, shown to nobody else"`
}
