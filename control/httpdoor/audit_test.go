package httpdoor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
)

func (f *fake) Checkpoints(_ context.Context, _ control.Principal, tenant string, after int64, limit int) ([]audit.Checkpoint, error) {
	unlock, err := f.lock()
	defer unlock()
	return []audit.Checkpoint{{TrustDomain: "isthmus.test", Tenant: tenant, Sequence: after + int64(limit), Hash: "ab"}}, err
}

func (f *fake) Checkpoint(_ context.Context, _ control.Principal, tenant string) (audit.Checkpoint, error) {
	unlock, err := f.lock()
	defer unlock()
	return audit.Checkpoint{Tenant: tenant, Sequence: 7, Hash: "cd", At: time.Unix(9, 0).UTC(), Signature: "ef"}, err
}

func TestCheckpointRoutes(t *testing.T) {
	f := newFake()
	h := httpdoor.New(f, httpdoor.Config{}, quiet(), clock.System{}, nil)
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/audit/checkpoints?tenant=ot&after=30&limit=12", "", http.StatusOK, `"tenant":"ot","sequence":42,"hash":"ab"`},
		{"GET", "/v1/audit/checkpoints?limit=1001", "", http.StatusBadRequest, ""},
		{"GET", "/v1/audit/checkpoints?afer=1", "", http.StatusBadRequest, ""},
		{"POST", "/v1/audit/checkpoints", `{"tenant":"ot"}`, http.StatusOK, `"sequence":7,"hash":"cd","at":"1970-01-01T00:00:09Z"`},
		{"POST", "/v1/audit/checkpoints", `{}`, http.StatusOK, `"signature":"ef"`},
		{"POST", "/v1/audit/checkpoints", `{"tennant":"ot"}`, http.StatusBadRequest, "tennant"},
	} {
		if r, body := ask(t, h, tc.method, tc.path, tc.body); r.StatusCode != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s %s: %d %s", tc.method, tc.path, tc.body, r.StatusCode, body)
		}
	}
	f.failing(fault.New("x", fault.Denied, "no"))
	for method, text := range map[string]string{"GET": "", "POST": "{}"} {
		if r, body := ask(t, h, method, "/v1/audit/checkpoints", text); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", method, r.StatusCode, body)
		}
	}
}

// What was hashed is what leaves the door, byte by byte, whatever its text holds.
func TestRecordsLeaveAsTheyWereHashed(t *testing.T) {
	f := newFake()
	r, err := audit.Record{Tenant: "ot", Time: time.Unix(1, 5), Who: "<olga> & \u2028 \\ \"co\"", Operation: "update", Kind: "Network", Path: "ot/n", Why: "\x00\xff",
		Before: json.RawMessage(`{ "z" : 1.50e+3, "a":"<&>\u2028\u003c", "n":12345678901234567890 }`), After: json.RawMessage(`[null]`)}.Follow(audit.Place{})
	if err != nil {
		t.Fatal(err)
	}
	f.records = []control.AuditRecord{r}
	_, body := ask(t, httpdoor.New(f, httpdoor.Config{}, quiet(), clock.System{}, nil), "GET", "/v1/audit", "")
	var reply struct{ Items []audit.Record }
	if err := json.Unmarshal([]byte(body), &reply); err != nil || len(reply.Items) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	if got := reply.Items[0]; got.Digest() != r.Hash || got.Hash != r.Hash {
		t.Errorf("came as %s, was %s", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", r))
	}
}
