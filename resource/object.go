package resource

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// APIVersion stands in every manifest and every reply.
const APIVersion = "isthmus/v1"

// Kind is the sort of noun.
type Kind string

// The kinds a person may write down or read, in the order in which they must be applied: what is referred to comes first.
const (
	KindTenant          Kind = "Tenant"
	KindNetwork         Kind = "Network"
	KindZone            Kind = "Zone"
	KindRecordSet       Kind = "RecordSet"
	KindRelay           Kind = "Relay"
	KindAgent           Kind = "Agent"
	KindService         Kind = "Service"
	KindPrivateEndpoint Kind = "PrivateEndpoint"
	KindRuleset         Kind = "Ruleset"
	KindGateway         Kind = "Gateway"
	KindAllowlist       Kind = "Allowlist"

	KindIdentityProvider Kind = "IdentityProvider"
	KindAccessPolicy     Kind = "AccessPolicy"
	KindTarget           Kind = "Target"

	KindContract       Kind = "Contract"
	KindBridge         Kind = "Bridge"
	KindRoleAssignment Kind = "RoleAssignment"
)

// Kinds lists every kind in the order in which a set of manifests is applied; deletion goes backwards.
func Kinds() []Kind {
	return []Kind{KindTenant, KindNetwork, KindZone, KindRecordSet, KindRelay, KindAgent, KindService, KindPrivateEndpoint, KindRuleset, KindGateway, KindAllowlist,
		KindIdentityProvider, KindAccessPolicy, KindTarget, KindContract, KindBridge, KindRoleAssignment}
}

// Scope says what a kind's names are unique within.
type Scope uint8

const (
	ScopeDeployment Scope = iota // name
	ScopeTenant                  // tenant/name
	ScopeNetwork                 // tenant/network/name
	ScopeZone                    // tenant/zone/name
)

// ScopeOf returns the scope of a kind; ok is false for a word that is no kind.
func ScopeOf(k Kind) (s Scope, ok bool) {
	switch k {
	case KindTenant, KindRelay:
		return ScopeDeployment, true
	case KindNetwork, KindZone, KindRuleset, KindIdentityProvider, KindAccessPolicy, KindContract:
		return ScopeTenant, true
	case KindAgent, KindService, KindPrivateEndpoint, KindGateway, KindAllowlist, KindTarget, KindBridge, KindRoleAssignment:
		return ScopeNetwork, true
	case KindRecordSet:
		return ScopeZone, true
	}
	return 0, false
}

// Key identifies one noun. Scope is the network, or the zone for a RecordSet, and empty otherwise.
type Key struct {
	Kind   Kind
	Tenant string
	Scope  string
	Name   string
}

// Path renders the identity without the kind: "ot", "ot/plant-7" or "ot/plant-7/hub".
func (k Key) Path() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{k.Tenant, k.Scope, k.Name} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

// String renders kind and path: "PrivateEndpoint ot/plant-7/hub".
func (k Key) String() string { return string(k.Kind) + " " + k.Path() }

// ParseKey reads a path as Path wrote it for the given kind.
func ParseKey(kind Kind, path string) (Key, error) {
	scope, ok := ScopeOf(kind)
	if !ok {
		return Key{}, fault.Newf("resource.ParseKey", fault.Invalid, "%q is not a kind", kind).Advise("kinds are %s", kindList())
	}
	parts := strings.Split(path, "/")
	want := map[Scope]int{ScopeDeployment: 1, ScopeTenant: 2, ScopeNetwork: 3, ScopeZone: 3}[scope]
	shape := map[Scope]string{ScopeDeployment: "NAME", ScopeTenant: "TENANT/NAME", ScopeNetwork: "TENANT/NETWORK/NAME", ScopeZone: "TENANT/ZONE/NAME"}[scope]
	if len(parts) != want || slices.Contains(parts, "") {
		return Key{}, fault.Newf("resource.ParseKey", fault.Invalid, "%q does not name a %s", path, kind).Advise("write it as %s", shape)
	}
	k := Key{Kind: kind, Name: parts[len(parts)-1]}
	if len(parts) > 1 {
		k.Tenant = parts[0]
	}
	if len(parts) > 2 {
		k.Scope = parts[1]
	}
	return k, nil
}

func kindList() string {
	var b []string
	for _, k := range Kinds() {
		b = append(b, string(k))
	}
	return strings.Join(b, ", ")
}

// Meta is the metadata every noun has. UID, Generation and the times are given by the control plane and ignored in manifests.
type Meta struct {
	Tenant      string            `json:"tenant,omitempty" doc:"the tenant it belongs to" example:"ot"`
	Network     string            `json:"network,omitempty" doc:"the network it belongs to" example:"plant-7"`
	Zone        string            `json:"zone,omitempty" doc:"the private zone a record set belongs to" example:"privatelink.azure-devices.net"`
	Name        string            `json:"name" doc:"unique within its kind and scope" example:"hub"`
	Labels      map[string]string `json:"labels,omitempty" doc:"for people and selectors; no meaning to Isthmus"`
	Annotations map[string]string `json:"annotations,omitempty" doc:"notes; no meaning to Isthmus"`
	UID         string            `json:"uid,omitempty" readOnly:"true" doc:"never used again, even if the name is"`
	Generation  int64             `json:"generation,omitempty" readOnly:"true" doc:"rises by one with each change of spec"`
	CreatedAt   time.Time         `json:"createdAt,omitzero" readOnly:"true" doc:"when it was made"`
	UpdatedAt   time.Time         `json:"updatedAt,omitzero" readOnly:"true" doc:"when it last changed"`
}

// Header opens every noun.
type Header struct {
	APIVersion string `json:"apiVersion" enum:"isthmus/v1" doc:"the version of this vocabulary"`
	Kind       Kind   `json:"kind" doc:"the sort of noun"`
	Metadata   Meta   `json:"metadata"`
}

// Object is any noun.
type Object interface {
	// Head gives the header for reading and writing.
	Head() *Header
	// Validate checks what can be checked without looking anywhere else, and fills no defaults.
	Validate() error
	// SpecAndStatus gives pointers to the two halves, for storage.
	SpecAndStatus() (spec, status any)
}

// Head returns the header itself.
func (h *Header) Head() *Header { return h }

// Key returns the identity.
func (h *Header) Key() Key {
	k := Key{Kind: h.Kind, Tenant: h.Metadata.Tenant, Name: h.Metadata.Name}
	switch s, _ := ScopeOf(h.Kind); s {
	case ScopeNetwork:
		k.Scope = h.Metadata.Network
	case ScopeZone:
		k.Scope = h.Metadata.Zone
	case ScopeDeployment, ScopeTenant:
	}
	return k
}

// New returns an empty noun of the kind with its header filled in; ok is false for a word that is no kind.
func New(k Kind) (o Object, ok bool) {
	switch k {
	case KindTenant:
		o = &Tenant{}
	case KindNetwork:
		o = &Network{}
	case KindZone:
		o = &Zone{}
	case KindRecordSet:
		o = &RecordSet{}
	case KindRelay:
		o = &Relay{}
	case KindAgent:
		o = &Agent{}
	case KindService:
		o = &Service{}
	case KindPrivateEndpoint:
		o = &PrivateEndpoint{}
	case KindRuleset:
		o = &Ruleset{}
	case KindGateway:
		o = &Gateway{}
	case KindAllowlist:
		o = &Allowlist{}
	case KindIdentityProvider:
		o = &IdentityProvider{}
	case KindAccessPolicy:
		o = &AccessPolicy{}
	case KindTarget:
		o = &Target{}
	case KindContract:
		o = &Contract{}
	case KindBridge:
		o = &Bridge{}
	case KindRoleAssignment:
		o = &RoleAssignment{}
	default:
		return nil, false
	}
	h := o.Head()
	h.APIVersion, h.Kind = APIVersion, k
	return o, true
}

// Clone returns a deep copy.
func Clone[T Object](o T) T {
	if a, ok := any(o).(*Allowlist); ok { // may have a hundred thousand rules
		return any(a.clone()).(T)
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("resource: a noun must marshal: %v", err))
	}
	c, ok := New(o.Head().Kind)
	if !ok {
		panic("resource: unknown kind " + string(o.Head().Kind))
	}
	if err := json.Unmarshal(b, c); err != nil {
		panic(fmt.Sprintf("resource: a noun must unmarshal: %v", err))
	}
	return c.(T)
}

func (h *Header) validate() error {
	op := "resource.Validate"
	if h.APIVersion != APIVersion {
		return fault.Newf(op, fault.Invalid, "apiVersion is %q", h.APIVersion).Advise("write apiVersion: %s", APIVersion)
	}
	scope, ok := ScopeOf(h.Kind)
	if !ok {
		return fault.Newf(op, fault.Invalid, "%q is not a kind", h.Kind).Advise("kinds are %s", kindList())
	}
	m := h.Metadata
	type field struct {
		name, value string
		wanted      bool
		check       func(string) error
	}
	checkName := ValidateName
	switch h.Kind {
	case KindZone:
		checkName = ValidateDomain
	case KindRecordSet:
		checkName = validateRecordName
	default:
	}
	for _, f := range []field{
		{"tenant", m.Tenant, scope != ScopeDeployment, ValidateName},
		{"network", m.Network, scope == ScopeNetwork, ValidateName},
		{"zone", m.Zone, scope == ScopeZone, ValidateDomain},
		{"name", m.Name, true, checkName},
	} {
		switch {
		case f.wanted && f.value == "":
			return fault.Newf(op, fault.Invalid, "metadata.%s is missing", f.name).Advise("a %s needs metadata.%s", h.Kind, f.name)
		case !f.wanted && f.value != "":
			return fault.Newf(op, fault.Invalid, "metadata.%s does not belong to a %s", f.name, h.Kind).Advise("remove metadata.%s", f.name)
		case f.wanted:
			if err := f.check(f.value); err != nil {
				return within(op, "metadata."+f.name, err)
			}
		}
	}
	return nil
}

// ValidateName checks an RFC 1123 label in lower case, 1 to 63 octets.
func ValidateName(s string) error {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return badName(s)
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return badName(s)
		}
	}
	return nil
}

func badName(s string) error {
	return fault.Newf("resource.ValidateName", fault.Invalid, "%q is not a name", s).
		Advise("names are 1 to 63 of a-z, 0-9 and '-', and begin and end with a letter or digit")
}

// ValidateDomain checks a DNS name in lower case without a trailing dot: labels of 1 to 63 of a-z, 0-9, '-' and '_', at most 253
// octets in all (RFC 1035 2.3.4; '_' as RFC 8552 uses it).
func ValidateDomain(s string) error {
	bad := func() error {
		return fault.Newf("resource.ValidateDomain", fault.Invalid, "%q is not a host name", s).
			Advise("write it in lower case without a trailing dot, such as contoso.azure-devices.net")
	}
	if s == "" || len(s) > 253 {
		return bad()
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return bad()
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return bad()
			}
		}
	}
	return nil
}

func validateRecordName(s string) error {
	if s == "@" || s == "*" {
		return nil
	}
	return ValidateDomain(strings.TrimPrefix(s, "*."))
}

// within says which field an error is about, and keeps its advice.
func within(op, field string, err error) error {
	return fault.New(op, fault.Invalid, field+": "+fault.Message(err)).Because(err).Advise("%s", fault.Next(err))
}
