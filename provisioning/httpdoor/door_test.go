package httpdoor_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service behind a server that asks for a client certificate and needs none.
type world struct {
	*pt.World
	t       *testing.T
	url     string
	client  *http.Client
	refused []error
	denied  bool // the side may not speak to the service
}

func start(t *testing.T, local bool) *world {
	t.Helper()
	w := &world{World: pt.Start(t, pt.Options{}), t: t}
	door := httpdoor.New(httpdoor.Config{
		Service: func(r *http.Request) (*provisioning.Service, error) {
			if local {
				return httpdoor.Named(w.Server)(r)
			}
			if svc, ok := w.Server.ByName(r.Host); ok {
				return svc, nil
			}
			return nil, fault.New("test", fault.Denied, "no service here answers to this name")
		},
		Admit: func(*http.Request, *provisioning.Service) error {
			if w.denied {
				return fault.New("test", fault.Denied, "not from this side")
			}
			return nil
		},
		Refused: func(_ *http.Request, _ string, err error) { w.refused = append(w.refused, err) },
		Local:   local,
	}, w.Server, hubtest.Silent(), w.Clock)
	srv := httptest.NewUnstartedServer(door)
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
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
	return w.askAs(w.client, method, path, body, header...)
}

func (w *world) askAs(client *http.Client, method, path, body string, header ...string) reply {
	w.t.Helper()
	if !strings.Contains(path, "api-version") && !strings.HasPrefix(path, "/isthmus") {
		path += "?api-version=2021-10-01"
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = pt.Host
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := reply{Response: resp, raw: string(b)}
	if len(b) > 0 {
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			w.t.Errorf("%s %s: content type %q", method, path, resp.Header.Get("Content-Type"))
		}
		if json.Unmarshal(b, &out.body) != nil {
			if err := json.Unmarshal(b, &out.list); err != nil {
				w.t.Fatalf("%s %s: %s", method, path, b)
			}
		}
	}
	return out
}

func (w *world) owner() string { return "Authorization: " + w.ServiceToken(provisioning.PolicyOwner) }

func TestADeviceRegisters(t *testing.T) {
	w := start(t, false)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	auth := "Authorization: " + w.Token("d", w.Key("d"))
	base := "/" + w.Service.Scope() + "/registrations/d"
	release := w.Hubs.Get(pt.HubA).Hold()
	defer release()
	releaseB := w.Hubs.Get(pt.HubB).Hold()
	defer releaseB()
	r := w.ask("PUT", base+"/register?api-version=2019-03-31", `{"registrationId":"d","payload":{"a":1}}`, auth)
	id, _ := r.body["operationId"].(string)
	if r.StatusCode != 202 || r.Header.Get("Retry-After") != "3" || r.body["status"] != "assigning" || !strings.HasSuffix(r.Header.Get("Location"), base+"/operations/"+id) {
		t.Fatalf("%d %v %s", r.StatusCode, r.Header, r.raw)
	}
	if r = w.ask("GET", base+"/operations/"+id, `{}`, auth); r.StatusCode != 202 || r.body["operationId"] != id || r.Header.Get("Retry-After") != "3" {
		t.Fatalf("%d %s", r.StatusCode, r.raw)
	}
	release()
	releaseB()
	w.Await(provisioning.Proof{RegistrationID: "d", Token: w.Token("d", w.Key("d"))}, id)
	r = w.ask("GET", base+"/operations/"+id, `{}`, auth)
	state, _ := r.body["registrationState"].(map[string]any)
	if r.StatusCode != 200 || r.body["status"] != "assigned" || state["deviceId"] != "d" || state["substatus"] != "initialAssignment" || state["assignedHub"] == "" || state["etag"] == "" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("POST", base, `{"registrationId":"d"}`, auth); r.StatusCode != 200 || r.body["status"] != "assigned" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("GET", base+"/operations/5.other", ``, auth); r.StatusCode != 404 || r.body["errorCode"] != 404202.0 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("PUT", base+"/register", `{"registrationId":"e"}`, auth); r.StatusCode != 400 {
		t.Errorf("another id in the body: %d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("PUT", base+"/register", `{`, auth); r.StatusCode != 400 {
		t.Errorf("no JSON: %d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("PUT", base+"/register", `{"payload":"`+strings.Repeat("x", 40<<10)+`"}`, auth); r.StatusCode != 413 {
		t.Errorf("too large: %d %s", r.StatusCode, r.raw)
	}
	w.denied = true
	if r = w.ask("PUT", base+"/register", `{}`, auth); r.StatusCode != 401 {
		t.Errorf("from the wrong side: %d", r.StatusCode)
	}
}

// C52: everybody hears the same, in Azure's envelope.
func TestStrangers(t *testing.T) {
	w := start(t, false)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	good := w.Token("d", w.Key("d"))
	heard := map[string]bool{}
	for _, c := range []struct{ scope, id, token string }{
		{w.Service.Scope(), "d", ""}, {w.Service.Scope(), "nobody", good}, {w.Service.Scope(), "d", "SharedAccessSignature x"},
		{"0ne00000000", "d", good}, {w.Service.Scope(), "d", w.Token("d", "MDEyMzQ1Njc4OWFiY2RlZg==")},
	} {
		r := w.ask("PUT", "/"+c.scope+"/registrations/"+c.id+"/register", `{}`, "Authorization: "+c.token)
		if r.StatusCode != 401 || r.body["errorCode"] != 401002.0 || r.Header.Get("x-ms-error-code") != "401002" || len(r.body["trackingId"].(string)) != 32 || r.body["timestampUtc"] == "" || r.body["info"] == nil {
			t.Errorf("%+v: %d %s", c, r.StatusCode, r.raw)
		}
		heard[r.body["message"].(string)] = true
	}
	if len(heard) != 1 || len(w.refused) != 5 {
		t.Errorf("%v, %d refusals told", heard, len(w.refused))
	}
	for _, err := range w.refused { // the log knows why
		if errors.Unwrap(err) == nil {
			t.Errorf("no cause: %v", err)
		}
	}
}

func TestByCertificate(t *testing.T) {
	w := start(t, false)
	root := pt.Sign(t, nil, "root", pt.CA)
	w.PutGroup(`{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":"` + root.Base64() + `"}}}}}`)
	leaf := pt.Sign(t, pt.Sign(t, root, "plant", pt.CA), "Press-1")
	tr := w.client.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.Certificates = []tls.Certificate{leaf.TLS()}
	client := &http.Client{Transport: tr}
	defer client.CloseIdleConnections()
	r := w.askAs(client, "PUT", "/"+w.Service.Scope()+"/registrations/press-1/register", `{}`)
	if r.StatusCode != 202 {
		t.Fatalf("%d %s", r.StatusCode, r.raw)
	}
	w.Await(provisioning.Proof{RegistrationID: "press-1", Certificates: leaf.Chain()}, r.body["operationId"].(string))
	r = w.askAs(client, "POST", "/"+w.Service.Scope()+"/registrations/press-1", `{}`)
	if x, _ := r.body["x509"].(map[string]any); r.StatusCode != 200 || x["enrollmentGroupId"] != "g" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.askAs(client, "PUT", "/"+w.Service.Scope()+"/registrations/press-2/register", `{}`); r.StatusCode != 401 {
		t.Errorf("another name: %d %s", r.StatusCode, r.raw)
	}
}

// The nonce flow of a TPM, as the Node SDK's transport speaks it.
func TestTPM(t *testing.T) {
	t.Run("C57 TPM nonce flow over HTTP", func(t *testing.T) {
		w := start(t, false)
		chip, err := tpmtest.New()
		if err != nil {
			t.Fatal(err)
		}
		text := base64.StdEncoding.EncodeToString
		w.Put(`{"registrationId":"chip","attestation":{"type":"tpm","tpm":{"endorsementKey":"` + text(chip.EndorsementKey()) + `"}}}`)
		base := "/" + w.Service.Scope() + "/registrations/chip"
		body := `{"registrationId":"chip","tpm":{"endorsementKey":"` + text(chip.EndorsementKey()) + `","storageRootKey":"` + text(chip.StorageRootKey()) + `"}}`
		r := w.ask("PUT", base+"/register?api-version=2019-03-31", body)
		blob, err := base64.StdEncoding.DecodeString(r.body["authenticationKey"].(string))
		if r.StatusCode != 401 || err != nil || len(w.refused) != 0 {
			t.Fatalf("%d %s %v", r.StatusCode, r.raw, w.refused)
		}
		key, _, err := chip.Activate(blob)
		if err != nil {
			t.Fatal(err)
		}
		token := w.Token("chip", text(key))
		if r = w.ask("PUT", base+"/register?api-version=2019-03-31", body, "Authorization: "+token); r.StatusCode != 202 {
			t.Fatalf("%d %s", r.StatusCode, r.raw)
		}
		id := r.body["operationId"].(string)
		w.Await(provisioning.Proof{RegistrationID: "chip", Token: token}, id)
		r = w.ask("GET", base+"/operations/"+id, "", "Authorization: "+token)
		state := r.body["registrationState"].(map[string]any)
		if blob, err = base64.StdEncoding.DecodeString(state["tpm"].(map[string]any)["authenticationKey"].(string)); err != nil {
			t.Fatal(err)
		}
		key, _, err = chip.Activate(blob)
		d, _ := w.Hubs.Get(state["assignedHub"].(string)).Device("chip")
		if err != nil || text(key) != d.Primary {
			t.Errorf("the hub's key: %v", err)
		}
		other, _ := tpmtest.New()
		if r = w.ask("PUT", base+"/register", strings.ReplaceAll(body, text(chip.EndorsementKey()), text(other.EndorsementKey()))); r.StatusCode != 401 || r.body["authenticationKey"] != nil {
			t.Errorf("another TPM: %d %s", r.StatusCode, r.raw)
		}
	})
}

func TestTheServiceAPI(t *testing.T) {
	w := start(t, false)
	auth := w.owner()
	doc := `{"registrationId":"d1","attestation":{"type":"symmetricKey"},"provisioningStatus":"enabled"}`
	r := w.ask("PUT", "/enrollments/d1", doc, auth)
	etag, _ := r.body["etag"].(string)
	if r.StatusCode != 200 || etag == "" || r.Header.Get("ETag") != `"`+etag+`"` || strings.Contains(r.raw, "primaryKey") {
		t.Fatalf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("PUT", "/enrollments/d1", doc, auth); r.StatusCode != 409 || r.body["errorCode"] != 409201.0 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	for _, match := range []string{etag, `"*"`, `*`} {
		if r = w.ask("PUT", "/enrollments/d1", doc, auth, "If-Match: "+match); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", match, r.StatusCode, r.raw)
		}
	}
	etag = r.body["etag"].(string)
	if r = w.ask("PUT", "/enrollments/d1", doc, auth, `If-Match: "stale"`); r.StatusCode != 412 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("GET", "/Enrollments/D1", "", auth); r.StatusCode != 200 || r.body["registrationId"] != "d1" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("POST", "/enrollments/d1/attestationmechanism", "", auth); r.StatusCode != 200 || r.body["type"] != "symmetricKey" || len(r.body["symmetricKey"].(map[string]any)["primaryKey"].(string)) != 88 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	group := `{"enrollmentGroupId":"registrations","attestation":{"type":"symmetricKey"}}`
	if r = w.ask("PUT", "/enrollmentGroups/registrations", group, auth); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("POST", "/enrollmentgroups/registrations/attestationmechanism", "", auth); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("POST", "/registrations/registrations/query", `{"query":"*"}`, auth); r.StatusCode != 200 || len(r.list) != 0 || r.raw != "[]" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	many := `{"mode":"create","enrollments":[{"registrationId":"d2","attestation":{"type":"symmetricKey"}},{"registrationId":"d1","attestation":{"type":"symmetricKey"}}]}`
	if r = w.ask("POST", "/enrollments/", many, auth); r.StatusCode != 200 || r.body["isSuccessful"] != false || len(r.body["errors"].([]any)) != 1 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	r = w.ask("POST", "/enrollments/query", `{"query":"*"}`, auth, "x-ms-max-item-count: 1")
	next := r.Header.Get("x-ms-continuation")
	if r.StatusCode != 200 || len(r.list) != 1 || next == "" || r.Header.Get("x-ms-item-type") != "enrollment" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("POST", "/enrollments/query", `{"query":"SELECT * FROM enrollments"}`, auth, "x-ms-continuation: "+next); len(r.list) != 1 || r.Header.Get("x-ms-continuation") != "" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	for header, body := range map[string]string{"x-ms-max-item-count: many": `{"query":"*"}`, "x-ms-continuation: !": `{"query":"*"}`, "a: b": `{"query":"SELECT 1"}`} {
		if r = w.ask("POST", "/enrollments/query", body, auth, header); r.StatusCode != 400 {
			t.Errorf("%s: %d %s", header, r.StatusCode, r.raw)
		}
	}
	if r = w.ask("DELETE", "/enrollments/d1", "", auth, "If-Match: "+etag); r.StatusCode != 204 || r.raw != "" {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	for path, status := range map[string]int{"/enrollments/d1": 404, "/nonsense": 404, "/registrations/nobody": 404, "/enrollments/query": 404, "/enrollments": 405} {
		if r = w.ask("GET", path, "", auth); r.StatusCode != status || r.Header.Get("x-ms-error-code") == "" {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.raw)
		}
	}
	if r = w.ask("GET", "/enrollments/d2?api-version=1", "", auth); r.StatusCode != 400 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
}

func TestWhoMayWhat(t *testing.T) {
	w := start(t, false)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	for _, c := range []struct {
		policy, method, path, body string
		status                     int
	}{
		{provisioning.PolicyRead, "GET", "/enrollments/d", "", 200},
		{provisioning.PolicyRead, "POST", "/enrollments/d/attestationmechanism", "", 401},
		{provisioning.PolicyRead, "DELETE", "/enrollments/d", "", 401},
		{provisioning.PolicyRead, "GET", "/isthmus/v1/provisioning", "", 401},
		{provisioning.PolicyReadWrite, "POST", "/enrollments/d/attestationmechanism", "", 200},
		{provisioning.PolicyReadWrite, "GET", "/isthmus/v1/provisioning", "", 401},
		{provisioning.PolicyReadWrite, "PUT", "/isthmus/v1/linkedhubs/" + pt.HubA, `{"allocationWeight":2}`, 401},
		{provisioning.PolicyOwner, "PUT", "/isthmus/v1/linkedhubs/" + pt.HubA, `{"allocationWeight":2}`, 204},
		{provisioning.PolicyOwner, "GET", "/isthmus/v1/policies/provisioningserviceowner", "", 404},
	} {
		if r := w.ask(c.method, c.path, c.body, "Authorization: "+w.ServiceToken(c.policy)); r.StatusCode != c.status {
			t.Errorf("%+v: %d %s", c, r.StatusCode, r.raw)
		}
	}
	for _, auth := range []string{"", "Bearer x", w.Token("d", w.Key("d"))} {
		if r := w.ask("GET", "/enrollments/d", "", "Authorization: "+auth); r.StatusCode != 401 {
			t.Errorf("%.20q: %d", auth, r.StatusCode)
		}
	}
}

func TestItsOwnRoutes(t *testing.T) {
	w := start(t, true) // the local socket: nobody is asked for a token
	r := w.ask("GET", "/isthmus/v1/provisioning", "")
	if r.StatusCode != 200 || r.body["idScope"] != w.Service.Scope() || len(r.body["linkedHubs"].([]any)) != 2 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("GET", "/isthmus/v1/provisioning?hub=nobody", ""); r.StatusCode != 404 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	secret := "HostName=x;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0"
	if r = w.ask("PUT", "/isthmus/v1/linkedhubs/y", `{"connectionString":"`+secret+`"}`); r.StatusCode != 400 || strings.Contains(r.raw, "c2VjcmV0") {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	ca := pt.Sign(t, nil, "ca", pt.CA)
	cert := func(c *pt.Certified) string { return `{"certificate":"` + c.Base64() + `"}` }
	if r = w.ask("PUT", "/isthmus/v1/certificates/ca", cert(ca)); r.StatusCode != 200 || r.body["isVerified"] != false {
		t.Fatalf("%d %s", r.StatusCode, r.raw)
	}
	r = w.ask("POST", "/isthmus/v1/certificates/ca/verificationcode", "")
	code, _ := r.body["verificationCode"].(string)
	if r = w.ask("POST", "/isthmus/v1/certificates/ca/verify", cert(pt.Sign(t, ca, code))); r.StatusCode != 200 || r.body["isVerified"] != true {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("GET", "/isthmus/v1/certificates", ""); len(r.list) != 1 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("DELETE", "/isthmus/v1/certificates/ca", ""); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	before := w.ask("GET", "/isthmus/v1/policies/enrollmentRead", "").body["connectionString"].(string)
	if r = w.ask("POST", "/isthmus/v1/policies/enrollmentRead/keys", `{"renew":"primary"}`); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if after := w.ask("GET", "/isthmus/v1/policies/enrollmentRead", "").body["connectionString"]; after == before {
		t.Error("the key stays")
	}
	if r = w.ask("POST", "/isthmus/v1/policies/enrollmentRead/keys", `{"renew":"both"}`); r.StatusCode != 400 {
		t.Errorf("%d %s", r.StatusCode, r.raw)
	}
	if r = w.ask("PUT", "/"+w.Service.Scope()+"/registrations/d/register", "{}"); r.StatusCode != 401 {
		t.Errorf("a device on the local socket: %d %s", r.StatusCode, r.raw)
	}
}
