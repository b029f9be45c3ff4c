package httpdoor_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func TestRoutingOverHTTPS(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	owner, service := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner), w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	const base = "/isthmus/v1/routing"
	for _, step := range []struct {
		name, method, path, token, body string
		status                          int
		words                           string
	}{
		{"who may not", "GET", base, service, "", 401, "every right"},
		{"nothing yet", "GET", base, owner, "", 200, `{"fallback":true,"endpoints":[],"routes":[],"enrichments":[]}`},
		{"an endpoint", "PUT", base + "/endpoints/hot", owner, `{"kind":"stream"}`, 200, `"name":"hot"`},
		{"a webhook", "PUT", base + "/endpoints/hook", owner, `{"kind":"webhook","url":"https://x.example/","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}`, 200, `"attempts":10,"hasKey":true`},
		{"another name", "PUT", base + "/endpoints/hot", owner, `{"name":"cold","kind":"stream"}`, 400, "the path"},
		{"a kind that is none", "PUT", base + "/endpoints/x", owner, `{"kind":"queue"}`, 400, "kinds are stream"},
		{"a route", "PUT", base + "/routes/critical", owner, `{"condition":"Level = 'critical'","endpointNames":["hot"]}`, 200, `"source":"DeviceMessages"`},
		{"a route to nowhere", "PUT", base + "/routes/x", owner, `{"endpointNames":["nowhere"]}`, 400, "no endpoint of the hub"},
		{"a condition that is none", "PUT", base + "/routes/x", owner, `{"condition":"level =","endpointNames":["hot"]}`, 400, "character"},
		{"an enrichment", "PUT", base + "/enrichments/site", owner, `{"value":"$twin.tags.site","endpointNames":["hot"]}`, 200, `"key":"site"`},
		{"a test of all", "POST", base + "/test", owner, `{"message":{"properties":{"Level":"critical"},"body":{"x":1}}}`, 200, `{"result":"true","routes":[{"route":"critical","matches":true}],"endpoints":["hot"]}`},
		{"a test of one", "POST", base + "/test", owner, `{"message":{"body":{"x":1}},"route":{"condition":"$body.x > 1"}}`, 200, `"result":"false"`},
		{"a test of one, with words", "POST", base + "/test", owner, `{"message":{"bodyBase64":"eA=="},"route":{"condition":"$body.x > 1"}}`, 200, "content type is not application/json"},
		{"an endpoint in use", "DELETE", base + "/endpoints/hot", owner, "", 409, "route critical leads to"},
		{"a route that is none", "DELETE", base + "/routes/none", owner, "", 404, "ErrorCode:NotFound"},
		{"the fallback", "PUT", base + "/fallback", owner, `{"enabled":false}`, 204, ""},
		{"no word of it", "PUT", base + "/fallback", owner, `{}`, 400, "does not say"},
		{"everything", "GET", base, owner, "", 200, `"fallback":false`},
	} {
		status, _, body := c.call(step.method, step.path, step.token, step.body)
		if status != step.status || !strings.Contains(body, step.words) || strings.Contains(body, "MDEyMzQ1") {
			t.Errorf("%s: %d %s", step.name, status, body)
		}
	}
	d := w.Device(hubtest.Contoso, "sensor-1")
	for _, level := range []string{"critical", "low"} {
		status, _, body := c.call("POST", "/devices/sensor-1/messages/events"+version, w.Token(hubtest.Contoso, d), level, "Iothub-App-Level", level) // net/http writes it so
		if status != http.StatusNoContent {
			t.Fatalf("%d %s", status, body)
		}
	}
	_, _, body := c.call("GET", "/isthmus/v1/events?endpoint=hot", service, "")
	var e struct {
		Body       []byte
		Properties map[string]string
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || string(e.Body) != "critical" || e.Properties["site"] != "$twin.tags.site" {
		t.Errorf("%s, %v", body, err)
	}
	if _, _, body := c.call("GET", "/isthmus/v1/events", service, ""); body != "" {
		t.Errorf("the built-in endpoint holds %s", body)
	}
	if status, h, _ := c.call("GET", "/isthmus/v1/events?endpoint=none", service, ""); status != 404 || h.Get("iothub-errorcode") != "NotFound" {
		t.Errorf("%d %s", status, h.Get("iothub-errorcode"))
	}
}

func TestConsumerGroupsOverHTTPS(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	token := w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	d := w.Device(hubtest.Contoso, "sensor-1")
	for _, text := range []string{"one", "two", "three"} {
		if status, _, body := c.call("POST", "/devices/sensor-1/messages/events"+version, w.Token(hubtest.Contoso, d), text); status != 204 {
			t.Fatalf("%d %s", status, body)
		}
	}
	partition := func() string {
		_, _, body := c.call("GET", "/isthmus/v1/events?limit=1", token, "")
		var e struct{ Partition json.Number }
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		return e.Partition.String()
	}()
	const base = "/isthmus/v1/consumergroups"
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		words                    string
	}{
		{"the default one", "GET", base, "", 200, `"name":"$Default"`},
		{"a group", "PUT", base + "/alerts", "", 200, `"name":"alerts"`},
		{"again", "PUT", base + "/alerts", "", 409, "exists already"},
		{"a name that is none", "PUT", base + "/a%20b", "", 400, "letters, digits"},
		{"a checkpoint", "POST", base + "/alerts/checkpoints", `{"next":{"` + partition + `":2},"owner":"me"}`, 204, ""},
		{"beyond the end", "POST", base + "/alerts/checkpoints", `{"next":{"` + partition + `":9}}`, 400, "no event 9"},
		{"of nothing", "POST", base + "/alerts/checkpoints", `{}`, 400, "names no partition"},
		{"no group", "POST", base + "/none/checkpoints", `{"next":{"0":0}}`, 404, "NotFound"},
		{"what is there", "GET", base + "/alerts/checkpoints", "", 200, `"next":2,"waiting":1,"owner":"me"`},
		{"no endpoint", "GET", base + "?endpoint=none", "", 404, "no endpoint"},
	} {
		status, _, body := c.call(step.method, step.path, token, step.body)
		if status != step.status || !strings.Contains(body, step.words) {
			t.Errorf("%s: %d %s", step.name, status, body)
		}
	}
	for query, want := range map[string]int{"": 3, "?group=alerts": 1, "?group=alerts&from=start": 3, "?group=%24Default": 3} {
		if _, _, body := c.call("GET", "/isthmus/v1/events"+query, token, ""); strings.Count(body, "\n") != want {
			t.Errorf("%q gives %s", query, body)
		}
	}
	if status, _, _ := c.call("GET", "/isthmus/v1/events?group=none", token, ""); status != 404 {
		t.Errorf("no group: %d", status)
	}
	if status, _, _ := c.call("DELETE", base+"/alerts", token, ""); status != 204 {
		t.Errorf("deleted: %d", status)
	}
}

func TestLimitsAndWhyOverHTTPS(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	owner, reader := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner), w.ServiceToken(hubtest.Contoso, hub.PolicyRegistryRead)
	d := w.Device(hubtest.Contoso, "sensor-1")
	if status, _, body := c.call("PUT", "/isthmus/v1/limits", reader, `{}`); status != 401 {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := c.call("PUT", "/isthmus/v1/limits", owner, `{"device":{"messages":{"perSecond":0.01,"burst":2}}}`); status != 200 || !strings.Contains(body, `"messages":{"perSecond":0.01,"burst":2}`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := c.call("PUT", "/isthmus/v1/limits", owner, `{"device":{"messages":{"perSecond":1e99}}}`); status != 400 || !strings.Contains(body, "limit of messages") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := c.call("GET", "/isthmus/v1/limits", reader, ""); status != 200 || !strings.Contains(body, `"tenant"`) || !strings.Contains(body, `"perSecond":0.01`) {
		t.Errorf("%d %s", status, body)
	}
	var got []int
	var last string
	for range 3 {
		status, h, body := c.call("POST", "/devices/sensor-1/messages/events"+version, w.Token(hubtest.Contoso, d), "x")
		got = append(got, status)
		last = h.Get("iothub-errorcode") + " " + body
	}
	if !slices.Equal(got, []int{204, 204, 429}) || !strings.Contains(last, "ThrottlingException") || !strings.Contains(last, "used up") {
		t.Errorf("%v, then %s", got, last)
	}
	status, _, body := c.call("GET", "/isthmus/v1/devices/sensor-1/why", reader, "")
	var x hub.Explanation
	if err := json.Unmarshal([]byte(body), &x); err != nil || status != 200 || len(x.Throttling) != 1 || x.Identity == nil || strings.Contains(body, d.PrimaryKey) {
		t.Errorf("%d %s, %v", status, body, err)
	}
	if status, _, body := c.call("GET", "/isthmus/v1/devices/sensor-1/modules/cam/why", reader, ""); status != 200 || !strings.Contains(body, "has no module") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := c.call("PUT", "/isthmus/v1/limits", owner, "null"); status != 200 || strings.Contains(body, "0.01") {
		t.Errorf("%d %s", status, body)
	}
}

// A reader of another endpoint follows it as it follows the built-in one.
func TestAnEndpointIsFollowed(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	if err := h.PutEndpoint(t.Context(), hub.Endpoint{Name: "hot", Kind: hub.StreamEndpoint}, "test"); err != nil {
		t.Fatal(err)
	}
	c := newCaller(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+hubtest.Contoso+"/isthmus/v1/events?endpoint=hot&follow=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	resp, err := c.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s, err := h.Stream("hot")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "d", eventlog.Event{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	var e struct{ Body []byte }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || string(e.Body) != "x" {
		t.Errorf("%+v, %v", e, err)
	}
}
