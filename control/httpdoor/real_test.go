package httpdoor_test

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/store"
)

// real is the door in front of a real control plane.
func real(t *testing.T) (h http.Handler, adminToken string) {
	t.Helper()
	authority, _, err := identity.NewAuthority(trustDomain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "control.db")}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ctl, err := control.New(control.Config{Addresses: []string{"control.example.net:443"}}, st, authority, quiet(), clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ctl.Bootstrap(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return httpdoor.New(ctl, httpdoor.Config{}, quiet(), clock.System{}, nil), admin
}

const twoTenants = `{"objects":[
	{"apiVersion":"isthmus/v1","kind":"Tenant","metadata":{"name":"ot"},"spec":{}},
	{"apiVersion":"isthmus/v1","kind":"Tenant","metadata":{"name":"it"},"spec":{}},
	{"apiVersion":"isthmus/v1","kind":"Network","metadata":{"tenant":"ot","name":"plant-7"},"spec":{"addressRanges":["10.7.0.0/24"]}},
	{"apiVersion":"isthmus/v1","kind":"Network","metadata":{"tenant":"it","name":"it-cloud"},"spec":{"addressRanges":["10.7.0.0/24"]}},
	{"apiVersion":"isthmus/v1","kind":"Service","metadata":{"tenant":"ot","network":"plant-7","name":"secret"},
	 "spec":{"type":"tcp","target":"192.0.2.9","ports":[{"port":22}]}}]}`

func TestWhatIsInvisibleIsAbsentToTheByte(t *testing.T) {
	h, admin := real(t)
	as := func(token, method, path, body string) (int, string) {
		resp, got := ask(t, h, method, path, body, "Authorization", "Bearer "+token)
		return resp.StatusCode, got
	}
	if status, body := as(admin, "POST", "/v1/apply", twoTenants); status != 200 {
		t.Fatal(body)
	}
	var made struct{ Secret string }
	if _, body := as(admin, "POST", "/v1/tokens", `{"name":"ann","tenant":"it","role":"owner"}`); json.Unmarshal([]byte(body), &made) != nil || made.Secret == "" {
		t.Fatal(body)
	}
	endpoint := func(service string) string {
		return `{"objects":[{"apiVersion":"isthmus/v1","kind":"PrivateEndpoint","metadata":{"tenant":"it","network":"it-cloud","name":"e"},"spec":{"service":"` + service + `"}}]}`
	}
	for name, c := range map[string]struct{ method, there, absent, bodyThere, bodyAbsent string }{
		"get":             {"GET", "/v1/services/ot/plant-7/secret", "/v1/services/ot/plant-7/absent", "", ""},
		"get a tenant":    {"GET", "/v1/tenants/ot", "/v1/tenants/absent", "", ""},
		"delete":          {"DELETE", "/v1/services/ot/plant-7/secret", "/v1/services/ot/plant-7/absent", "", ""},
		"decide":          {"POST", "/v1/endpoints/ot/plant-7/secret/decision", "/v1/endpoints/ot/plant-7/absent/decision", `{"decision":"approve"}`, `{"decision":"approve"}`},
		"lead there":      {"POST", "/v1/apply", "/v1/apply", endpoint("ot/plant-7/secret"), endpoint("ot/plant-7/absent")},
		"list":            {"GET", "/v1/services?tenant=ot", "/v1/services?tenant=absent", "", ""},
		"audit of others": {"GET", "/v1/audit?tenant=ot", "/v1/audit?tenant=absent", "", ""},
	} {
		status, body := as(made.Secret, c.method, c.there, c.bodyThere)
		wantStatus, wantBody := as(made.Secret, c.method, c.absent, c.bodyAbsent)
		wantBody = strings.ReplaceAll(wantBody, "absent", map[bool]string{true: "ot", false: "secret"}[strings.Contains(name, "tenant") || strings.Contains(name, "audit")])
		if status != wantStatus || body != wantBody {
			t.Errorf("%s\n there  %d %s\n absent %d %s", name, status, body, wantStatus, wantBody)
		}
	}
}

func TestIfMatchAgainstTheRealControlPlane(t *testing.T) {
	h, admin := real(t)
	send := func(method, path, body, match string) (int, string, string) {
		resp, got := ask(t, h, method, path, body, "Authorization", "Bearer "+admin, "If-Match", match)
		return resp.StatusCode, resp.Header.Get("ETag"), got
	}
	if status, _, body := send("POST", "/v1/apply", twoTenants, ""); status != 200 {
		t.Fatal(body)
	}
	_, tag, _ := send("GET", "/v1/networks/ot/plant-7", "", "")
	wider := `{"objects":[{"apiVersion":"isthmus/v1","kind":"Network","metadata":{"tenant":"ot","name":"plant-7"},"spec":{"addressRanges":["10.7.0.0/23"]}}]}`
	if status, _, body := send("POST", "/v1/apply", wider, tag); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := send("POST", "/v1/apply", wider, tag); status != 412 {
		t.Errorf("the old ETag still holds: %d %s", status, body)
	}
	if status, _, body := send("DELETE", "/v1/services/ot/plant-7/secret", "", "*"); status != 204 {
		t.Errorf("%d %s", status, body)
	}
}

// The check of If-Match is made again in the transaction of the change, for what came in between.
func TestIfMatchLosesARace(t *testing.T) {
	h, admin := real(t)
	send := func(h http.Handler, method, path, body, match string) (int, string, string) {
		resp, got := ask(t, h, method, path, body, "Authorization", "Bearer "+admin, "If-Match", match)
		return resp.StatusCode, resp.Header.Get("ETag"), got
	}
	if status, _, body := send(h, "POST", "/v1/apply", twoTenants, ""); status != 200 {
		t.Fatal(body)
	}
	const network = `{"objects":[{"apiVersion":"isthmus/v1","kind":"Network","metadata":{"tenant":"ot","name":"plant-7"},"spec":{"addressRanges":["10.7.0.0/%"]}}]}`
	_, tag, _ := send(h, "GET", "/v1/networks/ot/plant-7", "", "")
	const contenders = 8
	statuses := make(chan int, contenders)
	for i := range contenders {
		go func() {
			status, _, _ := send(h, "POST", "/v1/apply", strings.Replace(network, "%", []string{"16", "17", "18", "19", "20", "21", "22", "23"}[i], 1), tag)
			statuses <- status
		}()
	}
	won := 0
	for range contenders {
		switch s := <-statuses; s {
		case 200:
			won++
		case 412:
		default:
			t.Errorf("status %d", s)
		}
	}
	if won != 1 {
		t.Errorf("%d changes got through with the same ETag", won)
	}
}

func FuzzApplyNeverFailsInside(f *testing.F) {
	f.Add([]byte(twoTenants))
	f.Add([]byte(`{"objects":[null,1,[],{}]}`))
	f.Add([]byte(`{"objects":[{"apiVersion":"isthmus/v1","kind":"RecordSet","metadata":{"labels":{"a":1}},"spec":{"a":["::1",7]}}]}`))
	f.Add([]byte(`[[[[`))
	h := door(newFake())
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return
		}
		resp, got := ask(t, h, "POST", "/v1/apply", string(body))
		if resp.StatusCode != 200 && resp.StatusCode != 400 && resp.StatusCode != 413 {
			t.Fatalf("%d %s", resp.StatusCode, got)
		}
		if resp.StatusCode != 200 {
			problem(t, resp, got)
		}
	})
}
