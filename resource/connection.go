package resource

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// ConnectionState is where the agreement between endpoint and service stands. Only Approved passes a byte.
//
//	             approve                 reject
//	Pending ───────────────▶ Approved ─────────────▶ Rejected
//	   │  └──── reject ──────────────────────────────▲   │
//	   │                        ▲──────── approve ───────┘
//	   └── remove ──▶ Disconnected ◀── remove ── Approved, Rejected      (final)
//
// Source: Azure Private Link, "Manage a private endpoint connection".
type ConnectionState string

const (
	Pending      ConnectionState = "Pending"
	Approved     ConnectionState = "Approved"
	Rejected     ConnectionState = "Rejected"
	Disconnected ConnectionState = "Disconnected"
)

// ParseConnectionState reads a state; "Removed" is an old word for Disconnected.
func ParseConnectionState(s string) (ConnectionState, bool) {
	switch c := ConnectionState(s); c {
	case Pending, Approved, Rejected, Disconnected:
		return c, true
	case "Removed":
		return Disconnected, true
	}
	return "", false
}

// Decision is what the provider's tenant may do with a connection.
type Decision string

const (
	Approve Decision = "approve"
	Reject  Decision = "reject"
	Remove  Decision = "remove"
)

// Connection is the agreement between an endpoint and a service, with who, when and why.
type Connection struct {
	State       ConnectionState `json:"state,omitempty" enum:"Pending,Approved,Rejected,Disconnected" doc:"only Approved passes a byte; Disconnected is final"`
	Description string          `json:"description,omitempty" doc:"the reason the provider gave"`
	LinkID      uint32          `json:"linkId,omitempty" doc:"the number a PROXY v2 header carries for this connection"`
	RequestedAt time.Time       `json:"requestedAt,omitzero" doc:"when the endpoint asked"`
	RequestedBy string          `json:"requestedBy,omitempty" doc:"who made the endpoint"`
	DecidedAt   time.Time       `json:"decidedAt,omitzero" doc:"when the provider last decided"`
	DecidedBy   string          `json:"decidedBy,omitempty" doc:"who decided"`
}

// Open tells whether bytes may pass.
func (c Connection) Open() bool { return c.State == Approved }

// Apply returns the connection after a decision. Deciding what already holds is Conflict, so that nobody believes to have been
// first; everything is refused once Disconnected.
func (c Connection) Apply(d Decision, by, reason string, at time.Time) (Connection, error) {
	op := "resource.Connection.Apply"
	to, ok := map[Decision]ConnectionState{Approve: Approved, Reject: Rejected, Remove: Disconnected}[d]
	switch {
	case !ok:
		return c, fault.Newf(op, fault.Invalid, "%q is not a decision", d).Advise("decide approve, reject or remove")
	case c.State == Disconnected:
		return c, fault.New(op, fault.Conflict, "the connection is Disconnected, which is final").
			Advise("the consumer deletes its endpoint and makes a new one, which asks again")
	case c.State == to:
		return c, fault.Newf(op, fault.Conflict, "the connection is %s already, by %s", to, orNobody(c.DecidedBy))
	case c.State != Pending && c.State != Approved && c.State != Rejected:
		return c, fault.Newf(op, fault.Invalid, "the connection is in no known state (%q)", c.State)
	}
	c.State, c.Description, c.DecidedBy, c.DecidedAt = to, reason, by, at
	return c, nil
}

func orNobody(s string) string {
	if s == "" {
		return "nobody in particular"
	}
	return s
}
