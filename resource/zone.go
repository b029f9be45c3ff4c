package resource

import (
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Zone is a private DNS zone, authoritative only in the networks it is linked to.
type Zone struct {
	Header
	Spec   ZoneSpec   `json:"spec"`
	Status ZoneStatus `json:"status,omitzero"`
}

// ZoneSpec lists the networks of the same tenant the zone is linked to. A network stands in one of the two lists.
type ZoneSpec struct {
	Networks []string   `json:"networks,omitempty" doc:"networks of the same tenant in which the zone is answered" example:"[\"plant-7\"]"`
	Links    []ZoneLink `json:"links,omitempty" doc:"the same, where a link needs more than the network's name"`
}

// ZoneLink is a zone in one network.
type ZoneLink struct {
	Network          string           `json:"network" doc:"a network of the same tenant" example:"plant-7"`
	ResolutionPolicy ResolutionPolicy `json:"resolutionPolicy,omitempty" enum:"Default,NxDomainRedirect" doc:"what becomes of names the zone does not have; NxDomainRedirect asks the public DNS for them, in privatelink zones only"`
}

// ResolutionPolicy says what becomes of a name in a linked zone which the zone does not have.
type ResolutionPolicy string

const (
	ResolutionDefault ResolutionPolicy = "Default" // it does not exist; also the meaning of an absent value
	// NxDomainRedirect falls back to the public answer, so that another tenant's resource of the same type can still be reached (Azure
	// Private DNS: fallback to internet).
	NxDomainRedirect ResolutionPolicy = "NxDomainRedirect"
)

// Linked returns every link, those written as bare names included.
func (z *Zone) Linked() []ZoneLink {
	out := make([]ZoneLink, 0, len(z.Spec.Networks)+len(z.Spec.Links))
	for _, n := range z.Spec.Networks {
		out = append(out, ZoneLink{Network: n, ResolutionPolicy: ResolutionDefault})
	}
	for _, l := range z.Spec.Links {
		if l.ResolutionPolicy == "" {
			l.ResolutionPolicy = ResolutionDefault
		}
		out = append(out, l)
	}
	return out
}

// LinkTo returns the zone's link to a network, if there is one.
func (z *Zone) LinkTo(network string) (ZoneLink, bool) {
	for _, l := range z.Linked() {
		if l.Network == network {
			return l, true
		}
	}
	return ZoneLink{}, false
}

// ZoneStatus counts the record sets, the endpoints' own included.
type ZoneStatus struct {
	RecordSets int `json:"recordSets" doc:"record sets in the zone, the endpoints' own included"`
}

func (z *Zone) SpecAndStatus() (any, any) { return &z.Spec, &z.Status }

func (z *Zone) Validate() error {
	if err := z.validate(); err != nil {
		return err
	}
	op := "resource.Zone.Validate"
	seen := map[string]bool{}
	for _, l := range z.Linked() {
		if err := ValidateName(l.Network); err != nil {
			return within(op, "spec.networks", err)
		}
		if seen[l.Network] {
			return fault.Newf(op, fault.Invalid, "the network %s is linked twice", l.Network).Advise("name it once, in spec.networks or in spec.links")
		}
		seen[l.Network] = true
		switch {
		case l.ResolutionPolicy != ResolutionDefault && l.ResolutionPolicy != NxDomainRedirect:
			return fault.Newf(op, fault.Invalid, "spec.links: the resolutionPolicy is %q", l.ResolutionPolicy).Advise("write Default or NxDomainRedirect")
		case l.ResolutionPolicy == NxDomainRedirect && !strings.Contains("."+z.Metadata.Name, ".privatelink."):
			return fault.Newf(op, fault.Invalid, "%s is no privatelink zone, so its link to %s cannot redirect", z.Metadata.Name, l.Network).
				Advise("NxDomainRedirect is for zones such as privatelink.azure-devices.net; leave resolutionPolicy out")
		}
	}
	return nil
}

// RecordSet is everything one name in a zone answers. The name is relative to the zone, "@" for the zone itself; "*" as first
// label matches what no other record set does.
type RecordSet struct {
	Header
	Spec   RecordSetSpec   `json:"spec"`
	Status RecordSetStatus `json:"status,omitzero"`
}

// RecordSetSpec holds the values by type. A CNAME excludes the others (RFC 1034 3.6.2).
type RecordSetSpec struct {
	TTL   uint32       `json:"ttl,omitempty" doc:"seconds; 300 when absent" maximum:"2147483647"`
	A     []netip.Addr `json:"a,omitempty" doc:"IPv4 addresses" example:"[\"10.7.0.20\"]"`
	AAAA  []netip.Addr `json:"aaaa,omitempty" doc:"IPv6 addresses"`
	CNAME string       `json:"cname,omitempty" doc:"another name to ask for; excludes the other types"`
	TXT   []string     `json:"txt,omitempty" doc:"texts, each at most 1024 bytes"`
	MX    []MX         `json:"mx,omitempty" doc:"mail exchangers"`
	SRV   []SRV        `json:"srv,omitempty" doc:"hosts and ports of a service"`
	PTR   []string     `json:"ptr,omitempty" doc:"names an address leads back to"`
	CAA   []CAA        `json:"caa,omitempty" doc:"who may issue certificates"`
}

// MX is a mail exchanger (RFC 1035 3.3.9).
type MX struct {
	Preference uint16 `json:"preference" doc:"the lowest is tried first"`
	Exchange   string `json:"exchange" doc:"a host name"`
}

// SRV is a host and port of a service (RFC 2782).
type SRV struct {
	Priority uint16 `json:"priority" doc:"the lowest is tried first"`
	Weight   uint16 `json:"weight" doc:"share among equal priorities"`
	Port     uint16 `json:"port" doc:"the port there"`
	Target   string `json:"target" doc:"a host name"`
}

// CAA says who may issue certificates for a name (RFC 8659).
type CAA struct {
	Flags uint8  `json:"flags" doc:"128 is critical"`
	Tag   string `json:"tag" doc:"issue, issuewild or iodef"`
	Value string `json:"value" doc:"an issuer's domain, or a URL for iodef"`
}

// others counts the values beside the CNAME.
func (s *RecordSetSpec) others() int {
	return len(s.A) + len(s.AAAA) + len(s.TXT) + len(s.MX) + len(s.SRV) + len(s.PTR) + len(s.CAA)
}

// RecordSetStatus says where a record set came from.
type RecordSetStatus struct {
	Endpoint string `json:"endpoint,omitempty" doc:"the endpoint that made it and will remove it; empty for one from a manifest"`
	Network  string `json:"network,omitempty" doc:"the network in which an endpoint's record set is answered"`
}

// DefaultTTL is used for record sets from manifests, EndpointTTL for the records endpoints make (Azure's zone groups use 10 s).
const (
	DefaultTTL  = 300
	EndpointTTL = 10
)

func (r *RecordSet) SpecAndStatus() (any, any) { return &r.Spec, &r.Status }

func (r *RecordSet) Validate() error {
	op := "resource.RecordSet.Validate"
	if err := r.validate(); err != nil {
		return err
	}
	s := r.Spec
	switch {
	case s.CNAME != "" && s.others() > 0:
		return fault.New(op, fault.Invalid, "spec.cname stands beside other values").Advise("a name with a CNAME has nothing else (RFC 1034 3.6.2)")
	case s.CNAME != "" && r.Metadata.Name == "@":
		return fault.New(op, fault.Invalid, "the zone itself cannot be a CNAME").Advise("give it an A record instead")
	case s.CNAME == "" && s.others() == 0:
		return fault.New(op, fault.Invalid, "the record set is empty").Advise("give at least one of spec.a, spec.aaaa, spec.cname, spec.txt, spec.mx, spec.srv, spec.ptr, spec.caa")
	case max(len(s.A), len(s.AAAA), len(s.TXT), len(s.MX), len(s.SRV), len(s.PTR), len(s.CAA)) > 20:
		return fault.New(op, fault.Invalid, "more than 20 values of one type").Advise("split them over several names")
	}
	if s.CNAME != "" {
		if err := ValidateDomain(s.CNAME); err != nil {
			return within(op, "spec.cname", err)
		}
	}
	for _, a := range s.A {
		if !a.Is4() {
			return fault.Newf(op, fault.Invalid, "spec.a holds %s, which is no IPv4 address", a)
		}
	}
	for _, a := range s.AAAA {
		if !a.Is6() || a.Is4In6() {
			return fault.Newf(op, fault.Invalid, "spec.aaaa holds %s, which is no IPv6 address", a)
		}
		if a.Zone() != "" {
			return fault.Newf(op, fault.Invalid, "spec.aaaa holds %q, whose zone no record can carry", a).Advise("leave out what stands behind %%")
		}
	}
	for _, t := range s.TXT {
		if len(t) > 1024 {
			return fault.New(op, fault.Invalid, "a TXT value is longer than 1024 bytes")
		}
	}
	return s.validateNames(op)
}

// validateNames checks the types whose values hold names.
func (s *RecordSetSpec) validateNames(op string) error {
	for _, m := range s.MX {
		if err := ValidateDomain(m.Exchange); err != nil {
			return within(op, "spec.mx", err)
		}
	}
	for _, v := range s.SRV {
		if err := ValidateDomain(v.Target); err != nil {
			return within(op, "spec.srv", err)
		}
	}
	for _, p := range s.PTR {
		if err := ValidateDomain(p); err != nil {
			return within(op, "spec.ptr", err)
		}
	}
	for _, c := range s.CAA {
		if c.Tag != "issue" && c.Tag != "issuewild" && c.Tag != "iodef" {
			return fault.Newf(op, fault.Invalid, "spec.caa has the tag %q", c.Tag).Advise("write issue, issuewild or iodef (RFC 8659 4)")
		}
		if len(c.Value) > 255 || strings.ContainsFunc(c.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fault.New(op, fault.Invalid, "spec.caa has a value that is too long or holds control characters").Advise("keep it to 255 printable bytes")
		}
	}
	return nil
}
