package gateway_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/resource"
)

var now = time.Now

const ms = time.Millisecond

func noun[T resource.Object](t *testing.T, kind resource.Kind, name string) T {
	t.Helper()
	o, ok := resource.New(kind)
	if !ok {
		t.Fatal(kind)
	}
	m := &o.Head().Metadata
	m.Tenant, m.Network, m.Name = "ot", "cloud", name
	return o.(T)
}

func alone(t *testing.T) (*resource.Gateway, *resource.Allowlist) {
	g := noun[*resource.Gateway](t, resource.KindGateway, "front")
	g.Spec = resource.GatewaySpec{
		Listeners: []resource.GatewayListener{{Name: "mqtt", Port: 8883}},
		Routes:    []resource.GatewayRoute{{Names: []string{"a.example"}, Group: "hub"}},
		Groups:    []resource.TargetGroup{{Name: "hub", Targets: []string{"10.0.0.1"}}},
	}
	l := noun[*resource.Allowlist](t, resource.KindAllowlist, "fabrikam")
	l.Spec = resource.AllowlistSpec{Owner: "Fabrikam", Rules: []resource.AllowRule{{Name: "plant", Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}}
	return g, l
}

func TestGatewaysOnTheirOwn(t *testing.T) {
	g, l := alone(t)
	other := noun[*resource.Allowlist](t, resource.KindAllowlist, "elsewhere")
	other.Metadata.Network = "plant-7"
	second, _ := alone(t)
	second.Metadata.Name = "back"
	only := noun[*resource.Allowlist](t, resource.KindAllowlist, "only-back")
	only.Spec.Gateways = []string{"back"}
	got, err := gateway.FromResources([]resource.Object{g, l, other, second, only})
	must(t, err)
	if len(got) != 2 || got[0].Name != "ot/cloud/front" || len(got[0].Allowlists) != 1 || got[0].Allowlists[0].Name != "ot/cloud/fabrikam" ||
		len(got[1].Allowlists) != 2 || got[0].Routes[0].Group != "hub" || got[0].Allowlists[0].Owner != "Fabrikam" {
		t.Errorf("%+v", got)
	}
}

func TestWhatAGatewayOnItsOwnCannotDo(t *testing.T) {
	for want, change := range map[string]func(g *resource.Gateway, l *resource.Allowlist) []resource.Object{
		"spec.routes[0] leads to the service contoso, which only a control plane can look up": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object {
			g.Spec.Routes[0].Group, g.Spec.Routes[0].Service = "", "contoso"
			return []resource.Object{g}
		},
		"spec.routes[0] leads to the private endpoint contoso": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object {
			g.Spec.Routes[0].Group, g.Spec.Routes[0].Endpoint = "", "contoso"
			return []resource.Object{g}
		},
		"the Gateway ot/cloud/front is there twice":      func(g *resource.Gateway, l *resource.Allowlist) []resource.Object { return []resource.Object{g, g} },
		"the Allowlist ot/cloud/fabrikam is there twice": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object { return []resource.Object{g, l, l} },
		"there is no Gateway in the configuration":       func(g *resource.Gateway, l *resource.Allowlist) []resource.Object { return []resource.Object{l} },
		"is for the gateway back, which is not there": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object {
			l.Spec.Gateways = []string{"back"}
			return []resource.Object{g, l}
		},
		"a gateway without a control plane has no use for Tenant ot": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object {
			o := noun[*resource.Tenant](t, resource.KindTenant, "ot")
			o.Metadata.Tenant, o.Metadata.Network = "", ""
			return []resource.Object{g, o}
		},
		"the Gateway front: spec.listeners is empty": func(g *resource.Gateway, l *resource.Allowlist) []resource.Object {
			g.Spec.Listeners = nil
			return []resource.Object{g}
		},
	} {
		got, err := gateway.FromResources(change(alone(t)))
		if got != nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), want) || fault.Next(err) == "" {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
