package provisioning_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

// A webhook that hangs holds up neither devices that need none nor those that need another, and when it is well again its own go on.
func TestAWebhookThatHangsHoldsUpNobodyElse(t *testing.T) {
	release := make(chan struct{})
	answer := `{"iotHubHostName":"` + pt.HubA + `"}`
	hung := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			_, _ = io.WriteString(w, answer)
		case <-r.Context().Done():
		}
	}))
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	t.Cleanup(func() { hung.Close(); well.Close() })
	w := pt.Start(t, pt.Options{Change: func(c *provisioning.Config) {
		c.LoopbackWebhooks, c.WebhookTimeout, c.WorkTimeout, c.Queue = true, time.Minute, time.Minute, 60
	}})
	asks := func(id, url string) {
		w.Put(symmetric(id, `,"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":"`+url+`","apiVersion":"2019-03-31"}`))
	}
	ids := map[string]string{} // operations
	for i := range 50 {
		id := fmt.Sprintf("hung-%d", i)
		asks(id, hung.URL)
		o, err := w.Service.Register(t.Context(), own(w, id), provisioning.Registration{})
		if err != nil {
			t.Fatal(err)
		}
		ids[id] = o.ID
	}
	for i := range 10 {
		calm, other := fmt.Sprintf("calm-%d", i), fmt.Sprintf("other-%d", i)
		w.Put(symmetric(calm, ""))
		asks(other, well.URL)
		for _, id := range []string{calm, other} {
			if o := w.Register(own(w, id), provisioning.Registration{}); o.Status != provisioning.Assigned {
				t.Errorf("%s: %+v", id, o.State)
			}
		}
	}
	close(release)
	for id, operation := range ids {
		if o := w.Await(own(w, id), operation); o.Status != provisioning.Assigned {
			t.Errorf("%s: %+v", id, o.State)
		}
	}
	w.Stop()
	if log := w.Log.String(); strings.Contains(log, "hub not reached yet") {
		t.Error("waiting for room is told as a failure")
	}
}
