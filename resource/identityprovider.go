package resource

import (
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// TenantRole is what a person may do in a tenant. A person may have several.
type TenantRole string

const (
	RoleOwner        TenantRole = "owner"         // everything in the tenant, people and policies included
	RoleNetworkAdmin TenantRole = "network-admin" // networks, services, endpoints, names, gateways, targets; approves connections
	RoleOperator     TenantRole = "operator"      // asks to be let into targets
	RoleApprover     TenantRole = "approver"      // approves, denies and revokes grants
	RoleAuditor      TenantRole = "auditor"       // reads the audit log and recordings
)

// TenantRoles lists them.
func TenantRoles() []TenantRole {
	return []TenantRole{RoleOwner, RoleNetworkAdmin, RoleOperator, RoleApprover, RoleAuditor}
}

// ValidateRoles checks a list of roles.
func ValidateRoles(field string, roles []TenantRole) error {
	for i, r := range roles {
		if !slices.Contains(TenantRoles(), r) || slices.Contains(roles[:i], r) {
			return fault.Newf("resource.ValidateRoles", fault.Invalid, "%s has %q, which is no role, or stands there twice", field, r).
				Advise("roles are owner, network-admin, operator, approver, auditor")
		}
	}
	return nil
}

// IdentityProvider is where people of a tenant sign in: an OpenID Connect provider (OpenID Connect Core 1.0).
type IdentityProvider struct {
	Header
	Spec   IdentityProviderSpec   `json:"spec"`
	Status IdentityProviderStatus `json:"status,omitzero"`
}

// IdentityProviderSpec says how to sign in and what people become. The client is public: there is no secret, the code is bound by PKCE
// (RFC 7636) or a device code (RFC 8628).
type IdentityProviderSpec struct {
	Issuer   string   `json:"issuer" doc:"the provider's issuer URL; its metadata is below /.well-known/openid-configuration" example:"https://login.example.net/realms/plant"`
	ClientID string   `json:"clientId" doc:"the public client that was registered there; tokens for another are refused" example:"isthmus"`
	Scopes   []string `json:"scopes,omitempty" doc:"asked for beside openid; profile and email when absent"`
	// CA is for providers whose certificate the control plane's machine does not trust by itself.
	CA             string         `json:"ca,omitempty" doc:"PEM certificates the provider is verified by; the machine's own when absent"`
	NameClaim      string         `json:"nameClaim,omitempty" doc:"the claim a person is called by; preferred_username, email or sub when absent"`
	Roles          []ProviderRole `json:"roles,omitempty" doc:"what roles claims give"`
	DefaultRoles   []TenantRole   `json:"defaultRoles,omitempty" doc:"of everybody who signs in; without any role nobody gets in"`
	SessionMinutes int            `json:"sessionMinutes,omitempty" minimum:"0" doc:"how long a sign-in lasts; 480 when absent, at most 1440"`
}

// ProviderRole gives roles to whoever has a value in a claim.
type ProviderRole struct {
	Claim string       `json:"claim" doc:"a text, or a list of texts" example:"groups"`
	Value string       `json:"value" doc:"what it has to be, or to hold" example:"plant-technicians"`
	Roles []TenantRole `json:"roles" doc:"what whoever has it becomes: owner, network-admin, operator, approver, auditor" example:"[\"operator\"]"`
}

// IdentityProviderStatus is empty so far.
type IdentityProviderStatus struct{}

const (
	maxProviderRoles = 200
	maxSession       = 24 * time.Hour
	defaultSession   = 8 * time.Hour
)

func (p *IdentityProvider) SpecAndStatus() (any, any) { return &p.Spec, &p.Status }

// Session is how long a sign-in lasts.
func (s *IdentityProviderSpec) Session() time.Duration {
	return minutesOr(s.SessionMinutes, defaultSession)
}

// Validate checks the provider by itself.
func (p *IdentityProvider) Validate() error {
	op := "resource.IdentityProvider.Validate"
	if err := p.validate(); err != nil {
		return err
	}
	s := &p.Spec
	u, err := url.Parse(s.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !plainText(s.Issuer) || len(s.Issuer) > 500 {
		return fault.Newf(op, fault.Invalid, "spec.issuer is %q", s.Issuer).Advise("give the issuer's URL, as in its tokens' iss")
	}
	if h := u.Hostname(); u.Scheme != "https" && (u.Scheme != "http" || h != "127.0.0.1" && h != "::1" && h != "localhost") {
		return fault.Newf(op, fault.Invalid, "spec.issuer is %q, which is not encrypted", s.Issuer).Advise("use https; http is for this machine only")
	}
	if s.ClientID == "" || len(s.ClientID) > 200 || !plainText(s.ClientID) {
		return fault.New(op, fault.Invalid, "spec.clientId is missing, or no text").Advise("register a public client with the provider and give its id")
	}
	for _, t := range append(slices.Clone(s.Scopes), s.NameClaim) {
		if len(t) > 100 || strings.ContainsAny(t, " \t") || !plainText(t) {
			return fault.Newf(op, fault.Invalid, "spec has the scope or claim %q", t).Advise("give one word for each")
		}
	}
	if s.CA != "" {
		if b, _ := pem.Decode([]byte(s.CA)); b == nil || b.Type != "CERTIFICATE" {
			return fault.New(op, fault.Invalid, "spec.ca holds no PEM certificate").Advise("copy the text from BEGIN CERTIFICATE to END CERTIFICATE")
		}
	}
	if s.SessionMinutes < 0 || s.SessionMinutes > int(maxSession/time.Minute) {
		return fault.Newf(op, fault.Invalid, "spec.sessionMinutes is %d", s.SessionMinutes).Advise("give 0 to %d", int(maxSession/time.Minute))
	}
	if len(s.Roles) > maxProviderRoles {
		return fault.Newf(op, fault.TooLarge, "spec.roles has %d rules", len(s.Roles)).Advise("a provider takes %d", maxProviderRoles)
	}
	if err := ValidateRoles("spec.defaultRoles", s.DefaultRoles); err != nil {
		return err
	}
	for _, r := range s.Roles {
		if r.Claim == "" || r.Value == "" || len(r.Claim) > 200 || len(r.Value) > 200 || len(r.Roles) == 0 {
			return fault.New(op, fault.Invalid, "spec.roles has a rule without claim, value or roles").Advise("write claim: groups, value: NAME, roles: [operator]")
		}
		if err := ValidateRoles("spec.roles", r.Roles); err != nil {
			return err
		}
	}
	return nil
}
