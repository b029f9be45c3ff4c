package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
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
	s := play(t, w, "commands.js", "settle", deviceString(hubtest.Contoso, d), fmt.Sprint("TIMES=", settings.MaxDeliveryCount))
	given := map[string][]said{}
	for v := s.next(); v["done"] == nil; v = s.next() {
		given[v.text("body")] = append(given[v.text("body")], v)
	}
	for body, n := range map[string]int{"complete": 1, "abandon": settings.MaxDeliveryCount, "reject": 1, "end": 1} {
		if len(given[body]) != n {
			t.Errorf("%s came %d times, want %d", body, len(given[body]), n)
		}
	}
	// The SDK writes the names of properties as headers have them.
	if v := given["complete"][0]; v.text("messageId") != "complete" || v.text("correlationId") != "corr" || v.text("to") != "/devices/d/messages/devicebound" ||
		v.text("expiry") == "" || v.at("properties.iothub-app-unit") != "°C" || v.at("properties.iothub-app-n") != "0" {
		t.Errorf("%v", v)
	}
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

// service returns a client with every right, by HTTPS.
func service(t *testing.T, w *hubtest.World) *hubclient.Client {
	t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := hubclient.New(hubclient.Config{Connection: cs, Address: w.HTTPS, Roots: w.Roots}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestQueueOfCommands needs no SDK: those for Node.js send over AMQP only.
func TestQueueOfCommands(t *testing.T) {
	for _, id := range []string{"C23", "C24", "C27"} {
		covers(t, id, "raw HTTPS")
	}
	w := start(t, hubtest.Options{})
	h, d, c := w.Hub(hubtest.Contoso), w.Device(hubtest.Contoso, "d"), service(t, w)
	settings := h.CommandSettings()
	settings.FeedbackDelay = 0
	if err := h.SetCommandSettings(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SendCommand(t.Context(), d.ID, hubclient.Command{MessageID: "late", Ack: "full", Expires: time.Now().Add(time.Second), Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for i := range 49 {
		if _, err := c.SendCommand(t.Context(), d.ID, hubclient.Command{MessageID: fmt.Sprint(i), Ack: "full", Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.SendCommand(t.Context(), d.ID, hubclient.Command{Body: []byte("x")})
	if code.Of(err) != code.QueueDepthExceeded {
		t.Errorf("the 51st: %v", err)
	}
	status := map[string]int{}
	told := func() {
		list, lock, err := c.ReceiveFeedback(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if lock != "" {
			if err := c.CompleteFeedback(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range list {
			status[f.Status]++
		}
	}
	eventually(t, "feedback of the one that expired", func() bool { told(); return status["Expired"] == 1 })
	if n, err := c.PurgeCommands(t.Context(), d.ID); n != 49 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	eventually(t, "feedback of those that were purged", func() bool { told(); return status["Purged"] == 49 })
}
