package membership

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

// Config says where a member keeps what it has and how it reaches the control plane. The zero value works but for Dir.
type Config struct {
	// Dir is the member's own directory, made with mode 0700 when it is not there.
	Dir string
	// Proxy is the URL of an HTTP proxy that allows CONNECT; empty: HTTPS_PROXY and NO_PROXY of the environment; "none": no proxy.
	Proxy string
	// Servers, host:port in order of preference, stand in for the addresses that came with the join token.
	Servers []string
	// Version is the program's, for reports.
	Version string
	// Timeout bounds one request to one address; 30 s when 0.
	Timeout time.Duration
	// Force lets Join replace an identity that is there already.
	Force bool

	write func(path string, content []byte) error // tests only
}

func (c Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return 30 * time.Second
}

// JoinInfo is what a joiner says of itself.
type JoinInfo struct {
	Name    string      // wanted name; the token's or a chosen one when empty
	Version string      // of the program; Config.Version when empty
	Direct  string      // agents: host:port where tunnels may come without a relay
	Address string      // relays: host:port that agents dial
	Clock   clock.Clock // the machine's when nil
}

// Report is what a member says of itself every now and then.
type Report struct {
	Version      string   `json:"version,omitempty"`      // Config.Version when empty
	Direct       string   `json:"direct,omitempty"`       // host:port, empty when it is not reachable
	PlanRevision string   `json:"planRevision,omitempty"` // of the plan carried out; the one last announced when empty
	Problems     []string `json:"problems,omitempty"`     // what of the plan it cannot do, in words

	DNSAddresses []netip.AddrPort `json:"dnsAddresses,omitempty"` // agents: where the resolver answers

	Bridges []BridgeReport `json:"bridges,omitempty"` // those it carries; while there are any, a report goes out every few seconds
}

// BridgeReport is how a bridge is that the member carries. Of its status the agent and the assignment say which plan the figures are of;
// the control plane counts only reports of the process that carries the bridge now.
type BridgeReport struct {
	ID     string                `json:"id"` // uid of the Bridge
	Status resource.BridgeStatus `json:"status"`
}

const (
	keepAliveLimit = 45 * time.Second // three keep-alive lines missed
	reportEvery    = time.Minute
	reportLook     = 5 * time.Second // how soon a change is reported
	steadyAfter    = 30 * time.Second
	maxPlan        = 64 << 20 // one line of the stream; rules come in parts of some 10 KiB
	maxReply       = 16 << 20
)
