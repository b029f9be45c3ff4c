package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// line makes devices d0 to d3, of lines 0 and 1 in turn.
func line(t *testing.T, w *hubtest.World) map[string]hub.Device {
	t.Helper()
	out := map[string]hub.Device{}
	for i := range 4 {
		d := w.Device(hubtest.Contoso, fmt.Sprintf("d%d", i))
		if _, err := w.Hub(hubtest.Contoso).PatchTwin(t.Context(), d.Name(), fmt.Appendf(nil, `{"tags":{"line":%d}}`, i%2), ""); err != nil {
			t.Fatal(err)
		}
		out[d.ID] = d
	}
	return out
}

func TestJobs(t *testing.T) {
	beside(t)
	covers(t, "C42", "azure-iothub")
	covers(t, "C43", "azure-iothub")
	w := start(t, hubtest.Options{Full: true})
	devices := line(t, w)
	s := play(t, w, "jobs.js", "jobs", serviceString(t, w, hub.PolicyOwner), deviceString(hubtest.Contoso, devices["d1"]))
	s.step("unknown", "", "body.status", "unknown", "body.type", "unknown")
	s.step("twins", "", "body.jobId", "twins", "body.status", "queued", "body.type", "scheduleUpdateTwin")
	s.step("twins are done", "", "body.status", "completed", "body.deviceJobStatistics.deviceCount", 2, "body.deviceJobStatistics.succeededCount", 2)
	s.step("the same id", "DeviceAlreadyExistsError") // what the SDK calls every 409
	s.step("a twin", "", "body.tags.done", true, "body.properties.desired.rate", 5)
	s.step("another twin", "", "body.tags.done", nil)
	s.step("methods", "", "body.jobId", "methods", "body.type", "scheduleDeviceMethod")
	s.step("methods are done", "", "body.status", "completed", "body.deviceJobStatistics.succeededCount", 1, "body.deviceJobStatistics.failedCount", 1)
	v := s.step("what became of each", "")
	list, _ := v["body"].([]any)
	if text := fmt.Sprint(list); len(list) != 2 || !strings.Contains(text, "deviceId:d1") || !strings.Contains(text, "got:7") || !strings.Contains(text, "code:404103") {
		t.Errorf("%v", v)
	}
	s.step("later", "", "body.status", "queued")
	s.step("cancel", "")
	s.step("cancelled", "", "body.status", "cancelled")
	if list, _ := s.step("completed ones", "")["body"].([]any); len(list) != 2 {
		t.Errorf("%v", list)
	}
}

func TestConfigurations(t *testing.T) {
	beside(t)
	covers(t, "C44", "azure-iothub")
	w := start(t, hubtest.Options{Full: true})
	line(t, w)
	if _, err := w.Hub(hubtest.Contoso).CreateDevice(t.Context(), hubstore.Device{ID: "edge", Edge: true}); err != nil {
		t.Fatal(err)
	}
	s := play(t, w, "jobs.js", "configurations", serviceString(t, w, hub.PolicyOwner))
	s.step("add", "", "body.id", "rates", "body.schemaVersion", "1.0", "body.priority", 3)
	s.step("add again", "DeviceAlreadyExistsError")
	if list, _ := s.step("list", "")["body"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	s.step("get nobody", "Error")
	s.step("applied", "", "body.systemMetrics.results.targetedCount", 2, "body.targetCondition", "tags.line = 1")
	s.step("a twin", "", "body.rates.fast", 5)
	s.step("update", "", "body.priority", 9, "body.labels.team", "a")
	s.step("update with a stale etag", "InvalidEtagError")
	s.step("remove", "")
	s.step("deploy to one", "", "body.status", 204)
	s.step("the module", "", "body.schemaVersion", "1.1")
}
