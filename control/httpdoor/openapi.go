package httpdoor

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func (d *door) humaConfig() huma.Config {
	version := d.cfg.Version
	if version == "" {
		version = "0"
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Isthmus control plane", Version: version,
				Description: "What people, programs and members ask of the control plane. docs/api.md says what this document cannot.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					schemeBearer: {Type: "http", Scheme: "bearer", Description: "An API token."},
					schemeMember: {Type: "mutualTLS", Description: "The certificate a member got when it joined."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{d.translate},
	}
}

// schemaName names a type of the document. What plans and grants have of a relay or a person is not what the tenant has of one.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for prefix, in := range map[string]reflect.Type{"Plan": reflect.TypeFor[plan.Plan](), "Grant": reflect.TypeFor[grant.Grant]()} {
		if t.PkgPath() == in.PkgPath() && !strings.HasPrefix(name, prefix) {
			return prefix + name
		}
	}
	return name
}

func schemaOf[T any](r huma.Registry) *huma.Schema { return r.Schema(reflect.TypeFor[T](), true, "") }

func (d *door) problemResponse() *huma.Response {
	return &huma.Response{
		Description: "Refused; the problem says why and what to do next.",
		Content:     map[string]*huma.MediaType{problemMedia: {Schema: schemaOf[Problem](d.api.OpenAPI().Components.Schemas)}},
	}
}

type versionReply struct {
	Version     string `json:"version" doc:"of the control plane's program"`
	APIVersion  string `json:"apiVersion" doc:"of the objects' vocabulary" example:"isthmus/v1"`
	TrustDomain string `json:"trustDomain,omitempty" doc:"of the deployment's SPIFFE ids" example:"isthmus.local"`
}

// registerSelf registers what the door answers about itself.
func (d *door) registerSelf(mux *http.ServeMux) {
	handle(d, route{id: "version", method: http.MethodGet, path: "/v1/version", access: anybody, tag: "self", summary: "What answers here"},
		func(context.Context, *struct{}) (*struct{ Body versionReply }, error) {
			return &struct{ Body versionReply }{versionReply{d.cfg.Version, resource.APIVersion, d.cfg.TrustDomain}}, nil
		})
	handle(d, route{id: "whoami", method: http.MethodGet, path: "/v1/whoami", access: person, tag: "self", summary: "Who the token is"},
		func(ctx context.Context, _ *struct{}) (*struct{ Body control.Principal }, error) {
			return &struct{ Body control.Principal }{principal(ctx)}, nil
		})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	d.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Summary: "Whether the server serves", Tags: []string{"self"},
		Security: anybody.security(),
		Responses: map[string]*huma.Response{"200": {Description: "It serves.",
			Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}}}},
	})
}

// serveDocument renders the OpenAPI document once, when every route is known.
func (d *door) serveDocument(mux *http.ServeMux) {
	doc := d.api.OpenAPI()
	d.describeApply(doc)
	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel") // the library's own, which nobody gets to see
	delete(schemas, "ErrorDetail")
	asJSON, err := json.Marshal(doc)
	if err != nil {
		panic("httpdoor: the OpenAPI document must marshal: " + err.Error())
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic("httpdoor: the OpenAPI document must marshal: " + err.Error())
	}
	for path, form := range map[string]struct {
		media string
		text  []byte
	}{"/openapi.json": {"application/openapi+json", asJSON}, "/openapi.yaml": {"application/openapi+yaml", asYAML}} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", form.media)
			_, _ = w.Write(form.text)
		})
	}
}

// describeApply says that the objects of an apply are nouns of any kind.
func (d *door) describeApply(doc *huma.OpenAPI) {
	r := doc.Components.Schemas
	var nouns []*huma.Schema
	mapping := map[string]string{}
	for _, k := range resource.Kinds() {
		o, _ := resource.New(k)
		s := r.Schema(reflect.TypeOf(o).Elem(), true, "")
		nouns = append(nouns, s)
		mapping[string(k)] = s.Ref
	}
	s := doc.Paths["/v1/apply"].Post.RequestBody.Content["application/json"].Schema
	s = r.SchemaFromRef(s.Ref)
	s.Properties["objects"] = &huma.Schema{
		Type: "array", MinItems: new(1), Description: "nouns; those that others refer to need not come first",
		Items: &huma.Schema{OneOf: nouns, Discriminator: &huma.Discriminator{PropertyName: "kind", Mapping: mapping}},
	}
}
