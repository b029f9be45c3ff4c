package hub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

type desiredHeard chan json.RawMessage

func (d desiredHeard) DesiredChanged(_ int64, patch json.RawMessage) { d <- patch }
func (d desiredHeard) MethodCalled(hub.MethodCall)                   {}
func (d desiredHeard) CommandsWaiting()                              {}

// TestAConnectedDeviceHearsOfItsImportedTwin: replaced with its identity, the desired properties reach a device as any change does.
func TestAConnectedDeviceHearsOfItsImportedTwin(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("d")
	heard := make(desiredHeard, 1)
	s, err := w.hub().Connect(t.Context(), hub.Request{Device: "d", Token: token, Side: public, Receiver: heard, Cut: func(hub.Cause) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	s.Listen(hub.DesiredProperties, true)
	first, err := w.hub().FirstTwin([]byte(`{"properties":{"desired":{"rate":5}}}`))
	if err != nil {
		t.Fatal(err)
	}
	results, err := w.hub().ChangeDevices(t.Context(), []hub.Change{{Device: hubstore.Device{ID: "d"}, Mode: hub.UpdateTwin, Twin: first}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	if got := string(<-heard); !strings.HasPrefix(got, `{"rate":5,"$version":`) {
		t.Errorf("heard %s", got)
	}
}

// TestTwinsCountWhatWaits: wherever a twin is shown, it says how many messages wait for its device.
func TestTwinsCountWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.device("d")
	n := hub.Name{Device: "d"}
	if _, err := w.hub().SendCommand(t.Context(), n, hub.Command{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	patched, err := w.hub().PatchTwin(t.Context(), n, []byte(`{"tags":{"a":1}}`), "")
	if err != nil || patched.Commands != 1 {
		t.Errorf("patched: %d wait, %v", patched.Commands, err)
	}
	page, err := w.hub().Query(t.Context(), "SELECT cloudToDeviceMessageCount FROM devices WHERE cloudToDeviceMessageCount = 1", 10, "")
	if err != nil || len(page.Items) != 1 || string(page.Items[0]) != `{"cloudToDeviceMessageCount":1}` {
		t.Errorf("found %s, %v", page.Items, err)
	}
}
