package httpdoor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// Who asks too often is told so by the one name that SDKs know, and each class is counted by itself.
func TestTooOften(t *testing.T) {
	for _, step := range []struct{ class, whose, method, path, body string }{
		{"registry", "hub", "GET", "/devices/d", ""},
		{"registry", "hub", "POST", "/devices", `[{"id":"d","importMode":"update"}]`},
		{"twinReads", "hub", "GET", "/twins/d", ""},
		{"twinUpdates", "hub", "PATCH", "/twins/d", "{}"},
		{"queries", "hub", "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`},
		{"jobs", "hub", "GET", "/jobs", ""},
		{"jobs", "hub", "GET", "/configurations", ""},
		{"methods", "device", "POST", "/twins/d/methods", `{"methodName":"m"}`},
		{"messages", "device", "POST", "/devices/d/messages/events", "x"},
		{"commandReceives", "device", "GET", "/devices/d/messages/devicebound", ""},
	} {
		t.Run(step.method+step.path, func(t *testing.T) {
			w := hubtest.Start(t, hubtest.Options{Full: true})
			c, d := newCaller(t, w), w.Device(hubtest.Contoso, "d")
			few := fmt.Appendf(nil, `{"device":{%[1]q:{"perSecond":0.01,"burst":1}},"hub":{%[1]q:{"perSecond":0.02,"burst":%[2]d}}}`, step.class, map[string]int{"hub": 2, "device": 9}[step.whose])
			if _, err := w.Hub(hubtest.Contoso).SetLimits(t.Context(), few, "the test"); err != nil {
				t.Fatal(err)
			}
			proof := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
			if strings.Contains(step.path, "/messages/") {
				proof = w.Token(hubtest.Contoso, d)
			}
			for range map[string]int{"hub": 2, "device": 1}[step.whose] {
				if status, _, body := c.call(step.method, step.path+version, proof, step.body); status == 429 {
					t.Fatalf("what is allowed: %s", body)
				}
			}
			status, hd, body := c.call(step.method, step.path+version, proof, step.body)
			checkEnvelope(t, status, hd, body, code.Throttled)
		})
	}
}
