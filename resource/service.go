package resource

import (
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Anyone in a visibility or auto-approval list stands for every tenant.
const Anyone = "*"

// Service is something reachable in its (provider's) network.
type Service struct {
	Header
	Spec   ServiceSpec   `json:"spec"`
	Status ServiceStatus `json:"status,omitzero"`
}

// PublicAccess says whether a peer that did not come through an approved endpoint may use the service.
type PublicAccess string

const (
	PublicEnabled  PublicAccess = "Enabled" // also the meaning of an absent value
	PublicDisabled PublicAccess = "Disabled"
)

// ServiceSpec is what the provider says of a service.
type ServiceSpec struct {
	Type ServiceType `json:"type" enum:"iothub,dps,registry,blob,eventhubs,function,tcp" doc:"the sort of service, which decides ports, public suffix and private zone"`
	// HostName is the public name devices are configured with. Required for every type but tcp.
	HostName            string   `json:"hostName,omitempty" doc:"the public name devices are configured with; required for every type but tcp" example:"contoso.azure-devices.net"`
	AdditionalHostNames []string `json:"additionalHostNames,omitempty" doc:"more public names of the same service, such as a registry's data endpoint, or the name under which a hub's events are read"`
	// PublicSuffix overrides the type's suffix where another cloud uses another one (azure-devices.us).
	PublicSuffix string `json:"publicSuffix,omitempty" doc:"overrides the type's suffix where another cloud uses another one" example:"azure-devices.us"`
	// Target is the one host the provider's agent dials: an IP address or a name that agent can resolve.
	Target string `json:"target" doc:"the one host the provider's agent dials: an IP address or a name that agent can resolve" example:"contoso.azure-devices.net"`
	// Ports overrides the type's ports; required for tcp.
	Ports []ServicePort `json:"ports,omitempty" doc:"overrides the type's ports; required for tcp"`
	// Visibility lists the tenants that may know of the service beside its own; "*" is everybody.
	Visibility []string `json:"visibility,omitempty" doc:"tenants that may know of the service beside its own; * is everybody" example:"[\"it\"]"`
	// AutoApprove lists the tenants whose endpoints are approved at once; a subset of visibility and the own tenant.
	AutoApprove []string `json:"autoApprove,omitempty" doc:"tenants whose endpoints are approved at once; a subset of visibility and the own tenant"`
	// PublicNetworkAccess closes the public side of a service that Isthmus itself serves.
	PublicNetworkAccess PublicAccess `json:"publicNetworkAccess,omitempty" enum:"Enabled,Disabled" doc:"whether peers that came through no approved endpoint are served; Enabled when absent"`
	// ProxyProtocol asks for a PROXY v2 header with the link id before the first byte of each flow.
	ProxyProtocol bool `json:"proxyProtocol,omitempty" doc:"write a PROXY v2 header with the link id before the first byte of each flow"`
	// ServedBy names the Isthmus process (an Agent of role hub in the same network) which serves it, if any.
	ServedBy string `json:"servedBy,omitempty" doc:"the Isthmus process (an Agent of role hub in the same network) that serves it, if any" example:"hub-1"`
	// CertificateNames says which names the certificate of a served service carries beside the public ones.
	PrivateLinkCertificate bool `json:"privateLinkCertificate,omitempty" doc:"let the served certificate also carry the privatelink name"`
	// DeviceStreams says who may ask the devices of a served hub for streams.
	DeviceStreams DeviceStreams `json:"deviceStreams,omitempty" enum:"Grants,Keys" doc:"who may ask devices of a served hub for streams: people with a grant for a target, or also whoever has a key with the right ServiceConnect; Grants when absent"`
	// EventHubs are those a served namespace has at least.
	EventHubs []EventHub `json:"eventHubs,omitempty" doc:"event hubs of a served namespace; more can be made by command"`
	// Containers are those a served blob service has at least.
	Containers []string `json:"containers,omitempty" doc:"containers of a served blob service; more can be made by whoever may" example:"[\"aggregates\"]"`
	// KeyAccess closes a service that Isthmus itself serves to shared keys, and to signatures made with them.
	KeyAccess KeyAccess `json:"keyAccess,omitempty" enum:"Enabled,Disabled" doc:"whether shared keys and signatures made with them open a served service; Enabled when absent. Where Disabled, only identities do. Devices of a hub keep their keys"`
	// TrustedWorkloads may come in from the public side although that is closed.
	TrustedWorkloads []Workload `json:"trustedWorkloads,omitempty" doc:"workloads that are served from the public side although publicNetworkAccess is Disabled: with their identity and a role, never with a key alone"`
}

// DeviceStreams says what a service must show to ask a device for a stream.
type DeviceStreams string

const (
	StreamsByGrant DeviceStreams = "Grants" // a grant for a target that names the stream; also the meaning of an absent value
	StreamsByKey   DeviceStreams = "Keys"   // or a policy's key, as IoT Hub had it
)

// KeyAccess says whether shared keys open a service.
type KeyAccess string

const (
	KeysEnabled  KeyAccess = "Enabled" // also the meaning of an absent value
	KeysDisabled KeyAccess = "Disabled"
)

// ServicePort maps a port that devices dial to the target's port.
type ServicePort struct {
	Port       uint16 `json:"port" minimum:"1" doc:"what devices dial" example:"8883"`
	TargetPort uint16 `json:"targetPort,omitempty" doc:"the same as port when absent"`
}

// ServiceStatus is what Isthmus says of a service.
type ServiceStatus struct {
	Alias       string         `json:"alias,omitempty" doc:"a name to hand out that tells nothing else"`
	Connections map[string]int `json:"connections,omitempty" doc:"connections by state"`
}

func (s *Service) SpecAndStatus() (any, any) { return &s.Spec, &s.Status }

// Validate checks the service against the table of types.
func (s *Service) Validate() error {
	op := "resource.Service.Validate"
	if err := s.validate(); err != nil {
		return err
	}
	sp := &s.Spec
	info, ok := TypeOf(sp.Type)
	if !ok {
		return fault.Newf(op, fault.Invalid, "spec.type %q is not a service type", sp.Type).Advise("types are %s", typeList())
	}
	if sp.HostName == "" && sp.Type != TypeTCP {
		return fault.Newf(op, fault.Invalid, "spec.hostName is missing").Advise("give the public name that devices are configured with, such as contoso.%s", info.suffixOr("example.net"))
	}
	for _, h := range s.HostNames() {
		if err := ValidateDomain(h); err != nil {
			return within(op, "spec.hostName", err)
		}
	}
	if sp.PublicSuffix != "" {
		if err := ValidateDomain(sp.PublicSuffix); err != nil {
			return within(op, "spec.publicSuffix", err)
		}
		if !strings.HasSuffix(sp.HostName, "."+sp.PublicSuffix) {
			return fault.Newf(op, fault.Invalid, "spec.hostName %q does not end in spec.publicSuffix %q", sp.HostName, sp.PublicSuffix).Advise("make one fit the other")
		}
	}
	if sp.Target == "" {
		return fault.Newf(op, fault.Invalid, "spec.target is missing").Advise("give the IP address or name which the agent in network %s dials", s.Metadata.Network)
	}
	if _, ok := parseAddr(sp.Target); !ok {
		if err := ValidateDomain(strings.ToLower(sp.Target)); err != nil {
			return fault.Newf(op, fault.Invalid, "spec.target %q is neither an IP address nor a host name", sp.Target).Advise("ports belong into spec.ports[].targetPort")
		}
	}
	if len(sp.Ports) == 0 && sp.Type == TypeTCP {
		return fault.Newf(op, fault.Invalid, "spec.ports is empty").Advise("a tcp service has no ports of its own: list at least one")
	}
	seen := map[uint16]bool{}
	for _, p := range sp.Ports {
		if p.Port == 0 {
			return fault.New(op, fault.Invalid, "spec.ports has a port 0").Advise("ports are 1 to 65535")
		}
		if seen[p.Port] {
			return fault.Newf(op, fault.Invalid, "spec.ports has port %d twice", p.Port).Advise("a port leads to one target port")
		}
		seen[p.Port] = true
	}
	switch sp.PublicNetworkAccess {
	case "", PublicEnabled, PublicDisabled:
	default:
		return fault.Newf(op, fault.Invalid, "spec.publicNetworkAccess is %q", sp.PublicNetworkAccess).Advise("write Enabled or Disabled")
	}
	switch sp.DeviceStreams {
	case "", StreamsByGrant, StreamsByKey:
	default:
		return fault.Newf(op, fault.Invalid, "spec.deviceStreams is %q", sp.DeviceStreams).Advise("write Grants or Keys")
	}
	if err := s.validateEventHubs(); err != nil {
		return err
	}
	if err := s.validateDataAccess(); err != nil {
		return err
	}
	for _, list := range [][]string{sp.Visibility, sp.AutoApprove} {
		for _, t := range list {
			if t == Anyone {
				continue
			}
			if err := ValidateName(t); err != nil {
				return err
			}
		}
	}
	for _, t := range sp.AutoApprove {
		if t != s.Metadata.Tenant && !slices.Contains(sp.Visibility, Anyone) && !slices.Contains(sp.Visibility, t) {
			return fault.Newf(op, fault.Invalid, "spec.autoApprove names %q, which spec.visibility does not", t).
				Advise("only a tenant that may see the service can be approved automatically: add it to spec.visibility or take it out of spec.autoApprove")
		}
	}
	return nil
}

// VisibleTo tells whether the tenant may know of the service.
func (s *Service) VisibleTo(tenant string) bool {
	return tenant == s.Metadata.Tenant || slices.Contains(s.Spec.Visibility, tenant) || slices.Contains(s.Spec.Visibility, Anyone)
}

// AutoApproves tells whether an endpoint of the tenant is approved without asking. Visibility still has to hold.
func (s *Service) AutoApproves(tenant string) bool {
	return s.VisibleTo(tenant) && (slices.Contains(s.Spec.AutoApprove, tenant) || slices.Contains(s.Spec.AutoApprove, Anyone))
}

// HostNames returns every public name of the service.
func (s *Service) HostNames() []string {
	var names []string
	if s.Spec.HostName != "" {
		names = append(names, s.Spec.HostName)
	}
	return append(names, s.Spec.AdditionalHostNames...)
}

// Ports returns the ports the service has, from its spec or from its type, each with a target port.
func (s *Service) Ports() []ServicePort {
	ports := slices.Clone(s.Spec.Ports)
	if len(ports) == 0 {
		info, _ := TypeOf(s.Spec.Type)
		for _, p := range info.Ports {
			ports = append(ports, ServicePort{Port: p})
		}
	}
	for i := range ports {
		if ports[i].TargetPort == 0 {
			ports[i].TargetPort = ports[i].Port
		}
	}
	return ports
}

// PrivateNames returns, for each public name, the name its CNAME leads to, or the public name itself when the service has no
// known suffix and is answered directly.
func (s *Service) PrivateNames() []PrivateName {
	info, _ := TypeOf(s.Spec.Type)
	suffixes := info.Suffixes
	if s.Spec.PublicSuffix != "" {
		suffixes = append([]string{s.Spec.PublicSuffix}, suffixes...)
	}
	var out []PrivateName
	for _, h := range s.HostNames() {
		out = append(out, privateName(h, suffixes))
	}
	return out
}
