package httpdoor_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// TestWorkloads: what each role gives over HTTP; none gives keys, which would outlast it.
func TestWorkloads(t *testing.T) {
	d := wt.New(t, clock.System{})
	w := start(t, false, et.Options{Change: func(c *eventhub.Config) { c.Workloads = d.Verifier }})
	w.Create("telemetry", 1)
	bearer := "Bearer " + d.Token(wt.Agent, wt.Bridge, workload.Audience(et.Host))
	assign := func(list ...plan.Assignment) {
		t.Helper()
		s := et.Spec()
		s.Assignments = list
		if err := w.Server.SetNamespaces(t.Context(), []eventhub.Spec{s}); err != nil {
			t.Fatal(err)
		}
	}
	rights := map[resource.DataRole]eventhub.Right{
		resource.RoleDataSender: eventhub.Send, resource.RoleDataReceiver: eventhub.Listen, resource.RoleDataOwner: eventhub.EveryRight, resource.RoleBlobContributor: 0,
	}
	for _, r := range httpdoor.Routes() {
		for role, has := range rights {
			assign(wt.Assign(role, ""))
			path := strings.NewReplacer("{eventhub}", "telemetry", "{group}", "nobody", "{partition}", "0", "{policy}", "nobody").Replace(r.Path)
			req, err := http.NewRequestWithContext(t.Context(), r.Method, w.url+"/"+path, strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", bearer)
			if r.Method == http.MethodDelete && strings.HasSuffix(path, "telemetry") {
				req.URL.Path += "2" // which is not there
			}
			resp, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			may := has&r.Right == r.Right && has != 0 && !r.Local && !strings.Contains(path, "policies")
			if refused := resp.StatusCode == http.StatusUnauthorized || r.Local; refused == may {
				t.Errorf("%s: %s %s is %d", role, r.Method, path, resp.StatusCode)
			}
		}
	}
}
