package carry

import (
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/wire/clienthello"
)

// Limits when an Entrance leaves a field at 0.
const (
	DefaultHelloTimeout   = 5 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultIdleTimeout    = time.Hour
	DefaultHalfIdle       = 5 * time.Minute
	DefaultMaxHello       = 16 << 10 // bytes

	// MostHello bounds MaxHello: what has to fit the receive buffer a connection begins with.
	MostHello = 32 << 10
)

// Entrance is what holds for one listening address. It is immutable; [Carrier.Replace] puts another in its place.
type Entrance struct {
	Name         string         // the listener's name, for logs
	Port         uint16         // the port a client dialled, which rules speak of
	TLS          bool           // read a ClientHello before deciding
	TrustProxies []netip.Prefix // peers that send a PROXY header, and must

	HelloTimeout   time.Duration // for PROXY header and ClientHello together, from the accept
	ConnectTimeout time.Duration // for each target
	IdleTimeout    time.Duration // without a byte in either direction
	HalfIdle       time.Duration // the same, once one side has ended its data
	MaxHello       int           // bytes of TLS records, at most MostHello
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (e *Entrance) helloTimeout() time.Duration   { return or(e.HelloTimeout, DefaultHelloTimeout) }
func (e *Entrance) connectTimeout() time.Duration { return or(e.ConnectTimeout, DefaultConnectTimeout) }
func (e *Entrance) idleTimeout() time.Duration    { return or(e.IdleTimeout, DefaultIdleTimeout) }
func (e *Entrance) halfIdle() time.Duration {
	return min(or(e.HalfIdle, DefaultHalfIdle), e.idleTimeout())
}
func (e *Entrance) maxHello() int { return min(or(e.MaxHello, DefaultMaxHello), MostHello) }

// trusts tells whether a peer has to begin with a PROXY header.
func (e *Entrance) trusts(peer netip.Addr) bool {
	for _, p := range e.TrustProxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// Gate decides. Its calls, and those of the visits it gives, come from several goroutines, must not block, and must not call the
// Carrier.
type Gate interface {
	// Arrive tells of a connection before a byte of TLS was read. Source is what a trusted proxy said, otherwise the peer; IPv4 is
	// never mapped into IPv6. Exactly one result is not nil.
	Arrive(at *Entrance, source netip.AddrPort) (Visit, *Refusal)
}

// Refusal says no. The gate has counted and logged it; the connection is reset.
type Refusal struct {
	Reason string // one short word for machines
}

// Visit is one connection in the eyes of the gate. No two calls of one visit are made at the same time.
type Visit interface {
	// Choose is called once, unless the connection ended before.
	Choose(h Hello) (Way, *Refusal)
	// Failed tells that a target could not be connected.
	Failed(target netip.AddrPort, err error)
	// Next gives another target after Failed, or false when there is none.
	Next() (netip.AddrPort, bool)
	// Connected tells which target it became.
	Connected(target netip.AddrPort)
	// Ended is the last call, made exactly once.
	Ended(o Outcome)
}

// Hello is what a client said of itself before the decision. At an entrance without TLS it is empty.
type Hello struct {
	TLS        bool
	ServerName string // lower case, without a trailing dot; "" when there is none
	hello      clienthello.Hello
}

// ALPN returns the protocols the client offers, in its order; nil when it offers none. It holds during Choose only.
func (h Hello) ALPN() []string { return h.hello.ALPN() }

// Offers tells whether the client offers a protocol. It holds during Choose only.
func (h Hello) Offers(protocol string) bool { return h.hello.Offers(protocol) }

// Way is where a connection goes.
type Way struct {
	Target netip.AddrPort // the first to try; ignored with Hand
	Header []byte         // goes to the target before anything else, at most MostHeader bytes; not changed afterwards by either side
	Meter  Meter          // nil: no limit of bytes
	Wait   time.Duration  // for each target to answer, counted in milliseconds; 0: the Entrance's ConnectTimeout

	// Hand takes the connection, whose first bytes it gets too: those which were read already, possibly none. It runs on a goroutine of
	// its own, which Run waits for, and the visit has ended when it returns; the connection is closed then. A cut closes it meanwhile.
	Hand func(c net.Conn, first []byte)
}

// MostHeader is the longest Way.Header, in bytes; with a longer one no target is tried.
const MostHeader = 4 << 10

// Meter limits bytes. It is safe for concurrent use and does not block.
type Meter interface {
	// Take asks for want bytes in either direction. n of them, 0 <= n <= want, may pass now and count as passed. When n is 0 the
	// connection rests for wait in the direction that asked, and asks again.
	Take(want int) (n int, wait time.Duration)
}

// Outcome is how a visit ended.
type Outcome struct {
	Reason         string        // one of the constants below
	Detail         string        // with ReasonBadHello: one of clienthello.Reasons; otherwise ""
	Sent, Received uint64        // bytes to and from the target, without Way.Header; 0 for connections given to Hand
	Duration       time.Duration // since the accept
}

// How connections end.
const (
	ReasonClosed         = "closed"           // both sides ended their data, or Hand returned
	ReasonReset          = "reset"            // one side reset the connection, or could not be reached any more
	ReasonIdle           = "idle"             // IdleTimeout or HalfIdle passed
	ReasonCut            = "cut"              // Review did not keep it
	ReasonDrain          = "drain"            // Run ended
	ReasonRefused        = "refused"          // Choose refused it
	ReasonNoTarget       = "no-target"        // no target could be connected
	ReasonNoHello        = "no-hello"         // the peer went away before its hello was whole
	ReasonBadHello       = "bad-hello"        // what came is no ClientHello
	ReasonHelloTooLong   = "hello-too-long"   // MaxHello bytes were not enough
	ReasonHelloTimeout   = "hello-timeout"    // HelloTimeout passed
	ReasonBadProxyHeader = "bad-proxy-header" // a trusted proxy sent none, or a bad one; only to Config.Dropped
	ReasonFull           = "full"             // MaxConnections, or no file descriptors; only to Config.Dropped
)
