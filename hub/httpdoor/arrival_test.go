package httpdoor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Everything for the host name of a provisioning service goes to its own room, which learns how the request came; and nothing when the
// side is closed.
func TestProvisioningIsAnotherRoom(t *testing.T) {
	room := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := httpdoor.ArrivalOf(r.Context())
		_, _ = fmt.Fprintf(w, "%s %s %s %v", r.Method, r.URL.Path, a.Hub.Name(), a.Conn.Side.IsPublic())
	})
	w := hubtest.Start(t, hubtest.Options{Rooms: func(*hubtest.World) httpdoor.Config { return httpdoor.Config{Provisioning: room} }})
	c := newCaller(t, w)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Type = resource.TypeDPS })
	for _, path := range []string{"/scope/registrations/r/register", "/enrollments/e", "/devices/d", "/"} {
		if status, _, body := c.call("PUT", path, "", "x"); status != 200 || body != "PUT "+path+" ot/ot-cloud/contoso true" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	if status, h, body := c.call("PUT", "/enrollments/e", "", "x"); status != 401 || h.Get("iothub-errorcode") != "IotHubUnauthorizedAccess" {
		t.Errorf("%d %s", status, body)
	}
}

// A room that is not there says so.
func TestRoomsThatAreNotThere(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Rooms: func(*hubtest.World) httpdoor.Config { return httpdoor.Config{} }})
	c, owner := newCaller(t, w), w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	for path, words := range map[string]string{"/jobs": "runs no jobs", "/configurations": "keeps no configurations"} {
		if status, h, body := c.call("GET", path+version, owner, ""); status != 404 || h.Get("iothub-errorcode") != "NotFound" || !strings.Contains(body, words) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
