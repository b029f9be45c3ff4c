package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// route is what is said of an operation beside its types.
type route struct {
	id, method, path string
	access           access
	status           int // of success; 200, or 204 without a body, when 0
	summary          string
	tag              string
	maxBody          int64 // maxSmall when 0; never more than the door's
}

// maxSmall bounds bodies that hold no nouns.
const maxSmall = 64 << 10

// handle registers an operation. I and O are the library's input and output structs; a fault from fn becomes a problem.
func handle[I, O any](d *door, rt route, fn func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, Tags: []string{rt.tag}, DefaultStatus: rt.status,
		Security: rt.access.security(), Middlewares: huma.Middlewares{d.keepRequest, d.settle(rt.access)},
		MaxBodyBytes: min(maxSmall, d.cfg.MaxBody) + 1, BodyReadTimeout: 30 * time.Second, RejectUnknownQueryParameters: true, SkipValidateBody: true,
		Responses: map[string]*huma.Response{"default": d.problemResponse()},
	}
	if rt.maxBody != 0 {
		op.MaxBodyBytes = min(rt.maxBody, d.cfg.MaxBody) + 1
	}
	huma.Register(d.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, d.problemOf(err, requestOf(ctx))
		}
		return out, nil
	})
}

// handleBody is handle for operations with a JSON body of type B, which is decoded strictly.
func handleBody[I rawBody, B, O any](d *door, rt route, fn func(context.Context, *I, B) (*O, error)) {
	handle(d, rt, func(ctx context.Context, in *I) (*O, error) {
		var b B
		if err := decodeStrict((*in).raw(), &b, ""); err != nil {
			return nil, err
		}
		return fn(ctx, in, b)
	})
	registry := d.api.OpenAPI().Components.Schemas
	item := d.api.OpenAPI().Paths[rt.path]
	op := item.Post
	if rt.method == http.MethodPut {
		op = item.Put
	}
	op.RequestBody.Required = true
	op.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: schemaOf[B](registry)}}
}

// rawBody is an input struct with a RawBody field, which the library fills.
type rawBody interface{ raw() []byte }

// body is the input of operations that have nothing but a body.
type body struct {
	RawBody []byte `contentType:"application/json"`
}

func (b body) raw() []byte { return b.RawBody }

// keepRequest lets handlers name their request in the log.
func (d *door) keepRequest(ctx huma.Context, next func(huma.Context)) {
	next(huma.WithValue(ctx, keyRequest, ctx))
}

func requestOf(ctx context.Context) *http.Request {
	r, _ := humago.Unwrap(ctx.Value(keyRequest).(huma.Context))
	return r
}
