package resolver

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"runtime"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/cache"
)

// Config is where and within which limits a resolver works. The zero value of each limit is the number given.
type Config struct {
	Listen      []string // host:port with a literal address; each is UDP and TCP. Port 0: any, see Resolver.Addr
	TLSListen   []string // the same for DNS over TLS (RFC 7858), whose port is 853
	HTTPSListen []string // the same for DNS over HTTPS (RFC 8484), path /dns-query

	// Certificate gives the certificate of TLSListen and HTTPSListen, for each handshake anew; without it they are not served.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	Workers int // UDP sockets of each address, with a reader each; as many as processors, up to 8
	Batch   int // datagrams taken from a socket at once; 64

	// RatePerSource is how many queries a second are answered over UDP to one IPv4 address or IPv6 /56, twice as many at once; 5,000.
	// Negative: no limit. Clients with a cookie, other transports and loopback, which nobody can forge from outside, have none.
	RatePerSource int
	LimitLoopback bool   // hold each address of loopback to RatePerSource as well: where programs of one machine are not to be in each other's way
	CookieSecret  []byte // 16 bytes, the same on all resolvers behind one address (RFC 9018); none: made at the start, changed every day

	Cache           cache.Config
	StaleAfter      time.Duration // how long a client waits for an upstream when a stale answer is at hand (RFC 8767 section 5); 1.8 s
	MaxForwards     int           // forwarded queries in flight, of which one client gets three quarters; 1,024
	UpstreamTimeout time.Duration // for one try at one upstream; 1.5 s
	QueryTimeout    time.Duration // for a query with all its tries; 5 s, what clients wait for
	DeadFor         time.Duration // how long an upstream is skipped after a failure, doubling with each; 1 s
	UpstreamRoots   *x509.CertPool
	UpstreamSources []netip.Addr // where queries to upstreams leave from; none: the kernel chooses

	MaxTCP   int           // connections of each TCP, TLS or HTTPS address, of which one client gets a quarter; 256
	TCPIdle  time.Duration // to shake hands, and to deliver one whole query; 10 s
	TCPDepth int           // queries of one connection that wait for upstreams; 16
}

func (c Config) withDefaults() Config {
	c.Workers = or(c.Workers, min(runtime.GOMAXPROCS(0), 8))
	c.Batch = or(c.Batch, 64)
	if c.RatePerSource == 0 {
		c.RatePerSource = 5000
	}
	c.StaleAfter = or(c.StaleAfter, 1800*time.Millisecond)
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
