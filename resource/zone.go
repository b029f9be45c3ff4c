package resource

import (
	"net/netip"

	"github.com/isthmus-io/isthmus/fault"
)

// Zone is a private DNS zone, authoritative only in the networks it is linked to.
type Zone struct {
	Header
	Spec   ZoneSpec   `json:"spec"`
	Status ZoneStatus `json:"status,omitzero"`
}

// ZoneSpec lists the networks of the same tenant the zone is linked to.
type ZoneSpec struct {
	Networks []string `json:"networks,omitempty" doc:"networks of the same tenant in which the zone is answered" example:"[\"plant-7\"]"`
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
	for _, n := range z.Spec.Networks {
		if err := ValidateName(n); err != nil {
			return err
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
	case s.CNAME != "" && (len(s.A)+len(s.AAAA)+len(s.TXT) > 0):
		return fault.New(op, fault.Invalid, "spec.cname stands beside other values").Advise("a name with a CNAME has nothing else (RFC 1034 3.6.2)")
	case s.CNAME != "" && r.Metadata.Name == "@":
		return fault.New(op, fault.Invalid, "the zone itself cannot be a CNAME").Advise("give it an A record instead")
	case s.CNAME == "" && len(s.A)+len(s.AAAA)+len(s.TXT) == 0:
		return fault.New(op, fault.Invalid, "the record set is empty").Advise("give at least one of spec.a, spec.aaaa, spec.cname, spec.txt")
	case len(s.A) > 20 || len(s.AAAA) > 20 || len(s.TXT) > 20:
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
	}
	for _, t := range s.TXT {
		if len(t) > 1024 {
			return fault.New(op, fault.Invalid, "a TXT value is longer than 1024 bytes")
		}
	}
	return nil
}
