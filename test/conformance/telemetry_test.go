package conformance

import (
	"fmt"
	"maps"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// stamped is what the hub adds to a message of a device.
func stamped(d hub.Device, system map[string]string) map[string]string {
	maps.Copy(system, map[string]string{
		"iothub-connection-device-id": d.ID, "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
		"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`,
	})
	return system
}

func TestTelemetryOverMQTT(t *testing.T) {
	covers(t, "C15", "azure-iot-device-mqtt")
	covers(t, "C17", "azure-iot-device-mqtt")
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "sensor+1#'(7)")
	play(t, w, "telemetry.js", "mqtt", deviceString(hubtest.Contoso, d)).wants("sent", 100)
	for i, e := range w.Events(hubtest.Contoso, 100) {
		body := append([]byte{byte(i), 0, 255}, fmt.Sprintf("body %d ü\n", i)...)
		properties := map[string]string{"number": fmt.Sprint(i), "unit & more": "°C = 100%/+#€", "empty": ""}
		system := stamped(d, map[string]string{
			"message-id": fmt.Sprintf("id/%d", i), "correlation-id": fmt.Sprintf("corr %d", i), "content-type": "application/json;x=1", "content-encoding": "utf-8",
		})
		if string(e.Body) != string(body) || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, system) {
			t.Fatalf("event %d: %q %v %v\nwant %q %v %v", i, e.Body, e.Properties, e.System, body, properties, system)
		}
	}
}

func TestTelemetryOverHTTPS(t *testing.T) {
	covers(t, "C15", "azure-iot-device-http")
	covers(t, "C17", "azure-iot-device-http")
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "http")
	play(t, w, "telemetry.js", "http", deviceString(hubtest.Contoso, d)).wants("sent", 1)
	e := w.Events(hubtest.Contoso, 1)[0]
	properties := map[string]string{"Line": "3", "lineNo": "4", "empty": "", "unit": "°C"}
	system := stamped(d, map[string]string{
		"message-id": "h1", "correlation-id": "c1", "content-type": "text/plain", "content-encoding": "utf-8", "to": "/devices/http/messages/events",
		"absolute-expiry-time": "2030-01-01T00:00:00Z",
	})
	if string(e.Body) != "\x00\xffover http €" || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, system) {
		t.Errorf("%q %v %v\nwant %v %v", e.Body, e.Properties, e.System, properties, system)
	}
	other := w.Device(hubtest.Contoso, "other")
	for what, d := range map[string]hub.Device{
		"another's key": {Device: hubstore.Device{ID: "http", PrimaryKey: other.PrimaryKey}}, "nobody": {Device: hubstore.Device{ID: "nobody", PrimaryKey: other.PrimaryKey}},
	} {
		t.Run(what, func(t *testing.T) {
			play(t, w, "telemetry.js", "refused", deviceString(hubtest.Contoso, d)).step("http", "UnauthorizedError")
		})
	}
}

func TestBatchOverHTTPS(t *testing.T) {
	covers(t, "C16", "azure-iot-device-http")
	w := start(t, hubtest.Options{})
	play(t, w, "telemetry.js", "batch", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d"))).wants("sent", 3)
	for i, e := range w.Events(hubtest.Contoso, 3) {
		if want := map[string]string{"Part": fmt.Sprint(i), "unit & more": "°C = 100%/+#€"}; string(e.Body) != fmt.Sprintf("part %d €", i) || !maps.Equal(e.Properties, want) {
			t.Errorf("event %d: %q %v", i, e.Body, e.Properties)
		}
	}
}
