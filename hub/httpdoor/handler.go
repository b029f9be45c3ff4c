package httpdoor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
)

// apiVersions are those a hub answers to; anything else is a client from another world.
var apiVersions = []string{"2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13", "2020-05-31-preview", "2020-09-30", "2021-04-12", "2024-03-31"}

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	w       http.ResponseWriter
	door    *Door
	hub     *hub.Hub
	conn    *front.Conn // nil on the local socket
	id      string      // {d} in the path
	expires time.Time   // of the token; zero on the local socket
	right   hub.Right   // that the route needs
	policy  string      // whose token it is; empty on the local socket and for devices
}

// route is one row of the door's table. Fixed segments are compared without regard to case, as some SDKs write them in lower case.
type route struct {
	method, path string // "{}" stands for one segment, which becomes exchange.id
	right        hub.Right
	device       bool // a device's own token is checked by the handler
	local        bool // only on the local socket
	own          bool // Isthmus's own: needs no api-version
	serve        func(*exchange) error
}

func routes() []route {
	return []route{
		{method: "GET", path: "devices", right: hub.RegistryRead, serve: listDevices},
		{method: "POST", path: "devices", right: hub.RegistryWrite, serve: changeDevices},
		{method: "GET", path: "devices/{}", right: hub.RegistryRead, serve: getDevice},
		{method: "PUT", path: "devices/{}", right: hub.RegistryWrite, serve: putDevice},
		{method: "DELETE", path: "devices/{}", right: hub.RegistryWrite, serve: deleteDevice},
		{method: "POST", path: "devices/{}/messages/events", device: true, serve: takeTelemetry},
		{method: "GET", path: "statistics/devices", right: hub.RegistryRead, serve: countDevices},
		{method: "GET", path: "statistics/service", right: hub.ServiceConnect, serve: countConnected},
		{method: "GET", path: "isthmus/v1/events", right: hub.ServiceConnect, own: true, serve: streamEvents},
		{method: "POST", path: "isthmus/v1/devices/{}/keys", right: hub.RegistryWrite, own: true, serve: renewDeviceKey},
		{method: "GET", path: "isthmus/v1/policies", right: hub.EveryRight, own: true, serve: listPolicies},
		{method: "POST", path: "isthmus/v1/policies/{}/keys", right: hub.EveryRight, own: true, serve: renewPolicyKey},
		{method: "GET", path: "isthmus/v1/hubs", local: true, own: true, serve: listHubs},
		{method: "GET", path: "isthmus/v1/policies/{}", local: true, own: true, serve: getPolicy},
	}
}

func (d *Door) handler(local bool) http.Handler {
	table := routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{Request: r, w: w, door: d}
		x.conn, _ = r.Context().Value(connKey{}).(*front.Conn)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // the next request sets its own
		err := x.serve(table, local)
		if err == nil {
			return
		}
		switch fault.KindOf(err) {
		case fault.Unauthenticated, fault.Denied, fault.Expired:
			if _, told := errors.AsType[*refused](err); x.conn != nil && !told {
				x.conn.Refuse(r.Method+" "+r.URL.Path, err)
			}
		case fault.Internal, fault.Exhausted, fault.Unavailable, fault.Timeout:
			d.log.Error("hub: request failed", "door", "https", "method", r.Method, "path", r.URL.Path, "err", err)
		case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge: // the caller's own matter
		}
		d.writeError(w, err)
	})
}

func (x *exchange) serve(table []route, local bool) error {
	op := "httpdoor.serve"
	var err error
	if local {
		x.hub, err = x.named()
	} else {
		x.hub, err = x.door.server.Enter(x.conn.Side, x.Host)
	}
	found, rerr := x.find(table, local)
	switch {
	case err != nil && (!local || !found.local):
		return err
	case rerr != nil:
		return rerr
	case !found.own && !slices.Contains(apiVersions, x.URL.Query().Get("api-version")):
		return &named{fault.Newf(op, fault.Invalid, "api-version %.40q is not known here", x.URL.Query().Get("api-version")).
			Advise("use one of %s", strings.Join(apiVersions, ", ")), 400, "InvalidProtocolVersion"}
	case !local && !found.device:
		x.right = found.right
		if x.policy, x.expires, err = x.hub.Authorize(x.Header.Get("Authorization"), found.right); err != nil {
			return err
		}
	}
	return found.serve(x)
}

// named finds the hub on the local socket, where a host name is a formality: by ?hub= or Host, or the only one there is.
func (x *exchange) named() (*hub.Hub, error) {
	all := x.door.server.Hubs()
	name := x.URL.Query().Get("hub")
	if name == "" {
		if h, ok := x.door.server.ByHost(x.Host); ok {
			return h, nil
		}
		if len(all) == 1 {
			return all[0], nil
		}
	} else if h, ok := x.door.server.ByName(name); ok {
		return h, nil
	}
	names := make([]string, len(all))
	for i, h := range all {
		names[i] = h.Name()
	}
	if len(all) == 0 {
		return nil, fault.New("httpdoor.named", fault.NotFound, "no hub is served here yet").Advise("wait for the plan to arrive, or check that a service has servedBy set to this process")
	}
	return nil, fault.Newf("httpdoor.named", fault.NotFound, "no hub %q is served here", name).Advise("name one with --hub: %s", strings.Join(names, ", "))
}

func (x *exchange) find(table []route, local bool) (route, error) {
	op := "httpdoor.find"
	var segments []string
	for s := range strings.SplitSeq(strings.Trim(x.URL.EscapedPath(), "/"), "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return route{}, fault.New(op, fault.Invalid, "the path is not percent-encoded")
		}
		segments = append(segments, plain)
	}
	known := false
	for _, r := range table {
		if r.local && !local {
			continue
		}
		if id, ok := match(strings.Split(r.path, "/"), segments); ok {
			known = true
			if r.method == x.Method {
				x.id = id
				return r, nil
			}
		}
	}
	if known {
		return route{}, &named{fault.Newf(op, fault.Invalid, "%s is not possible here", x.Method), http.StatusMethodNotAllowed, "InvalidOperation"}
	}
	return route{}, &named{fault.Newf(op, fault.NotFound, "this hub has no %s %.100q", x.Method, x.URL.Path).
		Advise("docs/azure-divergences.md lists what is not here yet"), http.StatusNotFound, "NotFound"}
}

func match(pattern, segments []string) (id string, ok bool) {
	if len(pattern) != len(segments) {
		return "", false
	}
	for i, p := range pattern {
		if p == "{}" {
			id = segments[i]
		} else if !strings.EqualFold(p, segments[i]) {
			return "", false
		}
	}
	return id, true
}

// reply writes a value as JSON. Without this content type the Node SDK hands its caller an empty string.
func (x *exchange) reply(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("httpdoor.reply", fault.Internal, err, "")
	}
	x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = x.w.Write(b) // a client that went needs no answer
	return nil
}

func (x *exchange) nothing() error {
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// body reads the request's body.
func (x *exchange) body(limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(x.w, x.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fault.Newf("httpdoor.body", fault.TooLarge, "the request's body is larger than %d bytes", limit)
	}
	return b, fault.Wrap("httpdoor.body", fault.Invalid, err, "the request's body did not come whole")
}

func (x *exchange) decode(limit int64, v any) error {
	b, err := x.body(limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &named{fault.Newf("httpdoor.decode", fault.Invalid, "the request's body is not the JSON that belongs here: %v", err), 400, "IotHubFormatError"}
	}
	return nil
}
