package httpdoor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/resource"
)

// apiVersions are those a hub answers to; anything else is a client from another world.
var apiVersions = []string{"2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13", "2020-05-31-preview", "2020-09-30", "2021-04-12", "2024-03-31"}

const jsonType = "application/json; charset=utf-8"

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	params
	w        http.ResponseWriter
	rc       *http.ResponseController
	door     *Door
	hub      *hub.Hub
	limited  bool         // the peer is nobody there before it has shown the token of a workload the hub trusts
	conn     *front.Conn  // nil on the local socket
	tracked  *tracked     // nil on the local socket
	self     hub.Identity // who asks, when a device does
	expires  time.Time    // of the token; zero on the local socket
	right    hub.Right    // that the route needs
	policy   string       // whose token it is; empty on the local socket, for devices and for workloads
	workload *hub.WorkloadClaim
	roles    []resource.DataRole // of which the workload must have one
	patience time.Duration       // how long a device was waited for, for the words of an error
}

func (d *Door) handler(local bool) http.Handler {
	table := newRouter(routes(), local)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{Request: r, w: w, door: d}
		if x.tracked, _ = r.Context().Value(connKey{}).(*tracked); x.tracked != nil {
			x.conn = x.tracked.Conn
		}
		x.rc = http.NewResponseController(w)
		_ = x.rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // the next request sets its own
		_ = x.rc.SetWriteDeadline(time.Time{})                // of the request before
		if err := x.serve(table); err != nil {
			x.fail(err)
		}
	})
}

func (x *exchange) local() bool { return x.conn == nil }

func (x *exchange) serve(table router) error {
	found, parts, rerr := table.find(x.Request)
	var err error
	if x.local() {
		sort := resource.TypeIoTHub
		if found == nil {
			sort = sortOf(x.URL.Path)
		}
		x.hub, err = x.chosen(sort)
	} else {
		x.hub, x.limited, err = x.enter()
	}
	switch {
	case err != nil && x.refusedByStorage(err):
		return nil
	case err != nil && (found == nil || !found.local):
		return err
	case err == nil && (x.hub.Type() != resource.TypeIoTHub || isWebSocket(x.Request)) && (found == nil || !found.both):
		return x.elsewhere()
	case x.limited: // a hub's own API
		return x.hub.NotTrusted("httpdoor.serve", "")
	case err == nil && x.isBlob():
		x.serveBlob()
		return nil
	case rerr != nil:
		return rerr
	case !found.own && !slices.Contains(apiVersions, x.URL.Query().Get("api-version")):
		return code.With(fault.Newf("httpdoor.serve", fault.Invalid, "api-version %.40q is not known here", x.URL.Query().Get("api-version")).
			Advise("use one of %s", strings.Join(apiVersions, ", ")), code.InvalidProtocolVersion)
	}
	x.params = parts
	if err := x.admit(found); err != nil {
		return err
	}
	return found.serve(x)
}

// elsewhere hands the request to the handler of another room.
func (x *exchange) elsewhere() error {
	if isWebSocket(x.Request) {
		return x.takeWebSocket()
	}
	h, what := x.door.cfg.Provisioning, "provisioning"
	if x.hub.Namespace() {
		h, what = x.door.cfg.Namespaces, "event hubs"
	}
	if x.hub.Storage() {
		h, what = x.door.cfg.Storage, "blobs"
	}
	if h == nil {
		return code.With(fault.Newf("httpdoor.serve", fault.NotFound, "%s serves no %s here", x.hub.HostName(), what), code.NotFound)
	}
	h.ServeHTTP(x.w, x.WithContext(withArrival(x.Context(), Arrival{x.conn, x.hub, x.limited, nil})))
	return nil
}

// refusedByStorage has a blob service tell a peer in its own words that he may not speak to it; false when he asked for none.
func (x *exchange) refusedByStorage(why error) bool {
	h, ok := x.door.server.ByHost(x.Host)
	if x.local() || !ok || !h.Storage() || x.door.cfg.Storage == nil {
		return false
	}
	x.door.cfg.Storage.ServeHTTP(x.w, x.WithContext(withArrival(x.Context(), Arrival{Conn: x.conn, Hub: h, Refused: why})))
	return true
}

// enter returns the hub that is meant, if the peer may speak to it from its side. Only doors at which trusted workloads may come in are open to
// whom is limited.
func (x *exchange) enter() (h *hub.Hub, limited bool, err error) {
	return x.door.server.EnterTrusted(x.conn.Side, x.Host)
}

// sortOf tells of which sort of service a path's API is, on the local socket where no name says so.
func sortOf(path string) resource.ServiceType {
	path = strings.ToLower(strings.Trim(path, "/"))
	first, rest, _ := strings.Cut(path, "/")
	if first == "isthmus" {
		_, noun, _ := strings.Cut(rest, "/")
		first, _, _ = strings.Cut(noun, "/")
		if first == "eventhubs" || first == "namespace" {
			return resource.TypeEventHubs
		}
		if first == "storage" {
			return resource.TypeBlob
		}
	}
	if slices.Contains([]string{"enrollments", "enrollmentgroups", "registrations", "provisioning", "linkedhubs", "certificates"}, first) {
		return resource.TypeDPS
	}
	return resource.TypeIoTHub
}

// chosen finds the hub on the local socket, where a host name is a formality: by ?hub= or Host, or the only one there is of its sort.
func (x *exchange) chosen(sort resource.ServiceType) (*hub.Hub, error) {
	all := slices.DeleteFunc(x.door.server.Hubs(), func(h *hub.Hub) bool { return h.Type() != sort })
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
		return nil, fault.New("httpdoor.chosen", fault.NotFound, "no hub is served here yet").Advise("wait for the plan to arrive, or check that a service has servedBy set to this process")
	}
	return nil, fault.Newf("httpdoor.chosen", fault.NotFound, "no hub %.100q is served here", name).Advise("name one with --hub: %s", strings.Join(names, ", "))
}

// reply writes a value as JSON. Without this content type the Node SDK hands its caller an empty string.
func (x *exchange) reply(v any) error { return x.replyWith(http.StatusOK, v) }

func (x *exchange) replyWith(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("httpdoor.reply", fault.Internal, err, "")
	}
	return x.replyText(status, b)
}

func (x *exchange) replyText(status int, b []byte) error {
	_ = x.rc.SetWriteDeadline(time.Now().Add(bodyTimeout)) // whoever takes nothing of it is gone
	x.w.Header().Set("Content-Type", jsonType)
	x.w.WriteHeader(status)
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
	// It is all there, and what follows may take longer: what is read from now on is only whether the client is still there.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return b, fault.Wrap("httpdoor.body", fault.Invalid, err, "the request's body did not come whole")
}

func (x *exchange) decode(limit int64, v any) error {
	b, err := x.body(limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return notJSON(err)
	}
	return nil
}

func notJSON(err error) error {
	return code.With(fault.Newf("httpdoor.decode", fault.Invalid, "the request's body is not the JSON that belongs here: %v", err), code.FormatError)
}

// ifMatch reads an etag with or without its quotes; SDKs disagree.
func (x *exchange) ifMatch() string { return strings.Trim(x.Header.Get("If-Match"), `"`) }

// setETag says the etag in its header, in quotes.
func (x *exchange) setETag(etag string) { x.w.Header().Set("ETag", `"`+etag+`"`) }
