package gate

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Journal is told of every session. Note makes the record durable soon and must not wait long; it is called from many goroutines.
type Journal interface{ Note(r session.Record) }

// Terminator ends a protocol here and records it. Serve returns when the session is over; it may close both connections, which are
// closed when it has returned. When ctx ends both have been closed already. An error's words stand in the record.
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

// Config says how people come in. Its zero value works: everything the plan says, recorded nowhere.
type Config struct {
	// Dial connects to a target. nil: TCP or a Unix socket, by its address, within 10 s; a Dial given has a minute. A fault of kind
	// Denied means that the device said no; the words of a fault reach the person. The connection may have a CloseWrite() error.
	Dial func(ctx context.Context, t *plan.Target) (net.Conn, error)

	SSH            Terminator // ends and records SSH; nil: targets that have to be recorded are refused
	Journal        Journal    // nil: nobody is told
	Allow          []string   // what targets may be, as CheckAllow describes it; nil: everything the plan says
	BytesPerSecond int64      // of all sessions together, both ways, shared fairly between those that want it; 0: no limit
}

// Info is what a screen shows of one open session.
type Info struct {
	Session  string
	Grant    string
	Target   string // ot/plant-7/press-4-ssh
	Person   string // alice of ot
	From     netip.AddrPort
	Since    time.Time
	Until    time.Time // when the grant ends it, or its working hours do
	Recorded bool
	Sent     uint64 // bytes from the person to the machine
	Received uint64 // bytes from the machine to the person
}

// Gate lets people in.
type Gate struct{}

// New returns a Gate that refuses everybody until Set. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Gate {
	return &Gate{}
}

// Run looks after the sessions until ctx ends, then refuses new ones, cuts those there are and returns nil when they are gone. It runs
// once.
func (g *Gate) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Set makes the targets given, and no others, the ones that may be reached. Sessions of a grant that is gone, or whose target has another
// address or device or must now be recorded, are cut when it returns. Others are not touched, and go on with the limits and ends given now.
func (g *Gate) Set(targets []plan.Target) {}

// SetOffset says by how much the control plane's clock is ahead of ours. Less than two seconds either way is taken for none.
func (g *Gate) SetOffset(d time.Duration) {}

// Handle is the life of one stream that a person opened: it decides, dials, passes bytes on, and returns when the session has ended. The
// peer's id is the one its certificate was verified for; the stream's endpoint is the id of a grant.
func (g *Gate) Handle(peer identity.ID, s *mux.Stream) { s.Reset(tunnel.ResetRefused, "nobody is let in yet") }

// Allowed says whether any grant of the plan is the peer's: whoever has none may be turned away before it costs a tunnel. The decision
// proper is Handle's.
func (g *Gate) Allowed(peer identity.ID) bool { return false }

// Sessions returns the open sessions, oldest first.
func (g *Gate) Sessions() []Info { return nil }

// Problems says in words what does not work now, one sentence for each target that could not be reached lately.
func (g *Gate) Problems() []string { return nil }

