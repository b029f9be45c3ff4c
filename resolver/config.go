package resolver

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/plan"
)

// Config is where and within which limits a resolver works. The zero value of each limit is the number given.
type Config struct {
	Listen []string // host:port with a literal address; each is UDP and TCP. Port 0: any, see Resolver.Addr

	MaxForwards     int           // forwarded queries in flight; 1,024
	UpstreamTimeout time.Duration // for one try at one upstream; 1.5 s
	QueryTimeout    time.Duration // for a query with all its tries; 5 s, what clients wait for
	DeadFor         time.Duration // how long an upstream is skipped after a failure, doubling with each up to 64 times; 1 s

	MaxTCP   int           // connections; 256
	TCPIdle  time.Duration // to deliver one whole query; 10 s
	TCPDepth int           // queries of one connection in work; 16
}

func (c Config) withDefaults() Config {
	c.MaxForwards = or(c.MaxForwards, 1024)
	c.UpstreamTimeout = or(c.UpstreamTimeout, 1500*time.Millisecond)
	c.QueryTimeout = or(c.QueryTimeout, 5*time.Second)
	c.DeadFor = or(c.DeadFor, time.Second)
	c.MaxTCP = or(c.MaxTCP, 256)
	c.TCPIdle = or(c.TCPIdle, 10*time.Second)
	c.TCPDepth = or(c.TCPDepth, 16)
	return c
}

func or[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// View is everything a network's resolver knows. It is not kept: Set makes its own tables of it.
type View struct {
	Names     []plan.Name
	Zones     []string         // linked zones: a name in one that Names does not have does not exist
	Redirect  []string         // those of Zones whose missing names are asked of Upstreams
	Forward   []plan.Forward   // rules: who is asked for which names
	Upstreams []netip.AddrPort // asked in this order for everything else; none: refuse

	Clients []netip.Prefix // who may ask; none: loopback, private and shared addresses, and those of the link
}
