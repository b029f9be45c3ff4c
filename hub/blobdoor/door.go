package blobdoor

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"crypto/rand"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// Door serves blobs.
type Door struct {
	files *file.Service
	blobs *blob.Store
	clock clock.Clock
	turns *intake.Turns
}

// New returns a door to the files of all hubs.
func New(files *file.Service, clk clock.Clock) *Door {
	return &Door{files: files, blobs: files.Blobs(), clock: clk, turns: intake.NewTurns(intake.MaxBodies, intake.MaxBodiesOfOne, "of this device")}
}

// Owns tells whether a path, still encoded, is below the container of files.
func Owns(escapedPath string) bool {
	first, _, more := strings.Cut(strings.TrimPrefix(escapedPath, "/"), "/")
	return more && strings.EqualFold(first, file.Container)
}

// exchange is one request with what is known about it.
type exchange struct {
	*http.Request
	file.Access
	w     http.ResponseWriter
	rc    *http.ResponseController
	door  *Door
	query url.Values
}

// Serve answers a request for a blob of the hub. Its error has been written to the peer already, and is for the log.
func (d *Door) Serve(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	x := &exchange{Request: r, w: w, rc: http.NewResponseController(w), door: d}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	head := w.Header()
	head.Set("x-ms-request-id", hex.EncodeToString(id))
	head.Set("x-ms-version", version(r))
	if client := r.Header.Get("x-ms-client-request-id"); client != "" && len(client) <= 1024 {
		head.Set("x-ms-client-request-id", client)
	}
	err := x.serve(h)
	if err != nil {
		x.fail(err)
	}
	return err
}

// version is the one the client speaks: the answers here are the same in all of them.
func version(r *http.Request) string {
	v := r.Header.Get("x-ms-version")
	if len(v) != len(azureblob.Version) {
		return azureblob.Version
	}
	return v
}

func (x *exchange) serve(h *hub.Hub) error {
	op := "blobdoor.serve"
	var err error
	if x.query, err = azureblob.ParseQuery(x.URL.RawQuery); err != nil {
		return err
	}
	operation := azureblob.OperationOf(x.Method, x.query)
	if operation == azureblob.Unknown {
		return with(fault.Newf(op, fault.Invalid, "%.20s with comp=%.40q is not possible with a blob here", x.Method, x.query.Get("comp")), http.StatusBadRequest, "UnsupportedQueryParameter")
	}
	if x.Access, err = x.door.files.Admit(x.Context(), h, x.URL.EscapedPath(), x.query, x.Header.Get("Authorization"), operation.Needs()); err != nil {
		return err
	}
	if err := x.refuseUnknown(operation); err != nil {
		return err
	}
	switch operation {
	case azureblob.PutBlob:
		return x.putBlob()
	case azureblob.PutBlock:
		return x.putBlock()
	case azureblob.PutBlockList:
		return x.putBlockList()
	case azureblob.GetBlockList:
		return x.getBlockList()
	case azureblob.GetBlob, azureblob.GetProperties:
		return x.getBlob()
	case azureblob.DeleteBlob:
		return x.deleteBlob()
	case azureblob.Unknown:
	}
	return nil
}

// refuseUnknown refuses what a client must not believe to have happened.
func (x *exchange) refuseUnknown(o azureblob.Operation) error {
	op := "blobdoor.serve"
	for _, name := range []string{"x-ms-encryption-key", "x-ms-encryption-scope", "x-ms-lease-id", "x-ms-copy-source", "x-ms-tags", "x-ms-immutability-policy-until-date", "x-ms-legal-hold"} {
		if x.Header.Get(name) != "" {
			return with(fault.Newf(op, fault.Invalid, "the header %s is not known here", name).Advise("leave it out"), http.StatusBadRequest, "UnsupportedHeader")
		}
	}
	for _, name := range []string{"snapshot", "versionid"} {
		if x.query.Get(name) != "" {
			return with(fault.Newf(op, fault.Invalid, "the parameter %s is not known here: a blob has no older versions", name), http.StatusBadRequest, "UnsupportedQueryParameter")
		}
	}
	if o != azureblob.PutBlob && o != azureblob.PutBlockList && o != azureblob.DeleteBlob {
		return nil
	}
	for _, name := range []string{"If-Match", "If-Modified-Since", "If-Unmodified-Since", "x-ms-if-tags"} {
		if v := x.Header.Get(name); v != "" && !(name == "If-Match" && v == "*" && o == azureblob.DeleteBlob) {
			return with(fault.Newf(op, fault.Invalid, "the condition %s is not known here", name).Advise("leave it out"), http.StatusBadRequest, "UnsupportedHeader")
		}
	}
	if v := x.Header.Get("If-None-Match"); v != "" {
		if v != "*" {
			return with(fault.New(op, fault.Invalid, "of If-None-Match only * is known here"), http.StatusBadRequest, "UnsupportedHeader")
		}
		if _, err := x.door.blobs.Stat(x.Context(), x.Blob); err == nil {
			return with(fault.New(op, fault.Conflict, "the blob exists already"), http.StatusConflict, "BlobAlreadyExists")
		} else if fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return nil
}

func with(err error, status int, code string) error { return azureblob.With(err, status, code) }

// answers is the one table from fault.Kind.
var answers = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:        {500, "InternalError"},
	fault.Invalid:         {400, "InvalidInput"},
	fault.NotFound:        {404, "BlobNotFound"},
	fault.Conflict:        {409, "ResourceTypeMismatch"},
	fault.Precondition:    {412, "ConditionNotMet"},
	fault.Unauthenticated: {403, "AuthenticationFailed"},
	fault.Denied:          {403, "AuthorizationPermissionMismatch"},
	fault.Expired:         {403, "AuthenticationFailed"},
	fault.Exhausted:       {503, "ServerBusy"}, // SDKs repeat it
	fault.TooLarge:        {413, "RequestBodyTooLarge"},
	fault.Unavailable:     {503, "ServerBusy"},
	fault.Timeout:         {500, "OperationTimedOut"},
}

func (x *exchange) fail(err error) {
	a := answers[fault.KindOf(err)]
	if status, code, ok := azureblob.CodeOf(err); ok {
		a.status, a.code = status, code
	}
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	text += "\nRequestId:" + x.w.Header().Get("x-ms-request-id") + "\nTime:" + x.door.clock.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
	body := azureblob.RenderError(a.code, text)
	intake.Drain(x.Request, x.rc)
	head := x.w.Header()
	head.Set("Content-Type", "application/xml")
	head.Set("x-ms-error-code", a.code)
	for _, name := range []string{"ETag", "Last-Modified", "Content-MD5", "Content-Encoding", "Content-Length"} {
		head.Del(name)
	}
	x.w.WriteHeader(a.status)
	if x.Method != http.MethodHead {
		_, _ = x.w.Write(body) // a client that went needs no answer
	}
}

// turn waits for this request's.
func (x *exchange) turn() (release func(), err error) {
	wait, stop := x.door.clock.After(intake.Patience)
	defer stop()
	return x.door.turns.Take(x.Context(), x.Blob.Hub+"/"+x.Device, wait)
}
