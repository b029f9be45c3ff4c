package main

import (
	"strings"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

// kindInfo is what a person may call a kind, and what it is.
type kindInfo struct {
	kind  resource.Kind
	short []string
	words string
}

func kindTable() []kindInfo {
	return []kindInfo{
		{resource.KindTenant, nil, "an organisation; nothing crosses between tenants unless both sides agree"},
		{resource.KindNetwork, []string{"net"}, "a place: a factory site, a cloud network, a laptop"},
		{resource.KindZone, nil, "a private DNS zone, answered only in the networks it is linked to"},
		{resource.KindRecordSet, []string{"rs", "record"}, "everything one name in a zone answers"},
		{resource.KindRelay, nil, "pairs outbound connections; made by joining, not by a manifest"},
		{resource.KindAgent, nil, "one process that joined a network; made by joining, not by a manifest"},
		{resource.KindService, []string{"svc"}, "something reachable in its provider's network"},
		{resource.KindPrivateEndpoint, []string{"ep", "endpoint", "pe"}, "a private address which leads to one service and to nothing else"},
		{resource.KindRuleset, []string{"rule"}, "DNS forwarding rules, followed in the networks it is linked to"},
		{resource.KindGateway, []string{"gw"}, "a static public address in front of services and endpoints"},
		{resource.KindAllowlist, []string{"al", "allow"}, "who may come in through the gateways of a network"},
		{resource.KindIdentityProvider, []string{"idp"}, "where people of a tenant sign in"},
		{resource.KindAccessPolicy, []string{"policy", "ap"}, "who has to agree before somebody is let into a target, and for how long"},
		{resource.KindTarget, []string{"tgt"}, "something people may be let into: one way into a machine"},
		{resource.KindContract, nil, "what two tenants have agreed may cross from one to the other"},
		{resource.KindBridge, []string{"br"}, "moves events from a hub or event hub to somewhere else, and may change them on the way"},
		{resource.KindRoleAssignment, []string{"role", "ra"}, "lets a workload use a service with its identity, without any key"},
	}
}

// names lists all words for the kind: plural first.
func (k kindInfo) names() []string {
	out := []string{client.Plural(k.kind), strings.ToLower(string(k.kind)), strings.ToLower(string(k.kind)) + "s"}
	for _, s := range k.short {
		out = append(out, s, s+"s")
	}
	return out
}

// findKind reads a kind in any of its spellings, in any case.
func findKind(word string) (kindInfo, error) {
	low := strings.ToLower(word)
	var all, plurals []string
	for _, k := range kindTable() {
		for _, n := range k.names() {
			if n == low {
				return k, nil
			}
			all = append(all, n)
		}
		plurals = append(plurals, client.Plural(k.kind))
	}
	e := usagef("%q is not a kind", word)
	if near := manifest.Nearest(low, all); near != "" {
		return kindInfo{}, e.advise("did you mean %q? Kinds are %s", near, strings.Join(plurals, ", "))
	}
	return kindInfo{}, e.advise("kinds are %s", strings.Join(plurals, ", "))
}

// singular is the kind in prose: "endpoint", "record set".
func singular(k resource.Kind) string {
	switch k {
	case resource.KindPrivateEndpoint:
		return "endpoint"
	case resource.KindRecordSet:
		return "record set"
	case resource.KindIdentityProvider:
		return "identity provider"
	case resource.KindAccessPolicy:
		return "access policy"
	case resource.KindRoleAssignment:
		return "role assignment"
	default:
		return strings.ToLower(string(k))
	}
}

// shape says how a kind's names are written.
func shape(k resource.Kind) string {
	switch s, _ := resource.ScopeOf(k); s {
	case resource.ScopeDeployment:
		return "NAME"
	case resource.ScopeTenant:
		return "TENANT/NAME"
	case resource.ScopeZone:
		return "TENANT/ZONE/NAME"
	case resource.ScopeNetwork:
	}
	return "TENANT/NETWORK/NAME"
}

// parseName reads TENANT/NETWORK/NAME; the tenant may be left out when one is known from --tenant or the context.
func parseName(k resource.Kind, name, tenant string) (resource.Key, error) {
	name = strings.Trim(name, "/")
	if want := strings.Count(shape(k), "/"); want > 0 && tenant != "" && strings.Count(name, "/") == want-1 {
		name = tenant + "/" + name
	}
	key, err := resource.ParseKey(k, name)
	if err != nil {
		return key, usagef("%q does not name a %s", name, singular(k)).advise("write it as %s", shape(k))
	}
	return key, nil
}
