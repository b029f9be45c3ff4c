package identity

import (
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// ID is a SPIFFE id in text, such as "spiffe://isthmus.local/tenant/ot/network/plant-7/agent/gw-1".
type ID string

// AgentID names an agent.
func AgentID(trustDomain, tenant, network, agent string) ID {
	return ID(NetworkPrefix(trustDomain, tenant, network) + agent)
}

// NetworkPrefix is what the ids of a network's agents begin with; it ends in "/agent/", so no other network's id fits.
func NetworkPrefix(trustDomain, tenant, network string) string {
	return "spiffe://" + trustDomain + "/tenant/" + tenant + "/network/" + network + "/agent/"
}

// BridgeID names a bridge as a workload: whoever carries it speaks for it.
func BridgeID(trustDomain, tenant, network, bridge string) ID {
	return ID("spiffe://" + trustDomain + "/tenant/" + tenant + "/network/" + network + "/bridge/" + bridge)
}

// RelayID names a relay.
func RelayID(trustDomain, relay string) ID { return ID("spiffe://" + trustDomain + "/relay/" + relay) }

// ControlID names the control plane.
func ControlID(trustDomain string) ID { return ID("spiffe://" + trustDomain + "/control") }

// Agent is an agent's id taken apart.
type Agent struct{ TrustDomain, Tenant, Network, Name string }

// Agent takes an agent's id apart; ok is false for any other id.
func (i ID) Agent() (a Agent, ok bool) {
	rest, ok := strings.CutPrefix(string(i), "spiffe://")
	if !ok {
		return a, false
	}
	p := strings.Split(rest, "/")
	if len(p) != 7 || p[1] != "tenant" || p[3] != "network" || p[5] != "agent" {
		return a, false
	}
	return Agent{p[0], p[2], p[4], p[6]}, true
}

// PersonID names a person who holds a pass: a certificate for a short while, of which one person may have several.
func PersonID(trustDomain, tenant, person, pass string) ID {
	return ID(PersonPrefix(trustDomain, tenant, person) + pass)
}

// PersonPrefix is what the ids of all passes of a person begin with; it ends in "/", so no other person's id fits.
func PersonPrefix(trustDomain, tenant, person string) string {
	return "spiffe://" + trustDomain + "/tenant/" + tenant + "/person/" + person + "/"
}

// Person is a person's id taken apart. Name is the person's uid.
type Person struct{ TrustDomain, Tenant, Name, Pass string }

// Person takes a person's id apart; ok is false for any other id.
func (i ID) Person() (p Person, ok bool) {
	rest, ok := strings.CutPrefix(string(i), "spiffe://")
	if !ok {
		return p, false
	}
	s := strings.Split(rest, "/")
	if len(s) != 6 || s[1] != "tenant" || s[3] != "person" || s[4] == "" || s[5] == "" {
		return p, false
	}
	return Person{s[0], s[2], s[4], s[5]}, true
}

// TrustDomain returns the part before the first slash.
func (i ID) TrustDomain() string {
	rest, _ := strings.CutPrefix(string(i), "spiffe://")
	td, _, _ := strings.Cut(rest, "/")
	return td
}

// URL returns the id as a certificate carries it.
func (i ID) URL() (*url.URL, error) { return url.Parse(string(i)) }

// FromCertificate returns the one SPIFFE id of a certificate.
func FromCertificate(c *x509.Certificate) (ID, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "spiffe" {
		return "", fault.Newf("identity.FromCertificate", fault.Unauthenticated, "the certificate of %q carries no SPIFFE id", c.Subject.CommonName).
			Advise("it was not issued by an Isthmus control plane: join the network with a token")
	}
	return ID(c.URIs[0].String()), nil
}
