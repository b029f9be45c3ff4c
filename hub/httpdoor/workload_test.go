package httpdoor_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

func withWorkloads(t *testing.T) (w *hubtest.World, bearer string, assign func(...plan.Assignment)) {
	t.Helper()
	d := wt.New(t, clock.System{})
	w = hubtest.Start(t, hubtest.Options{Workloads: d.Verifier, Full: true})
	return w, "Bearer " + d.Token(wt.Agent, wt.Bridge, workload.Audience(hubtest.Contoso)), func(list ...plan.Assignment) {
		t.Helper()
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Assignments = list })
	}
}

func TestRolesOfWorkloads(t *testing.T) {
	w, bearer, assign := withWorkloads(t)
	c := newCaller(t, w)
	secret := w.Device(hubtest.Contoso, "d").PrimaryKey
	if _, err := w.Hub(hubtest.Contoso).CreateConsumerGroup(t.Context(), "", "mine"); err != nil {
		t.Fatal(err)
	}
	const reader, contributor, receiver = resource.RoleHubReader, resource.RoleHubContributor, resource.RoleDataReceiver
	for _, step := range []struct {
		method, path, body string
		may                []resource.DataRole
	}{
		{"GET", "/devices/d" + version, "", []resource.DataRole{reader, contributor}},
		{"GET", "/devices" + version, "", []resource.DataRole{reader, contributor}},
		{"GET", "/twins/d" + version, "", []resource.DataRole{reader, contributor}},
		{"POST", "/devices/query" + version, `{"query":"SELECT * FROM devices"}`, []resource.DataRole{reader, contributor}},
		{"GET", "/statistics/devices" + version, "", []resource.DataRole{reader, contributor}},
		{"GET", "/configurations" + version, "", []resource.DataRole{reader, contributor}},
		{"PATCH", "/twins/d" + version, `{"tags":{"a":1}}`, []resource.DataRole{contributor}},
		{"POST", "/isthmus/v1/devices/d/messages", `{"body":"aGVsbG8="}`, []resource.DataRole{contributor}},
		{"DELETE", "/devices/d/commands" + version, "", []resource.DataRole{contributor}},
		{"GET", "/messages/serviceBound/feedback" + version, "", []resource.DataRole{contributor}},
		{"PUT", "/devices/new" + version, `{"deviceId":"new"}`, []resource.DataRole{contributor}},
		{"POST", "/isthmus/v1/devices/new/keys", `{"renew":"primary"}`, []resource.DataRole{contributor}},
		{"GET", "/isthmus/v1/events?limit=1", "", []resource.DataRole{receiver}},
		{"GET", "/isthmus/v1/consumergroups", "", []resource.DataRole{receiver}},
		{"GET", "/isthmus/v1/consumergroups/$Default/checkpoints", "", []resource.DataRole{receiver}},
		{"DELETE", "/isthmus/v1/consumergroups/mine", "", []resource.DataRole{contributor}},
		{"GET", "/isthmus/v1/policies", "", nil},
		{"POST", "/isthmus/v1/policies/service/keys", `{"renew":"primary"}`, nil},
		{"GET", "/isthmus/v1/routing", "", nil},
		{"PUT", "/isthmus/v1/limits", "{}", nil},
		{"POST", "/devices/d/messages/events" + version, "x", nil},
		{"GET", "/devices/d/messages/devicebound" + version, "", nil},
		{"POST", "/twins/d/streams/ssh" + version, "", nil},
	} {
		for _, role := range []resource.DataRole{reader, contributor, receiver, resource.RoleDataSender} {
			assign(wt.Assign(role, ""))
			may := false
			for _, r := range step.may {
				may = may || r == role
			}
			status, _, body := c.call(step.method, step.path, bearer, step.body)
			if may != (status < 300) || !may && status != 401 {
				t.Errorf("%s: %s %s is %d %s", role, step.method, step.path, status, body)
			}
			if role == reader && strings.Contains(body, secret) {
				t.Errorf("%s sees the key of a device: %s", role, body)
			}
			if role == contributor && step.path == "/devices/d"+version && !strings.Contains(body, secret) {
				t.Errorf("%s does not see the key of a device", role)
			}
		}
	}
	assign()
	status, _, body := c.call("GET", "/devices/d"+version, bearer, "")
	if status != 401 || !strings.Contains(body, "has no role") {
		t.Errorf("without a role: %d %s", status, body)
	}
	assign(wt.Assign(contributor, ""))
	for name, token := range map[string]string{"nothing": "Bearer ", "junk": "Bearer a.b.c", "the name alone": "Bearer", "another scheme": strings.Replace(bearer, "Bearer", "Basic", 1)} {
		if status, _, body := c.call("GET", "/devices/d"+version, token, ""); status != 401 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _, _ := c.call("GET", "/devices/d"+version, strings.Replace(bearer, "Bearer", "bearer", 1), ""); status != 200 {
		t.Errorf("in small letters: %d", status)
	}
}

// No role gives what only the owner's policy gives, nor what devices do; and what changes something is for contributors.
func TestEveryRouteHasItsRoles(t *testing.T) {
	for _, r := range httpdoor.RolesOfRoutes() {
		owners := r.Right == hub.EveryRight || r.Local || r.Device
		switch {
		case owners && len(r.Roles) > 0:
			t.Errorf("%s %s is open to %v", r.Method, r.Path, r.Roles)
		case len(r.Roles) > 1 && r.Roles[0] == resource.RoleHubReader && (r.Method == "PUT" || r.Method == "PATCH" || r.Method == "DELETE"):
			t.Errorf("%s %s changes something and is open to %v", r.Method, r.Path, r.Roles)
		case strings.Contains(r.Path, "events") && !r.Device && len(r.Roles) > 0 && r.Roles[0] != resource.RoleDataReceiver:
			t.Errorf("%s %s reads events and is open to %v", r.Method, r.Path, r.Roles)
		}
	}
}

// A reader of events is cut when its role is taken away, before another event comes.
func TestFollowingEndsWithTheRole(t *testing.T) {
	w, bearer, assign := withWorkloads(t)
	c := newCaller(t, w)
	assign(wt.Assign(resource.RoleDataReceiver, ""))
	s, err := w.Hub(hubtest.Contoso).Stream("")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "d", eventlog.Event{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+hubtest.Contoso+"/isthmus/v1/events?follow=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", bearer)
	resp, err := c.c.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	assign(wt.Assign(resource.RoleHubReader, ""))
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

// From the public side of a hub that has closed it not even a trusted workload has the hub's own API, and keys are refused in words.
func TestTheHubsAPIIsNotForGuests(t *testing.T) {
	w, bearer, assign := withWorkloads(t)
	c := newCaller(t, w)
	w.Device(hubtest.Contoso, "d")
	owner, device := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner), w.Token(hubtest.Contoso, w.Device(hubtest.Contoso, "e"))
	assign(wt.Assign(resource.RoleHubContributor, ""))
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	_, _, before := c.call("GET", "/devices/d"+version, owner, "")
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Trusted = []string{string(wt.Bridge)} })
	for name, step := range map[string]struct{ path, token string }{
		"a key": {"/devices/d" + version, owner}, "the workload": {"/devices/d" + version, bearer}, "a device": {"/devices/e/messages/devicebound" + version, device},
		"nothing": {"/devices/d" + version, ""}, "a path nobody has": {"/nothing" + version, owner}, "a file": {"/files/d/x", owner}, "a stream": {"/isthmus/v1/streams/x", "Bearer x"},
	} {
		status, header, body := c.call("GET", step.path, step.token, "")
		if status != 401 || header.Get("iothub-errorcode") != "IotHubUnauthorizedAccess" || !strings.Contains(body, "only trusted workloads with their identity: a key is not enough") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if strings.Contains(before, "trusted workloads") {
		t.Errorf("a hub that trusts nobody speaks of it: %s", before)
	}
}
