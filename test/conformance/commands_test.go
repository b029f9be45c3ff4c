package conformance

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// eventually asks again until it is told yes, for what happens by itself.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !yes(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

func TestCommandsOverHTTPS(t *testing.T) {
	covers(t, "C21", "azure-iot-device-http")
	covers(t, "C22", "azure-iot-device-http")
	w := start(t, hubtest.Options{})
	h, d := w.Hub(hubtest.Contoso), w.Device(hubtest.Contoso, "d")
	settings := h.CommandSettings()
	settings.FeedbackDelay = 0
	if err := h.SetCommandSettings(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{"complete", "abandon", "reject", "end"} {
		if _, err := h.SendCommand(t.Context(), d.Name(), hub.Command{
			MessageID: body, CorrelationID: "corr", Ack: hub.AckFull, Properties: map[string]string{"Unit": "°C", "n": string(rune('0' + i))}, Body: []byte(body),
		}); err != nil {
			t.Fatal(err)
		}
	}
	s := play(t, w, "commands.js", "settle", deviceString(hubtest.Contoso, d))
	// The SDK writes the names of properties as headers have them.
	v := s.wants("body", "complete")
	if v.text("messageId") != "complete" || v.text("correlationId") != "corr" || v.text("to") != "/devices/d/messages/devicebound" || v.text("expiry") == "" ||
		v.at("properties.iothub-app-unit") != "°C" || v.at("properties.iothub-app-n") != "0" {
		t.Errorf("%v", v)
	}
	first := s.wants("body", "abandon")
	// It comes again, and again until the hub gives it up.
	for range settings.MaxDeliveryCount - 1 {
		if again := s.wants("body", "abandon"); again.text("lock") == first.text("lock") {
			t.Errorf("%v", again)
		}
	}
	s.wants("body", "reject")
	s.wants("body", "end")
	s.wants("done", true)
	got := map[string]string{}
	eventually(t, "feedback", func() bool {
		b, err := h.ReceiveFeedback(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			for _, f := range b.Records {
				got[f.OriginalMessageID] = f.Status
			}
		}
		return len(got) == 4
	})
	for id, want := range map[string]string{"complete": "Success", "abandon": "DeliveryCountExceeded", "reject": "Rejected", "end": "Success"} {
		if got[id] != want {
			t.Errorf("feedback of %s is %s", id, got[id])
		}
	}
}
