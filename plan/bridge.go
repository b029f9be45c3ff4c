package plan

import "github.com/isthmus-io/isthmus/resource"

// Bridge is a bridge that this process carries, with everything it needs while the control plane is away.
type Bridge struct {
	ID       string              `json:"id"`       // uid of the Bridge
	Name     string              `json:"name"`     // ot/ot-cloud/telemetry
	Identity string              `json:"identity"` // the workload it proves itself as: identity.BridgeID
	Spec     resource.BridgeSpec `json:"spec"`
	// Assignment rises when another process takes the bridge over; it is the epoch with which the source is read.
	Assignment int64 `json:"assignment"`
	// Problem says why the bridge may not run at the moment, and Step where that is: source, contract, destination, or a step's name. Empty: it may.
	Problem string `json:"problem,omitempty"`
	Step    string `json:"step,omitempty"`
	// Ends are the private endpoints that Spec names, by name. One that is not Open has nothing but its name and, when it is there, its ID.
	Ends map[string]BridgeEnd `json:"ends,omitempty"`
	// Contract is what may cross; nil where source and destination are of one tenant and none is named.
	Contract *Contract `json:"contract,omitempty"`
	// Known is where the bridge stood when it was last reported, for a process that has no account of its own.
	Known []resource.BridgePartition `json:"known,omitempty"`
}

// BridgeEnd is a private endpoint as a bridge uses it.
type BridgeEnd struct {
	ID        string               `json:"id"`   // uid of the PrivateEndpoint
	Name      string               `json:"name"` // ot/ot-cloud/lake
	Open      bool                 `json:"open"` // the connection is Approved
	Type      resource.ServiceType `json:"type"`
	HostName  string               `json:"hostName,omitempty"` // the service's public name, empty for tcp without one
	Ports     []uint16             `json:"ports"`
	Tenant    string               `json:"tenant"` // the service's
	Service   string               `json:"service"`
	Providers []Peer               `json:"providers,omitempty"`
	Served    bool                 `json:"served,omitempty"` // by Isthmus, so that workload identities mean something there
}

// Contract is the version of a contract that both tenants have signed.
type Contract struct {
	Name    string                `json:"name"` // ot/telemetry
	Version int64                 `json:"version"`
	Digest  string                `json:"digest"`
	Spec    resource.ContractSpec `json:"spec"`
	// HashKey is what hashed fields are hashed with: 32 bytes that only the source's tenant has.
	HashKey []byte `json:"hashKey,omitempty"`
}

// Assignment is one right of one workload at a served service.
type Assignment struct {
	Workload string            `json:"workload"` // SPIFFE id of the workload
	Holders  []string          `json:"holders"`  // SPIFFE ids of the agents that may speak for it
	Role     resource.DataRole `json:"role"`
	Scope    string            `json:"scope,omitempty"` // one event hub, container or repository; empty: all
}
