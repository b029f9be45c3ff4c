package httpdoor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func door(f *fake) http.Handler {
	return httpdoor.New(f, httpdoor.Config{Version: "1.2.3", TrustDomain: "isthmus.local", MaxBody: 64 << 10}, quiet(), clock.System{}, nil)
}

// reply is a response without its body.
type reply struct {
	StatusCode int
	ProtoMajor int
	Header     http.Header
}

// ask sends a request as the administrator and returns the reply, whole.
func ask(t *testing.T, h http.Handler, method, path, body string, header ...string) (reply, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, r)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return reply{StatusCode: rec.Code, Header: rec.Header()}, rec.Body.String()
}

func problem(t *testing.T, resp reply, body string) httpdoor.Problem {
	t.Helper()
	var p httpdoor.Problem
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q of %s", ct, body)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if p.Status != resp.StatusCode || p.Title == "" || p.Detail == "" || p.Type != httpdoor.ProblemType+p.Kind {
		t.Errorf("status %d and %s do not agree", resp.StatusCode, body)
	}
	return p
}

func TestEveryKindHasItsStatus(t *testing.T) {
	want := map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.NotFound: 404, fault.Conflict: 409, fault.Precondition: 412, fault.Unauthenticated: 401,
		fault.Denied: 403, fault.Expired: 410, fault.Exhausted: 507, fault.TooLarge: 413, fault.Unavailable: 503, fault.Timeout: 504,
	}
	f := newFake()
	h := door(f)
	for _, k := range fault.Kinds() {
		f.failing(fault.New("fake.op", k, "what happened").Advise("what to do").Because(errors.New("the cause")))
		resp, body := ask(t, h, "GET", "/v1/tenants", "")
		p := problem(t, resp, body)
		if resp.StatusCode != want[k] || p.Kind != k.String() {
			t.Errorf("%v: status %d, %s", k, resp.StatusCode, body)
		}
		if strings.Contains(body, "the cause") || strings.Contains(body, "fake.op") {
			t.Errorf("%v leaks: %s", k, body)
		}
		if k == fault.Internal {
			if strings.Contains(body, "what happened") || p.Instance == "" {
				t.Errorf("an internal problem says %s", body)
			}
		} else if p.Detail != "what happened" || p.Next != "what to do" {
			t.Errorf("%v lost its words: %s", k, body)
		}
		if got := resp.Header.Get("WWW-Authenticate") != ""; got != (k == fault.Unauthenticated) {
			t.Errorf("%v: WWW-Authenticate %v (RFC 9110 11.6.1)", k, got)
		}
	}
	f.failing(errors.New("a stranger's error"))
	resp, body := ask(t, h, "GET", "/v1/tenants", "")
	if problem(t, resp, body); resp.StatusCode != 500 || strings.Contains(body, "stranger") {
		t.Errorf("a foreign error becomes %d %s", resp.StatusCode, body)
	}
}

func TestProblemsOfRouterAndLibrary(t *testing.T) {
	h := door(newFake())
	object := `{"apiVersion":"isthmus/v1","kind":"Network","metadata":{"tenant":"ot","name":"plant-7"},"spec":{%s}}`
	apply := func(spec string) string {
		return `{"objects":[` + strings.Replace(object, "%s", spec, 1) + `]}`
	}
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		kind, says, next   string
	}{
		"no such path":         {"GET", "/v2/everything", "", 404, "not-found", "/v2/everything", "/openapi.json"},
		"a kind misspelt":      {"GET", "/v1/endpoint", "", 404, "not-found", "/v1/endpoint", "/v1/endpoints"},
		"a path too short":     {"GET", "/v1/endpoints/ot/plant-7", "", 404, "not-found", "", ""},
		"wrong method":         {"PATCH", "/v1/tenants", "", 405, "not-found", "PATCH", "GET"},
		"no body":              {"POST", "/v1/apply", "", 400, "invalid", "body", ""},
		"white space only":     {"POST", "/v1/apply", "  \n", 400, "invalid", "no body", "JSON"},
		"no JSON":              {"POST", "/v1/apply", "{\n  objects: []}", 400, "invalid", "line 2, column 3", ""},
		"a list":               {"POST", "/v1/apply", "[]", 400, "invalid", "the body", ""},
		"two values":           {"POST", "/v1/apply", "{} {}", 400, "invalid", "after top-level value", ""},
		"nothing to apply":     {"POST", "/v1/apply", "{}", 400, "invalid", "objects is empty", ""},
		"unknown field":        {"POST", "/v1/apply", `{"objects":[],"dryrun":true}`, 400, "invalid", "there is no field dryrun", "dryRun"},
		"unknown kind":         {"POST", "/v1/apply", `{"objects":[{"apiVersion":"isthmus/v1","kind":"Servcie"}]}`, 400, "invalid", `objects[0].kind "Servcie"`, "Service?"},
		"wrong version":        {"POST", "/v1/apply", `{"objects":[{"apiVersion":"isthmus/v9","kind":"Service"}]}`, 400, "invalid", "objects[0].apiVersion", "isthmus/v1"},
		"unknown spec field":   {"POST", "/v1/apply", apply(`"addressRange":["10.7.0.0/24"]`), 400, "invalid", "objects[0].spec.addressRange", "addressRanges"},
		"case matters":         {"POST", "/v1/apply", apply(`"addressranges":[]`), 400, "invalid", "objects[0].spec.addressranges", "addressRanges"},
		"wrong type":           {"POST", "/v1/apply", apply(`"addressRanges":"10.7.0.0/24"`), 400, "invalid", "objects[0].spec.addressRanges: a list cannot be a string", ""},
		"unreadable value":     {"POST", "/v1/apply", apply(`"addressRanges":["10.7.0.0/99"]`), 400, "invalid", "10.7.0.0/99", ""},
		"an object is null":    {"POST", "/v1/apply", `{"objects":[null]}`, 400, "invalid", "objects[0]", ""},
		"too large":            {"POST", "/v1/apply", `{"reason":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "too-large", "65536", ""},
		"unknown parameter":    {"GET", "/v1/services?tenannt=ot", "", 400, "invalid", "tenannt", ""},
		"limit is no number":   {"GET", "/v1/audit?limit=many", "", 400, "invalid", "limit", ""},
		"limit too high":       {"GET", "/v1/audit?limit=5000", "", 400, "invalid", "limit", ""},
		"unknown state":        {"GET", "/v1/connections?state=Maybe", "", 400, "invalid", "state", ""},
		"unknown decision":     {"POST", "/v1/endpoints/ot/plant-7/hub/decision", `{"decision":"perhaps"}`, 400, "invalid", "perhaps", "approve"},
		"grace is no duration": {"POST", "/v1/join-tokens", `{"for":"gateway","ephemeralAfter":"soon"}`, 400, "invalid", "soon", "24h"},
		"ttl is no duration":   {"POST", "/v1/join-tokens", `{"for":"agent","ttl":"soon"}`, 400, "invalid", "soon", "24h"},
		"absent":               {"GET", "/v1/services/ot/ot-cloud/contoso", "", 404, "not-found", "Service ot/ot-cloud/contoso", ""},
		"not for people":       {"GET", "/member/v1/plan", "", 401, "unauthenticated", "client certificate", ""},
	} {
		resp, body := ask(t, h, c.method, c.path, c.body)
		p := problem(t, resp, body)
		if p.Status != c.status || p.Kind != c.kind || !strings.Contains(p.Detail, c.says) || !strings.Contains(p.Next, c.next) {
			t.Errorf("%s: %s\nwant %d %s, detail with %q, next with %q", name, body, c.status, c.kind, c.says, c.next)
		}
		if c.status == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
	}
}

func TestOnlyKnownTokensGetIn(t *testing.T) {
	h := door(newFake())
	for name, auth := range map[string]string{
		"none": "", "another scheme": "Basic cm9vdDpyb290", "empty": "Bearer ", "unknown": "Bearer guess", "huge": "Bearer " + strings.Repeat("x", 5000),
	} {
		resp, body := ask(t, h, "POST", "/v1/apply", "this is not even JSON", "Authorization", auth)
		if p := problem(t, resp, body); p.Status != 401 {
			t.Errorf("%s: %s", name, body)
		}
	}
	resp, body := ask(t, h, "GET", "/v1/version", "", "Authorization", "")
	if resp.StatusCode != 200 || !strings.Contains(body, `"version":"1.2.3"`) {
		t.Errorf("version without a token: %d %s", resp.StatusCode, body)
	}
	resp, body = ask(t, h, "GET", "/v1/whoami", "", "Authorization", "bearer "+adminToken)
	if resp.StatusCode != 200 || body != `{"name":"root","role":"admin"}`+"\n" {
		t.Errorf("whoami: %d %s", resp.StatusCode, body)
	}
}

func TestWhatReachesTheControlPlane(t *testing.T) {
	f := newFake()
	h := door(f)
	expect := func(method, path, body string, status int, reply string) {
		t.Helper()
		resp, got := ask(t, h, method, path, body)
		if resp.StatusCode != status || !strings.Contains(got, reply) {
			t.Errorf("%s %s: %d %s, want %d with %s", method, path, resp.StatusCode, got, status, reply)
		}
	}
	expect("POST", "/v1/apply", `{"objects":[{"apiVersion":"isthmus/v1","kind":"Tenant","metadata":{"name":"ot"},"spec":{}}],"dryRun":true,"reason":"why"}`,
		200, `{"dryRun":true,"changes":[{"kind":"Tenant","path":"ot","action":"created"}]}`)
	if f.options.Reason != "why" || !f.options.DryRun || len(f.applied) != 1 || f.applied[0].Head().Metadata.Name != "ot" {
		t.Errorf("applied %+v with %+v", f.applied, f.options)
	}
	expect("GET", "/v1/endpoints?tenant=ot&scope=plant-7", "", 200, `"items":[{"apiVersion"`)
	if f.filter.Tenant != "ot" || f.filter.Scope != "plant-7" {
		t.Errorf("filter %+v", f.filter)
	}
	expect("GET", "/v1/services", "", 200, `{"items":[]}`)
	expect("GET", "/v1/connections?state=Pending", "", 200, `{"items":[]}`)
	if f.filter.State != resource.Pending {
		t.Errorf("filter %+v", f.filter)
	}
	expect("DELETE", "/v1/recordsets/ot/example.net/www?reason=gone", "", 204, "")
	expect("DELETE", "/v1/relays/r1", "", 204, "")
	expect("DELETE", "/v1/networks/ot/plant-7", "", 204, "")
	expect("DELETE", "/v1/tokens/t9", "", 204, "")
	expect("DELETE", "/v1/join-tokens/j9?reason=lost", "", 204, "")
	if want := []string{"RecordSet ot/example.net/www gone", "Relay r1 ", "Network ot/plant-7 ", "token t9", "join token j9 lost"}; !slices.Equal(f.deleted, want) {
		t.Errorf("deleted %q", f.deleted)
	}
	expect("POST", "/v1/endpoints/ot/plant-7/hub/decision", `{"decision":"approve","reason":"known"}`, 200, `"endpoint":"ot/plant-7/hub"`)
	expect("POST", "/v1/contracts/ot/telemetry/decision", `{"decision":"accept","version":2,"digest":"abc","reason":"known"}`, 200, `"state":"Agreed","version":2,"digest":"abc"`)
	if want := (control.ContractChoice{Decision: control.AcceptContract, Version: 2, Digest: "abc", Reason: "known"}); len(f.contracts) != 1 || f.contracts[0] != want {
		t.Errorf("decided %+v", f.contracts)
	}
	expect("POST", "/v1/tokens", `{"name":"ci","tenant":"ot","role":"reader"}`, 201, `{"secret":"new-secret","token":{"id":"t1","name":"ci"`)
	expect("GET", "/v1/tokens", "", 200, `{"items":[]}`)
	expect("GET", "/v1/join-tokens?tenant=ot&scope=plant-7", "", 200, `{"items":[{"id":"j1","for":"agent","state":"unused"`)
	if f.filter.Tenant != "ot" || f.filter.Scope != "plant-7" {
		t.Errorf("join tokens filtered by %+v", f.filter)
	}
	expect("POST", "/v1/join-tokens", `{"for":"agent","tenant":"ot","network":"plant-7","ttl":"90m"}`, 201, `"secret":"isthmus-join.x"`)
	if f.join.TTL != 90*time.Minute || f.join.For != "agent" || f.join.Network != "plant-7" {
		t.Errorf("join token %+v", f.join)
	}
	expect("POST", "/v1/join-tokens", `{"for":"gateway","tenant":"ot","network":"plant-7","uses":20,"ephemeralAfter":"1h"}`, 201, `"secret":"isthmus-join.x"`)
	if f.join.Uses != 20 || f.join.EphemeralAfter != time.Hour || f.join.For != "gateway" {
		t.Errorf("join token %+v", f.join)
	}
	expect("GET", "/v1/networks/ot/plant-7/why?name=a.example&type=MX", "", 200, `{"network":"ot/plant-7","name":"a.example","type":"MX","steps":[{"what":"answer","detail":"NXDOMAIN"}]`)
	expect("GET", "/v1/gateways/ot/ot-cloud/front/why?source=2001:db8::9&name=a.example&port=8883", "", 200, `{"gateway":"ot/ot-cloud/front","source":"2001:db8::9","name":"a.example","port":8883`)
	expect("GET", "/v1/gateways/ot/ot-cloud/front/why?source=me", "", 400, `source \"me\" is no IP address`)
	expect("GET", "/v1/gateways/ot/ot-cloud/front/why", "", 400, `source`)
	expect("GET", "/v1/networks/ot/plant-7/why", "", 400, `name`)
	expect("GET", "/v1/allowlists", "", 200, `{"items":[]}`)
	expect("DELETE", "/v1/rulesets/ot/rules", "", 204, "")
	expect("GET", "/v1/audit?tenant=ot&kind=Service&path=ot/a/b&since=2026-01-02T03:04:05.000000005Z&after=9&limit=5&last=true", "", 200, `"after":{"a":1}`)
	if a := f.audit; a.Tenant != "ot" || a.Kind != "Service" || a.Path != "ot/a/b" || a.After != 9 || a.Limit != 5 || !a.Last || a.Since.Year() != 2026 {
		t.Errorf("audit filter %+v", a)
	}
	expect("GET", "/v1/audit/verify", "", 200, `{"intact":true}`)
	expect("GET", "/healthz", "", 200, "ok")
	f.failing(fault.New("fake", fault.Conflict, "no"))
	expect("POST", "/member/v1/enrol", `{"secret":"s","csr":"c","now":"2026-01-02T03:04:05Z"}`, 409, `"kind":"conflict"`)
	f.failing(nil)
	expect("POST", "/member/v1/enrol", `{"secret":"s","csr":"c","now":"2026-01-02T03:04:05Z"}`, 201, `"id":"spiffe:`)
	if f.enrolled.Secret != "s" || f.enrolled.Now.Year() != 2026 {
		t.Errorf("enrolled %+v", f.enrolled)
	}
}

func TestIfMatch(t *testing.T) {
	f := newFake()
	h := door(f)
	resp, body := ask(t, h, "GET", "/v1/endpoints/ot/plant-7/hub", "")
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != 200 || tag != `"u1.3.pending"` {
		t.Fatalf("%d, ETag %s, %s", resp.StatusCode, tag, body)
	}
	path := "/v1/endpoints/ot/plant-7/hub"
	noun := `{"objects":[{"apiVersion":"isthmus/v1","kind":"PrivateEndpoint","metadata":{"tenant":"ot","network":"plant-7","name":"hub"},"spec":{"service":"a/b/c"}}]}`
	for _, c := range []struct {
		method, path, body, match string
		status                    int
	}{
		{"POST", "/v1/apply", noun, `"u1.2.pending"`, 412},
		{"POST", "/v1/apply", noun, `W/"u1.3.pending"`, 412}, // RFC 9110 13.1.1: strong comparison
		{"POST", "/v1/apply", noun, tag, 200},
		{"POST", "/v1/apply", noun, "*", 200},
		{"POST", "/v1/apply", noun, `"old"`, 412},
		{"POST", "/v1/apply", noun, `"old", ` + tag, 200},
		{"DELETE", path, "", `"old"`, 412},
		{"DELETE", path, "", tag, 204},
		{"DELETE", "/v1/endpoints/ot/plant-7/none", "", "*", 404},
	} {
		resp, body := ask(t, h, c.method, c.path, c.body, "If-Match", c.match)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s If-Match %s: %d %s, want %d", c.method, c.path, c.match, resp.StatusCode, body, c.status)
		}
		if c.status == 412 && problem(t, resp, body).Kind != "precondition" {
			t.Error(body)
		}
	}
	if len(f.deleted) != 1 {
		t.Errorf("refused requests got through: %q", f.deleted)
	}
}

func TestPanicsBecomeProblems(t *testing.T) {
	h := httpdoor.New(panicking{newFake()}, httpdoor.Config{}, quiet(), clock.System{}, nil)
	resp, body := ask(t, h, "GET", "/v1/audit/verify", "")
	if p := problem(t, resp, body); p.Status != 500 || strings.Contains(body, "oh no") {
		t.Errorf("%s", body)
	}
}

func TestMetricsCountByRoute(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := httpdoor.New(newFake(), httpdoor.Config{}, quiet(), clock.System{}, reg)
	httpdoor.New(newFake(), httpdoor.Config{}, quiet(), clock.System{}, reg) // a second door on the same registry is no mistake
	ask(t, h, "GET", "/v1/tenants/ot", "")
	ask(t, h, "GET", "/v1/nothing", "")
	_, body := ask(t, httpdoor.Metrics(reg), "GET", "/metrics", "")
	for _, want := range []string{
		`isthmus_control_http_requests_total{route="/v1/tenants/{name}",status="404"} 1`, `isthmus_control_http_requests_total{route="none",status="404"} 1`,
		`isthmus_control_http_problems_total{kind="not-found"} 2`, "isthmus_control_http_plan_streams 0",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

type panicking struct{ *fake }

func (panicking) VerifyAudit(context.Context, control.Principal) error { panic("oh no") }
