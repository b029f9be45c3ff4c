package gate

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

// Journal is told of every session. Note makes the record durable soon and must not wait long; it is called from many goroutines.
type Journal interface{ Note(r session.Record) }

// Terminator ends a protocol here and records it. Serve returns when the session is over; it may close both connections, which are closed
// when it has returned. When ctx ends both have been closed already. An error's words stand in the record.
type Terminator interface {
	Serve(ctx context.Context, s Session, person net.Conn, machine net.Conn) (Outcome, error)
}

// Session is one connection of a person into a target, as a Terminator needs to know it.
type Session struct {
	ID     string // 32 lower-case hexadecimal digits
	Target plan.Target
	Grant  plan.Grant
	Peer   identity.ID    // of the person's pass
	From   netip.AddrPort // where the person's program says it is; may be the zero value
	Opened time.Time      // by the control plane's clock, as far as it is known
}

// Outcome is what a Terminator can say of a session that is over.
type Outcome struct {
	Login     string // the account
	Recording string // name of what was recorded; empty: nothing was
	Files     []session.File
	MoreFiles int // that Files had no room for
	Commands  []string
	End       session.End // empty: closed
	Words     string      // for people
}

// Config says how people come in. Its zero value works: everything the plan says, told to nobody.
type Config struct {
	// Dial connects to a target. nil: TCP or a Unix socket, by its address, within 10 s; a Dial given has a minute. A fault of kind Denied
	// means that the device said no; the words of any fault reach the person. The connection may have a CloseWrite() error. What a name in an address stands for is
	// compared with Allow by the nil one alone.
	Dial func(ctx context.Context, t *plan.Target) (net.Conn, error)

	SSH            Terminator // ends and records SSH; nil: targets that have to be recorded are refused
	Journal        Journal    // nil: nobody is told
	Allow          []string   // what targets may be, as CheckAllow describes it; nil: everything the plan says
	BytesPerSecond int64      // of all sessions together, both ways, shared fairly between those that want it; 0: no limit
}
