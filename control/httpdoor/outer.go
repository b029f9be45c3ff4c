package httpdoor

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// requestLimit bounds a request from its first byte to the last of its reply; plan streams lift it.
const requestLimit = time.Minute

// outer stands around every route: bounds, measures, and gives the router's refusals and panics the shape all errors have.
type outer struct {
	mux  *http.ServeMux
	door *door
}

func (o *outer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := o.door.clock.Now()
	rec := &recorder{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
				panic(p)
			}
			err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			problem := o.door.problemOf(fault.Wrap("httpdoor.ServeHTTP", fault.Internal, err, ""), r)
			if rec.status != 0 {
				panic(http.ErrAbortHandler) // the reply has begun: cut it, so that nobody takes it for whole
			}
			problem.write(rec)
		}
		o.door.metrics.observe(r, rec.status, o.door.clock.Now().Sub(began))
	}()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(requestLimit)) // not every writer can; the server's own limits remain
	_ = rc.SetWriteDeadline(time.Now().Add(requestLimit))
	h := rec.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := o.unroutable(r, h); err != nil {
		p := o.door.problemOf(err, r)
		if h.Get("Allow") != "" {
			p.Status, p.Title = http.StatusMethodNotAllowed, "Method not allowed"
		}
		p.write(rec)
		return
	}
	o.mux.ServeHTTP(rec, r)
}

// unroutable says why no route takes the request, or nil. For a wrong method it sets Allow (RFC 9110 15.5.6).
func (o *outer) unroutable(r *http.Request, h http.Header) error {
	op := "httpdoor.route"
	inner, pattern := o.mux.Handler(r)
	if pattern != "" {
		return nil
	}
	probe := &probe{header: http.Header{}}
	inner.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allow := probe.header.Get("Allow")
		h.Set("Allow", allow)
		return fault.Newf(op, fault.NotFound, "%s is not possible on %s", r.Method, r.URL.Path).Advise("possible are: %s", allow)
	}
	f := fault.Newf(op, fault.NotFound, "there is nothing at %s", r.URL.Path)
	if word := firstWord(r.URL.Path); word != "" {
		if near := nearest(word, pluralNames()); near != "" && near != word {
			return f.Advise("did you mean /v1/%s? The API is described at /openapi.json", near)
		}
	}
	return f.Advise("the API is described at /openapi.json")
}

func firstWord(path string) string {
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(rest, "/")
	return word
}

// recorder remembers the status, and lets translate put the table's status in place of the library's.
type recorder struct {
	http.ResponseWriter
	status  int
	instead int
}

func (r *recorder) WriteHeader(status int) {
	if r.instead != 0 {
		status = r.instead
	}
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// probe learns what the router would have answered.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

type contextKey int

const (
	keyPrincipal contextKey = iota
	keyMember
	keyDraining
	keyRequest
)

// draining is closed when the server wants streams to end; nil (never) under another server than Serve's.
func draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(keyDraining).(chan struct{})
	return c
}
