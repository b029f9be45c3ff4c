package client

import (
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Version is what the server says of itself.
type Version struct {
	Version     string `json:"version"`
	APIVersion  string `json:"apiVersion"`
	TrustDomain string `json:"trustDomain"`
}

// Principal is who a token belongs to. Tenant is empty for the whole deployment.
type Principal struct {
	Name   string   `json:"name"`
	Tenant string   `json:"tenant,omitempty"`
	Role   string   `json:"role,omitempty"`   // of a program: admin, owner, network-admin, auditor or reader
	Person string   `json:"person,omitempty"` // a person's uid
	Roles  []string `json:"roles,omitempty"`  // of a person: owner, network-admin, operator, approver, auditor

	Expires time.Time `json:"expires,omitzero"` // when a person's token ends
}

// ApplyOptions go with a set of nouns.
type ApplyOptions struct {
	DryRun bool   // decide everything, keep nothing
	Reason string // stands in the audit records
}

// Change is the outcome of an apply for one noun, in the order in which they were given.
type Change struct {
	Kind     string   `json:"kind"`
	Path     string   `json:"path"`   // ot/plant-7/hub
	Action   string   `json:"action"` // created, updated or unchanged
	Warnings []string `json:"warnings,omitempty"`
}

// ContractDecision is what a side of a contract decides about one text, which Version and Digest name: they are needed to accept and to reject.
type ContractDecision struct {
	Decision string `json:"decision"` // accept, reject or withdraw
	Version  int64  `json:"version,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Reason   string `json:"reason,omitempty"` // both sides read it; stands in the audit records
}

// Filter narrows a list; empty fields let everything pass.
type Filter struct {
	Tenant string
	Scope  string                   // the network, or the zone of record sets
	State  resource.ConnectionState // Connections only
}

// Connection is a connection as one of its two sides sees it.
type Connection struct {
	Endpoint       string              `json:"endpoint"` // ot/plant-7/hub
	EndpointUID    string              `json:"endpointUid"`
	Tenant         string              `json:"tenant"`  // the consumer's
	Network        string              `json:"network"` // the consumer's
	Service        string              `json:"service"` // TENANT/NETWORK/NAME, or the alias the consumer wrote
	RequestMessage string              `json:"requestMessage,omitempty"`
	Connection     resource.Connection `json:"connection"`
	MayDecide      bool                `json:"mayDecide"` // the token's owner may approve, reject and remove
}

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant,omitempty"` // empty for the whole deployment
	Role   string `json:"role"`             // admin, owner, network-admin, auditor or reader
}

// Token is what is known of an API token; never the token itself.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Tenant    string    `json:"tenant,omitempty"`
	Role      string    `json:"role,omitempty"`     // of a program's
	Person    string    `json:"person,omitempty"`   // uid of whose it is
	Provider  string    `json:"provider,omitempty"` // the identity provider at which the person signed in for it
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy,omitempty"`
	LastUsed  time.Time `json:"lastUsed,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
}

// JoinTokenRequest asks for a join token. Tenant and Network are needed for agents, hubs, gateways and bridges and forbidden for relays.
type JoinTokenRequest struct {
	For     string // agent, hub, gateway, bridge or relay
	Tenant  string
	Network string
	Name    string        // the only name that may join with it; the joiner chooses when empty
	TTL     time.Duration // an hour when 0
	Uses    int           // how many processes may join with it; 1 when 0

	EphemeralAfter time.Duration // what joins is removed when it was not seen for so long; 0: never
}

// JoinToken is a fresh join token. Secret is shown this once.
type JoinToken struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"`
	Expires time.Time `json:"expires"`
}

// JoinTokenView is what is known of a join token; never its text.
type JoinTokenView struct {
	ID        string    `json:"id"`
	For       string    `json:"for"` // agent, hub, gateway, bridge or relay
	Tenant    string    `json:"tenant,omitempty"`
	Network   string    `json:"network,omitempty"`
	Name      string    `json:"name,omitempty"` // the only name that may join with it
	State     string    `json:"state"`          // unused, used, expired or revoked
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	Expires   time.Time `json:"expires"`
	Uses      int       `json:"uses"` // how many processes may join with it
	Used      int       `json:"used"` // how many did
	UsedAt    time.Time `json:"usedAt,omitzero"`
	UsedBy    string    `json:"usedBy,omitempty"` // the SPIFFE id that came of it
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	RevokedBy string    `json:"revokedBy,omitempty"`
	Reason    string    `json:"reason,omitempty"` // for which it was revoked

	EphemeralAfter string `json:"ephemeralAfter,omitempty"` // a duration
}
