package resource

import (
	"net/netip"

	"github.com/isthmus-io/isthmus/fault"
)

// PrivateEndpoint is a private address in the consumer's network which leads to one Service and to nothing else.
type PrivateEndpoint struct {
	Header
	Spec   PrivateEndpointSpec   `json:"spec"`
	Status PrivateEndpointStatus `json:"status,omitzero"`
}

// PrivateEndpointSpec is what the consumer asks for. Service cannot change afterwards: make a new endpoint.
type PrivateEndpointSpec struct {
	Service        string     `json:"service" doc:"TENANT/NETWORK/NAME of the service, or its alias" example:"ot/ot-cloud/contoso"`
	RequestMessage string     `json:"requestMessage,omitempty" maxLength:"140" doc:"what the provider reads in the pending list"`
	Address        netip.Addr `json:"address,omitzero" doc:"a fixed address from the network's ranges; chosen when absent"`
	Agent          string     `json:"agent,omitempty" doc:"the agent that listens; the network's oldest when absent"`
	// WithoutNames keeps the endpoint out of DNS, so that a second one for the same service can stand beside the first.
	WithoutNames bool `json:"withoutNames,omitempty" doc:"make no DNS names; two endpoints of a network cannot both answer for one name"`
}

// PrivateEndpointStatus is what Isthmus says of an endpoint. The address never changes while the endpoint lives.
type PrivateEndpointStatus struct {
	Address    netip.Addr `json:"address,omitzero" doc:"where it listens; never changes while the endpoint lives"`
	HostNames  []string   `json:"hostNames,omitempty" doc:"public names that lead here while the connection is approved"`
	Ports      []uint16   `json:"ports,omitempty" doc:"the ports it listens on"`
	Agent      string     `json:"agent,omitempty" doc:"the agent that listens"`
	Connection Connection `json:"connection,omitzero" doc:"the agreement with the service"`
}

func (e *PrivateEndpoint) SpecAndStatus() (any, any) { return &e.Spec, &e.Status }

// Validate checks what needs no look at the network.
func (e *PrivateEndpoint) Validate() error {
	op := "resource.PrivateEndpoint.Validate"
	if err := e.validate(); err != nil {
		return err
	}
	if e.Spec.Service == "" {
		return fault.New(op, fault.Invalid, "spec.service is missing").Advise("name the service as TENANT/NETWORK/NAME, or give the alias its owner handed out")
	}
	if len(e.Spec.RequestMessage) > 140 {
		return fault.Newf(op, fault.Invalid, "spec.requestMessage has %d bytes", len(e.Spec.RequestMessage)).Advise("keep it to 140")
	}
	if e.Spec.Agent != "" {
		return ValidateName(e.Spec.Agent)
	}
	return nil
}
