package control

import (
	"time"

	"github.com/isthmus-io/isthmus/access/session"
)

// SessionFilter narrows a list of sessions. Empty fields let everything pass that the principal may see.
type SessionFilter struct {
	Tenant  string // the target's
	Target  string // TENANT/NETWORK/NAME
	Person  string // name
	Grant   string // id
	Open    bool
	Refused bool      // those that were refused too
	Before  time.Time // opened before; for paging
	Limit   int       // 100 when 0, at most 1000
}

// SessionView is one session: who, why, approved by whom, into what, from where, how long, how much, and why it ended.
type SessionView struct {
	ID         string         `json:"id"`
	Grant      string         `json:"grant,omitempty"`
	Target     string         `json:"target,omitempty" doc:"TENANT/NETWORK/NAME"`
	Tenant     string         `json:"tenant" doc:"the target's"`
	Person     string         `json:"person" doc:"who: NAME of TENANT"`
	Reason     string         `json:"reason,omitempty" doc:"the grant's"`
	ApprovedBy []string       `json:"approvedBy,omitempty"`
	Phase      session.Phase  `json:"phase" enum:"opened,ended,refused"`
	Opened     time.Time      `json:"opened"`
	Ended      time.Time      `json:"ended,omitzero"`
	From       string         `json:"from,omitempty" doc:"where the person's program says it is"`
	To         string         `json:"to,omitempty" doc:"what was dialled; for people of the target's tenant"`
	Sent       uint64         `json:"sent" doc:"bytes from the person"`
	Received   uint64         `json:"received" doc:"bytes to the person"`
	End        session.End    `json:"end,omitempty" doc:"why it ended, or was refused"`
	Login      string         `json:"login,omitempty"`
	Recording  bool           `json:"recording,omitempty" doc:"a recording can be replayed"`
	Files      []session.File `json:"files,omitempty"`
	MoreFiles  int            `json:"moreFiles,omitempty"`
	Commands   []string       `json:"commands,omitempty"`
	Words      string         `json:"words,omitempty"`
	Agent      string         `json:"agent" doc:"SPIFFE id of the process that told of it"`
}
