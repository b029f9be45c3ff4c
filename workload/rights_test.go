package workload_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestRights(t *testing.T) {
	list := []plan.Assignment{
		wt.Assign(resource.RoleDataSender, "Telemetry"), wt.Assign(resource.RoleDataSender, "Telemetry"), wt.Assign(resource.RoleDataReceiver, ""),
		{Workload: string(wt.Agent), Holders: []string{string(wt.Agent)}, Role: resource.RoleBlobReader},
		{Workload: string(wt.Bridge), Holders: nil, Role: resource.RoleDataOwner},
		{Workload: "", Holders: []string{""}, Role: resource.RoleDataOwner},
	}
	by := func(agent, of string) workload.Proof { return workload.Proof{Agent: agent, Workload: of} }
	for name, c := range map[string]struct {
		proof workload.Proof
		want  int
	}{
		"its carrier": {by(string(wt.Agent), string(wt.Bridge)), 2}, "an agent that carries it no more": {by(string(wt.Other), string(wt.Bridge)), 0},
		"an agent for itself": {by(string(wt.Agent), string(wt.Agent)), 1}, "a stranger": {by(string(wt.Stranger), string(wt.Stranger)), 0}, "nobody": {by("", ""), 0},
	} {
		if got := workload.Rights(list, c.proof); len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	p := by(string(wt.Agent), string(wt.Bridge))
	g := workload.Rights(list, p)
	for _, c := range []struct {
		scope string
		roles []resource.DataRole
		want  bool
	}{
		{"telemetry", []resource.DataRole{resource.RoleDataSender}, true}, {"TELEMETRY", []resource.DataRole{resource.RoleDataOwner, resource.RoleDataSender}, true},
		{"telemetry2", []resource.DataRole{resource.RoleDataSender}, false}, {"", []resource.DataRole{resource.RoleDataSender}, false},
		{"", []resource.DataRole{resource.RoleDataReceiver}, true}, {"anything", []resource.DataRole{resource.RoleDataReceiver}, true}, {"telemetry", nil, false},
	} {
		if got := g.May(c.scope, c.roles...); got != c.want {
			t.Errorf("%q, %v: %v", c.scope, c.roles, got)
		}
	}
	if !g.Has(resource.RoleDataSender) || g.Has(resource.RoleDataOwner, resource.RoleBlobReader) {
		t.Errorf("%+v", g)
	}
	if !g.Holds(list, p) || !g.Holds(list[1:], p) || g.Holds(list[:2], p) || g.Holds(nil, p) || g.Holds(list, by(string(wt.Other), string(wt.Bridge))) {
		t.Error("what holds is told wrong")
	}
}
