package webhook

import (
	"slices"
	"time"
)

// Names of events. Test is sent when somebody asks for it, and to nobody otherwise.
const (
	Request     = "request" // also of more time
	Approve     = "approve"
	Deny        = "deny"
	Revoke      = "revoke" // also a request that was withdrawn
	Expire      = "expire" // also a request that nobody decided
	BreakGlass  = "break-glass"
	SessionOpen = "session-open"
	SessionEnd  = "session-end"
	Test        = "test"
)

// Names lists the events that a webhook may ask for.
func Names() []string {
	return []string{Request, Approve, Deny, Revoke, Expire, BreakGlass, SessionOpen, SessionEnd}
}

// Known tells whether a webhook may ask for an event of this name.
func Known(name string) bool { return slices.Contains(Names(), name) }

// Event is the body of a delivery. Text is one line for a chat, with &, < and > written as entities and an invisible character behind each @, so
// that nothing in it calls anybody or hides where a link leads; the other fields are as people wrote them.
type Event struct {
	ID     string    `json:"id"`
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
	Tenant string    `json:"tenant"` // whose webhook it is
	Text   string    `json:"text"`
	By     string    `json:"by,omitempty"` // who did it

	Grant      string        `json:"grant,omitempty"`
	Kind       string        `json:"kind,omitempty"`
	State      string        `json:"state,omitempty"`
	Target     string        `json:"target,omitempty"`
	Person     string        `json:"person,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	For        string        `json:"for,omitempty"`
	From       time.Time     `json:"from,omitzero"`
	Until      time.Time     `json:"until,omitzero"`
	Ask        []string      `json:"ask,omitempty"` // who is asked; all approvers when absent
	ApprovedBy []string      `json:"approvedBy,omitempty"`
	Needed     int           `json:"needed,omitempty"`
	Commands   *Commands     `json:"commands,omitempty"` // what decides it
	Session    *SessionFacts `json:"session,omitempty"`
}

// Commands are lines for a shell.
type Commands struct {
	Approve string `json:"approve,omitempty"`
	Deny    string `json:"deny,omitempty"`
	Revoke  string `json:"revoke,omitempty"`
	Review  string `json:"review,omitempty"`
}

// SessionFacts are those of a session.
type SessionFacts struct {
	ID       string    `json:"id"`
	Opened   time.Time `json:"opened"`
	Ended    time.Time `json:"ended,omitzero"`
	From     string    `json:"from,omitempty"`
	Sent     uint64    `json:"sent"`     // bytes from the person
	Received uint64    `json:"received"` // bytes to the person
	End      string    `json:"end,omitempty"`
}
