package httpdoor

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
)

// Config says what is known of a peer beside its request.
type Config struct {
	// Service says which service a request is meant for, by its host and the side the peer came from, and refuses a peer that may not
	// speak to it. It is asked for the service API, and everywhere on a local socket.
	Service func(*http.Request) (*provisioning.Service, error)
	// Admit refuses a device that may not speak to the service of the id scope it named. nil lets everybody.
	Admit func(*http.Request, *provisioning.Service) error
	// Certificates are those the peer showed in TLS and proved to hold, leaf first. nil takes them from the request.
	Certificates func(*http.Request) []*x509.Certificate
	// Refused is told who was turned away, for the log. May be nil.
	Refused func(r *http.Request, who string, err error)
	// Local lets everybody do everything: the handler of a local socket.
	Local bool
}

// Door is a handler.
type Door struct {
	cfg    Config
	server *provisioning.Server
	log    *slog.Logger
	clock  clock.Clock
	routes []route
}

// New returns a door to the server's services.
func New(cfg Config, server *provisioning.Server, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.Certificates == nil {
		cfg.Certificates = func(r *http.Request) []*x509.Certificate {
			if r.TLS == nil {
				return nil
			}
			return r.TLS.PeerCertificates
		}
	}
	return &Door{cfg, server, log, clk, routes()}
}

// Named returns what Config.Service is on a local socket, where a host name is a formality: the service named by ?hub=, or the only one.
func Named(server *provisioning.Server) func(*http.Request) (*provisioning.Service, error) {
	return func(r *http.Request) (*provisioning.Service, error) {
		op := "httpdoor.Named"
		all := server.Services()
		name := r.URL.Query().Get("hub")
		switch svc, ok := server.ByName(name); {
		case ok:
			return svc, nil
		case name == "" && len(all) == 1:
			return all[0], nil
		case len(all) == 0:
			return nil, fault.New(op, fault.NotFound, "no provisioning service is served here").
				Advise("make a service of type dps that has servedBy set to this process")
		}
		names := make([]string, len(all))
		for i, svc := range all {
			names[i] = svc.Name()
		}
		return nil, fault.Newf(op, fault.NotFound, "no provisioning service %.140q is served here", name).Advise("name one: %s", strings.Join(names, ", "))
	}
}

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	w       http.ResponseWriter
	door    *Door
	service *provisioning.Service
	args    []string // what stands for {} in the path, in order
}

// route is one row of the door's table. Fixed segments are compared without regard to case: the Node SDK writes enrollmentgroups.
type route struct {
	method, path string
	device       bool // a device's proof is checked by the handler
	own          bool // Isthmus's own: needs no api-version
	local        bool // only on the local socket
	right        provisioning.Right
	serve        func(*exchange) error
}

func routes() []route {
	const (
		config    = provisioning.ServiceConfig
		read      = provisioning.EnrollmentRead
		write     = provisioning.EnrollmentWrite
		seeStates = provisioning.RegistrationStatusRead
		endStates = provisioning.RegistrationStatusWrite
	)
	list := []route{
		{method: "POST", path: "enrollments", right: write, serve: bulk},
		{method: "POST", path: "registrations/{}/query", right: seeStates, serve: queryStates},
		{method: "GET", path: "registrations/{}", right: seeStates, serve: getState},
		{method: "DELETE", path: "registrations/{}", right: endStates, serve: deleteState},

		{method: "GET", path: "isthmus/v1/provisioning", own: true, right: config, serve: describe},
		{method: "PUT", path: "isthmus/v1/linkedhubs/{}", own: true, right: config, serve: linkHub},
		{method: "DELETE", path: "isthmus/v1/linkedhubs/{}", own: true, right: config, serve: unlinkHub},
		{method: "GET", path: "isthmus/v1/certificates", own: true, right: config, serve: listAuthorities},
		{method: "PUT", path: "isthmus/v1/certificates/{}", own: true, right: config, serve: putAuthority},
		{method: "DELETE", path: "isthmus/v1/certificates/{}", own: true, right: config, serve: deleteAuthority},
		{method: "POST", path: "isthmus/v1/certificates/{}/verificationcode", own: true, right: config, serve: verificationCode},
		{method: "POST", path: "isthmus/v1/certificates/{}/verify", own: true, right: config, serve: verifyAuthority},
		{method: "POST", path: "isthmus/v1/policies/{}/keys", own: true, right: config, serve: renewPolicyKey},
		{method: "GET", path: "isthmus/v1/policies/{}", own: true, local: true, serve: getPolicy},
	}
	for _, group := range []bool{false, true} {
		path := "enrollments"
		if group {
			path = "enrollmentGroups"
		}
		kind := enrollments(group)
		list = append(list,
			route{method: "POST", path: path + "/query", right: read, serve: kind.query},
			route{method: "GET", path: path + "/{}", right: read, serve: kind.get},
			route{method: "PUT", path: path + "/{}", right: write, serve: kind.put},
			route{method: "DELETE", path: path + "/{}", right: write, serve: kind.delete},
			route{method: "POST", path: path + "/{}/attestationmechanism", right: write, serve: kind.mechanism})
	}
	// Last, because an enrollment may be called registrations.
	return append(list,
		route{method: "PUT", path: "{}/registrations/{}/register", device: true, serve: register},
		route{method: "GET", path: "{}/registrations/{}/operations/{}", device: true, serve: operation},
		route{method: "POST", path: "{}/registrations/{}", device: true, serve: deviceState})
}

// ServeHTTP answers a request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Request: r, w: w, door: d}
	err := x.serve()
	if err == nil {
		return
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired, fault.Exhausted: // of which there may be any number
		if c, isChallenge := errors.AsType[*challenge](err); isChallenge {
			c.write(x)
			return
		}
		if d.cfg.Refused != nil {
			d.cfg.Refused(r, r.Method+" "+r.URL.Path, err)
		}
	case fault.Internal, fault.Unavailable, fault.Timeout:
		if r.Context().Err() == nil { // whoever asked is there
			d.log.Error("provisioning: request failed", "door", "https", "method", r.Method, "path", r.URL.Path, "err", err)
		}
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge: // the caller's own matter
	}
	x.fail(err)
}

func (x *exchange) serve() error {
	op := "httpdoor.serve"
	found, err := x.find()
	if err != nil {
		return err
	}
	if !found.own {
		if err := knownVersion(x.URL.Query().Get("api-version")); err != nil {
			return err
		}
	}
	cfg := &x.door.cfg
	switch {
	case found.device && !cfg.Local:
		svc, ok := x.door.server.ByScope(x.args[0])
		if !ok { // as for a device nobody knows
			return fault.New(op, fault.Unauthenticated, "the device is not enrolled here, or did not prove who it is").
				Advise("compare id scope, registration id and key or certificate with the enrollment").Because(errors.New("no service has this id scope"))
		}
		if cfg.Admit != nil {
			if err := cfg.Admit(x.Request, svc); err != nil {
				return err
			}
		}
		x.service = svc
	case found.device:
		return fault.New(op, fault.Denied, "devices register over HTTPS and MQTT, not here")
	default:
		if x.service, err = cfg.Service(x.Request); err != nil {
			return err
		}
		if !cfg.Local {
			if _, err := x.service.Authorize(x.Header.Get("Authorization"), found.right); err != nil {
				return err
			}
		}
	}
	return found.serve(x)
}

// knownVersion refuses clients from another world; the versions of both APIs are dates.
func knownVersion(v string) error {
	if len(v) >= 10 && v[4] == '-' && v[7] == '-' && v >= "2017" && v < "2100" {
		return nil
	}
	return fault.Newf("httpdoor.serve", fault.Invalid, "api-version %.40q is not known here", v).Advise("use 2021-10-01 for services, 2019-03-31 for devices")
}

// unknown is a path or a method that the door does not have.
type unknown struct {
	error
	status int
}

func (u *unknown) Unwrap() error { return u.error }

func (x *exchange) find() (route, error) {
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
	for _, r := range x.door.routes {
		if r.local && !x.door.cfg.Local {
			continue
		}
		if args, ok := match(strings.Split(r.path, "/"), segments); ok {
			known = true
			if r.method == x.Method {
				x.args = args
				return r, nil
			}
		}
	}
	if known {
		return route{}, &unknown{fault.Newf(op, fault.Invalid, "%s is not possible here", x.Method), http.StatusMethodNotAllowed}
	}
	return route{}, &unknown{fault.Newf(op, fault.NotFound, "this provisioning service has no %s %.100q", x.Method, x.URL.Path).
		Advise("docs/azure-divergences.md lists what is not here"), http.StatusNotFound}
}

func match(pattern, segments []string) (args []string, ok bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	for i, p := range pattern {
		if p == "{}" {
			args = append(args, segments[i])
		} else if !strings.EqualFold(p, segments[i]) {
			return nil, false
		}
	}
	return args, true
}

// nextHeader repeats, percent-encoded, what to do next, so that a client of ours can tell it from what happened.
const nextHeader = "isthmus-next"

// fail writes the envelope that Azure's service has for errors.
func (x *exchange) fail(err error) {
	code := provisioning.CodeOf(err)
	status := code.Status()
	if u, ok := errors.AsType[*unknown](err); ok {
		status = u.status
		code = provisioning.Code(status * 1000)
	}
	if next := fault.Next(err); next != "" {
		x.w.Header().Set(nextHeader, url.PathEscape(next))
	}
	if code == provisioning.Throttled {
		x.retryAfter()
	}
	envelope := provisioning.RefusalOf(err, x.door.clock.Now())
	envelope.Code = int(code)
	x.w.Header().Set("x-ms-error-code", strconv.Itoa(int(code)))
	x.write(status, envelope)
}

// challenge is the answer to a device that registers with its TPM and has no token yet.
type challenge struct {
	error
	blob []byte
}

func (c *challenge) Unwrap() error { return c.error }

func (c *challenge) write(x *exchange) {
	x.write(http.StatusUnauthorized, map[string]string{
		"message": "Unauthorized", "keyName": "registration", "authenticationKey": base64.StdEncoding.EncodeToString(c.blob),
	})
}

// write writes a value as JSON. Without this content type the Node SDK hands its caller an empty string.
func (x *exchange) write(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // raw JSON was checked when it came in
		x.door.log.Error("provisioning: an answer cannot be written", "err", err)
		status, b = http.StatusInternalServerError, []byte(`{"errorCode":500001}`)
	}
	x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b) // a client that went needs no answer
}

func (x *exchange) retryAfter() {
	seconds := 3
	if x.service != nil {
		seconds = max(int(x.service.RetryAfter().Seconds()), 1)
	}
	x.w.Header().Set("Retry-After", strconv.Itoa(seconds))
}

// body reads the request's body.
func (x *exchange) body(limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(x.w, x.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
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
		return fault.Newf("httpdoor.decode", fault.Invalid, "the request's body is not the JSON that belongs here: %v", err)
	}
	return nil
}

// ifMatch reads an etag with or without its quotes; SDKs disagree.
func (x *exchange) ifMatch() string { return strings.Trim(x.Header.Get("If-Match"), `"`) }
