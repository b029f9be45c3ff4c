package resource

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxRules bounds the rules of one allowlist; a network may have many allowlists.
const MaxRules = 100_000

// Allowlist says who may come through the gateways of a network. It belongs to somebody, usually a customer.
type Allowlist struct {
	Header
	Spec   AllowlistSpec   `json:"spec"`
	Status AllowlistStatus `json:"status,omitzero"`
}

// AllowlistSpec holds the rules. Of all rules of all allowlists of a gateway which hold for a connection's source, port and name, and have
// not expired, the one with the longest prefix decides; of two equally long ones, the one that denies.
type AllowlistSpec struct {
	Owner    string      `json:"owner,omitempty" maxLength:"200" doc:"whom the rules are for and who answers for them, such as a customer" example:"Fabrikam, contract 4711"`
	Gateways []string    `json:"gateways,omitempty" doc:"gateways of the same network it holds for; all when absent" example:"[\"front\"]"`
	Rules    []AllowRule `json:"rules,omitempty" doc:"who may come in"`
}

// RuleAction is what a rule says.
type RuleAction string

const (
	Allow RuleAction = "allow" // also the meaning of an absent value
	Deny  RuleAction = "deny"
)

// AllowRule is one named rule.
type AllowRule struct {
	Name    string         `json:"name" doc:"unique in the allowlist" example:"plant-berlin"`
	Action  RuleAction     `json:"action,omitempty" enum:"allow,deny" doc:"allow when absent"`
	Sources []netip.Prefix `json:"sources" doc:"CIDR ranges, IPv4 or IPv6" example:"[\"203.0.113.0/24\"]"`
	Ports   []uint16       `json:"ports,omitempty" doc:"ports of listeners it holds for; all when absent" example:"[8883]"`
	Names   []string       `json:"names,omitempty" doc:"host names or *.suffix it holds for; all when absent, also clients that send none" example:"[\"contoso.azure-devices.net\"]"`
	Expires time.Time      `json:"expires,omitzero" doc:"when it ends by itself, and cuts what it let in" example:"2027-01-31T18:00:00Z"`
	Note    string         `json:"note,omitempty" maxLength:"500" doc:"why it is there"`
	Limit   Limit          `json:"limit,omitzero" doc:"on everything the rule lets in together"`
}

// AllowlistStatus is what Isthmus says of an allowlist.
type AllowlistStatus struct {
	Rules   int `json:"rules" doc:"rules in the list"`
	Expired int `json:"expired,omitempty" doc:"rules that ended and can be taken out"`
}

func (a *Allowlist) SpecAndStatus() (any, any) { return &a.Spec, &a.Status }

// Validate checks every rule. Overlaps are allowed: the longest prefix decides.
func (a *Allowlist) Validate() error {
	op := "resource.Allowlist.Validate"
	if err := a.validate(); err != nil {
		return err
	}
	s := &a.Spec
	for _, g := range s.Gateways {
		if err := ValidateName(g); err != nil {
			return within(op, "spec.gateways", err)
		}
	}
	if len(s.Rules) > MaxRules {
		return fault.Newf(op, fault.TooLarge, "spec.rules has %d rules", len(s.Rules)).Advise("an allowlist takes %d: split it by customer", MaxRules)
	}
	seen := make(map[string]bool, len(s.Rules))
	for i := range s.Rules {
		r := &s.Rules[i]
		if err := r.validate(op); err != nil {
			return err
		}
		if seen[r.Name] {
			return fault.Newf(op, fault.Invalid, "spec.rules has %q twice", r.Name).Advise("give each rule its own name: it is what refusals and reports name")
		}
		seen[r.Name] = true
	}
	return nil
}

func (r *AllowRule) validate(op string) error {
	if err := ValidateName(r.Name); err != nil {
		return within(op, "spec.rules.name", err)
	}
	where := "the rule " + r.Name
	switch r.Action {
	case "", Allow, Deny:
	default:
		return fault.Newf(op, fault.Invalid, "%s has the action %q", where, r.Action).Advise("write allow or deny")
	}
	if len(r.Sources) == 0 {
		return fault.Newf(op, fault.Invalid, "%s has no sources", where).Advise("give at least one range; everybody is 0.0.0.0/0 and ::/0")
	}
	for _, p := range r.Sources {
		if err := validatePrefix(op, where, p); err != nil {
			return err
		}
	}
	for _, p := range r.Ports {
		if p == 0 {
			return fault.Newf(op, fault.Invalid, "%s has a port 0", where).Advise("ports are 1 to 65535")
		}
	}
	for _, n := range r.Names {
		if err := ValidatePattern(n); err != nil {
			return within(op, where, err)
		}
	}
	if len(r.Note) > 500 || strings.ContainsAny(r.Note, "\x00") {
		return fault.Newf(op, fault.Invalid, "%s has a note of %d bytes", where, len(r.Note)).Advise("keep it to 500")
	}
	return r.Limit.validate(op, where+": limit")
}

// Equal tells whether two rules say the same.
func (r AllowRule) Equal(o AllowRule) bool {
	return r.Name == o.Name && r.Action == o.Action && slices.Equal(r.Sources, o.Sources) && slices.Equal(r.Ports, o.Ports) && slices.Equal(r.Names, o.Names) &&
		r.Expires.Equal(o.Expires) && r.Note == o.Note && r.Limit == o.Limit
}

// clone is Clone without the way through JSON.
func (a *Allowlist) clone() *Allowlist {
	c := *a
	m := &c.Metadata
	m.Labels, m.Annotations = maps.Clone(m.Labels), maps.Clone(m.Annotations)
	c.Spec.Gateways, c.Spec.Rules = slices.Clone(c.Spec.Gateways), slices.Clone(c.Spec.Rules)
	for i := range c.Spec.Rules {
		r := &c.Spec.Rules[i]
		r.Sources, r.Ports, r.Names = slices.Clone(r.Sources), slices.Clone(r.Ports), slices.Clone(r.Names)
	}
	return &c
}
