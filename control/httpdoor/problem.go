package httpdoor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

// Problem is the body of every error reply (RFC 9457 3.1). Kind and Next are extension members (3.2).
type Problem struct {
	Type     string `json:"type" format:"uri" doc:"names the kind of problem" example:"https://isthmus.dev/problems/conflict"`
	Title    string `json:"title" doc:"the kind of problem in words" example:"Conflict"`
	Status   int    `json:"status" doc:"the HTTP status" example:"409"`
	Detail   string `json:"detail" doc:"what happened, for people" example:"the connection is Disconnected, which is final"`
	Instance string `json:"instance,omitempty" doc:"the request's name in the server's log; internal problems only"`
	Kind     string `json:"kind" doc:"the kind of problem, for programs" example:"conflict"`
	Next     string `json:"next,omitempty" doc:"what to do about it, for people"`

	header http.Header
}

// ProblemType begins the type of every problem; the kind follows.
const ProblemType = "https://isthmus.dev/problems/"

const problemMedia = "application/problem+json"

// status is the one table from what a caller may need to tell apart to what HTTP has for it (RFC 9110 15, RFC 4918 11.5).
func status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Expired:
		return http.StatusGone
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Exhausted:
		return http.StatusInsufficientStorage
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Timeout:
		return http.StatusGatewayTimeout
	case fault.Internal:
	}
	return http.StatusInternalServerError
}

// problemOf renders an error for its receiver. An error that is no fault, or an internal one, gives its cause to the log only.
func (d *door) problemOf(err error, r *http.Request) *Problem {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) { // nobody waits for this reply, and nothing is broken
		err = fault.New("httpdoor.problemOf", fault.Unavailable, "the request was given up").Because(err)
	}
	k := fault.KindOf(err)
	p := &Problem{
		Type: ProblemType + k.String(), Title: title(k), Status: status(k), Kind: k.String(),
		Detail: fault.Message(err), Next: fault.Next(err), header: http.Header{},
	}
	t, ok := errors.AsType[*tooMany](err)
	if often, is := errors.AsType[*control.TooOften](err); is {
		t, ok = &tooMany{often.Wait}, true
	}
	if ok {
		p.Status, p.Title = http.StatusTooManyRequests, "Too many requests"
		p.header.Set("Retry-After", t.retryAfter())
	}
	level := slog.LevelDebug
	switch k {
	case fault.Internal:
		p.Instance = "urn:isthmus:request:" + strings.ToLower(rand.Text()[:16])
		p.Next = "" // advice from inside is not for outside
		level = slog.LevelError
	case fault.Unauthenticated:
		if !strings.HasPrefix(r.URL.Path, memberPrefix) {
			p.header.Set("WWW-Authenticate", `Bearer realm="isthmus"`)
		}
	case fault.Unavailable:
		p.header.Set("Retry-After", "2")
	default:
	}
	d.metrics.problems.WithLabelValues(p.Kind).Inc()
	d.log.LogAttrs(r.Context(), level, "refused a request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", p.Status), slog.String("instance", p.Instance), slog.Any("error", err))
	return p
}

func title(k fault.Kind) string {
	s := strings.ReplaceAll(k.String(), "-", " ")
	return strings.ToUpper(s[:1]) + s[1:]
}

// Error, GetStatus, GetHeaders and ContentType let the library write a problem that a handler returns.
func (p *Problem) Error() string             { return fmt.Sprintf("%d %s", p.Status, p.Kind) }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) GetHeaders() http.Header   { return p.header }
func (p *Problem) ContentType(string) string { return problemMedia }

// write sends a problem where the library is not in charge.
func (p *Problem) write(w http.ResponseWriter) {
	for k, v := range p.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", problemMedia)
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the receiver may be gone, and nobody else cares
}

// translate turns the library's own errors (parameters, body) into ours, and its status into the table's.
func (d *door) translate(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	r, w := humago.Unwrap(ctx)
	var kind fault.Kind
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		kind = fault.TooLarge
	case http.StatusRequestTimeout:
		kind = fault.Timeout
	case http.StatusInternalServerError: // reading the body failed: the sender broke off
		kind = fault.Unavailable
	default:
		kind = fault.Invalid
	}
	words := e.Detail
	var more []string
	for _, x := range e.Errors {
		if strings.HasPrefix(x.Message, "invalid date/time") {
			x.Message = "not a time as RFC 3339 has it, such as 2026-11-22T03:00:00Z"
		}
		more = append(more, strings.TrimPrefix(x.Location+": "+x.Message, ": "))
	}
	if len(more) > 0 {
		words = strings.Join(more, "; ")
	}
	f := fault.New("httpdoor.translate", kind, words)
	if kind == fault.TooLarge {
		f = fault.Newf("httpdoor.translate", kind, "the body is larger than %d bytes", ctx.Operation().MaxBodyBytes-1).Advise("send less at once")
	}
	p := d.problemOf(f, r)
	if rec, ok := w.(*recorder); ok {
		rec.instead = p.Status
	}
	return p, nil
}
