package render_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/render"
)

func TestHostsFollowsCNAMEs(t *testing.T) {
	out, err := render.Hosts(site())
	if err != nil {
		t.Fatal(err)
	}
	text := string(out.Files[0].Body)
	for _, line := range []string{"10.7.0.4\tcontoso.azure-devices.net\n", "10.7.0.21\talias.corp.example\n", "fd00::20\tmes.corp.example\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
}

func TestDocker(t *testing.T) {
	s := site()
	s.Resolvers = []netip.AddrPort{netip.MustParseAddrPort("10.7.0.2:53")}
	out, err := render.Docker(s, render.Forward)
	if err != nil {
		t.Fatal(err)
	}
	var daemon struct {
		DNS []string `json:"dns"`
	}
	if err := json.Unmarshal(out.Files[0].Body, &daemon); err != nil || len(daemon.DNS) != 1 || daemon.DNS[0] != "10.7.0.2" {
		t.Fatalf("%s: %v", out.Files[0].Body, err)
	}
	if out, err = render.Docker(s, render.Records); err != nil {
		t.Fatal(err)
	}
	var options struct {
		HostConfig struct{ ExtraHosts []string }
	}
	for _, f := range out.Files {
		if f.Name == "create-options.json" {
			if err := json.Unmarshal(f.Body, &options); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !strings.Contains(strings.Join(options.HostConfig.ExtraHosts, " "), "contoso.azure-devices.net:10.7.0.4") {
		t.Fatalf("%+v", options)
	}
}

// A name that could end a line and begin a directive of its own is refused by every renderer.
func TestNothingEscapesALine(t *testing.T) {
	for _, bad := range []string{"a\nzone \"x\" {", "a\";", "a b", "a#", "a;b", ""} {
		for _, s := range []render.Site{
			{Names: []plan.Name{{Name: bad, A: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}},
			{Names: []plan.Name{{Name: "ok.example", CNAME: bad + "\n"}}},
			{Zones: []string{bad}},
			{Forward: []plan.Forward{{Domain: bad, Targets: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53")}}}},
		} {
			for name, f := range map[string]func() (render.Output, error){
				"bind9":   func() (render.Output, error) { return render.BIND9(s, render.Records, "/etc/bind") },
				"unbound": func() (render.Output, error) { return render.Unbound(s, render.Records) },
				"dnsmasq": func() (render.Output, error) { return render.Dnsmasq(s, render.Records) },
				"coredns": func() (render.Output, error) { return render.CoreDNS(s, render.Records, "/etc/coredns") },
				"hosts":   func() (render.Output, error) { return render.Hosts(s) },
				"docker":  func() (render.Output, error) { return render.Docker(s, render.Records) },
			} {
				if out, err := f(); fault.KindOf(err) != fault.Invalid {
					t.Errorf("%s took %+v: %s", name, s, out.Files[0].Body)
				}
			}
		}
	}
}

func TestForwardNeedsAResolver(t *testing.T) {
	_, err := render.BIND9(site(), render.Forward, "/etc/bind")
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Next(err), "--resolver") {
		t.Fatalf("%v, %s", err, fault.Next(err))
	}
}
