package caller

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// maxRefusal bounds what is read of one.
const maxRefusal = 64 << 10

// KindOf is the table from the status of a refusal to a fault. ok is false for those which no service gives. 401 is what becomes of
// tokens; 403 is a quota's.
func KindOf(status int) (k fault.Kind, ok bool) {
	switch status {
	case 400, 405:
		return fault.Invalid, true
	case 401:
		return fault.Denied, true
	case 404:
		return fault.NotFound, true
	case 409:
		return fault.Conflict, true
	case 412:
		return fault.Precondition, true
	case 413:
		return fault.TooLarge, true
	case 403, 429:
		return fault.Exhausted, true
	case 500, 503:
		return fault.Unavailable, true
	case 504:
		return fault.Timeout, true
	}
	return fault.Internal, false
}

// Refused reads the envelope of a refusal. What to do next has a header of its own with services of Isthmus.
func (c *Caller) Refused(r *http.Response) error {
	op := "caller.Refused"
	var body struct{ Message string } // in whichever case
	kind, known := KindOf(r.StatusCode)
	if err := json.NewDecoder(io.LimitReader(r.Body, maxRefusal)).Decode(&body); err != nil || !known || body.Message == "" {
		return fault.Newf(op, fault.Unavailable, "the answer is %s, which no %s gives", r.Status, c.service.Noun).Advise("check the address: is a proxy in between?")
	}
	text := body.Message
	if c.service.Words != nil {
		text = c.service.Words(text)
	}
	next, err := url.PathUnescape(r.Header.Get("isthmus-next"))
	if err != nil {
		next = ""
	}
	refusal := fault.New(op, kind, strings.TrimSuffix(text, ". "+next)).Advise("%s", next)
	if c.service.Coded != nil {
		return c.service.Coded(refusal, r.Header)
	}
	return refusal
}

// unreachable says why no answer came.
func (c *Caller) unreachable(err error) error {
	op := "caller.Exchange"
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	where := c.access.Connection.HostName
	if c.access.Address != "" {
		where += " at " + c.access.Address
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fault.New(op, fault.Timeout, "given up").Because(err)
	case c.access.Socket != "":
		return fault.Newf(op, fault.Unavailable, "no hub process answers on %s", c.access.Socket).
			Advise("start it with isthmus hub serve, name its --data-dir, and be the user it runs as").Because(err)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s is not trusted", where).
			Advise("give the deployment's authority with --ca FILE").Because(e)
	}
	return fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", where, err).
		Advise("check the name and the way to it, or give --address HOST:PORT").Because(err)
}
