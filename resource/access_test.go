package resource_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/resource"
)

func validTarget() *resource.Target {
	t := fresh[*resource.Target](resource.KindTarget, resource.Meta{Tenant: "ot", Network: "plant-7", Name: "press-4-ssh"})
	t.Spec = resource.TargetSpec{
		Agent: "press-4", Address: "127.0.0.1:22", Protocol: resource.ProtocolSSH, Policy: "default", VisibleTo: []string{"machine-maker"},
		SSH: &resource.TargetSSH{Logins: []string{"service"}, HostKeys: []string{"ssh-ed25519 AAAA"}},
	}
	return t
}

func TestTargetRules(t *testing.T) {
	type g = *resource.Target
	address := func(s string) func(g) { return func(o g) { o.Spec.Address = s } }
	device := func(d resource.TargetDevice) func(g) {
		return func(o g) { o.Spec.Agent, o.Spec.Address, o.Spec.Device = "", "", &d }
	}
	refuse(t, validTarget, []refusal[g]{
		{"as it is", func(g) {}, ""},
		{"nothing", func(o g) { o.Spec = resource.TargetSpec{} }, "the target leads nowhere > give spec.agent and spec.address, or spec.device"},
		{"agent's name", func(o g) { o.Spec.Agent = "Press" }, "spec.agent"},
		{"both ways", func(o g) { o.Spec.Device = &resource.TargetDevice{} }, "spec.device stands beside"},
		{"no address", address(""), "no host and port"},
		{"no port", address("127.0.0.1"), "no host and port"},
		{"port 0", address("127.0.0.1:0"), "ports are 1 to 65535"},
		{"port word", address("127.0.0.1:ssh"), "ports are 1 to 65535"},
		{"everywhere", address("0.0.0.0:22"), "nothing can be reached there"},
		{"many", address("224.0.0.1:22"), "nothing can be reached there"},
		{"no host", address(":22"), "the host is no address and no name"},
		{"a command", address("$(reboot):22"), "the host is no address and no name"},
		{"a name", address("plc.local:502"), ""},
		{"v6", address("[fd00::1]:502"), ""},
		{"socket", address("unix:/run/plc.sock"), ""},
		{"relative socket", address("unix:plc.sock"), "the path is not absolute"},
		{"long socket", address("unix:/" + strings.Repeat("x", 100)), "too long"},
		{"odd socket", address("unix:/run/\x1b"), "not absolute, or too long"},
		{"protocol", func(o g) { o.Spec.Protocol = "vnc" }, `spec.protocol is "vnc" > write ssh, rdp or tcp`},
		{"state", func(o g) { o.Spec.State = "Off" }, `spec.state is "Off"`},
		{"description", func(o g) { o.Spec.Description = "a\x07" }, "control characters"},
		{"policy", func(o g) { o.Spec.Policy = "*" }, "spec.policy"},
		{"visible to all", func(o g) { o.Spec.VisibleTo = []string{"*"} }, "spec.visibleTo"},
		{"too many", func(o g) { o.Spec.VisibleTo = make([]string, 1001) }, "spec.visibleTo has 1001 tenants"},
		{"ssh on rdp", func(o g) { o.Spec.Protocol = resource.ProtocolRDP }, "spec.ssh is for the protocol ssh"},
		{"login", func(o g) { o.Spec.SSH.Logins = []string{"-oProxyCommand=x"} }, "spec.ssh.logins has"},
		{"a login that is a folder", func(o g) { o.Spec.SSH.Logins = []string{".."} }, "spec.ssh.logins has"},
		{"logins", func(o g) { o.Spec.SSH.Logins = make([]string, 33) }, "33 logins"},
		{"host key", func(o g) { o.Spec.SSH.HostKeys = []string{"ssh-ed25519"} }, "no public key"},
		{"host key lines", func(o g) { o.Spec.SSH.HostKeys = []string{"ssh-ed25519 AAAA\nssh-rsa BBBB"} }, "no public key"},
		{"device", device(resource.TargetDevice{Service: "contoso", Device: "press-4", Stream: "ssh"}), ""},
		{"no device", device(resource.TargetDevice{Service: "contoso", Stream: "ssh"}), "spec.device.device"},
		{"no stream", device(resource.TargetDevice{Service: "contoso", Device: "d"}), "spec.device.stream"},
		{"stream's name", device(resource.TargetDevice{Service: "contoso", Device: "d", Stream: "a/b"}), "spec.device.stream"},
		{"module's name", device(resource.TargetDevice{Service: "contoso", Device: "d", Module: "#", Stream: "a"}), "spec.device.module"},
		{"service", device(resource.TargetDevice{Service: "ot/x", Device: "d", Stream: "a"}), "spec.device.service"},
	})
	o := validTarget()
	if !o.VisibleTo("ot") || !o.VisibleTo("machine-maker") || o.VisibleTo("it") || !o.Enabled() || o.Protocol() != resource.ProtocolSSH {
		t.Errorf("%+v", o.Spec)
	}
	o.Spec.Protocol, o.Spec.State = "", resource.TargetDisabled
	if o.Enabled() || o.Protocol() != resource.ProtocolTCP {
		t.Errorf("%+v", o.Spec)
	}
}

func TestAccessPolicyRules(t *testing.T) {
	type p = *resource.AccessPolicy
	valid := func() p { return fresh[p](resource.KindAccessPolicy, resource.Meta{Tenant: "ot", Name: "default"}) }
	three, none := 3, 0
	refuse(t, valid, []refusal[p]{
		{"nothing", func(p) {}, ""},
		{"three approvals", func(o p) { o.Spec.Approvals = &three }, "spec.approvals is 3 > write 0, 1 or 2"},
		{"two weeks", func(o p) { o.Spec.MaxMinutes = 14 * 24 * 60 }, "spec.maxMinutes is 20160 > give 0 to 10080"},
		{"ahead", func(o p) { o.Spec.MaxAheadMinutes = -1 }, "spec.maxAheadMinutes is -1"},
		{"wait", func(o p) { o.Spec.WaitMinutes = 1 << 40 }, "spec.waitMinutes"},
		{"standing for ever", func(o p) { o.Spec.MaxStandingDays = 367 }, "spec.maxStandingDays is 367 > give 0 to 366"},
		{"a long emergency", func(o p) { o.Spec.BreakGlassMinutes = 1441 }, "spec.breakGlassMinutes"},
		{"sessions", func(o p) { o.Spec.Sessions.Each = 1001 }, "spec.sessions has a number out of range"},
		{"rate", func(o p) { o.Spec.Sessions.BytesPerSecond = -1 }, "spec.sessions has a number out of range"},
		{"idle", func(o p) { o.Spec.Sessions.IdleMinutes = -1 }, "spec.sessions.idleMinutes"},
		{"recording", func(o p) { o.Spec.Recording = "On" }, `spec.recording is "On"`},
		{"recipient", func(o p) { o.Spec.RecordingRecipients = []string{"AGE-SECRET-KEY-1" + strings.Repeat("A", 46)} }, "no age public key"},
		{"recipients", func(o p) { o.Spec.RecordingRecipients = make([]string, 17) }, "has 17 keys"},
	})
	s := &valid().Spec
	if s.ApprovalsNeeded() != 1 || s.Longest() != 8*time.Hour || s.Wait() != 24*time.Hour || s.Emergency() != time.Hour || s.LongestStanding() != 90*24*time.Hour ||
		s.Sessions.MostSessions() != 16 || s.Sessions.Idle() != 0 || s.Ahead() != 7*24*time.Hour {
		t.Errorf("%+v", s)
	}
	if s.Approvals = &none; s.ApprovalsNeeded() != 0 {
		t.Error("none is none")
	}
}

func TestIdentityProviderRules(t *testing.T) {
	type p = *resource.IdentityProvider
	valid := func() p {
		o := fresh[p](resource.KindIdentityProvider, resource.Meta{Tenant: "ot", Name: "entra"})
		o.Spec = resource.IdentityProviderSpec{Issuer: "https://login.example.net/x", ClientID: "isthmus", Roles: []resource.ProviderRole{
			{Claim: "groups", Value: "g", Roles: []resource.TenantRole{resource.RoleOperator}},
		}}
		return o
	}
	issuer := func(s string) func(p) { return func(o p) { o.Spec.Issuer = s } }
	refuse(t, valid, []refusal[p]{
		{"as it is", func(p) {}, ""},
		{"plain http", issuer("http://login.example.net"), "is not encrypted"},
		{"http on this machine", issuer("http://127.0.0.1:4000"), ""},
		{"http on something like it", issuer("http://127.0.0.1.example.net"), "is not encrypted"},
		{"no URL", issuer("login"), "spec.issuer"},
		{"with a password", issuer("https://a:b@login.example.net"), "spec.issuer"},
		{"with a question", issuer("https://login.example.net?x=y"), "spec.issuer"},
		{"file", issuer("file://login.example.net/etc"), "is not encrypted"},
		{"client", func(o p) { o.Spec.ClientID = "" }, "spec.clientId"},
		{"scope", func(o p) { o.Spec.Scopes = []string{"a b"} }, "scope or claim"},
		{"ca", func(o p) { o.Spec.CA = "x" }, "spec.ca"},
		{"for ever", func(o p) { o.Spec.SessionMinutes = 1441 }, "spec.sessionMinutes is 1441"},
		{"role", func(o p) { o.Spec.DefaultRoles = []resource.TenantRole{"admin"} }, `spec.defaultRoles has "admin"`},
		{"role twice", func(o p) { o.Spec.DefaultRoles = []resource.TenantRole{"owner", "owner"} }, "stands there twice"},
		{"rule", func(o p) { o.Spec.Roles[0].Value = "" }, "a rule without claim, value or roles"},
		{"rule's role", func(o p) { o.Spec.Roles[0].Roles = []resource.TenantRole{"root"} }, `spec.roles has "root"`},
	})
	if valid().Spec.Session() != 8*time.Hour {
		t.Error(valid().Spec.Session())
	}
}

func TestWorkingHours(t *testing.T) {
	day := []string{"Mon", "Tue", "Wed", "Thu", "Fri"}
	for name, w := range map[string]resource.WorkingHours{
		"no days": {From: "08:00", To: "17:00", TimeZone: "UTC"}, "a day": {Days: []string{"Monday"}, From: "08:00", To: "17:00", TimeZone: "UTC"},
		"twice": {Days: []string{"Mon", "Mon"}, From: "08:00", To: "17:00", TimeZone: "UTC"}, "no zone": {Days: day, From: "08:00", To: "17:00"},
		"the machine's": {Days: day, From: "08:00", To: "17:00", TimeZone: "Local"}, "a path": {Days: day, From: "08:00", To: "17:00", TimeZone: "../../etc/passwd"},
		"8": {Days: day, From: "8:00", To: "17:00", TimeZone: "UTC"}, "24": {Days: day, From: "24:00", To: "17:00", TimeZone: "UTC"},
		"61": {Days: day, From: "08:61", To: "17:00", TimeZone: "UTC"}, "25": {Days: day, From: "08:00", To: "25:00", TimeZone: "UTC"},
		"none": {Days: day, From: "08:00", To: "08:00", TimeZone: "UTC"},
	} {
		if w.Validate() == nil {
			t.Errorf("%s: %+v is good", name, w)
		}
	}
	berlin := resource.WorkingHours{Days: day, From: "08:00", To: "17:30", TimeZone: "Europe/Berlin"}
	night := resource.WorkingHours{Days: []string{"Fri"}, From: "22:00", To: "06:00", TimeZone: "UTC"}
	whole := resource.WorkingHours{Days: []string{"Sun"}, From: "00:00", To: "24:00", TimeZone: "Europe/Berlin"}
	for _, c := range []struct {
		w     resource.WorkingHours
		at    string
		until string // empty: closed
	}{
		{berlin, "2026-11-23T06:59:59Z", ""}, {berlin, "2026-11-23T07:00:00Z", "2026-11-23T16:30:00Z"}, {berlin, "2026-11-23T16:29:59Z", "2026-11-23T16:30:00Z"},
		{berlin, "2026-11-23T16:30:00Z", ""}, {berlin, "2026-11-22T12:00:00Z", ""}, {berlin, "2026-07-01T06:00:00Z", "2026-07-01T15:30:00Z"},
		{night, "2026-11-20T21:59:59Z", ""}, {night, "2026-11-20T22:00:00Z", "2026-11-21T06:00:00Z"}, {night, "2026-11-21T05:59:59Z", "2026-11-21T06:00:00Z"},
		{night, "2026-11-21T06:00:00Z", ""}, {night, "2026-11-21T22:00:00Z", ""},
		{whole, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, // the day of 23 hours
		{whole, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // the day of 25 hours
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		until, ok := c.w.Hold(at)
		got := ""
		if ok {
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until || c.w.Validate() != nil {
			t.Errorf("%+v at %s: until %q, want %q", c.w, c.at, got, c.until)
		}
	}
	if _, ok := (resource.WorkingHours{Days: day, From: "08:00", To: "17:00", TimeZone: "Mars/Olympus"}).Hold(time.Unix(0, 0)); ok {
		t.Error("a time zone nobody knows holds")
	}
}

// A twin that looks at the clock on the wall minute by minute.
func TestWorkingHoursAgainstTheClockOnTheWall(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
		w := resource.WorkingHours{
			Days: rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 7, rapid.ID[string]).Draw(rt, "days"),
			From: rapid.SampledFrom([]string{"00:00", "06:30", "12:00", "22:00"}).Draw(rt, "from"), To: rapid.SampledFrom([]string{"05:00", "11:59", "18:00", "24:00"}).Draw(rt, "to"),
			TimeZone: rapid.SampledFrom([]string{"UTC", "Asia/Kolkata", "America/Phoenix"}).Draw(rt, "zone"), // none of them changes its clocks
		}
		at := time.Unix(int64(rapid.IntRange(1_800_000_000, 1_810_000_000).Draw(rt, "at")), 0)
		loc, err := time.LoadLocation(w.TimeZone)
		if err != nil {
			rt.Fatal(err)
		}
		open := func(t time.Time) bool {
			l := t.In(loc)
			clock := l.Format("15:04")
			on := func(l time.Time) bool {
				for _, d := range w.Days {
					if d == l.Format("Mon") {
						return true
					}
				}
				return false
			}
			if w.From < w.To {
				return on(l) && clock >= w.From && clock < w.To
			}
			return on(l) && clock >= w.From || on(l.AddDate(0, 0, -1)) && clock < w.To
		}
		until, ok := w.Hold(at)
		if ok != open(at) {
			rt.Fatalf("%+v at %s: %t", w, at.In(loc), ok)
		}
		if ok && (!open(until.Add(-time.Second)) || !until.After(at)) {
			rt.Fatalf("%+v at %s until %s", w, at.In(loc), until.In(loc))
		}
	})
}
