package view_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/view"
)

func TestExplain(t *testing.T) {
	table := view.New(office(), 1)
	for _, c := range []struct {
		name, qtype, want string
	}{
		{"contoso.azure-devices.net", "A", `
question: contoso.azure-devices.net A
name: contoso.azure-devices.net CNAME contoso.privatelink.azure-devices.net (TTL 10), from PrivateEndpoint ot/plant-7/hub
zone: privatelink.azure-devices.net is linked to this network and holds the name
name: contoso.privatelink.azure-devices.net A 10.7.0.4 (TTL 10), from PrivateEndpoint ot/plant-7/hub
answer: NOERROR, 2 records`},
		{"contoso.azure-devices.net", "AAAA", `
question: contoso.azure-devices.net AAAA
name: contoso.azure-devices.net CNAME contoso.privatelink.azure-devices.net (TTL 10), from PrivateEndpoint ot/plant-7/hub
zone: privatelink.azure-devices.net is linked to this network and holds the name
name: contoso.privatelink.azure-devices.net exists, and has no record of type AAAA, from PrivateEndpoint ot/plant-7/hub
answer: NOERROR without a record of that type`},
		{"X.apps.plant.example", "A", `
question: x.apps.plant.example A
zone: plant.example is linked to this network and holds the name
name: x.apps.plant.example A 10.7.0.20 (TTL 60), by the wildcard *.apps.plant.example
answer: NOERROR, 1 record`},
		{"apps.plant.example", "A", `
question: apps.plant.example A
zone: plant.example, linked to this network, holds names below apps.plant.example and no records of its own
answer: NOERROR without a record of that type`},
		{"plant.example", "MX", `
question: plant.example MX
zone: plant.example is linked to this network and holds the name
name: plant.example MX 10 mail.plant.example (TTL 60)
answer: NOERROR, 1 record`},
		{"none.plant.example", "A", `
question: none.plant.example A
zone: plant.example is linked to this network and lacks none.plant.example: its names are the whole truth, nobody else is asked
answer: NXDOMAIN: the name does not exist, which clients may believe for 10 s`},
		{"x.privatelink.azurecr.io", "A", `
question: x.privatelink.azurecr.io A
zone: privatelink.azurecr.io is linked to this network and lacks x.privatelink.azurecr.io: its names are the whole truth, nobody else is asked
note: the public DNS leads to this zone for every resource of its type that has a private endpoint somewhere, also for other tenants': approve an endpoint for this one, or give the zone's link the resolutionPolicy NxDomainRedirect to fall back to the public answer
answer: NXDOMAIN: the name does not exist, which clients may believe for 10 s`},
		{"x.azurecr.io", "A", `
question: x.azurecr.io A
name: no endpoint, record set or linked zone of this network holds x.azurecr.io
upstreams: udp 192.0.2.1:53, udp 192.0.2.2:53
note: if the answer leads to x.privatelink.azurecr.io, it ends in NXDOMAIN: the linked zone lacks that name; NxDomainRedirect on its link would let the public answer stand
answer: what they say of x.azurecr.io`},
		{"fab.azurecr.io", "A", `
question: fab.azurecr.io A
name: no endpoint, record set or linked zone of this network holds fab.azurecr.io
upstreams: udp 192.0.2.1:53, udp 192.0.2.2:53
note: if the answer leads to fab.privatelink.azurecr.io, this network's own record is put in place of what follows, from PrivateEndpoint ot/plant-7/registry
answer: what they say of fab.azurecr.io`},
		{"hub2.privatelink.azure-devices.net", "A", `
question: hub2.privatelink.azure-devices.net A
zone: privatelink.azure-devices.net is linked to this network and lacks hub2.privatelink.azure-devices.net; its link says NxDomainRedirect, so the public answer is asked for
upstreams: udp 192.0.2.1:53, udp 192.0.2.2:53
answer: what they say of hub2.privatelink.azure-devices.net`},
		{"fabrikam.azure-devices.net", "A", `
question: fabrikam.azure-devices.net A
name: no endpoint, record set or linked zone of this network holds fabrikam.azure-devices.net
rule: ot/rules/one for just fabrikam.azure-devices.net: udp 10.40.0.4:53
shorter: ot/rules/below for fabrikam.azure-devices.net and below would ask udp 10.41.0.4:53, but is not the closest
note: if the answer leads to fabrikam.privatelink.azure-devices.net, it stays as it is: the linked zone lacks that name, and its link says NxDomainRedirect
answer: what they say of fabrikam.azure-devices.net`},
		{"a.lab.corp.example", "TYPE65280", `
question: a.lab.corp.example TYPE65280
name: no endpoint, record set or linked zone of this network holds a.lab.corp.example
rule: ot/rules/lab for lab.corp.example and below: tls 10.30.0.4:853 (dns.lab.example)
shorter: ot/rules/corp for corp.example and below would ask udp 10.20.0.4:53, udp 10.20.0.5:53, but is not the closest
answer: what they say of a.lab.corp.example`},
		{"a..b", "A", `
question: "a..b" is no domain name (labels of 1 to 63 bytes, 255 in all)`},
	} {
		qtype, ok := dns.StringToType[c.qtype]
		if !ok {
			qtype = 65280
		}
		var got strings.Builder
		for _, s := range table.Explain(c.name, qtype) {
			got.WriteString("\n" + s.What + ": " + s.Detail)
		}
		if got.String() != c.want {
			t.Errorf("%s %s:%s\nwant%s", c.name, c.qtype, got.String(), c.want)
		}
	}
	v := plant()
	v.Zones, v.Redirect = []string{"privatelink.azurecr.io"}, []string{"privatelink.azurecr.io"}
	alone := view.New(v, 1)
	for name, want := range map[string]string{
		"example.com": "set dns.upstreams", "x.privatelink.azurecr.io": "no upstream to ask", "loop1.plant.example": "SERVFAIL: the private names",
		"out.plant.example": "SERVFAIL: the name leads to www.elsewhere.example. outside", ".": "REFUSED",
	} {
		var got strings.Builder
		for _, s := range alone.Explain(name, dns.TypeA) {
			got.WriteString(s.What + ": " + s.Detail + "\n")
		}
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s: %s\nwant %q", name, got.String(), want)
		}
	}
	// Every type of the view's own records can be written.
	for name, want := range map[string]string{
		"plant.example CAA": `CAA 128 issue "ca.example"`, "_mqtt._tcp.plant.example SRV": "SRV 1 2 8883 db.plant.example",
		"9.0.7.10.in-addr.arpa PTR": "PTR db.plant.example", "fixed.apps.plant.example TXT": `TXT "a note"`, "db.plant.example AAAA": "AAAA fd00::9",
		"out.plant.example CNAME": "CNAME www.elsewhere.example",
	} {
		name, qtype, _ := strings.Cut(name, " ")
		var got strings.Builder
		for _, s := range table.Explain(name, dns.StringToType[qtype]) {
			got.WriteString(s.Detail + "\n")
		}
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s %s: %s", name, qtype, got.String())
		}
	}
}
