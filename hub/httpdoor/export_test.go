package httpdoor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/resource"
)

// Route is a row of the table as tests see it.
type Route struct {
	Method, Path     string
	Right, Or        hub.Right
	Device, Local    bool
	Own, Edge, Other bool
}

// Routes returns the table.
func Routes() []Route {
	var out []Route
	for _, r := range routes() {
		out = append(out, Route{r.method, r.path, r.right, r.or, r.by == byDevice, r.local, r.own, r.by == byEdge, r.by == byTicket})
	}
	return out
}

// Fail returns how an error is written.
func Fail(err error, clk clock.Clock) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	x := &exchange{Request: httptest.NewRequest(http.MethodGet, "/", nil), w: w, door: &Door{log: slog.New(slog.DiscardHandler), clock: clk}}
	x.fail(err)
	return w
}

// Find is the router's.
func Find(method string, u *url.URL) (string, error) {
	r, p, err := table.find(&http.Request{Method: method, URL: u})
	if err != nil {
		return "", err
	}
	return r.path + " " + p.device + " " + p.module + " " + p.component + " " + p.name, nil
}

var table = newRouter(routes(), true)

var (
	DesiredPatch = desiredPatch
	DigitalTwin  = digitalTwin
	PlainText    = plainText
	HeaderText   = headerText
	ReadIdentity = readIdentity
	ReadBatch    = readBatch
)

// Operation is one of a digital twin's patch.
type Operation = operation

// RouteRoles is a row of the table with the roles of workloads it is open to.
type RouteRoles struct {
	Route
	Roles []resource.DataRole
}

// RolesOfRoutes returns them.
func RolesOfRoutes() []RouteRoles {
	var out []RouteRoles
	for i, r := range routes() {
		out = append(out, RouteRoles{Routes()[i], r.roles()})
	}
	return out
}
