package control

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func target(path, agent, address string, with ...func(*resource.TargetSpec)) *resource.Target {
	t := noun[*resource.Target](resource.KindTarget, path)
	t.Spec = resource.TargetSpec{Agent: agent, Address: address}
	for _, f := range with {
		f(&t.Spec)
	}
	return t
}

func overSSH(s *resource.TargetSpec) { s.Protocol = resource.ProtocolSSH }

func policy(path string, with ...func(*resource.AccessPolicySpec)) *resource.AccessPolicy {
	p := noun[*resource.AccessPolicy](resource.KindAccessPolicy, path)
	for _, f := range with {
		f(&p.Spec)
	}
	return p
}

// letIn puts a grant in force, past everybody who would have to agree.
func (r *rig) letIn(person, path string, lasts time.Duration) grant.Grant {
	r.t.Helper()
	t := r.get(admin, resource.KindTarget, path).(*resource.Target)
	now := r.clk.Now()
	g := grant.Grant{
		ID: "g" + letters(8), Tenant: t.Metadata.Tenant, Target: path, TargetUID: t.Metadata.UID, Kind: grant.Once, State: grant.Approved,
		Person: grant.Person{ID: person, Name: person, Tenant: t.Metadata.Tenant}, From: now, Until: now.Add(lasts), For: lasts, Reason: "test",
	}
	if err := r.update(ctx, "test", "", func(w *work) error { return w.putGrant(g) }); err != nil {
		r.t.Fatal(err)
	}
	return g
}

func (r *rig) planOf(id identity.ID) plan.Plan {
	r.t.Helper()
	p, err := r.plan("test", id)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) targetsOf(id identity.ID) []string {
	r.t.Helper()
	var out []string
	for _, t := range r.planOf(id).Targets {
		for _, g := range t.Grants {
			out = append(out, t.Name+" for "+g.Name)
		}
	}
	return out
}

func TestPlansNameTargetsAndWhoMayCome(t *testing.T) {
	r := plant(t)
	press := r.join(JoinAgent, "ot/plant-7/press-4")
	other := r.join(JoinAgent, "ot/plant-7/drill-9")
	r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH), target("ot/plant-7/press-plc", "press-4", "192.168.0.10:502"))
	if got := r.targetsOf(press); got != nil {
		t.Errorf("nobody was let in, and the plan has %v", got)
	}
	before := r.planOf(press).Revision
	g := r.letIn("alice", "ot/plant-7/press-ssh", time.Hour)
	r.letIn("bob", "ot/plant-7/press-ssh", 2*time.Hour)
	r.letIn("bob", "ot/plant-7/press-plc", time.Hour)
	p := r.planOf(press)
	if got := r.targetsOf(press); len(got) != 3 || p.Revision == before || r.targetsOf(other) != nil {
		t.Fatalf("%v, others %v", got, r.targetsOf(other))
	}
	i := slices.IndexFunc(p.Targets, func(t plan.Target) bool { return t.Name == "ot/plant-7/press-ssh" })
	ssh := p.Targets[i]
	if ssh.Address != "127.0.0.1:22" || ssh.Protocol != resource.ProtocolSSH || ssh.Record != nil {
		t.Errorf("%+v", ssh)
	}
	if j := slices.IndexFunc(ssh.Grants, func(x plan.Grant) bool { return x.ID == g.ID }); !ssh.Grants[j].Until.Equal(g.Until) ||
		ssh.Grants[j].Person != identity.PersonPrefix("isthmus.test", "ot", "alice") || ssh.Grants[j].Name != "alice of ot" {
		t.Errorf("%+v", ssh.Grants)
	}
	// Disabling one target touches no other, and enabling it brings its grants back.
	off := target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.State = resource.TargetDisabled })
	r.apply(otOps, off)
	if got := r.targetsOf(press); len(got) != 1 || !strings.Contains(got[0], "press-plc") {
		t.Errorf("disabled: %v", got)
	}
	r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH))
	if got := r.targetsOf(press); len(got) != 3 {
		t.Errorf("enabled: %v", got)
	}
	r.restart()
	if got := r.targetsOf(press); len(got) != 3 {
		t.Errorf("after a restart: %v", got)
	}
	// Deleting ends the grants for good: a target of the same name is another.
	if err := r.Delete(ctx, otOps, key(t, resource.KindTarget, "ot/plant-7/press-ssh"), "scrapped"); err != nil {
		t.Fatal(err)
	}
	r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH))
	if got := r.targetsOf(press); len(got) != 1 {
		t.Errorf("deleted and made again: %v", got)
	}
	if err := r.st.View(ctx, func(tx *store.Tx) error {
		kept, ok, err := tx.Grant(g.ID)
		if !ok || kept.State != grant.Revoked || kept.EndReason != "the target was deleted" {
			t.Errorf("%+v", kept)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	list, err := r.Audit(ctx, otOps, AuditFilter{Kind: "Grant"})
	if err != nil || len(list) != 2 || list[0].Operation != "revoke" || list[0].Who != otOps.Who() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestPoliciesReachPlans(t *testing.T) {
	r := plant(t)
	press := r.join(JoinAgent, "ot/plant-7/press-4")
	r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) {
		s.SSH = &resource.TargetSSH{Logins: []string{"service"}, HostKeys: []string{"ssh-ed25519 AAAA"}}
	}), target("ot/plant-7/press-rdp", "press-4", "127.0.0.1:3389"))
	r.letIn("alice", "ot/plant-7/press-ssh", time.Hour)
	r.letIn("alice", "ot/plant-7/press-rdp", time.Hour)
	r.apply(otOps, policy("ot/default", func(s *resource.AccessPolicySpec) {
		s.Recording, s.Sessions.Each = resource.RecordingRequired, 3
	}))
	for _, pt := range r.planOf(press).Targets {
		if pt.Limits.Each != 3 {
			t.Errorf("%+v", pt.Limits)
		}
		switch {
		case pt.Name == "ot/plant-7/press-rdp" && pt.Record != nil:
			t.Error("what is not SSH cannot be recorded")
		case pt.Name == "ot/plant-7/press-ssh" && (pt.Record == nil || !strings.HasPrefix(pt.Record.UserCA, "ssh-ed25519 ") || len(pt.Record.Recipients) != 1 ||
			!strings.HasPrefix(pt.Record.Recipients[0], "age1") || pt.Record.Logins[0] != "service" || len(pt.Record.HostKeys) != 1):
			t.Errorf("%+v", pt.Record)
		}
	}
	// The keys are the tenant's own, stay over a restart, and the database alone does not give them away.
	first := r.world.publics["ot"]
	r.restart()
	if again := r.world.publics["ot"]; len(first) != 3 || again[store.KeySSHUsers] != first[store.KeySSHUsers] || r.world.publics["it"] != nil {
		t.Errorf("%v then %v", first, again)
	}
	if err := r.st.View(ctx, func(tx *store.Tx) error {
		sealed, ok, err := tx.SealedKey("ot", store.KeyRecordings)
		if !ok || strings.Contains(string(sealed), "AGE-SECRET-KEY") {
			t.Error("the key stands in the database as it is")
		}
		plain, err2 := r.privateKey(tx, "ot", store.KeyRecordings)
		if err2 != nil || !strings.HasPrefix(string(plain), "AGE-SECRET-KEY-1") {
			t.Errorf("%v", err2)
		}
		if _, err := r.open(keyPurpose("it", store.KeyRecordings), sealed); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a key is taken for another's: %v", err)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want(t, r.Delete(ctx, admin, key(t, resource.KindAccessPolicy, "ot/none"), "x"), fault.NotFound, "there is no AccessPolicy ot/none")
	r.apply(otOps, policy("ot/strict"), target("ot/plant-7/press-rdp", "press-4", "127.0.0.1:3389", func(s *resource.TargetSpec) { s.Policy = "strict" }))
	want(t, r.Delete(ctx, otOps, key(t, resource.KindAccessPolicy, "ot/strict"), "x"), fault.Conflict, "Target ot/plant-7/press-rdp names it")
}

func TestTargetsThatCannotStand(t *testing.T) {
	r := plant(t)
	r.join(JoinAgent, "ot/plant-7/press-4")
	r.join(JoinHub, "ot/ot-cloud/hub-9")
	device := func(service string) *resource.Target {
		return target("ot/ot-cloud/drill", "", "", func(s *resource.TargetSpec) {
			s.Device = &resource.TargetDevice{Service: service, Device: "drill-9", Stream: "ssh"}
		})
	}
	r.apply(admin, hubService("ot/ot-cloud/served", "served.azure-devices.net", servedBy("hub-9")), hubService("ot/ot-cloud/azures", "azures.azure-devices.net"))
	for _, tc := range []struct {
		who   Principal
		o     resource.Object
		kind  fault.Kind
		words string
	}{
		{otOps, target("ot/nowhere/a", "press-4", "127.0.0.1:22"), fault.NotFound, "there is no Network ot/nowhere"},
		{otOps, target("ot/plant-7/a", "press-4", "127.0.0.1:22", func(s *resource.TargetSpec) { s.Policy = "strict" }), fault.NotFound, "there is no AccessPolicy ot/strict"},
		{otOps, target("ot/ot-cloud/a", "hub-9", "127.0.0.1:22"), fault.Invalid, "only agents lead to addresses"},
		{otOps, device("none"), fault.NotFound, "there is no Service ot/ot-cloud/none"},
		{otOps, device("azures"), fault.Invalid, "is no hub that Isthmus serves"},
		{otRead, device("served"), fault.Denied, "may not change anything"},
		{itOps, device("served"), fault.NotFound, "there is no Tenant ot"},
		{Principal{Name: "nat", Tenant: "ot", Person: "p1", Roles: []resource.TenantRole{resource.RoleNetworkAdmin}}, policy("ot/default"), fault.Denied, "this is for owners"},
		{Principal{Name: "ann", Tenant: "ot", Person: "p1", Roles: []resource.TenantRole{resource.RoleOperator, resource.RoleApprover, resource.RoleAuditor}}, device("served"), fault.Denied, "may not change anything"},
	} {
		_, err := r.Apply(ctx, tc.who, []resource.Object{tc.o}, ApplyOptions{})
		want(t, err, tc.kind, tc.words)
	}
	ch := r.apply(otOps, device("served"), target("ot/plant-7/later", "not-yet", "127.0.0.1:22"))
	if len(ch[1].Warnings) != 1 || !strings.Contains(ch[1].Warnings[0], "has not joined") {
		t.Errorf("%+v", ch)
	}
	r.letIn("alice", "ot/ot-cloud/drill", time.Hour)
	var hub identity.ID
	for id := range r.world.agents {
		if a, _ := id.Agent(); strings.HasPrefix(a.Name, "hub-9") {
			hub = id
		}
	}
	p := r.planOf(hub)
	if len(p.Targets) != 1 || p.Targets[0].Device == nil || p.Targets[0].Device.Device != "drill-9" || p.Targets[0].Device.Hub != p.Hubs[0].ID || p.Targets[0].Address != "" {
		t.Errorf("%+v", p.Targets)
	}
	if l := r.world.leaders(r.get(admin, resource.KindTarget, "ot/ot-cloud/drill").(*resource.Target)); len(l) != 1 || l[0].ID != string(hub) {
		t.Errorf("%+v", l)
	}
}

func TestOtherTenantsSeeOfATargetWhatTheyMay(t *testing.T) {
	r := plant(t)
	r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) {
		s.VisibleTo, s.Description, s.SSH = []string{"it"}, "the press", &resource.TargetSSH{Logins: []string{"service"}, HostKeys: []string{"ssh-ed25519 AAAA"}}
	}))
	_, err := r.Get(ctx, xxOps, key(t, resource.KindTarget, "ot/plant-7/press-ssh"))
	want(t, err, fault.NotFound, "there is no Target ot/plant-7/press-ssh")
	if list, err := r.List(ctx, xxOps, resource.KindTarget, Filter{}); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	o := r.get(itOps, resource.KindTarget, "ot/plant-7/press-ssh").(*resource.Target)
	if s := o.Spec; s.Agent != "" || s.Address != "" || s.VisibleTo != nil || s.Description != "the press" || s.SSH.HostKeys != nil || s.SSH.Logins[0] != "service" {
		t.Errorf("%+v", s)
	}
	mine := r.get(otRead, resource.KindTarget, "ot/plant-7/press-ssh").(*resource.Target)
	if mine.Spec.Address != "127.0.0.1:22" {
		t.Errorf("%+v", mine.Spec)
	}
}

// A tenant that has the name of one that is gone is another: it sees nothing of what was let in there, and has keys of its own.
func TestATenantOfAnOldNameIsNew(t *testing.T) {
	r := newRig(t)
	founded := func() map[store.KeyPurpose]string {
		r.apply(admin, tenant("ot"), network("ot/plant-7"))
		r.apply(otOps, target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22", overSSH))
		return maps.Clone(r.world.publics["ot"])
	}
	first := founded()
	r.letIn("alice", "ot/plant-7/press-ssh", time.Hour)
	for _, k := range []resource.Key{key(t, resource.KindTarget, "ot/plant-7/press-ssh"), key(t, resource.KindNetwork, "ot/plant-7"), key(t, resource.KindTenant, "ot")} {
		if err := r.Delete(ctx, admin, k, "sold"); err != nil {
			t.Fatal(err)
		}
	}
	second := founded()
	if len(first) != 3 || len(second) != 3 {
		t.Fatalf("%v, %v", first, second)
	}
	for purpose, public := range first {
		if second[purpose] == public || second[purpose] == "" {
			t.Errorf("%s: %q", purpose, second[purpose])
		}
	}
	if err := r.st.View(ctx, func(tx *store.Tx) error {
		_, err := r.privateKey(tx, "ot", store.KeySSHUsers)
		return err
	}); err != nil {
		t.Error(err)
	}
	owner := Principal{Name: "olga", Tenant: "ot", Person: "p9", Roles: []resource.TenantRole{resource.RoleOwner}}
	if list, err := r.Grants(ctx, owner, GrantFilter{}); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
