package conformance

import (
	"fmt"
	"maps"
	"testing"

	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestMessages is C01, C15 and C17: every byte and property of a hundred messages, over the public side and through an endpoint.
func TestMessages(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "sensor+1#'(7)")
	s := play(t, w, "telemetry.js", "messages", deviceString(hubtest.Contoso, d))
	s.wants("sent", 100)
	for i, e := range w.Events(hubtest.Contoso, 100) {
		body := append([]byte{byte(i), 0, 255}, fmt.Sprintf("body %d ü\n", i)...)
		properties := map[string]string{"number": fmt.Sprint(i), "unit & more": "°C = 100%/+#", "empty": ""}
		system := map[string]string{
			"message-id": fmt.Sprintf("id/%d", i), "correlation-id": fmt.Sprintf("corr %d", i), "content-type": "application/json;x=1", "content-encoding": "utf-8",
			"iothub-connection-device-id": d.ID, "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
			"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`,
		}
		if string(e.Body) != string(body) || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, system) {
			t.Fatalf("event %d: %q %v %v\nwant %q %v %v", i, e.Body, e.Properties, e.System, body, properties, system)
		}
	}
	http := w.Device(hubtest.Contoso, "http")
	play(t, w, "telemetry.js", "http", deviceString(hubtest.Contoso, http)).wants("sent", 1)
	for _, e := range w.Events(hubtest.Contoso, 101) {
		if e.System["iothub-connection-device-id"] == "http" && (string(e.Body) != "over http" || e.Properties["line"] != "3" || e.System["message-id"] != "h1") {
			t.Errorf("over HTTPS came %q %v %v", e.Body, e.Properties, e.System)
		}
	}
}
