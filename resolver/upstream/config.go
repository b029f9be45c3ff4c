package upstream

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Transport is how a server is asked.
type Transport string

const (
	UDP   Transport = "udp"   // and over TCP when an answer was cut (RFC 1035 section 4.2)
	TCP   Transport = "tcp"   // over one lasting connection (RFC 7766)
	TLS   Transport = "tls"   // RFC 7858
	HTTPS Transport = "https" // RFC 8484, by POST over HTTP/2
)

// Server is one server to ask. Two values that are equal mean the same server and share its health.
type Server struct {
	Address   netip.AddrPort
	Transport Transport // empty: UDP
	Name      string    // tls and https: the name its certificate must carry; empty: its address
	Path      string    // https: /dns-query when empty
}

// String gives the server as a person would write it, e.g. "udp://192.0.2.1:53" or "https://dns.example@192.0.2.1:443/dns-query".
func (s Server) String() string {
	at := s.Address.String()
	if s.Name != "" {
		at = s.Name + "@" + at
	}
	return string(s.withDefaults().Transport) + "://" + at + s.withDefaults().Path
}

func (s Server) withDefaults() Server {
	if s.Transport == "" {
		s.Transport = UDP
	}
	if s.Transport == HTTPS && s.Path == "" {
		s.Path = "/dns-query"
	}
	return s
}

// Validate says what is wrong with a server that can never be asked.
func (s Server) Validate() error {
	const op = "upstream.Server"
	s = s.withDefaults()
	switch {
	case !s.Address.IsValid() || s.Address.Port() == 0:
		return fault.Newf(op, fault.Invalid, "the server %v has no address with port", s.Address).Advise("write e.g. 192.0.2.1:53")
	case s.Address.Addr().IsUnspecified() || s.Address.Addr().IsMulticast():
		return fault.Newf(op, fault.Invalid, "%v is no address of one server", s.Address).Advise("name the address it listens on")
	case s.Transport != UDP && s.Transport != TCP && s.Transport != TLS && s.Transport != HTTPS:
		return fault.Newf(op, fault.Invalid, "the transport %q is not known", s.Transport).Advise("use udp, tcp, tls or https")
	case strings.ContainsAny(s.Name, "/:@ ") && !isAddress(s.Name):
		return fault.Newf(op, fault.Invalid, "%q is no name a certificate can carry", s.Name).Advise("write the host name alone")
	}
	if s.Transport != HTTPS {
		return nil
	}
	if u, err := url.Parse(s.Path); err != nil || !strings.HasPrefix(s.Path, "/") || u.Host != "" || u.Fragment != "" {
		return fault.Newf(op, fault.Invalid, "%q is no path of a URL", s.Path).Advise("write e.g. /dns-query")
	}
	return nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// Config holds the limits of a pool. The zero value of each is the number given.
type Config struct {
	Timeout      time.Duration // one try at one server, with its change to TCP; 1.5 s
	QueryTimeout time.Duration // a question with all its tries; 5 s, what clients wait for
	DeadFor      time.Duration // how long a server is skipped after its first failure, doubling with each; 1 s
	MaxDead      time.Duration // the longest it is skipped before it is tried again; 30 min
	MaxInFlight  int           // questions in flight, joined ones counted each; 4,096
	Sockets      int           // UDP sockets in use for one server at a time; 8. See SocketUses
	SocketUses   int           // questions sent from one UDP socket before its port is given up; 256. 1: a fresh one each
	IdleClose    time.Duration // how long a connection without questions is kept; 10 s

	Roots           *x509.CertPool // who may vouch for tls and https servers; nil: the system's
	SourceAddresses []netip.Addr   // where queries leave from, one at random of the server's family; none: the kernel chooses
	Token           [8]byte        // this resolver in the loop option; zero: random
}

func (c Config) withDefaults() Config {
	c.Timeout = or(c.Timeout, 1500*time.Millisecond)
	c.QueryTimeout = or(c.QueryTimeout, 5*time.Second)
	c.DeadFor = or(c.DeadFor, time.Second)
	c.MaxDead = max(or(c.MaxDead, 30*time.Minute), c.DeadFor)
	c.MaxInFlight = or(c.MaxInFlight, 4096)
	c.Sockets = or(c.Sockets, 8)
	c.SocketUses = or(c.SocketUses, 256)
	c.IdleClose = or(c.IdleClose, 10*time.Second)
	return c
}

func or[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// Limits that nobody needs to set.
const (
	maxServers   = 64               // of one group
	maxSockets   = 1024             // UDP sockets of a pool, those that wait for last answers included
	socketAge    = 10 * time.Second // after which a port is given up however little it was used
	withoutEDNS  = 15 * time.Minute // until a server that does not understand EDNS is asked with it again
	withoutCase  = time.Hour        // until one that does not echo case, or does not always send cookies, is trusted to again
	keepUnused   = 10 * time.Minute // how long the health of a server is known that no group names
	sweepEvery   = time.Second      // how often ports, idle connections and unused servers are looked at
	maxTries     = 3                // at one server for one question
	maxVia       = 15               // tokens carried in the loop option
	udpSize      = 1232             // largest datagram asked for: it fits every path without fragments (DNS flag day 2020)
	paddingBlock = 128              // RFC 8467 section 4.1
)
