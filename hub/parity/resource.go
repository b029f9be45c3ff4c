package parity

import (
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/azureexport"
)

func (j *Judge) hub(h *azureexport.Hub) {
	if j.hubs[h.Name] {
		return // shown twice, by az iot hub show and in a state file
	}
	j.hubs[h.Name] = true
	settingsOf(h, j.note)
	p := h.Properties
	if e, ok := p.EventHubEndpoints["events"]; ok {
		j.note(builtIn, itoa(e.Partitions)+" partitions, kept for "+itoa(e.Days)+" days", nil)
	}
	if h.SKU.Name != "" {
		j.note(units, itoa(h.SKU.Capacity)+" of "+h.SKU.Name, nil)
	}
	j.policies(p.AuthorizationPolicies)
	j.network(p)
	if p.DisableLocalAuth {
		j.note(entra, h.Name, nil)
	}
	if p.DisableDeviceSAS {
		j.note(deviceSAS, "devices", nil)
	}
	if p.DisableModuleSAS {
		j.note(deviceSAS, "modules", nil)
	}
	if p.MinTLSVersion != "1.2" {
		j.note(tlsOld, h.Name, nil)
	}
	if h.Identity.Type != "" && h.Identity.Type != "None" {
		j.note(managed, h.Identity.Type, nil)
	}
	if p.Encryption != nil {
		j.note(encryption, h.Name, nil)
	}
	if p.RestrictOutbound || len(p.AllowedFQDNs) > 0 {
		j.note(outbound, h.Name, nil)
	}
}

func (j *Judge) policies(list []azureexport.Policy) {
	for _, one := range list {
		switch one.Name {
		case hub.PolicyOwner, hub.PolicyService, hub.PolicyDevice, hub.PolicyRegistryRead, hub.PolicyRegistryReadWrite:
			j.note(policyKeys, one.Name, nil)
		default:
			j.note(policies, one.Name+" ("+one.Rights+")", nil)
		}
	}
}

func (j *Judge) network(p azureexport.HubProperties) {
	filtered := map[string]bool{}
	rules := p.IPFilterRules
	if p.NetworkRuleSets != nil {
		rules = append(slices.Clone(rules), p.NetworkRuleSets.IPRules...)
	}
	for _, f := range rules {
		if text := f.Name + " " + f.Mask; !filtered[text] {
			filtered[text] = true
			j.note(filters, text, nil)
		}
	}
	if p.PublicNetworkAccess == "Disabled" {
		j.note(publicAccess, p.PublicNetworkAccess, nil)
	}
	for range p.PrivateEndpointConnections {
		j.note(privateLinks, "", nil)
	}
}

func (j *Judge) authority(a *azureexport.Authority) {
	kind := "hub"
	if a.Provisioning {
		kind = "service"
	}
	if j.certs[kind+" "+a.Name] {
		return
	}
	j.certs[kind+" "+a.Name] = true
	if _, err := a.PEM(); err != nil {
		j.note(authorityBad, a.Name, err)
		return
	}
	switch {
	case !a.Verified:
		j.note(authorityUnverified, a.Name, nil)
	case a.Provisioning:
		j.note(serviceAuthorities, a.Name, nil)
	default:
		j.verified++
		j.note(authorities, a.Name, nil)
	}
}

func (j *Judge) configuration(c *azureexport.Configuration) {
	if !j.first("configuration", c.ID) {
		return
	}
	whole, err := ConfigurationOf(c)
	if err == nil {
		err = whole.Check()
	}
	switch {
	case err != nil:
		j.note(configurationBad, c.ID, err)
	case len(whole.Content.Modules) > 0:
		j.note(deployments, c.ID, nil)
	default:
		j.note(configurations, c.ID, nil)
	}
}

func (j *Judge) service(s *azureexport.Service) {
	if !j.first("service", s.Name) {
		return
	}
	p := s.Properties
	j.note(idScope, s.Name+" "+p.IDScope, nil)
	for _, h := range p.Hubs {
		j.note(linkedHubs, h.Name, nil)
	}
	for _, one := range p.AuthorizationPolicies {
		j.note(servicePolicies, one.Name, nil)
	}
	for _, f := range p.IPFilterRules {
		j.note(filters, f.Name+" "+f.Mask, nil)
	}
}

func notJSON(err error, what string) error {
	return fault.Wrap("parity.See", fault.Invalid, err, what+" is not the JSON that belongs there")
}
