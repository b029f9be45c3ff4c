package httpdoor_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller makes requests to a world's HTTPS door.
type caller struct {
	t *testing.T
	w *hubtest.World
	c *http.Client
}

func newCaller(t *testing.T, w *hubtest.World) *caller {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.HTTPS)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &caller{t, w, &http.Client{Transport: tr, Timeout: 20 * time.Second}}
}

// call returns status, header and body. headers are name, value, ...
func (c *caller) call(method, path, token, body string, headers ...string) (int, http.Header, string) {
	c.t.Helper()
	r, err := http.NewRequest(method, "https://"+hubtest.Contoso+path, io.NopCloser(strings.NewReader(body))) // chunked, as SDKs do
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.c.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

const version = "?api-version=2021-04-12"

func TestRegistryByTheLetter(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	owner := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	expired := func() string {
		text, _ := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
		cs, _ := sas.ParseConnectionString(text)
		token, _ := sas.Sign(hubtest.Contoso, cs.Key, cs.Policy, time.Now().Add(-time.Minute))
		return token
	}()
	keys := `"authentication":{"type":"sas","symmetricKey":{"primaryKey":"MDEyMzQ1Njc4OWFiY2RlZg==","secondaryKey":"MDEyMzQ1Njc4OWFiY2RlZg=="}}`
	for _, step := range []struct {
		name, method, path, token, body string
		headers                         []string
		status                          int
		code                            string // iothub-errorcode
		holds                           string // in the body
	}{
		{"create", "PUT", "/devices/d%20%231" + version, owner, `{"deviceId":"d #1"}`, nil, 400, "ArgumentInvalid", `the device id \"d #1\" holds`},
		{"create", "PUT", "/devices/d%231" + version, owner, `{"deviceId":"d#1"}`, nil, 200, "", `"deviceId":"d#1"`},
		{"create with empty keys", "PUT", "/devices/empty" + version, owner, `{"deviceId":"empty","authentication":{"symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, nil, 200, "", `"type":"sas"`},
		{"create with keys", "PUT", "/devices/keys" + version, owner, `{"deviceId":"keys",` + keys + `,"status":"Disabled","statusReason":"spare"}`, nil, 200, "", `"primaryKey":"MDEyMzQ1Njc4OWFiY2RlZg=="`},
		{"create again", "PUT", "/devices/keys" + version, owner, `{"deviceId":"keys"}`, nil, 409, "DeviceAlreadyExists", `"Message":"ErrorCode:DeviceAlreadyExists;device`},
		{"create with one key", "PUT", "/devices/one" + version, owner, `{"authentication":{"symmetricKey":{"primaryKey":"MDEyMzQ1Njc4OWFiY2RlZg=="}}}`, nil, 400, "ArgumentInvalid", "one key and not the other"},
		{"create with a short key", "PUT", "/devices/one" + version, owner, `{"authentication":{"symmetricKey":{"primaryKey":"MDEy","secondaryKey":"MDEy"}}}`, nil, 400, "ArgumentInvalid", "16 to 64 bytes"},
		{"create under another name", "PUT", "/devices/one" + version, owner, `{"deviceId":"two"}`, nil, 400, "ArgumentInvalid", "the path says"},
		{"create from no JSON", "PUT", "/devices/one" + version, owner, `{`, nil, 400, "IotHubFormatError", "JSON"},
		{"create from too much", "PUT", "/devices/one" + version, owner, `{"x":"` + strings.Repeat("x", 70<<10) + `"}`, nil, 413, "MessageTooLarge", "larger than"},
		{"get", "GET", "/devices/keys" + version, owner, "", nil, 200, "", `"statusReason":"spare"`},
		{"get what is not there", "GET", "/devices/nobody" + version, owner, "", nil, 404, "DeviceNotFound", `"ExceptionMessage":"Tracking ID:`},
		{"update without an etag", "PUT", "/devices/nobody" + version, owner, `{}`, []string{"If-Match", `"*"`}, 404, "DeviceNotFound", "no device"},
		{"update with a stale etag", "PUT", "/devices/keys" + version, owner, `{}`, []string{"If-Match", `"c3RhbGU="`}, 412, "PreconditionFailed", "changed meanwhile"},
		{"update", "PUT", "/devices/keys" + version, owner, `{` + keys + `}`, []string{"If-Match", "*"}, 200, "", `"status":"enabled"`},
		{"delete without an etag", "DELETE", "/devices/keys" + version, owner, "", nil, 412, "PreconditionFailed", "If-Match"},
		{"delete", "DELETE", "/devices/keys" + version, owner, "", []string{"If-Match", `"*"`}, 204, "", ""},
		{"delete again", "DELETE", "/devices/keys" + version, owner, "", []string{"If-Match", `"*"`}, 404, "DeviceNotFound", ""},
		{"list as Node does", "GET", "/devices/" + version, owner, "", nil, 200, "", `[{"deviceId":"d#1"`},
		{"list one", "GET", "/devices" + version + "&top=1", owner, "", nil, 200, "", `"d#1"`},
		{"list nonsense", "GET", "/devices" + version + "&top=x", owner, "", nil, 400, "ArgumentInvalid", "1 to 1000"},
		{"count", "GET", "/statistics/devices" + version, owner, "", nil, 200, "", `{"disabledDeviceCount":0,"enabledDeviceCount":2,"totalDeviceCount":2}`},
		{"count connected", "GET", "/statistics/service" + version, owner, "", nil, 200, "", `{"connectedDeviceCount":0}`},
		{"no version", "GET", "/devices", owner, "", nil, 400, "InvalidProtocolVersion", "2021-04-12"},
		{"a version of the future", "GET", "/devices?api-version=2099-01-01", owner, "", nil, 400, "InvalidProtocolVersion", "2021-04-12"},
		{"an unknown path", "GET", "/shadows/d" + version, owner, "", nil, 404, "NotFound", "azure-divergences"},
		{"a method nobody has", "PATCH", "/devices/d" + version, owner, "", nil, 405, "InvalidOperation", ""},
		{"no token", "GET", "/devices" + version, "", "", nil, 401, "IotHubUnauthorized", "cannot be read"},
		{"an expired token", "GET", "/devices" + version, expired, "", nil, 401, "IotHubUnauthorized", "the token ended"},
		{"another hub's token", "GET", "/devices" + version, w.ServiceToken(hubtest.Fabrikam, hub.PolicyOwner), "", nil, 401, "IotHubUnauthorized", "not signed"},
		{"a policy that may not", "GET", "/devices" + version, w.ServiceToken(hubtest.Contoso, hub.PolicyService), "", nil, 401, "IotHubUnauthorizedAccess", "RegistryRead"},
		{"a policy that may only read", "PUT", "/devices/x" + version, w.ServiceToken(hubtest.Contoso, hub.PolicyRegistryRead), "{}", nil, 401, "IotHubUnauthorizedAccess", "RegistryWrite"},
		{"the socket's own over HTTPS", "GET", "/isthmus/v1/policies/service", owner, "", nil, 404, "NotFound", ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, header, body := c.call(step.method, step.path, step.token, step.body, step.headers...)
			if status != step.status || header.Get("iothub-errorcode") != step.code || !strings.Contains(body, step.holds) {
				t.Errorf("%s %s answers %d %q %s\nwant %d %q %s", step.method, step.path, status, header.Get("iothub-errorcode"), body, step.status, step.code, step.holds)
			}
			if status != 204 && header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("content type %q", header.Get("Content-Type"))
			}
		})
	}
	secret := func() string {
		text, _ := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
		_, key, _ := strings.Cut(text, "SharedAccessKey=")
		return key
	}()
	for _, r := range w.Server.Refusals() {
		if strings.Contains(fmt.Sprint(r), secret) || r.Source != "127.0.0.1" || r.Door != "https" {
			t.Errorf("refusal %+v", r)
		}
	}
}

func TestETagsMoveWithChangesOnly(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	owner := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	etag := func(body string) string {
		t.Helper()
		var d struct{ ETag string }
		if err := json.Unmarshal([]byte(body), &d); err != nil || d.ETag == "" {
			t.Fatalf("%s: %v", body, err)
		}
		return d.ETag
	}
	_, h, first := c.call("PUT", "/devices/d"+version, owner, `{}`)
	if h.Get("ETag") != `"`+etag(first)+`"` {
		t.Errorf("header %s, body %s", h.Get("ETag"), etag(first))
	}
	_, _, read := c.call("GET", "/devices/d"+version, owner, "")
	if etag(read) != etag(first) {
		t.Error("reading moved the etag")
	}
	status, _, changed := c.call("PUT", "/devices/d"+version, owner, `{"statusReason":"x"}`, "If-Match", `"`+etag(first)+`"`)
	if status != 200 || etag(changed) == etag(first) {
		t.Errorf("%d %s", status, changed)
	}
	var a, b struct {
		GenerationID   string
		Authentication struct{ SymmetricKey struct{ PrimaryKey string } }
	}
	if json.Unmarshal([]byte(first), &a) != nil || json.Unmarshal([]byte(changed), &b) != nil || a.GenerationID != b.GenerationID || a.Authentication == b.Authentication {
		t.Errorf("an update without keys makes new ones and keeps the generation: %+v %+v", a, b)
	}
}

func TestBulk(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	owner := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`{"id":"d%03d","importMode":"Create","status":"enabled"}`, i))
	}
	status, _, body := c.call("POST", "/devices"+version, owner, "["+strings.Join(list, ",")+"]")
	if status != 200 || !strings.Contains(body, `"isSuccessful":true`) {
		t.Fatalf("%d %s", status, body)
	}
	status, h, body := c.call("POST", "/devices"+version, owner,
		`[{"id":"d000","importMode":"create"},{"id":"d001","importMode":"delete"},{"id":"d002","importMode":"UpdateIfMatchETag","eTag":"stale"},{"id":"new","importMode":"create"},{"id":"b\u0000d"}]`)
	var got struct {
		IsSuccessful bool
		Errors       []struct {
			DeviceID, ErrorStatus, Operation string
			ErrorCode                        int
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 400 || h.Get("iothub-errorcode") != "BulkRegistryOperationFailure" || got.IsSuccessful || len(got.Errors) != 3 {
		t.Fatalf("%d %s", status, body)
	}
	for i, want := range []code.Code{code.DeviceAlreadyExists, code.PreconditionFailed, code.ArgumentInvalid} {
		if got.Errors[i].ErrorCode != want.Number || !strings.HasPrefix(got.Errors[i].ErrorStatus, want.Name+";") {
			t.Errorf("error %d is %+v, want %+v", i, got.Errors[i], want)
		}
	}
	for id, want := range map[string]int{"d001": 404, "new": 200} {
		if status, _, _ := c.call("GET", "/devices/"+id+version, owner, ""); status != want {
			t.Errorf("%s: %d", id, status)
		}
	}
	for name, body := range map[string]string{"none": "[]", "101": "[" + strings.Join(append(list, `{"id":"x"}`), ",") + "]", "a mode nobody has": `[{"id":"y","importMode":"upsert"}]`} {
		if status, _, _ := c.call("POST", "/devices"+version, owner, body); status != 400 && (status != 413 || name != "101") {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestTelemetryOverHTTPS(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	d := w.Device(hubtest.Contoso, "d")
	token := w.Token(hubtest.Contoso, d)
	path := "/devices/d/messages/events" + version
	if status, _, body := c.call("POST", path, token, "one\x00\xff", "iothub-app-Line", "3", "iothub-messageid", "m1", "iothub-contenttype", "text/plain", "X-Other", "x"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	batch := fmt.Sprintf(`[{"body":%q,"properties":{"iothub-app-Line":"4","iothub-messageid":"m2"}},{"body":"plain","base64Encoded":false}]`, base64.StdEncoding.EncodeToString([]byte("two")))
	if status, _, body := c.call("POST", path, token, batch, "Content-Type", "application/vnd.microsoft.iothub.json"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	for i, e := range w.Events(hubtest.Contoso, 3) {
		want := []struct {
			body, id   string
			properties map[string]string
		}{{"one\x00\xff", "m1", map[string]string{"Line": "3"}}, {"two", "m2", map[string]string{"Line": "4"}}, {"plain", "", nil}}[i]
		if string(e.Body) != want.body || !maps.Equal(e.Properties, want.properties) || e.System["message-id"] != want.id || e.System["iothub-connection-device-id"] != "d" {
			t.Errorf("event %d: %q %v %v", i, e.Body, e.Properties, e.System)
		}
	}
	other := w.Device(hubtest.Contoso, "other")
	for name, c2 := range map[string]struct {
		token, body string
		status      int
	}{
		"another device's token": {w.Token(hubtest.Contoso, other), "x", 401},
		"a service's token":      {w.ServiceToken(hubtest.Contoso, hub.PolicyService), "x", 401},
		"too large":              {token, strings.Repeat("x", hub.MaxMessage+1), 413},
	} {
		if status, _, body := c.call("POST", path, c2.token, c2.body); status != c2.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _, body := c.call("POST", path, token, `[{"body":"!"}]`, "Content-Type", "application/vnd.microsoft.iothub.json"); status != 400 {
		t.Errorf("no base64: %d %s", status, body)
	}
	if got := w.Hub(hubtest.Contoso).Stats(); got.Messages != 3 || got.Connected != 0 {
		t.Errorf("%+v", got)
	}
}

func client(t *testing.T, cfg hubclient.Config) *hubclient.Client {
	t.Helper()
	c, err := hubclient.New(cfg, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func remote(t *testing.T, w *hubtest.World, policy string) *hubclient.Client {
	t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(policy)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	return client(t, hubclient.Config{Connection: cs, Address: w.HTTPS, Roots: w.Roots})
}

func send(t *testing.T, w *hubtest.World, device string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := w.Hub(hubtest.Contoso).SubmitAll(hub.Identity{Device: device}, []hub.Message{{Body: []byte(b), Properties: map[string]string{"n": b}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamOfEvents(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	for i := range 600 {
		send(t, w, fmt.Sprintf("d%d", i%10), fmt.Sprintf("message %d", i))
	}
	for name, c := range map[string]*hubclient.Client{
		"over HTTPS": remote(t, w, hub.PolicyService), "over the socket": client(t, hubclient.Config{Socket: w.Admin, Hub: "ot/ot-cloud/contoso"}),
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			next := map[int]int64{}
			if err := c.Events(t.Context(), hubclient.Query{}, func(e hubclient.Event) error {
				if e.Sequence != next[e.Partition] {
					t.Errorf("partition %d: %d after %d", e.Partition, e.Sequence, next[e.Partition]-1)
				}
				next[e.Partition]++
				if e.Properties["n"] != string(e.Body) || e.System["iothub-message-source"] != "Telemetry" || e.Enqueued.IsZero() {
					t.Errorf("event %+v", e)
				}
				got = append(got, string(e.Body))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if len(got) != 600 {
				t.Errorf("%d events", len(got))
			}
			var part []hubclient.Event
			if err := c.Events(t.Context(), hubclient.Query{Only: true, Partition: 1, From: "2", Limit: 3}, func(e hubclient.Event) error {
				part = append(part, e)
				return nil
			}); err != nil || len(part) != 3 || part[0].Partition != 1 || part[0].Sequence != 2 {
				t.Errorf("%+v, %v", part, err)
			}
		})
	}
	c := remote(t, w, hub.PolicyService)
	for name, q := range map[string]hubclient.Query{"partition": {Only: true, Partition: 99}, "from": {From: "yesterday"}} {
		if err := c.Events(t.Context(), q, nil); err == nil || fault.Next(err) == "" {
			t.Errorf("a wrong %s gives %v", name, err)
		}
	}
	if err := remote(t, w, hub.PolicyDevice).Events(t.Context(), hubclient.Query{}, nil); fault.KindOf(err) != fault.Denied {
		t.Errorf("a policy without the right: %v", err)
	}
}

func TestFollow(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	send(t, w, "d", "old")
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string)
	ended := make(chan error, 1)
	c := remote(t, w, hub.PolicyService)
	go func() {
		ended <- c.Events(ctx, hubclient.Query{Follow: true}, func(e hubclient.Event) error {
			got <- string(e.Body)
			return nil
		})
	}()
	if b := <-got; b != "old" {
		t.Fatalf("got %q", b)
	}
	for i := range 20 {
		b := fmt.Sprint("new ", i)
		send(t, w, "d", b)
		if g := <-got; g != b {
			t.Fatalf("got %q, want %q", g, b)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFollowGoesOnWhereItWas(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	send(t, w, "d", "1", "2", "3", "4", "5", "6")
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.Admin)
	}}
	defer tr.CloseIdleConnections()
	// What stands before the hub ends each stream after two events.
	short := &httputil.ReverseProxy{Transport: tr, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", "hub"
		q := r.Out.URL.Query()
		q.Set("limit", "2")
		r.Out.URL.RawQuery = q.Encode()
	}}
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: short}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { _ = srv.Close(); <-done }()

	var got []string
	enough := errors.New("enough")
	err = client(t, hubclient.Config{Socket: socket, Hub: hubtest.Contoso}).Events(t.Context(), hubclient.Query{Follow: true}, func(e hubclient.Event) error {
		if got = append(got, string(e.Body)); len(got) == 6 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(got, "") != "123456" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLocalSocket(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	info, err := os.Stat(w.Admin)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	c := client(t, hubclient.Config{Socket: w.Admin})
	hubs, err := c.Hubs(t.Context())
	if err != nil || len(hubs) != 2 || hubs[1].Name != "ot/ot-cloud/contoso" {
		t.Errorf("%+v, %v", hubs, err)
	}
	_, err = c.Create(t.Context(), hubclient.Device{ID: "d"})
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Next(err), "ot/ot-cloud/contoso") {
		t.Errorf("which hub? %v, next: %s", err, fault.Next(err))
	}
	c = client(t, hubclient.Config{Socket: w.Admin, Hub: hubtest.Contoso})
	d, err := c.Create(t.Context(), hubclient.Device{ID: "d's+#1"})
	if err != nil || d.Authentication.Keys.Primary == "" {
		t.Fatalf("%+v, %v", d, err)
	}
	if got, err := c.Device(t.Context(), d.ID); err != nil || got.ETag != d.ETag {
		t.Errorf("%+v, %v", got, err)
	}
	d.Status = "disabled"
	if d, err = c.Update(t.Context(), d, d.ETag); err != nil || d.Status != "disabled" {
		t.Errorf("%+v, %v", d, err)
	}
	if list, err := c.Devices(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if text, err := c.PolicyConnectionString(t.Context(), hub.PolicyService, ""); err != nil || !strings.HasPrefix(text, "HostName=contoso") {
		t.Errorf("%s, %v", text, err)
	}
	if err := c.Delete(t.Context(), d.ID, "stale"); fault.KindOf(err) != fault.Precondition {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), d.ID, hubclient.Any); err != nil {
		t.Error(err)
	}
	if _, err := client(t, hubclient.Config{Socket: w.Admin + "x"}).Hubs(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	_, err = remote(t, w, hub.PolicyService).Create(t.Context(), hubclient.Device{ID: "x"})
	if fault.KindOf(err) != fault.Denied || fault.Next(err) == "" {
		t.Errorf("%v", err)
	}
}
