package httpdoor

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

func coded(err error, status int, code string) error { return azureblob.With(err, status, code) }

// kinds is the table from kinds of fault.
var kinds = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:        {500, "InternalError"},
	fault.Invalid:         {400, "InvalidInput"},
	fault.NotFound:        {404, "ResourceNotFound"},
	fault.Conflict:        {409, "OperationNotAllowedOnResource"},
	fault.Precondition:    {412, "ConditionNotMet"},
	fault.Unauthenticated: {403, "AuthenticationFailed"},
	fault.Denied:          {403, "AuthorizationFailure"},
	fault.Expired:         {403, "AuthenticationFailed"},
	fault.Exhausted:       {503, "ServerBusy"}, // SDKs repeat it
	fault.TooLarge:        {413, "RequestBodyTooLarge"},
	fault.Unavailable:     {503, "ServerBusy"},
	fault.Timeout:         {500, "OperationTimedOut"},
}

// statuses of reasons whose status is not that of their kind. Their code is the reason itself.
var statuses = map[storage.Reason]int{
	storage.NoIdentity: http.StatusUnauthorized, storage.NotModified: http.StatusNotModified, storage.InvalidMetadata: http.StatusBadRequest,
	"MetadataTooLarge": http.StatusBadRequest,
}

func answerTo(err error) (status int, code string) {
	a := kinds[fault.KindOf(err)]
	if status, code, ok := azureblob.CodeOf(err); ok {
		return status, code
	}
	if r, ok := errors.AsType[storage.Reason](err); ok {
		a.code = string(r)
		if s, ok := statuses[r]; ok {
			a.status = s
		}
		if r == storage.NotModified {
			a.code = string(storage.ConditionNotMet)
		}
	}
	return a.status, a.code
}

// NextHeader repeats, percent-encoded, what to do next, so that a program can tell it from what happened.
const NextHeader = "isthmus-next"

// fail writes an error.
func (x *exchange) fail(err error) {
	status, code := answerTo(err)
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text = strings.TrimSuffix(text, ".") + ". " + next
		x.w.Header().Set(NextHeader, url.PathEscape(next))
	}
	head := x.w.Header()
	text += "\nRequestId:" + head.Get("x-ms-request-id") + "\nTime:" + x.door.clock.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
	intake.Drain(x.Request, x.rc)
	for _, name := range []string{"ETag", "Last-Modified", "Content-MD5", "Content-Encoding", "Content-Length", "Content-Range"} {
		head.Del(name)
	}
	head.Set("x-ms-error-code", code)
	if status == http.StatusUnauthorized {
		head.Set("WWW-Authenticate", `Bearer authorization_uri=https://`+x.Host+`/ resource_id=https://storage.azure.com`)
	}
	if status == http.StatusNotModified || x.Method == http.MethodHead {
		x.w.WriteHeader(status)
		return
	}
	head.Set("Content-Type", "application/xml")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(azureblob.RenderError(code, text)) // a client that went needs no answer
}
