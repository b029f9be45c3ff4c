package httpdoor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// refused is a fault that people have been told of already.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// nextHeader repeats, percent-encoded, what to do next, so that a client of ours can tell it from what happened.
const nextHeader = "isthmus-next"

// outerJSON is the envelope that every client reads: they take the name from the header or from Message, up to the semicolon.
type outerJSON struct {
	Message          string
	ExceptionMessage string
}

// innerJSON is what Message holds, as text, when it was the device that could not be asked (IoT Hub: direct methods).
type innerJSON struct {
	ErrorCode    int       `json:"errorCode"`
	TrackingID   string    `json:"trackingId"`
	Message      string    `json:"message"`
	Info         *infoJSON `json:"info,omitempty"`
	TimestampUTC string    `json:"timestampUtc"`
}

type infoJSON struct {
	Timeout string `json:"timeout"` // how long the device was waited for, hh:mm:ss
}

// fail writes an error and tells people of it. Its tracking id is in the answer and in the log.
func (x *exchange) fail(err error) {
	now := x.door.clock.Now().UTC()
	tracking := trackingID(now)
	kind, c := fault.KindOf(err), code.Of(err)
	switch kind {
	case fault.Unauthenticated, fault.Denied, fault.Expired:
		if _, told := errors.AsType[*refused](err); x.conn != nil && !told {
			x.conn.Refuse(x.Method+" "+x.URL.Path, err)
		}
	case fault.Internal, fault.Exhausted, fault.Unavailable, fault.Timeout:
		went := x.Context().Err() != nil // whoever asked: what it was is nobody's concern now
		if c.Status >= http.StatusInternalServerError && c != code.DeviceDidNotAnswer && !went {
			x.door.log.Error("hub: request failed", "door", "https", "method", x.Method, "path", x.URL.Path, "tracking", tracking, "err", err)
		}
	case fault.Invalid, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge: // the caller's own matter
	}
	text, next := fault.Message(err), fault.Next(err)
	h := x.w.Header()
	if next != "" {
		text += ". " + next
		h.Set(nextHeader, url.PathEscape(next))
	}
	body := outerJSON{Message: "ErrorCode:" + c.Name + ";" + text, ExceptionMessage: "Tracking ID:" + tracking}
	if c == code.DeviceNotOnline || c == code.DeviceDidNotAnswer {
		b, _ := json.Marshal(innerJSON{c.Number, tracking, text, &infoJSON{spanText(x.patience)}, now.Format(time.RFC3339)}) // strings and a number cannot fail
		body = outerJSON{Message: string(b)}
	}
	b, _ := json.Marshal(body) // two strings cannot fail
	h.Set("Content-Type", jsonType)
	h.Set("iothub-errorcode", c.Name)
	x.w.WriteHeader(c.Status)
	_, _ = x.w.Write(b) // a client that went needs no answer
}

func trackingID(now time.Time) string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id) + "-G:0-TimeStamp:" + now.Format("01/02/2006 15:04:05")
}

// spanText writes a duration as .NET does: hh:mm:ss.
func spanText(d time.Duration) string { return time.Time{}.Add(d).Format("15:04:05") }

// elsewhere gives NotFound of something that is no device the name of a path nobody has: clients must not take it for a missing device.
func elsewhere(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return code.With(err, code.NotFound)
	}
	return err
}
