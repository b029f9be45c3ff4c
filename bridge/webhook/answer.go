package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	maxAnswer = 64 << 10 // bytes that are read so that the connection can be used again
	maxPeace  = 10 * time.Minute
)

// answer is what became of a request: err is nil when its events are taken; refused when the service does not take just these.
type answer struct {
	err     error
	refused bool
}

// send makes one request.
func (d *destination) send(ctx context.Context, body []byte, header http.Header) answer {
	if err := d.peace(); err != nil { // another lane may have been told to wait
		return answer{err: err}
	}
	r, err := d.request(ctx, body, header)
	if err != nil {
		return answer{err: err}
	}
	resp, err := d.http.Do(r)
	if err != nil {
		return answer{err: d.broken(err)}
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	_ = resp.Body.Close()
	return d.judge(resp)
}

// judge says what a status means (RFC 9110, 15; RFC 6585).
func (d *destination) judge(resp *http.Response) answer {
	const op = "webhook.Write"
	told := func(kind fault.Kind, next string) answer {
		f := fault.Newf(op, kind, "the service behind %s answered %d %s", d.end.Name, resp.StatusCode, http.StatusText(resp.StatusCode))
		if next != "" {
			f = f.Advise("%s", next)
		}
		return answer{err: f}
	}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return answer{}
	case code < 400:
		return told(fault.NotFound, "it leads elsewhere, and a bridge does not follow: correct the path, or plain")
	case code == http.StatusUnauthorized, code == http.StatusProxyAuthRequired:
		return told(fault.Unauthenticated, "check the secret, or what the bridge's identity may do there")
	case code == http.StatusForbidden:
		return told(fault.Denied, "the service has to let the bridge in: check the secret and its rights there")
	case code == http.StatusNotFound, code == http.StatusGone:
		return told(fault.NotFound, "check the path in the bridge's destination")
	case code == http.StatusMethodNotAllowed:
		return told(fault.NotFound, "check the method in the bridge's destination")
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return told(fault.Timeout, "")
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		kind := fault.Unavailable
		if code == http.StatusTooManyRequests {
			kind = fault.Exhausted
		}
		if wait := retryAfter(resp.Header.Get("Retry-After"), d.clk.Now()); wait > 0 {
			d.until.Store(d.clk.Now().Add(wait).UnixNano())
			return told(kind, "it asks to be left in peace for "+wait.Round(time.Second).String()+"; it goes on by itself")
		}
		return told(kind, "it goes on by itself")
	case code >= 500:
		return told(fault.Unavailable, "")
	case code == http.StatusRequestEntityTooLarge, code == http.StatusRequestHeaderFieldsTooLarge:
		a := told(fault.TooLarge, "")
		a.refused = true
		return a
	default:
		a := told(fault.Invalid, "")
		a.refused = true
		return a
	}
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3); 0 when it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxPeace)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(now), maxPeace))
	}
	return 0
}

// peace is why nothing is sent now: the service has asked for it.
func (d *destination) peace() error {
	until := d.until.Load()
	if until == 0 {
		return nil
	}
	left := time.Unix(0, until).Sub(d.clk.Now())
	if left <= 0 || left > maxPeace { // a clock that was put back
		d.until.CompareAndSwap(until, 0)
		return nil
	}
	return fault.Newf("webhook.Write", fault.Exhausted, "the service behind %s asks to be left in peace for %v more", d.end.Name, left.Round(time.Second)).
		Advise("it goes on by itself")
}

// broken says why there was no answer. The URL, which the library's error has in it, may hold a secret in its query.
func (d *destination) broken(err error) error {
	const op = "webhook.Write"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unavailable, "what is behind the endpoint %s does not prove to be %s", d.end.Name, d.end.HostName).
			Advise("its certificate has another name or is signed by nobody this machine trusts")
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return fault.Newf(op, fault.Timeout, "the service behind %s did not answer within %v", d.end.Name, d.http.Timeout)
	}
	return fault.Newf(op, fault.Unavailable, "the service behind %s cannot be reached, or broke the connection", d.end.Name)
}
