package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"

	"github.com/isthmus-io/isthmus/resource"
)

// Plan is everything one process must do.
type Plan struct {
	Revision  string           `json:"revision"` // hash of the rest, see Seal
	Self      Self             `json:"self"`
	Roots     string           `json:"roots"` // PEM of the deployment's authorities
	Relays    []Relay          `json:"relays,omitempty"`
	Endpoints []Endpoint       `json:"endpoints,omitempty"` // consumer side
	Services  []Service        `json:"services,omitempty"`  // provider side
	Names     []Name           `json:"names,omitempty"`     // what the network's resolver knows
	Zones     []string         `json:"zones,omitempty"`     // suffixes for which Names is the whole truth (else NXDOMAIN)
	Upstreams []netip.AddrPort `json:"upstreams,omitempty"` // asked for every other name; none: refuse
	Hubs      []Hub            `json:"hubs,omitempty"`      // role hub only

	DNSClients []netip.Prefix `json:"dnsClients,omitempty"` // who may ask the resolver; none: resource's private ranges
	Redirect   []string       `json:"redirect,omitempty"`   // those of Zones whose missing names are asked of Upstreams (NxDomainRedirect)
	Forward    []Forward      `json:"forward,omitempty"`    // enabled forwarding rules
	Gateways   []Gateway      `json:"gateways,omitempty"`

	Targets []Target `json:"targets,omitempty"` // ways into machines that this process leads to, and who may come

	Bridges []Bridge `json:"bridges,omitempty"` // pipelines between services that this process carries

	Revoked []string `json:"revoked,omitempty"` // SPIFFE ids of deleted agents whose certificates have not lapsed: refuse them
}

// Self repeats who the plan is for.
type Self struct {
	ID      string             `json:"id"` // SPIFFE id
	Tenant  string             `json:"tenant"`
	Network string             `json:"network"`
	Agent   string             `json:"agent"`
	Role    resource.AgentRole `json:"role"`
}

// Relay is one place where outbound connections are paired.
type Relay struct {
	Address string `json:"address"` // host:port
	ID      string `json:"id"`      // SPIFFE id its certificate must carry
}

// Peer is an agent on the provider's side.
type Peer struct {
	ID     string `json:"id"`               // SPIFFE id its certificate must carry
	Direct string `json:"direct,omitempty"` // host:port to try before the relays
}

// Endpoint is a private endpoint this agent holds the address of. It listens only while Open.
type Endpoint struct {
	ID        string     `json:"id"`   // uid of the PrivateEndpoint
	Name      string     `json:"name"` // ot/plant-7/hub
	Address   netip.Addr `json:"address"`
	PrefixLen int        `json:"prefixLen"` // of the range the address came from
	Ports     []uint16   `json:"ports"`
	Open      bool       `json:"open"` // the connection is Approved
	Providers []Peer     `json:"providers,omitempty"`
}

// Service is a service this agent may dial for others.
type Service struct {
	ID            string                 `json:"id"`   // uid of the Service
	Name          string                 `json:"name"` // ot/ot-cloud/contoso
	Target        string                 `json:"target"`
	Ports         []resource.ServicePort `json:"ports"` // every TargetPort filled in
	ProxyProtocol bool                   `json:"proxyProtocol,omitempty"`
	LinkKey       []byte                 `json:"linkKey,omitempty"` // proves PROXY headers to the hub that serves it
	Links         []Link                 `json:"links,omitempty"`   // Approved connections only
}

// Link is one approved connection as its provider sees it.
type Link struct {
	Endpoint string `json:"endpoint"` // uid of the PrivateEndpoint
	Name     string `json:"name"`     // ot/plant-7/hub, for the log
	LinkID   uint32 `json:"linkId"`
	Consumer string `json:"consumer"` // SPIFFE id prefix of the consumer's network, ending in "/agent/"
}

// Name is everything the resolver answers for one fully qualified name (without trailing dot, lower case). Types it has no value
// for are NODATA.
type Name struct {
	Name  string       `json:"name"`
	TTL   uint32       `json:"ttl"`
	A     []netip.Addr `json:"a,omitempty"`
	AAAA  []netip.Addr `json:"aaaa,omitempty"`
	CNAME string       `json:"cname,omitempty"`
	TXT   []string     `json:"txt,omitempty"`

	MX  []resource.MX  `json:"mx,omitempty"`
	SRV []resource.SRV `json:"srv,omitempty"`
	PTR []string       `json:"ptr,omitempty"`
	CAA []resource.CAA `json:"caa,omitempty"`

	Source string `json:"source,omitempty"` // what it comes from, for explanations: "PrivateEndpoint ot/plant-7/hub", "RecordSet ot/corp.example/www"
}

// Forward is one forwarding rule. Domain has no trailing dot and is in lower case; "." is every name.
type Forward struct {
	Rule      string                `json:"rule"` // ot/rules/hub-of-fabrikam
	Domain    string                `json:"domain"`
	Exact     bool                  `json:"exact,omitempty"`
	Targets   []netip.AddrPort      `json:"targets"`
	Transport resource.DNSTransport `json:"transport,omitempty"`
	TLSName   string                `json:"tlsName,omitempty"`
}

// Gateway is a static address this process carries.
type Gateway struct {
	ID         string                     `json:"id"`   // uid of the Gateway
	Name       string                     `json:"name"` // ot/ot-cloud/front
	Listeners  []resource.GatewayListener `json:"listeners"`
	Routes     []GatewayRoute             `json:"routes,omitempty"`
	Groups     []resource.TargetGroup     `json:"groups,omitempty"`
	Limits     resource.GatewayLimits     `json:"limits,omitzero"`
	OpenToAll  bool                       `json:"openToAll,omitempty"`
	Allowlists []Allowlist                `json:"allowlists,omitempty"`
}

// GatewayRoute is a route with its private endpoint or service looked up. Problem says why it leads nowhere at the moment; such a route
// refuses, so that its names do not fall to a wildcard.
type GatewayRoute struct {
	Names     []string `json:"names,omitempty"`
	Listeners []string `json:"listeners,omitempty"`
	Group     string   `json:"group,omitempty"` // of Groups; also for services, whose group the plan makes
	Port      uint16   `json:"port,omitempty"`  // 0: the listener's

	Endpoint *GatewayEndpoint `json:"endpoint,omitempty"` // instead of Group
	Service  string           `json:"service,omitempty"`  // what a group was made for: ot/ot-cloud/contoso
	Problem  string           `json:"problem,omitempty"`
}

// GatewayEndpoint is a private endpoint that a gateway opens flows of.
type GatewayEndpoint struct {
	ID        string   `json:"id"`   // uid of the PrivateEndpoint
	Name      string   `json:"name"` // ot/ot-cloud/contoso
	Ports     []uint16 `json:"ports"`
	Providers []Peer   `json:"providers,omitempty"`
}

// Allowlist is one allowlist of a gateway. Rules are all of its rules, also when they are in parts: these tell what stayed as it was
// between two plans.
type Allowlist struct {
	Name  string               `json:"name"` // ot/ot-cloud/fabrikam
	Owner string               `json:"owner,omitempty"`
	Rules []resource.AllowRule `json:"rules,omitempty"`
	Parts []*Part              `json:"parts,omitempty"` // what Rules is made of, in order; nil in a plan that control did not make
}

// Hub is a hub this process serves.
type Hub struct {
	ID        string   `json:"id"`        // uid of the Service
	Name      string   `json:"name"`      // ot/ot-cloud/contoso
	HostNames []string `json:"hostNames"` // all it answers to; the first is the public name
	// Type is dps for a provisioning service, eventhubs for a namespace of event hubs and blob for a blob service, which a hub process serves
	// as it does hubs; a hub's when empty.
	Type    resource.ServiceType  `json:"type,omitempty"`
	Public  resource.PublicAccess `json:"public"`
	LinkKey []byte                `json:"linkKey"`
	Links   []uint32              `json:"links,omitempty"` // link ids of Approved connections
	// DeviceStreams says who may ask devices for streams; Grants when empty.
	DeviceStreams resource.DeviceStreams `json:"deviceStreams,omitempty"`
	// EventHubs are those the resource of a namespace declares.
	EventHubs []resource.EventHub `json:"eventHubs,omitempty"`
	// Containers are those the resource of a blob service declares.
	Containers []string `json:"containers,omitempty"`
	// Assignments are the rights of workloads; Trusted those workloads (SPIFFE ids) that may come in from the public side although Public is
	// Disabled; KeysOff that no shared key opens the service.
	Assignments []Assignment `json:"assignments,omitempty"`
	Trusted     []string     `json:"trusted,omitempty"`
	KeysOff     bool         `json:"keysOff,omitempty"`
}

// Seal sets the revision to a hash of the plan's content and returns the plan. Allowlists that have parts count by them.
func (p Plan) Seal() Plan {
	p.Revision = ""
	b, err := json.Marshal(p.thin()) // the digests of the parts stand for their rules
	if err != nil {
		panic("plan: a plan must marshal: " + err.Error())
	}
	sum := sha256.Sum256(b)
	p.Revision = hex.EncodeToString(sum[:8])
	return p
}
