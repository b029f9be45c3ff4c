package resource_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func service(change func(*resource.Service)) *resource.Service {
	o, _ := resource.New(resource.KindService)
	s := o.(*resource.Service)
	s.Metadata = resource.Meta{Tenant: "ot", Network: "ot-cloud", Name: "contoso"}
	s.Spec = resource.ServiceSpec{Type: resource.TypeIoTHub, HostName: "contoso.azure-devices.net", Target: "10.1.0.5"}
	if change != nil {
		change(s)
	}
	return s
}

func TestServiceRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*resource.Service)
		want   string // part of message or advice; empty: valid
	}{
		{"plain", nil, ""},
		{"unknown type", func(s *resource.Service) { s.Spec.Type = "iot-hub" }, "not a service type"},
		{"no host name", func(s *resource.Service) { s.Spec.HostName = "" }, "spec.hostName is missing"},
		{"upper case host", func(s *resource.Service) { s.Spec.HostName = "Contoso.azure-devices.net" }, "not a host name"},
		{"no target", func(s *resource.Service) { s.Spec.Target = "" }, "spec.target is missing"},
		{"target with port", func(s *resource.Service) { s.Spec.Target = "10.1.0.5:8883" }, "targetPort"},
		{"tcp without ports", func(s *resource.Service) { s.Spec.Type = resource.TypeTCP }, "spec.ports is empty"},
		{"port twice", func(s *resource.Service) { s.Spec.Ports = []resource.ServicePort{{Port: 1}, {Port: 1, TargetPort: 2}} }, "port 1 twice"},
		{"auto-approval outside visibility", func(s *resource.Service) { s.Spec.AutoApprove = []string{"it"} }, "which spec.visibility does not"},
		{"auto-approval of anyone outside visibility", func(s *resource.Service) { s.Spec.AutoApprove = []string{"*"}; s.Spec.Visibility = []string{"it"} }, "which spec.visibility does not"},
		{"auto-approval inside visibility", func(s *resource.Service) { s.Spec.AutoApprove = []string{"it"}; s.Spec.Visibility = []string{"it"} }, ""},
		{"auto-approval of the own tenant", func(s *resource.Service) { s.Spec.AutoApprove = []string{"ot"} }, ""},
		{"everybody may see", func(s *resource.Service) { s.Spec.AutoApprove = []string{"it"}; s.Spec.Visibility = []string{"*"} }, ""},
		{"suffix that does not fit", func(s *resource.Service) { s.Spec.PublicSuffix = "azure-devices.us" }, "does not end in"},
		{"public access misspelt", func(s *resource.Service) { s.Spec.PublicNetworkAccess = "off" }, "Enabled or Disabled"},
		{"no network", func(s *resource.Service) { s.Metadata.Network = "" }, "metadata.network is missing"},
		{"zone on a service", func(s *resource.Service) { s.Metadata.Zone = "x.y" }, "metadata.zone does not belong"},
		{"bad name", func(s *resource.Service) { s.Metadata.Name = "Hub_1" }, "not a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := service(c.change).Validate()
			if c.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err)+" "+fault.Next(err), c.want) {
				t.Errorf("error = %v (next: %s), want Invalid with %q", err, fault.Next(err), c.want)
			}
		})
	}
}

func TestVisibility(t *testing.T) {
	for _, c := range []struct {
		visibility, auto []string
		tenant           string
		sees, approved   bool
	}{
		{nil, nil, "ot", true, false},
		{nil, nil, "it", false, false},
		{[]string{"it"}, nil, "it", true, false},
		{[]string{"it"}, []string{"it"}, "it", true, true},
		{[]string{"*"}, []string{"*"}, "anybody", true, true},
		{nil, []string{"it"}, "it", false, false}, // would not validate; must still not approve
	} {
		s := service(func(s *resource.Service) { s.Spec.Visibility, s.Spec.AutoApprove = c.visibility, c.auto })
		if s.VisibleTo(c.tenant) != c.sees || s.AutoApproves(c.tenant) != c.approved {
			t.Errorf("%v/%v for %s: sees %v, approved %v", c.visibility, c.auto, c.tenant, s.VisibleTo(c.tenant), s.AutoApproves(c.tenant))
		}
	}
}

func TestPrivateNames(t *testing.T) {
	for _, c := range []struct {
		typ          resource.ServiceType
		host, suffix string
		want         resource.PrivateName
	}{
		{resource.TypeIoTHub, "contoso.azure-devices.net", "", resource.PrivateName{Public: "contoso.azure-devices.net", Private: "contoso.privatelink.azure-devices.net", Zone: "privatelink.azure-devices.net"}},
		{resource.TypeIoTHub, "ihsu-1.servicebus.windows.net", "", resource.PrivateName{Public: "ihsu-1.servicebus.windows.net", Private: "ihsu-1.privatelink.servicebus.windows.net", Zone: "privatelink.servicebus.windows.net"}},
		{resource.TypeRegistry, "r.westeurope.data.azurecr.io", "", resource.PrivateName{Public: "r.westeurope.data.azurecr.io", Private: "r.westeurope.data.privatelink.azurecr.io", Zone: "privatelink.azurecr.io"}},
		{resource.TypeFunction, "f.scm.azurewebsites.net", "", resource.PrivateName{Public: "f.scm.azurewebsites.net", Private: "f.privatelink.scm.azurewebsites.net", Zone: "privatelink.scm.azurewebsites.net"}},
		{resource.TypeIoTHub, "hub.plant.example", "plant.example", resource.PrivateName{Public: "hub.plant.example", Private: "hub.privatelink.plant.example", Zone: "privatelink.plant.example"}},
		{resource.TypeTCP, "historian.plant.example", "", resource.PrivateName{Public: "historian.plant.example", Private: "historian.plant.example"}},
	} {
		s := service(func(s *resource.Service) { s.Spec.Type, s.Spec.HostName, s.Spec.PublicSuffix = c.typ, c.host, c.suffix })
		if got := s.PrivateNames(); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s %s: %+v", c.typ, c.host, got)
		}
	}
}

// The twin is the table of private-link behaviour written as the plainest possible lookup.
func TestConnectionAgainstTable(t *testing.T) {
	twin := map[string]resource.ConnectionState{
		"Pending approve": resource.Approved, "Pending reject": resource.Rejected, "Pending remove": resource.Disconnected,
		"Approved reject": resource.Rejected, "Approved remove": resource.Disconnected,
		"Rejected approve": resource.Approved, "Rejected remove": resource.Disconnected,
	}
	rapid.Check(t, func(t *rapid.T) {
		c := resource.Connection{State: resource.Pending}
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			d := rapid.SampledFrom([]resource.Decision{resource.Approve, resource.Reject, resource.Remove, "removed"}).Draw(t, "decision")
			want, ok := twin[fmt.Sprintf("%s %s", c.State, d)]
			at := time.Unix(int64(i), 0)
			next, err := c.Apply(d, "anna", "because", at)
			switch {
			case ok && (err != nil || next.State != want || next.DecidedBy != "anna" || !next.DecidedAt.Equal(at)):
				t.Fatalf("%s %s: %+v, %v", c.State, d, next, err)
			case !ok && err == nil:
				t.Fatalf("%s %s was allowed", c.State, d)
			case !ok && next != c:
				t.Fatalf("a refused decision changed the connection: %+v", next)
			}
			c = next
			if c.Open() != (c.State == resource.Approved) {
				t.Fatalf("%s: Open = %v", c.State, c.Open())
			}
		}
	})
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		ranges, want string
	}{
		{"10.7.0.0/24", ""},
		{"10.7.0.0/24 10.8.0.0/24", ""},
		{"10.7.0.0/24 10.7.0.128/25", "overlap"},
		{"10.7.0.0/16 10.7.3.0/24", "overlap"},
		{"10.7.0.1/24", "write 10.7.0.0/24"},
		{"fd00::/64", "IPv4"},
		{"10.7.0.0/30", "/8 to /29"},
	} {
		var ranges []netip.Prefix
		for s := range strings.FieldsSeq(c.ranges) {
			ranges = append(ranges, netip.MustParsePrefix(s))
		}
		err := resource.ValidateRanges(ranges)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(fault.Message(err)+fault.Next(err), c.want) {
			t.Errorf("%s: %v", c.ranges, err)
		}
	}
}

func TestAllocate(t *testing.T) {
	ranges := []netip.Prefix{netip.MustParsePrefix("10.7.0.0/29"), netip.MustParsePrefix("10.9.0.0/29")}
	taken := map[netip.Addr]bool{}
	var got []string
	for {
		a, err := resource.Allocate(ranges, func(a netip.Addr) bool { return taken[a] })
		if err != nil {
			if fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" {
				t.Errorf("exhausted range: %v", err)
			}
			break
		}
		if !resource.Assignable(ranges, a) {
			t.Errorf("%s was allocated and is not assignable", a)
		}
		taken[a] = true
		got = append(got, a.String())
	}
	if want := []string{"10.7.0.4", "10.7.0.5", "10.7.0.6", "10.9.0.4", "10.9.0.5", "10.9.0.6"}; !slices.Equal(got, want) {
		t.Errorf("allocated %v, want %v", got, want)
	}
	for _, a := range []string{"10.7.0.0", "10.7.0.3", "10.7.0.7", "10.8.0.4"} {
		if resource.Assignable(ranges, netip.MustParseAddr(a)) {
			t.Errorf("%s must not be assignable", a)
		}
	}
}

func TestKeyRoundTrip(t *testing.T) {
	for _, k := range []resource.Key{
		{Kind: resource.KindTenant, Name: "ot"},
		{Kind: resource.KindNetwork, Tenant: "ot", Name: "plant-7"},
		{Kind: resource.KindRecordSet, Tenant: "ot", Scope: "plant.example", Name: "@"},
		{Kind: resource.KindService, Tenant: "ot", Scope: "ot-cloud", Name: "hub"},
	} {
		got, err := resource.ParseKey(k.Kind, k.Path())
		if err != nil || got != k {
			t.Errorf("%v -> %v, %v", k, got, err)
		}
	}
	for _, bad := range []string{"", "ot", "ot/x", "ot//hub", "a/b/c/d"} {
		if _, err := resource.ParseKey(resource.KindService, bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCloneIsDeep(t *testing.T) {
	for _, k := range resource.Kinds() {
		o, ok := resource.New(k)
		if !ok || o.Head().Kind != k || o.Head().APIVersion != resource.APIVersion {
			t.Fatalf("New(%s) = %v, %v", k, o, ok)
		}
	}
	s := service(func(s *resource.Service) { s.Spec.Visibility = []string{"it"} })
	c := resource.Clone(s)
	c.Spec.Visibility[0] = "other"
	if s.Spec.Visibility[0] != "it" {
		t.Error("the clone shares its lists")
	}
}
