package httpdoor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/isthmus-io/isthmus/fault"
)

// answer is how a kind of fault looks in IoT Hub's REST API.
type answer struct {
	status int
	code   int
	name   string
}

// answers is the one table from fault.Kind.
var answers = map[fault.Kind]answer{
	fault.Internal:        {500, 500001, "ServerError"},
	fault.Invalid:         {400, 400004, "ArgumentInvalid"},
	fault.NotFound:        {404, 404001, "DeviceNotFound"},
	fault.Conflict:        {409, 409001, "DeviceAlreadyExists"},
	fault.Precondition:    {412, 412001, "PreconditionFailed"},
	fault.Unauthenticated: {401, 401003, "IotHubUnauthorized"},
	fault.Denied:          {401, 401002, "IotHubUnauthorizedAccess"},
	fault.Expired:         {401, 401003, "IotHubUnauthorized"},
	fault.Exhausted:       {503, 503001, "ServiceUnavailable"}, // a full disk is ours, not the caller's quota
	fault.TooLarge:        {413, 413001, "MessageTooLarge"},
	fault.Unavailable:     {503, 503001, "ServiceUnavailable"},
	fault.Timeout:         {503, 503001, "ServiceUnavailable"},
}

// named is a fault for which IoT Hub has a more exact name than for its kind.
type named struct {
	error
	status int
	name   string
}

func (n *named) Unwrap() error { return n.error }

// refused is a fault that people have been told of already.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// nextHeader repeats, percent-encoded, what to do next, so that a client of ours can tell it from what happened.
const nextHeader = "isthmus-next"

// writeError writes the envelope that registry clients read: they take the name from the header or from Message, up to the semicolon.
func (d *Door) writeError(w http.ResponseWriter, err error) {
	a := answers[fault.KindOf(err)]
	if n, ok := errors.AsType[*named](err); ok {
		a.status, a.name = n.status, n.name
	}
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
		w.Header().Set(nextHeader, url.PathEscape(next))
	}
	tracking := make([]byte, 16)
	_, _ = rand.Read(tracking) // never fails
	b, _ := json.Marshal(map[string]string{
		"Message": "ErrorCode:" + a.name + ";" + text,
		"ExceptionMessage": "Tracking ID:" + hex.EncodeToString(tracking) + "-G:0-TimeStamp:" +
			d.clock.Now().UTC().Format("01/02/2006 15:04:05"),
	})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("iothub-errorcode", a.name)
	w.WriteHeader(a.status)
	_, _ = w.Write(b) // a client that went needs no answer
}
