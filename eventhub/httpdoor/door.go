package httpdoor

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// Config says what is known of a peer beside its request.
type Config struct {
	// Namespace says which namespace a request is meant for, by its host and the side the peer came from, and refuses a peer that may not
	// speak to it. It is asked again while a peer follows events.
	Namespace func(*http.Request) (*eventhub.Namespace, error)
	// Authorize checks what a request shows, where that is not for the namespace alone to say. nil is eventhub.Namespace.Authorize.
	Authorize func(r *http.Request, n *eventhub.Namespace, path string, need eventhub.Right) (eventhub.Claim, error)
	// Plain reads an event that was not stored as body and properties (eventlog.Event.Format above 0). nil, or an error, and readers are
	// given it as it is stored.
	Plain func(eventlog.Event) (eventlog.Event, error)
	// Refused is told who was turned away, for the log. May be nil.
	Refused func(r *http.Request, who string, err error)
	// Local lets everybody do everything: the handler of a local socket.
	Local bool
}

// Door is a handler.
type Door struct {
	cfg    Config
	log    *slog.Logger
	clock  clock.Clock
	routes []route
}

// New returns a door.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Door {
	return &Door{cfg, log, clk, routes()}
}

// Named returns what Config.Namespace is on a local socket, where a host name is a formality: the namespace named by ?hub=, or the only
// one.
func Named(server *eventhub.Server) func(*http.Request) (*eventhub.Namespace, error) {
	return func(r *http.Request) (*eventhub.Namespace, error) {
		op := "httpdoor.Named"
		all := server.Namespaces()
		name := r.URL.Query().Get("hub")
		switch n, ok := server.ByName(name); {
		case ok:
			return n, nil
		case name == "" && len(all) == 1:
			return all[0], nil
		case len(all) == 0:
			return nil, fault.New(op, fault.NotFound, "no namespace of event hubs is served here").
				Advise("make a service of type eventhubs that has servedBy set to this process")
		}
		names := make([]string, len(all))
		for i, n := range all {
			names[i] = n.Name()
		}
		return nil, fault.Newf(op, fault.NotFound, "no namespace %.140q is served here", name).Advise("name one: %s", strings.Join(names, ", "))
	}
}

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	w         http.ResponseWriter
	door      *Door
	route     route
	namespace *eventhub.Namespace
	claim     eventhub.Claim // empty on a local socket
	args      []string       // what stands for {} in the path, in order
}

// eventHub is the event hub of the path; empty when the path is about the namespace itself.
func (x *exchange) eventHub() string {
	if !x.route.entity {
		return ""
	}
	return x.args[0]
}

// who is who asks, for the log.
func (x *exchange) who() string {
	if x.door.cfg.Local {
		return "the local socket"
	}
	return x.claim.Who
}

// ServeHTTP answers a request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Request: r, w: w, door: d}
	err := x.serve()
	if err == nil {
		return
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired: // of which there may be any number
		if d.cfg.Refused != nil {
			d.cfg.Refused(r, r.Method+" "+r.URL.Path, err)
		}
	case fault.Internal, fault.Unavailable, fault.Timeout:
		if r.Context().Err() == nil { // whoever asked is there
			d.log.Error("eventhub: request failed", "door", "https", "method", r.Method, "path", r.URL.Path, "err", err)
		}
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge, fault.Exhausted: // the caller's own matter
	}
	x.fail(err)
}

func (x *exchange) serve() error {
	if err := x.find(); err != nil {
		return err
	}
	if err := x.admit(); err != nil {
		return err
	}
	return x.route.serve(x)
}

// admit finds the namespace and checks the caller's proof. A request that takes long asks it again.
func (x *exchange) admit() (err error) {
	cfg := &x.door.cfg
	if x.namespace, err = cfg.Namespace(x.Request); err != nil || cfg.Local {
		return err
	}
	if cfg.Authorize != nil {
		x.claim, err = cfg.Authorize(x.Request, x.namespace, x.eventHub(), x.route.right)
	} else {
		x.claim, err = x.namespace.Authorize(x.Context(), x.Header.Get("Authorization"), x.eventHub(), x.route.right)
	}
	if err == nil && x.route.keys && x.claim.Workload != "" {
		err = fault.New("httpdoor.admit", fault.Denied, "no role gives a workload the right to see or change policies").
			Advise("do it with a policy's key that has Manage, or on the machine that serves the namespace")
	}
	return err
}

// unknown is a path or a method that the door does not have.
type unknown struct {
	error
	status int
}

func (u *unknown) Unwrap() error { return u.error }

func (x *exchange) find() error {
	op := "httpdoor.find"
	var segments []string
	for s := range strings.SplitSeq(strings.Trim(x.URL.EscapedPath(), "/"), "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return fault.New(op, fault.Invalid, "the path is not percent-encoded")
		}
		segments = append(segments, plain)
	}
	known := false
	for _, r := range x.door.routes {
		if r.local && !x.door.cfg.Local {
			continue
		}
		if args, ok := match(strings.Split(r.path, "/"), segments); ok {
			known = true
			if r.method == x.Method {
				x.route, x.args = r, args
				return nil
			}
		}
	}
	if known {
		return &unknown{fault.Newf(op, fault.Invalid, "%s is not possible here", x.Method), http.StatusMethodNotAllowed}
	}
	return &unknown{fault.Newf(op, fault.NotFound, "a namespace has no %s %.100q", x.Method, x.URL.Path).
		Advise("docs/event-hubs-api.md lists what there is"), http.StatusNotFound}
}

func match(pattern, segments []string) (args []string, ok bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	for i, p := range pattern {
		if strings.HasPrefix(p, "{") {
			if p == eventHubArg && strings.HasPrefix(segments[i], "$") {
				return nil, false
			}
			args = append(args, segments[i])
		} else if !strings.EqualFold(p, segments[i]) {
			return nil, false
		}
	}
	return args, true
}

// statusOf is the table from kinds of fault to statuses.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated, fault.Denied, fault.Expired: // Azure's service has one for all that is wrong with a token
		return http.StatusUnauthorized
	case fault.Exhausted:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Timeout:
		return http.StatusGatewayTimeout
	case fault.Internal:
	}
	return http.StatusInternalServerError
}

// nextHeader repeats, percent-encoded, what to do next, so that a client of ours can tell it from what happened.
const nextHeader = "isthmus-next"

func (x *exchange) fail(err error) {
	kind := fault.KindOf(err)
	status := statusOf(kind)
	if u, ok := errors.AsType[*unknown](err); ok {
		status = u.status
	}
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text = strings.TrimSuffix(text, ".") + ". " + next
		x.w.Header().Set(nextHeader, url.PathEscape(next))
	}
	x.write(status, map[string]string{"error": kind.String(), "message": text})
}

// write writes a value as JSON.
func (x *exchange) write(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // structs of ours can be written
		x.door.log.Error("eventhub: an answer cannot be written", "err", err)
		status, b = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b) // a client that went needs no answer
}

// body reads the request's body.
func (x *exchange) body(limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(x.w, x.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fault.Newf("httpdoor.body", fault.TooLarge, "the request's body is larger than %d bytes", limit)
	}
	return b, fault.Wrap("httpdoor.body", fault.Invalid, err, "the request's body did not come whole")
}

const maxBody = 8 << 10

// decode reads a small body; none is as {}. Fields nobody knows are refused, since a misspelt one would be forgotten silently.
func (x *exchange) decode(v any) error {
	b, err := x.body(maxBody)
	if err != nil || len(b) == 0 {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fault.Newf("httpdoor.decode", fault.Invalid, "the request's body is not the JSON that belongs here: %v", err)
	}
	return nil
}

// tag reads an etag with or without its quotes.
func (x *exchange) tag(header string) string { return strings.Trim(x.Header.Get(header), `"`) }
