package signin

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/isthmus-io/isthmus/resource"
)

func claimsOf(t *testing.T, text string) *Claims {
	t.Helper()
	c, err := readClaims([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTexts(t *testing.T) {
	c := claimsOf(t, `{"one":"a","list":["a",1,"b"],"number":7,"realm":{"roles":["x","y"],"deep":{"er":"z"}},"dotted.name":"whole","realm.other":"w"}`)
	for name, want := range map[string][]string{
		"one": {"a"}, "list": {"a", "b"}, "number": nil, "absent": nil, "realm": nil, "realm.roles": {"x", "y"}, "realm.deep.er": {"z"}, "realm.deep": nil,
		"dotted.name": {"whole"}, "realm.other": {"w"}, "realm.roles.x": nil, "": nil, ".": nil, "one.a": nil,
	} {
		if got := c.Texts(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestRolesOfClaims(t *testing.T) {
	spec := &resource.IdentityProviderSpec{Roles: []resource.ProviderRole{
		{Claim: "groups", Value: "technicians", Roles: []resource.TenantRole{resource.RoleOperator}},
		{Claim: "groups", Value: "leads", Roles: []resource.TenantRole{resource.RoleApprover, resource.RoleOperator}},
		{Claim: "email", Value: "olga@example.net", Roles: []resource.TenantRole{resource.RoleOwner}},
	}}
	for text, want := range map[string][]resource.TenantRole{
		`{"groups":["leads","technicians"]}`: {resource.RoleOperator, resource.RoleApprover},
		`{"groups":"technicians"}`:           {resource.RoleOperator},
		`{"email":"olga@example.net"}`:       {resource.RoleOwner},
		`{"groups":["Technicians","tech"]}`:  nil,
		`{}`:                                 nil,
	} {
		if got := Roles(spec, claimsOf(t, text)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	spec.DefaultRoles = []resource.TenantRole{resource.RoleAuditor}
	if got := Roles(spec, claimsOf(t, `{}`)); !slices.Equal(got, []resource.TenantRole{resource.RoleAuditor}) {
		t.Errorf("by default %v", got)
	}
}

func TestNamesOfClaims(t *testing.T) {
	c := claimsOf(t, `{"sub":"s-1","email":"ann@example.net","preferred_username":"ann","upn":"a@x"}`)
	if got := Names(&resource.IdentityProviderSpec{}, c); !slices.Equal(got, []string{"ann", "ann@example.net", "s-1"}) {
		t.Error(got)
	}
	if got := Names(&resource.IdentityProviderSpec{NameClaim: "upn"}, c); !slices.Equal(got, []string{"a@x"}) {
		t.Error(got)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "20.190.128.1": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "::": false, "fe80::1": false, "fd00::1": false, "fec0::1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"240.0.0.1": false, "198.18.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "2002:a00:1::1": false,
		"2001::1": false, "192.0.0.8": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestURLs(t *testing.T) {
	for text, good := range map[string]bool{
		"https://id.example.net/x": true, "http://127.0.0.1:3000": true, "http://localhost/x": true, "http://[::1]:1/": true,
		"http://id.example.net": false, "https://a@b.example": false, "": false, "/x": false, "https://": false, "file:///etc/passwd": false, "http://127.0.0.1.example": false,
	} {
		if err := CheckURL(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzTexts(f *testing.F) {
	f.Add(`{"a":{"b":["c"]}}`, "a.b")
	f.Add(`{"a":1}`, "a..")
	f.Fuzz(func(t *testing.T, claims, name string) {
		c, err := readClaims([]byte(claims))
		if err != nil {
			return
		}
		if got := c.Texts(name); len(got) > maxTexts {
			t.Fatalf("%d values", len(got))
		}
	})
}
