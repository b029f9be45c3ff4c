package httpdoor

import "github.com/isthmus-io/isthmus/resource"

// Plural returns the word for a kind in the API's paths; empty for a word that is no kind.
func Plural(k resource.Kind) string {
	switch k {
	case resource.KindTenant:
		return "tenants"
	case resource.KindNetwork:
		return "networks"
	case resource.KindZone:
		return "zones"
	case resource.KindRecordSet:
		return "recordsets"
	case resource.KindRelay:
		return "relays"
	case resource.KindAgent:
		return "agents"
	case resource.KindService:
		return "services"
	case resource.KindPrivateEndpoint:
		return "endpoints"
	case resource.KindRuleset:
		return "rulesets"
	case resource.KindGateway:
		return "gateways"
	case resource.KindAllowlist:
		return "allowlists"
	case resource.KindIdentityProvider:
		return "identityproviders"
	case resource.KindAccessPolicy:
		return "accesspolicies"
	case resource.KindTarget:
		return "targets"
	case resource.KindContract:
		return "contracts"
	case resource.KindBridge:
		return "bridges"
	case resource.KindRoleAssignment:
		return "roleassignments"
	}
	return ""
}

// pluralNames are the words that may stand after /v1/.
func pluralNames() []string {
	words := []string{"access", "apply", "audit", "connections", "join-tokens", "people", "sign-in", "tokens", "version", "whoami"}
	for _, k := range resource.Kinds() {
		words = append(words, Plural(k))
	}
	return words
}

// pathShape is how a kind's path is written as a route.
func pathShape(k resource.Kind) string {
	switch s, _ := resource.ScopeOf(k); s {
	case resource.ScopeTenant:
		return "/{tenant}/{name}"
	case resource.ScopeNetwork:
		return "/{tenant}/{network}/{name}"
	case resource.ScopeZone:
		return "/{tenant}/{zone}/{name}"
	case resource.ScopeDeployment:
	}
	return "/{name}"
}
