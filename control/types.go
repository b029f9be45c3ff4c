package control

import (
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// ApplyOptions go with a set of manifests.
type ApplyOptions struct {
	DryRun bool   // decide everything, keep nothing
	Reason string // stands in the audit records
}

// Action is what an apply did to one noun.
type Action string

const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
)

// Change is the outcome for one noun, in the order in which they were given.
type Change struct {
	Key      resource.Key `json:"-"`
	Kind     string       `json:"kind"`
	Path     string       `json:"path"` // ot/plant-7/hub
	Action   Action       `json:"action"`
	Warnings []string     `json:"warnings,omitempty"` // worth a look; nothing failed
}

// Filter narrows a list. Empty fields let everything pass that the principal may see.
type Filter struct {
	Tenant string
	Scope  string // the network, or the zone for record sets

	State resource.ConnectionState // Connections only
}

// ConnectionView is a connection as one of its two sides sees it.
type ConnectionView struct {
	Endpoint       string              `json:"endpoint"` // ot/plant-7/hub
	EndpointUID    string              `json:"endpointUid"`
	Tenant         string              `json:"tenant"`  // the consumer's
	Network        string              `json:"network"` // the consumer's
	Service        string              `json:"service"` // TENANT/NETWORK/NAME; for the consumer's eyes as it wrote it, which may be an alias
	RequestMessage string              `json:"requestMessage,omitempty"`
	Connection     resource.Connection `json:"connection"`
	MayDecide      bool                `json:"mayDecide"` // the one who asked may approve, reject and remove
}

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name   string `json:"name" doc:"who or what uses it; stands in the audit records"`
	Tenant string `json:"tenant,omitempty" doc:"empty for the whole deployment"`
	Role   Role   `json:"role" enum:"admin,owner,network-admin,auditor,reader"`
}

// Token is what is known of an API token; never the token itself.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Tenant    string    `json:"tenant,omitempty"`
	Role      Role      `json:"role,omitempty" doc:"of a program's"`
	Person    string    `json:"person,omitempty" doc:"uid of whose it is, who has roles of his own"`
	Provider  string    `json:"provider,omitempty" doc:"the identity provider at which the person signed in for it"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy,omitempty"`
	LastUsed  time.Time `json:"lastUsed,omitzero"` // to the minute
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"absent for a program's, which is good until it is revoked"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
}

// Joiner is what a join token is for.
type Joiner string

const (
	JoinAgent Joiner = "agent"
	JoinHub   Joiner = "hub"
	JoinRelay Joiner = "relay"

	JoinGateway Joiner = "gateway"
	JoinBridge  Joiner = "bridge"
)

// JoinTokenRequest asks for a join token. Tenant and Network are needed for agents, hubs, gateways and bridges and forbidden for relays.
type JoinTokenRequest struct {
	For     Joiner        `json:"for" enum:"agent,hub,relay,gateway,bridge"`
	Tenant  string        `json:"tenant,omitempty"`
	Network string        `json:"network,omitempty"`
	Name    string        `json:"name,omitempty" doc:"the only name that may join with it; the joiner chooses when absent"`
	TTL     time.Duration `json:"ttl,omitempty"`  // an hour when 0, at most 30 days
	Uses    int           `json:"uses,omitempty"` // how many processes may join with it: 1 when 0, at most 1000
	// EphemeralAfter has what joins removed when it was not seen for so long: 5 minutes to 30 days; 0: never. Agents, gateways and bridges only.
	EphemeralAfter time.Duration `json:"ephemeralAfter,omitempty"`
}

// JoinToken is a fresh join token. Secret is shown this once; only a hash of it is kept.
type JoinToken struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"`
	Expires time.Time `json:"expires"`
}

// JoinTokenState is what became of a join token.
type JoinTokenState string

const (
	JoinUnused  JoinTokenState = "unused" // it may be used, also when some of its uses were
	JoinUsed    JoinTokenState = "used"   // used up
	JoinExpired JoinTokenState = "expired"
	JoinRevoked JoinTokenState = "revoked"
)

// JoinTokenView is what is known of a join token; never its text. Tokens are forgotten 30 days after their end, and with their network.
type JoinTokenView struct {
	ID        string         `json:"id"`
	For       Joiner         `json:"for"`
	Tenant    string         `json:"tenant,omitempty"`  // empty for relays
	Network   string         `json:"network,omitempty"` // empty for relays
	Name      string         `json:"name,omitempty" doc:"the only name that may join with it"`
	State     JoinTokenState `json:"state" enum:"unused,used,expired,revoked"`
	CreatedAt time.Time      `json:"createdAt"`
	CreatedBy string         `json:"createdBy"`
	Expires   time.Time      `json:"expires"`
	Uses      int            `json:"uses" doc:"how many processes may join with it"`
	Used      int            `json:"used" doc:"how many did"`
	UsedAt    time.Time      `json:"usedAt,omitzero" doc:"when the last one did"`
	UsedBy    string         `json:"usedBy,omitempty" doc:"the SPIFFE id that came of that"`
	RevokedAt time.Time      `json:"revokedAt,omitzero"`
	RevokedBy string         `json:"revokedBy,omitempty"`
	Reason    string         `json:"reason,omitempty" doc:"for which it was revoked"`

	EphemeralAfter string `json:"ephemeralAfter,omitempty" doc:"what joined with it is removed when it was not seen for so long" example:"1h0m0s"`
}

// EnrolRequest is what a joiner sends. Secret is the whole token text.
type EnrolRequest struct {
	Secret  string    `json:"secret"`
	Name    string    `json:"name,omitempty"`    // chosen when empty; must be the token's if that has one
	CSR     string    `json:"csr"`               // PEM; only its key is used
	Version string    `json:"version,omitempty"` // of the joiner's program
	Address string    `json:"address,omitempty"` // relays: host:port that agents dial
	Direct  string    `json:"direct,omitempty"`  // agents: host:port where tunnels may come without a relay
	Now     time.Time `json:"now,omitzero"`      // the joiner's clock
}

// EnrolReply is what a joiner keeps.
type EnrolReply struct {
	ID          identity.ID `json:"id"`
	Name        string      `json:"name"`
	Certificate string      `json:"certificate"` // PEM
	Roots       string      `json:"roots"`       // PEM
	Expires     time.Time   `json:"expires"`     // of the certificate
	Plan        plan.Plan   `json:"plan"`        // empty for one that carries a gateway with rules: these come over the stream
}

// CertificateReply is a certificate with what it is verified by.
type CertificateReply struct {
	Certificate string    `json:"certificate"` // PEM
	Roots       string    `json:"roots"`       // PEM
	Expires     time.Time `json:"expires"`
}

// AgentReport is what an agent or relay says of itself every now and then. At most 50 problems of 500 bytes are kept.
type AgentReport struct {
	Version      string   `json:"version,omitempty"`
	Direct       string   `json:"direct,omitempty"` // host:port, empty when it is not reachable
	PlanRevision string   `json:"planRevision,omitempty"`
	Problems     []string `json:"problems,omitempty"`

	DNSAddresses []netip.AddrPort `json:"dnsAddresses,omitempty"` // where its resolver answers

	Bridges []BridgeReport `json:"bridges,omitempty"` // those it carries; at most 200 are kept, each with its first 1024 partitions
}

// BridgeReport is how a bridge is, as the process says that carries it.
type BridgeReport struct {
	ID     string                `json:"id"` // uid of the Bridge
	Status resource.BridgeStatus `json:"status"`
}

// AuditFilter narrows an audit list. Records come in the order of their sequence.
type AuditFilter struct {
	Tenant string    // whose chain; the principal's own when empty ("" for the deployment's own records)
	Kind   string    // of the noun, such as "PrivateEndpoint"
	Path   string    // of the noun
	Since  time.Time // not before
	After  int64     // sequence; for paging
	Limit  int       // 100 when 0, at most 1000
	Last   bool      // the last Limit records instead of the first
}

// AuditRecord is one change, tied to the one before it in its tenant's chain.
type AuditRecord = store.AuditRecord
