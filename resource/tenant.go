package resource

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Tenant is an organisation. Nothing crosses between tenants unless both sides agree.
type Tenant struct {
	Header
	Spec   TenantSpec   `json:"spec"`
	Status TenantStatus `json:"status,omitzero"`
}

// TenantSpec is what one says of a tenant.
type TenantSpec struct {
	DisplayName string `json:"displayName,omitempty" maxLength:"200" doc:"a name for people"`
}

// TenantStatus is empty so far.
type TenantStatus struct{}

func (t *Tenant) Validate() error           { return t.validate() }
func (t *Tenant) SpecAndStatus() (any, any) { return &t.Spec, &t.Status }

// Network is a place: a factory site, a cloud network, a laptop.
type Network struct {
	Header
	Spec   NetworkSpec   `json:"spec"`
	Status NetworkStatus `json:"status,omitzero"`
}

// NetworkSpec is what one says of a network.
type NetworkSpec struct {
	// AddressRanges are where private endpoints get their addresses; they may not overlap each other. A network without a range
	// can offer services and cannot have endpoints.
	AddressRanges []netip.Prefix `json:"addressRanges,omitempty" doc:"CIDR ranges for private endpoints" example:"[\"10.7.0.0/24\"]"`
	DNS           NetworkDNS     `json:"dns,omitzero" doc:"what the network's resolvers do with names that are not private"`
}

// NetworkDNS is what the resolvers of the network's agents do with names that are not private.
type NetworkDNS struct {
	// Upstreams are asked for everything else, in order, as IP or IP:port (53 by default). Empty: such questions are refused.
	Upstreams []string `json:"upstreams,omitempty" doc:"servers asked for every other name, in order, as IP or IP:port; none: such questions are refused" example:"[\"192.168.1.1\"]"`
	// Clients may ask the network's resolvers. Empty: private, link-local and loopback addresses, so that no resolver answers the internet.
	Clients []netip.Prefix `json:"clients,omitempty" doc:"address ranges that may ask the network's resolvers; when absent, private, link-local and loopback addresses" example:"[\"10.7.0.0/16\"]"`
}

// NetworkStatus is what Isthmus says of a network.
type NetworkStatus struct {
	Agents    int `json:"agents" doc:"agents that joined and were not removed"`
	Endpoints int `json:"endpoints" doc:"private endpoints in the network"`
	Services  int `json:"services" doc:"services the network offers"`
}

func (n *Network) Validate() error {
	if err := n.validate(); err != nil {
		return err
	}
	if err := ValidateRanges(n.Spec.AddressRanges); err != nil {
		return err
	}
	for _, u := range n.Spec.DNS.Upstreams {
		if _, err := ParseUpstream(u); err != nil {
			return err
		}
	}
	for _, p := range n.Spec.DNS.Clients {
		if err := validatePrefix("resource.Network.Validate", "spec.dns.clients", p); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) SpecAndStatus() (any, any) { return &n.Spec, &n.Status }

// ParseUpstream reads IP or IP:port; the port is 53 when absent.
func ParseUpstream(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 && zoneFits(ap.Addr()) {
		return ap, nil
	}
	if a, ok := parseAddr(s); ok {
		return netip.AddrPortFrom(a, 53), nil
	}
	return netip.AddrPort{}, fault.Newf("resource.ParseUpstream", fault.Invalid, "%q is not a DNS server's address", s).
		Advise("write an IP address, or IP:port, such as 192.168.1.1 or [fd00::1]:53")
}

// Agent is one process that joined a network. Its noun is made by enrolment, never by a manifest.
type Agent struct {
	Header
	Spec   AgentSpec   `json:"spec"`
	Status AgentStatus `json:"status,omitzero"`
}

// AgentRole says what the process is for.
type AgentRole string

const (
	RoleAgent AgentRole = "agent" // endpoints, names, provider side of services
	RoleHub   AgentRole = "hub"   // serves hubs; holds link keys of the services it serves

	RoleGateway AgentRole = "gateway" // carries the gateways of its network; no endpoints, no services
	RoleBridge  AgentRole = "bridge"  // carries the bridges of its network; no endpoints, no services
)

// AgentSpec is fixed at enrolment.
type AgentSpec struct {
	Role AgentRole `json:"role" enum:"agent,hub,gateway,bridge" doc:"what the process is for"`
	// EphemeralAfterSeconds is for processes that come and go by themselves, such as those of a scale set.
	EphemeralAfterSeconds int `json:"ephemeralAfterSeconds,omitempty" doc:"it is removed when it was not seen for so long; never when absent" minimum:"0"`
}

// AgentStatus is what the agent last reported.
type AgentStatus struct {
	SPIFFEID       string    `json:"spiffeId,omitempty" doc:"the identity its certificate carries"`
	Connected      bool      `json:"connected" doc:"whether it follows its plan right now"`
	LastSeen       time.Time `json:"lastSeen,omitzero" doc:"when it last reported"`
	Version        string    `json:"version,omitempty" doc:"the version it runs"`
	DirectAddress  string    `json:"directAddress,omitempty" doc:"host:port where its tunnels may be dialled without a relay"`
	PlanRevision   string    `json:"planRevision,omitempty" doc:"the plan it last carried out"`
	CertificateEnd time.Time `json:"certificateEnd,omitzero" doc:"when its certificate ends unless renewed"`
	Problems       []string  `json:"problems,omitempty" doc:"what of its plan it could not do, in words"`

	DNSAddresses []netip.AddrPort `json:"dnsAddresses,omitempty" doc:"where its resolver answers"`
}

func (a *Agent) Validate() error           { return a.validate() }
func (a *Agent) SpecAndStatus() (any, any) { return &a.Spec, &a.Status }

// Relay pairs outbound connections. Its noun is made by enrolment.
type Relay struct {
	Header
	Spec   RelaySpec   `json:"spec"`
	Status RelayStatus `json:"status,omitzero"`
}

// RelaySpec is where agents dial it.
type RelaySpec struct {
	Address string `json:"address" doc:"host:port that agents dial" example:"relay.example.net:443"`
}

// RelayStatus is what the relay last reported.
type RelayStatus struct {
	SPIFFEID string    `json:"spiffeId,omitempty" doc:"the identity its certificate carries"`
	LastSeen time.Time `json:"lastSeen,omitzero" doc:"when it last reported"`
}

func (r *Relay) Validate() error           { return r.validate() }
func (r *Relay) SpecAndStatus() (any, any) { return &r.Spec, &r.Status }
