package httpdoor_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a namespace behind a server.
type world struct {
	*et.World
	t       *testing.T
	url     string
	client  *http.Client
	refused []error
}

func start(t *testing.T, local bool, o et.Options) *world {
	t.Helper()
	w := &world{World: et.Start(t, o), t: t}
	door := httpdoor.New(httpdoor.Config{
		Namespace: func(r *http.Request) (*eventhub.Namespace, error) {
			if local {
				return httpdoor.Named(w.Server)(r)
			}
			if n, ok := w.Server.ByName(r.Host); ok {
				return n, nil
			}
			return nil, fault.New("test", fault.Denied, "no namespace here answers to this name")
		},
		Plain: func(e eventlog.Event) (eventlog.Event, error) {
			if e.Format != 1 {
				return e, fault.New("test", fault.Invalid, "not plain")
			}
			return eventlog.Event{Body: []byte("plain " + string(e.Body)), Properties: map[string]string{"a": "b"}}, nil
		},
		Refused: func(_ *http.Request, _ string, err error) { w.refused = append(w.refused, err) },
		Local:   local,
	}, hubtest.Silent(), w.Clock)
	srv := httptest.NewServer(door)
	t.Cleanup(srv.Close)
	w.url, w.client = srv.URL, srv.Client()
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

// reply is what was answered.
type reply struct {
	*http.Response
	body map[string]any
	list []any
	raw  string
}

// ask makes a request; header is "Name: value" lines.
func (w *world) ask(method, path, body string, header ...string) reply {
	w.t.Helper()
	resp := w.open(method, path, body, header...)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := reply{Response: resp, raw: string(b)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if json.Unmarshal(b, &out.body) != nil {
			if err := json.Unmarshal(b, &out.list); err != nil {
				w.t.Fatalf("%s %s: %s", method, path, b)
			}
		}
	}
	return out
}

func (w *world) open(method, path, body string, header ...string) *http.Response {
	w.t.Helper()
	if rest, ours := strings.CutPrefix(path, "~"); ours {
		path = "/isthmus/v1/eventhubs" + rest
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = et.Host
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// want makes a request with the namespace's first policy and wants a status.
func (w *world) want(status int, method, path, body string, header ...string) reply {
	w.t.Helper()
	r := w.ask(method, path, body, append(header, "Authorization: "+w.Root())...)
	if r.StatusCode != status {
		w.t.Fatalf("%s %s is answered by %d: %s", method, path, r.StatusCode, r.raw)
	}
	return r
}

func TestEventHubsOverHTTP(t *testing.T) {
	w := start(t, false, et.Options{})
	r := w.want(http.StatusCreated, "PUT", "~/Telemetry", `{"partitions":2,"retentionHours":48}`)
	if r.body["name"] != "Telemetry" || r.body["partitions"] != 2.0 || r.body["retentionHours"] != 48.0 || r.body["status"] != "active" || r.body["declared"] != false {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusConflict, "PUT", "~/telemetry", "")
	w.want(http.StatusCreated, "PUT", "~/other", "")
	for _, body := range []string{`{"partitions":0}`, `{"partitions":2000}`, `{"retentionHours":0}`, `{"retentionHours":9000000000}`, `{"retentionBytes":1}`, `{"partition":2}`, `{"status":"disabled"}`, `[]`} {
		w.want(http.StatusBadRequest, "PUT", "~/x", body)
	}
	w.want(http.StatusBadRequest, "PUT", "~/a%2Fb", "")
	if r := w.want(http.StatusOK, "GET", "~", ""); len(r.list) != 2 {
		t.Errorf("%s", r.raw)
	}
	r = w.want(http.StatusOK, "PATCH", "~/telemetry", `{"retentionHours":24,"retentionBytes":1048576,"status":"disabled"}`)
	if r.body["status"] != "disabled" || r.body["retentionBytes"] != 1048576.0 {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusConflict, "POST", "~/telemetry/messages", "x")
	w.want(http.StatusOK, "PATCH", "~/telemetry", `{"status":"active","partitions":2}`)
	w.want(http.StatusConflict, "PATCH", "~/telemetry", `{"partitions":3}`)
	w.want(http.StatusBadRequest, "PATCH", "~/telemetry", `{"status":"resting"}`)
	w.want(http.StatusNotFound, "PATCH", "~/nothing", `{"partitions":3}`)
	w.want(http.StatusCreated, "POST", "~/telemetry/partitions/1/messages", "x")
	r = w.want(http.StatusOK, "GET", "~/telemetry", "")
	if ends, _ := r.body["partitionEnds"].([]any); len(ends) != 2 || !strings.Contains(r.raw, `{"partition":0,"first":0,"next":0,"lastOffset":-1}`) || !strings.Contains(r.raw, `"lastEnqueued"`) {
		t.Errorf("%s", r.raw)
	}
	r = w.want(http.StatusOK, "GET", "~/$namespace", "")
	if r.body["name"] != "ot/ot-cloud/lake" || !strings.Contains(r.raw, eventhub.PolicyRoot) {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusNoContent, "DELETE", "~/telemetry", "")
	r = w.want(http.StatusNotFound, "GET", "~/telemetry", "")
	if r.body["error"] != "not-found" || !strings.HasPrefix(r.body["message"].(string), "The messaging entity 'telemetry' could not be found.") {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusMethodNotAllowed, "POST", "~/telemetry", "")
	w.want(http.StatusNotFound, "GET", "/isthmus/v1/devices", "")
	w.want(http.StatusMethodNotAllowed, "GET", "~/$policies/"+eventhub.PolicyRoot+"/keys", "") // which only the socket has
}

// Whoever has a right may do what it says and nothing else; of an event hub's policy the same, there only.
func TestEveryRouteWantsItsRight(t *testing.T) {
	w := start(t, false, et.Options{})
	w.Create("telemetry", 1)
	w.Create("other", 1)
	tokens := map[string]map[eventhub.Right]string{"": {}, "telemetry": {}, "other": {}}
	for hub := range tokens {
		for _, right := range []eventhub.Right{eventhub.Send, eventhub.Listen, eventhub.Manage} {
			_, err := w.Namespace.CreatePolicy(t.Context(), hub, right.Names()[0], right)
			if err != nil {
				t.Fatal(err)
			}
			tokens[hub][right] = w.Token(hub, right.Names()[0], w.Key(hub, right.Names()[0]))
		}
	}
	for _, route := range httpdoor.Routes() {
		if route.Local {
			continue
		}
		path := "/" + strings.NewReplacer("{eventhub}", "telemetry", "{group}", "nobody", "{partition}", "99", "{policy}", "nobody").Replace(route.Path)
		for hub, list := range tokens {
			for right, token := range list {
				may := (right == route.Right || right == eventhub.Manage) && (hub == "" || hub == "telemetry" && route.Entity)
				// A body nobody can read, and a partition there is not, keep what is allowed from being done.
				r := w.ask(route.Method, path+"?from=nowhere", "no json", "Authorization: "+token, "Content-Type: application/vnd.microsoft.servicebus.json")
				if denied := r.StatusCode == http.StatusUnauthorized; denied == may {
					t.Errorf("%s %s with %s of %q: %d %s", route.Method, path, right.Names()[0], hub, r.StatusCode, r.raw)
				}
				if route.Method == "DELETE" && may { // it went, so it is made again
					_, _ = w.Namespace.CreateEventHub(t.Context(), "telemetry", eventhub.Settings{})
					for _, right := range []eventhub.Right{eventhub.Send, eventhub.Listen, eventhub.Manage} {
						if _, err := w.Namespace.CreatePolicy(t.Context(), "telemetry", right.Names()[0], right); err == nil {
							tokens["telemetry"][right] = w.Token("telemetry", right.Names()[0], w.Key("telemetry", right.Names()[0]))
						}
					}
				}
			}
		}
		if r := w.ask(route.Method, path, ""); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", route.Method, path, r.StatusCode)
		}
	}
	if len(w.refused) == 0 {
		t.Error("the log is not told")
	}
}

func TestPoliciesOverHTTP(t *testing.T) {
	w := start(t, false, et.Options{})
	w.Create("telemetry", 1)
	for _, path := range []string{"~/$policies", "~/telemetry/policies"} {
		r := w.want(http.StatusCreated, "PUT", path+"/machines", `{"rights":["Send"]}`)
		if r.body["name"] != "machines" || len(r.body["rights"].([]any)) != 1 {
			t.Errorf("%s", r.raw)
		}
		w.want(http.StatusConflict, "PUT", path+"/machines", `{"rights":["Send"]}`)
		w.want(http.StatusBadRequest, "PUT", path+"/x", `{"rights":["Dance"]}`)
		w.want(http.StatusBadRequest, "PUT", path+"/x", "")
		w.want(http.StatusNoContent, "POST", path+"/machines/keys", `{"renew":"secondary"}`)
		w.want(http.StatusBadRequest, "POST", path+"/machines/keys", "")
		r = w.want(http.StatusOK, "GET", path, "")
		if strings.Contains(r.raw, w.Key("", eventhub.PolicyRoot)) || !strings.Contains(r.raw, "machines") {
			t.Errorf("%s", r.raw)
		}
		w.want(http.StatusNoContent, "DELETE", path+"/machines", "")
		w.want(http.StatusNotFound, "DELETE", path+"/machines", "")
	}
}

func TestTheLocalSocket(t *testing.T) {
	w := start(t, true, et.Options{})
	w.Create("telemetry", 1)
	r := w.ask("GET", "~/$policies/"+eventhub.PolicyRoot+"/keys?hub=ot/ot-cloud/lake", "")
	if r.StatusCode != http.StatusOK || r.body["primaryKey"] != w.Key("", eventhub.PolicyRoot) || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	r = w.ask("GET", "~/telemetry/policies/"+eventhub.PolicyRoot+"/keys", "")
	if text, _ := r.body["secondaryConnectionString"].(string); !strings.HasSuffix(text, ";EntityPath=telemetry") {
		t.Errorf("%s", r.raw)
	}
	if r = w.ask("GET", "~?hub=another", ""); r.StatusCode != http.StatusNotFound || !strings.Contains(r.raw, "name one: ot/ot-cloud/lake") {
		t.Errorf("%s", r.raw)
	}
}

func TestGroupsAndProcessorsOverHTTP(t *testing.T) {
	w := start(t, false, et.Options{})
	e := w.Create("telemetry", 2)
	at := w.Append(e, 1, "a", "b")
	w.want(http.StatusCreated, "PUT", "~/telemetry/consumergroups/Alerts", "")
	if r := w.want(http.StatusOK, "GET", "~/telemetry/consumerGroups", ""); len(r.list) != 2 || !strings.Contains(r.raw, "$Default") {
		t.Errorf("%s", r.raw)
	}
	group := "~/telemetry/consumergroups/alerts"
	r := w.want(http.StatusOK, "PUT", group+"/checkpoints/1", `{"sequenceNumber":0,"owner":"me"}`)
	if r.body["offset"] != "0" || r.body["waiting"] != 1.0 || r.Header.Get("ETag") != `"`+r.body["etag"].(string)+`"` || at.Offset != 0 {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusPreconditionFailed, "PUT", group+"/checkpoints/1", `{"sequenceNumber":1}`, `If-Match: "old"`)
	w.want(http.StatusOK, "PUT", group+"/checkpoints/1", `{"sequenceNumber":1}`, "If-Match: "+r.Header.Get("ETag"))
	w.want(http.StatusBadRequest, "PUT", group+"/checkpoints/1", `{}`)
	w.want(http.StatusBadRequest, "PUT", group+"/checkpoints/1", `{"sequenceNumber":2}`)
	w.want(http.StatusNotFound, "PUT", group+"/checkpoints/2", `{"sequenceNumber":-1}`)
	w.want(http.StatusNotFound, "PUT", group+"/checkpoints/x", `{"sequenceNumber":-1}`)
	if r := w.want(http.StatusOK, "GET", group+"/checkpoints", ""); len(r.list) != 1 || !strings.Contains(r.raw, `"sequenceNumber":1`) {
		t.Errorf("%s", r.raw)
	}
	r = w.want(http.StatusOK, "PUT", group+"/ownerships/0", `{"owner":"one"}`)
	w.want(http.StatusPreconditionFailed, "PUT", group+"/ownerships/0", `{"owner":"two"}`)
	w.want(http.StatusOK, "PUT", group+"/ownerships/0", `{"owner":"two"}`, "If-Match: "+r.Header.Get("ETag"))
	w.want(http.StatusPreconditionFailed, "PUT", group+"/ownerships/0", `{"owner":"one"}`, "If-Match: "+r.Header.Get("ETag"))
	if r := w.want(http.StatusOK, "GET", group+"/ownerships", ""); len(r.list) != 1 || !strings.Contains(r.raw, `"owner":"two"`) {
		t.Errorf("%s", r.raw)
	}
	w.want(http.StatusNoContent, "DELETE", group, "")
	w.want(http.StatusNotFound, "GET", group+"/ownerships", "")
}

func TestEveryKindHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		if s := httpdoor.StatusOf(k); s < 400 || (s == http.StatusInternalServerError) != (k == fault.Internal) {
			t.Errorf("%s: %d", k, s)
		}
	}
}

// docs/event-hubs-api.md lists every route with the right it needs, and no other.
func TestEveryRouteIsInTheDocuments(t *testing.T) {
	b, err := os.ReadFile("../../docs/event-hubs-api.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(b), -1) {
		listed[m[1]] = m[2]
	}
	for _, r := range httpdoor.Routes() {
		name := r.Method + " /" + r.Path
		right, ok := listed[name]
		want := r.Right.String()
		if r.Local {
			want = "the socket only"
		}
		if !ok || right != want {
			t.Errorf("%s needs %s, and %q is written", name, want, right)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is listed and does not exist", name)
	}
}
