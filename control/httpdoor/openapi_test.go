package httpdoor_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/resource"
)

type document struct {
	OpenAPI    string                                `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas         map[string]json.RawMessage `json:"schemas"`
		SecuritySchemes map[string]json.RawMessage `json:"securitySchemes"`
	} `json:"components"`
}

type operation struct {
	OperationID string                      `json:"operationId"`
	Summary     string                      `json:"summary"`
	Parameters  []struct{ Name, In string } `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct{ Schema map[string]any } `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string                          `json:"description"`
		Content     map[string]struct{ Schema any } `json:"content"`
	} `json:"responses"`
	Security []map[string][]string `json:"security"`
}

func readDocument(t *testing.T) (document, string) {
	t.Helper()
	resp, body := ask(t, door(newFake()), "GET", "/openapi.json", "", "Authorization", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	var d document
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d, body
}

// docs/api.md lists every route; the document has just those.
func TestTheDocumentIsComplete(t *testing.T) {
	d, _ := readDocument(t)
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	add := func(method, path string) { want = append(want, strings.ToLower(method)+" "+path) }
	shapes := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| (\\w+) \\| `(\\w+)` \\| `([A-Z/]+)` \\|$").FindAllStringSubmatch(string(page), -1) {
		if got := httpdoor.Plural(resource.Kind(m[1])); got != m[2] {
			t.Errorf("docs/api.md calls %s %q, the API %q", m[1], m[2], got)
		}
		shapes[m[2]] = strings.NewReplacer("TENANT", "{tenant}", "NETWORK", "{network}", "ZONE", "{zone}", "NAME", "{name}").Replace(m[3])
	}
	if len(shapes) != len(resource.Kinds()) {
		t.Errorf("docs/api.md names %d kinds of %d", len(shapes), len(resource.Kinds()))
	}
	for _, m := range regexp.MustCompile("`(GET|POST|PUT|DELETE) (/[^`? ]*)").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(m[2], "{plural}") {
			add(m[1], m[2])
			continue
		}
		for plural, shape := range shapes {
			add(m[1], strings.NewReplacer("{plural}", plural, "/{path}", "/"+shape).Replace(m[2]))
		}
	}
	var got []string
	for path, methods := range d.Paths {
		for method := range methods {
			got = append(got, method+" "+path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	want = slices.Compact(want)
	if !slices.Equal(got, want) {
		t.Errorf("routes\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestTheDocumentHoldsTogether(t *testing.T) {
	d, body := readDocument(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", d.OpenAPI)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(body, -1) {
		name, ok := strings.CutPrefix(ref[1], "#/components/schemas/")
		if _, there := d.Components.Schemas[name]; !ok || !there {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	for _, k := range resource.Kinds() {
		if d.Components.Schemas[string(k)] == nil {
			t.Errorf("no schema of %s", k)
		}
	}
	if d.Components.Schemas["ErrorModel"] != nil || d.Components.Schemas["Problem"] == nil {
		t.Error("errors are described wrongly")
	}
	ids := map[string]string{}
	for path, methods := range d.Paths {
		for method, raw := range methods {
			where := method + " " + path
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if op.OperationID == "" || ids[op.OperationID] != "" || op.Summary == "" {
				t.Errorf("%s: operation id %q, also of %s; summary %q", where, op.OperationID, ids[op.OperationID], op.Summary)
			}
			ids[op.OperationID] = where
			var inPath []string
			for _, p := range op.Parameters {
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
				}
			}
			if want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(inPath, want) {
				t.Errorf("%s: path parameters %v, want %v", where, inPath, want)
			}
			if path != "/healthz" && op.Responses["default"].Content["application/problem+json"].Schema == nil {
				t.Errorf("%s: no problem described", where)
			}
			if method == "put" { // content of any sort
				if op.RequestBody == nil || op.RequestBody.Content["application/octet-stream"].Schema == nil {
					t.Errorf("%s: request body %v", where, op.RequestBody)
				}
			} else if (method == "post") != (op.RequestBody != nil) {
				t.Errorf("%s: request body %v", where, op.RequestBody)
			} else if method == "post" && op.RequestBody.Content["application/json"].Schema["$ref"] == nil {
				t.Errorf("%s: body %v", where, op.RequestBody.Content)
			}
			for _, s := range op.Security {
				for name := range s {
					if d.Components.SecuritySchemes[name] == nil {
						t.Errorf("%s: no security scheme %s", where, name)
					}
				}
			}
		}
	}
}

// What the document says of credentials is what happens: without any, exactly the operations without security are served.
func TestTheDocumentTellsTheTruthAboutCredentials(t *testing.T) {
	d, _ := readDocument(t)
	h := door(newFake())
	for path, methods := range d.Paths {
		for method, raw := range methods {
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			at := strings.NewReplacer("{", "", "}", "").Replace(path)
			resp, body := ask(t, h, strings.ToUpper(method), at, "", "Authorization", "")
			if refused := resp.StatusCode == 401; refused != (len(op.Security) > 0) {
				t.Errorf("%s %s without credentials: %d %s; security %v", method, path, resp.StatusCode, body, op.Security)
			}
		}
	}
}

func TestYAMLSaysTheSame(t *testing.T) {
	_, asJSON := readDocument(t)
	resp, asYAML := ask(t, door(newFake()), "GET", "/openapi.yaml", "", "Authorization", "")
	if resp.Header.Get("Content-Type") != "application/openapi+yaml" {
		t.Error(resp.Header.Get("Content-Type"))
	}
	var a, b any
	if err := json.Unmarshal([]byte(asJSON), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(asYAML), &b); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("the YAML document differs from the JSON one")
	}
}
