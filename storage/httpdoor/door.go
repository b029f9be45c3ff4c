package httpdoor

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// Arrival is how a request came.
type Arrival struct {
	Account *storage.Account
	Peer    netip.Addr // who asks, as far as that is known
	// Admits refuses what somebody proved where that is not enough from his side: of identities, some, of keys, none. nil: it is enough.
	Admits func(storage.Claim) error
}

// Config says what is known of a peer beside its request.
type Config struct {
	// Arrive says which account a request is meant for, by its host and the side the peer came from. It refuses a peer that may not speak to
	// it: with storage.NetworkRefused in the chain where that is for the way it came.
	Arrive func(*http.Request) (Arrival, error)
	// Refused is told who was turned away, for the log. May be nil.
	Refused func(r *http.Request, who string, err error)
	// Local lets everybody do everything: the handler of a local socket, where the operations are below [LocalPath].
	Local bool
}

// LocalPath is where on a local socket the path of an operation begins.
const LocalPath = "/isthmus/v1/storage/blob"

// Version is the newest version of the protocol that was looked at. Answers are the same in all of them.
const Version = "2025-11-05"

// Door is a handler.
type Door struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock
	turns *intake.Turns
	table []operation
}

// New returns a door.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Door {
	return &Door{cfg, log, clk, intake.NewTurns(intake.MaxBodies, intake.MaxBodiesOfOne, "of this address"), operations()}
}

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	Arrival
	w     http.ResponseWriter
	rc    *http.ResponseController
	door  *Door
	query url.Values
	path  string // as it stands in the request line, without the query
	op    *operation
	claim storage.Claim
	sas   *azureblob.SAS // that it came with

	container, blob string
}

func (x *exchange) ref() storage.Ref { return storage.Ref{Container: x.container, Name: x.blob} }

// ServeHTTP answers a request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Request: r, w: w, rc: http.NewResponseController(w), door: d}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	head := w.Header()
	head.Set("x-ms-request-id", hex.EncodeToString(id))
	head.Set("x-ms-version", version(r))
	if client := r.Header.Get("x-ms-client-request-id"); client != "" && len(client) <= 1024 {
		head.Set("x-ms-client-request-id", client)
	}
	if r.ContentLength == 0 { // then reading only tells whether the client is still there, however long the answer takes
		_ = x.rc.SetReadDeadline(time.Time{})
	}
	err := x.serve()
	if err == nil {
		return
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired: // of which there may be any number
		if d.cfg.Refused != nil {
			d.cfg.Refused(r, r.Method+" "+x.path, err)
		}
	case fault.Internal, fault.Unavailable, fault.Timeout:
		if r.Context().Err() == nil { // whoever asked is there
			d.log.Error("storage: request failed", "method", r.Method, "path", x.path, "request", head.Get("x-ms-request-id"), "err", err)
		}
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge, fault.Exhausted: // the caller's own matter
	}
	x.fail(err)
}

// version is the one the client speaks.
func version(r *http.Request) string {
	v := r.Header.Get("x-ms-version")
	if len(v) != len(Version) || strings.Trim(v, "0123456789-") != "" {
		return Version
	}
	return v
}

func (x *exchange) serve() error {
	x.path, _, _ = strings.Cut(x.RequestURI, "?")
	if !strings.HasPrefix(x.path, "/") {
		x.path = x.URL.EscapedPath()
	}
	var err error
	if x.Arrival, err = x.door.cfg.Arrive(x.Request); err != nil {
		return err
	}
	if x.query, err = azureblob.ParseQuery(x.URL.RawQuery); err != nil {
		return err
	}
	if own, err := x.serveLocal(); own {
		return err
	}
	if err := x.split(); err != nil {
		return err
	}
	if err := x.find(); err != nil {
		return err
	}
	if err := x.admit(); err != nil {
		return err
	}
	if x.Body != nil {
		x.Body = &watched{Reader: x.Body, Closer: x.Body, x: x}
	}
	if err := x.refuseUnknown(); err != nil {
		return err
	}
	return x.op.serve(x)
}

// split finds container and blob in the path.
func (x *exchange) split() error {
	op := "httpdoor.split"
	path := strings.TrimPrefix(x.path, "/")
	switch {
	case x.door.cfg.Local:
		path = strings.TrimPrefix(strings.TrimPrefix(x.path, LocalPath), "/")
	case storage.PathStyle(x.Host):
		account, rest, _ := strings.Cut(path, "/")
		if account != x.Account.AccountName() {
			return coded(fault.Newf(op, fault.NotFound, "at an address the account comes first in the path, and this one is %s", x.Account.AccountName()).
				Advise("use the connection string as it was given"), http.StatusNotFound, "ResourceNotFound")
		}
		path = rest
	}
	container, blob, _ := strings.Cut(path, "/")
	var err, berr error
	x.container, err = url.PathUnescape(container)
	x.blob, berr = url.PathUnescape(blob)
	if err != nil || berr != nil {
		return coded(fault.New(op, fault.Invalid, "the path is not percent-encoded"), http.StatusBadRequest, "InvalidUri")
	}
	return nil
}

// refusedHeaders are those whose sender must not believe that something happened.
var refusedHeaders = []string{
	"x-ms-encryption-key", "x-ms-encryption-scope", "x-ms-tags", "x-ms-if-tags", "x-ms-source-if-tags", "x-ms-immutability-policy-until-date", "x-ms-legal-hold",
	"x-ms-structured-body", "x-ms-access-tier", "x-ms-source-encryption-key",
}

func (x *exchange) refuseUnknown() error {
	op := "httpdoor.refuseUnknown"
	for _, name := range refusedHeaders {
		if x.Header.Get(name) != "" {
			return coded(fault.Newf(op, fault.Invalid, "the header %s is not known here", name).Advise("leave it out"), http.StatusBadRequest, "UnsupportedHeader")
		}
	}
	for _, name := range []string{"snapshot", "versionid"} {
		if x.query.Get(name) != "" {
			return coded(fault.Newf(op, fault.Invalid, "the parameter %s is not known here: a blob has no older versions", name), http.StatusBadRequest, "UnsupportedQueryParameter")
		}
	}
	return nil
}

// turn waits until this request's body may come.
func (x *exchange) turn() (release func(), err error) {
	wait, stop := x.door.clock.After(intake.Patience)
	defer stop()
	return x.door.turns.Take(x.Context(), x.Account.ID()+" "+x.Peer.String(), wait)
}
