package grant

import (
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// State is where a grant stands.
//
//	           approve (enough)              until passes
//	Requested ─────────────────▶ Approved ──────────────────▶ Expired
//	  │  │  │                       │
//	  │  │  └─ deny ──▶ Denied      └──── revoke ───────────▶ Revoked
//	  │  └─ withdraw ─▶ Withdrawn
//	  └─ nobody in time ▶ Lapsed
type State string

const (
	Requested State = "Requested"
	Approved  State = "Approved"
	Denied    State = "Denied"
	Withdrawn State = "Withdrawn"
	Lapsed    State = "Lapsed"
	Revoked   State = "Revoked"
	Expired   State = "Expired"
)

// Final tells whether nothing can become of it any more.
func (s State) Final() bool { return s != Requested && s != Approved }

// Kind is the sort of a grant.
type Kind string

const (
	Once       Kind = "Once"       // from a moment until another
	Standing   Kind = "Standing"   // again and again, within working hours where they are given
	BreakGlass Kind = "BreakGlass" // at once, without approval
)

// Person is who somebody is at the moment of a step.
type Person struct {
	ID     string                `json:"id"`   // uid
	Name   string                `json:"name"` // alice@example.net
	Tenant string                `json:"tenant"`
	Roles  []resource.TenantRole `json:"roles,omitempty"`
}

// Has tells whether the person has one of the roles.
func (p Person) Has(roles ...resource.TenantRole) bool {
	return slices.ContainsFunc(roles, func(r resource.TenantRole) bool { return slices.Contains(p.Roles, r) })
}

// Who is how a person stands in records: "alice@example.net of ot".
func (p Person) Who() string { return p.Name + " of " + p.Tenant }

// Step is something somebody did to a grant.
type Step struct {
	By   Person    `json:"by"`
	At   time.Time `json:"at"`
	What string    `json:"what" doc:"approve, deny, withdraw, revoke, extend, review"`
	Why  string    `json:"why,omitempty"`
}

// Grant is one grant with its history.
type Grant struct {
	ID        string   `json:"id"`        // never used again
	Tenant    string   `json:"tenant"`    // the target's
	Target    string   `json:"target"`    // TENANT/NETWORK/NAME
	TargetUID string   `json:"targetUid"` // a target of the same name made later is another
	Person    Person   `json:"person"`    // who is let in
	Kind      Kind     `json:"kind" enum:"Once,Standing,BreakGlass"`
	State     State    `json:"state" enum:"Requested,Approved,Denied,Withdrawn,Lapsed,Revoked,Expired"`
	Reason    string   `json:"reason"`
	Ask       []string `json:"ask,omitempty" doc:"people who are asked to approve; all approvers when absent"`

	RequestedAt time.Time     `json:"requestedAt"`
	RequestedBy Person        `json:"requestedBy"` // another than Person for a standing grant that an owner gives
	From        time.Time     `json:"from,omitzero" doc:"when it begins; when it is approved, if absent"`
	For         time.Duration `json:"for" doc:"how long, in nanoseconds"`
	Until       time.Time     `json:"until,omitzero" doc:"when it ends; known once it is approved"`
	WaitsUntil  time.Time     `json:"waitsUntil,omitzero" doc:"when a request that nobody decided lapses"`

	Hours     *resource.WorkingHours `json:"hours,omitempty"`
	Needed    int                    `json:"needed" doc:"approvals it needs"`
	Approvals []Step                 `json:"approvals,omitempty"`
	Steps     []Step                 `json:"steps,omitempty" doc:"everything somebody did to it, in order"`
	EndedAt   time.Time              `json:"endedAt,omitzero"`
	EndedBy   string                 `json:"endedBy,omitempty"`
	EndReason string                 `json:"endReason,omitempty"`

	Extension *Extension `json:"extension,omitempty" doc:"a longer time that was asked for and is not approved yet"`
}

// Extension is a longer time that was asked for.
type Extension struct {
	For       time.Duration `json:"for" doc:"how much longer, in nanoseconds"`
	Reason    string        `json:"reason"`
	At        time.Time     `json:"at"`
	Approvals []Step        `json:"approvals,omitempty"`
}

// Live tells whether the grant may let somebody in, now or later.
func (g *Grant) Live(at time.Time) bool { return g.State == Approved && at.Before(g.Until) }

// Unreviewed tells whether the glass was broken and nobody has looked at it afterwards.
func (g *Grant) Unreviewed() bool {
	return g.Kind == BreakGlass && !slices.ContainsFunc(g.Steps, func(s Step) bool { return s.What == "review" })
}

// Waits tells whether somebody has yet to decide: about the request, or about more time.
func (g *Grant) Waits() bool {
	return g.State == Requested || g.State == Approved && g.Extension != nil
}

// ApprovedBy lists who approved.
func (g *Grant) ApprovedBy() []string {
	var out []string
	for _, s := range g.Approvals {
		out = append(out, s.By.Who())
	}
	return out
}

// clone copies what steps change.
func (g Grant) clone() Grant {
	g.Approvals, g.Steps, g.Ask = slices.Clone(g.Approvals), slices.Clone(g.Steps), slices.Clone(g.Ask)
	if g.Extension != nil {
		e := *g.Extension
		e.Approvals = slices.Clone(e.Approvals)
		g.Extension = &e
	}
	return g
}
