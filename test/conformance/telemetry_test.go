package conformance

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	hubdoor "github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// stamped is what the hub adds to a message of a device.
func stamped(d hub.Device, system map[string]string) map[string]string {
	maps.Copy(system, map[string]string{
		"iothub-connection-device-id": d.ID, "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
		"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`,
	})
	return system
}

func TestTelemetry(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	come := newEvents(t, w)
	for _, tr := range lasting {
		t.Run("C15 over "+tr.name, func(t *testing.T) {
			covers(t, "C15", tr.pkg)
			covers(t, "C17", tr.pkg)
			d := w.Device(hubtest.Contoso, "sensor+1#'(7)"+tr.name)
			play(t, w, "telemetry.js", "send", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name).wants("sent", 100)
			for i, e := range come(100) {
				body := append([]byte{byte(i), 0, 255}, fmt.Sprintf("body %d ü\n", i)...)
				properties := map[string]string{"number": fmt.Sprint(i), "unit & more": "°C = 100%/+#€", "empty": "", "null": "null"}
				system := stamped(d, map[string]string{
					"message-id": fmt.Sprintf("id/%d", i), "correlation-id": fmt.Sprintf("corr %d", i), "content-type": "application/json;x=1", "content-encoding": "utf-8",
					"to": fmt.Sprintf("/devices/somewhere/%d", i), "absolute-expiry-time": "2030-01-01T00:00:00Z",
				})
				if tr.amqp() { // where null is a value, and where to is said by the SDK
					properties["null"], system["to"], system["absolute-expiry-time"] = "", "/devices/"+d.ID+"/messages/events", "2030-01-01T00:00:00.000Z"
				}
				if string(e.Body) != string(body) || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, system) {
					t.Fatalf("event %d: %q %v %v\nwant %q %v %v", i, e.Body, e.Properties, e.System, body, properties, system)
				}
			}
		})
	}
}

// TestTooLarge: over MQTT the SDK sees its connection closed, and with its own retries would try for minutes.
func TestTooLarge(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	come := newEvents(t, w)
	for _, tr := range transports {
		t.Run("C18 over "+tr.name, func(t *testing.T) {
			covers(t, "C18", tr.pkg)
			if tr.amqp() {
				covers(t, "C20", tr.pkg)
			}
			s := play(t, w, "telemetry.js", "large", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, tr.name)), "TRANSPORT="+tr.name)
			s.step("largest", "")
			if tr.name == "http" || tr.amqp() {
				s.step("too large", "MessageTooLargeError")
			} else if v := s.wants("step", "too large"); v.text("error") == "" {
				t.Errorf("%v", v)
			}
			if e := come(1)[0]; len(e.Body) != 256<<10-100 {
				t.Errorf("%d bytes came", len(e.Body))
			}
		})
	}
}

// TestThrottled: over AMQP a device may say too much, and hears of it when it would have to wait for longer than the hub has patience.
func TestThrottled(t *testing.T) {
	beside(t)
	covers(t, "C20", "azure-iot-device-amqp")
	w := start(t, hubtest.Options{AMQP: amqpDoors{hubs: hubdoor.Config{Patience: 100 * time.Millisecond}}.of})
	if _, err := w.Hub(hubtest.Contoso).SetLimits(t.Context(), []byte(`{"device":{"messages":{"perSecond":1,"burst":1}}}`), "the test"); err != nil {
		t.Fatal(err)
	}
	s := play(t, w, "telemetry.js", "throttled", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d")), "TRANSPORT=amqp")
	s.step("first", "")
	s.step("second", "ThrottlingError")
}

func TestTelemetryOverHTTPS(t *testing.T) {
	beside(t)
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
}

func TestBatchOverHTTPS(t *testing.T) {
	beside(t)
	covers(t, "C16", "azure-iot-device-http")
	w := start(t, hubtest.Options{})
	play(t, w, "telemetry.js", "batch", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d"))).wants("sent", 3)
	for i, e := range w.Events(hubtest.Contoso, 3) {
		if want := map[string]string{"Part": fmt.Sprint(i), "unit & more": "°C = 100%/+#€"}; string(e.Body) != fmt.Sprintf("part %d €", i) || !maps.Equal(e.Properties, want) {
			t.Errorf("event %d: %q %v", i, e.Body, e.Properties)
		}
	}
}
