package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// while does something while the server runs, and returns the events that came of it, when all are in the log.
func (w *world) while(do func()) []string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	do()
	cancel()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	var out []string
	for _, e := range w.log.events {
		who := e.Properties["deviceId"]
		if m := e.Properties["moduleId"]; m != "" {
			who += "/" + m
		}
		if !json.Valid(e.Body) {
			w.t.Errorf("no JSON: %s", e.Body)
		}
		for name, want := range map[string]string{
			hub.ContentType: "application/json", hub.ContentEncoding: "utf-8", hub.UserID: "contoso", "iothub-connection-device-id": e.Properties["deviceId"],
			"iothub-connection-module-id": e.Properties["moduleId"],
		} {
			if e.System[name] != want {
				w.t.Errorf("%s of %s is %q, want %q", name, e.Body, e.System[name], want)
			}
		}
		if e.System[hub.CorrelationID] == "" || e.Properties["hubName"] != "contoso" || e.Properties["operationTimestamp"] != "2026-11-22T03:00:00.0000000Z" {
			w.t.Errorf("%s: %v %v", e.Body, e.System, e.Properties)
		}
		out = append(out, fmt.Sprintf("%s %s %s %s %s", e.System["iothub-message-source"], e.Properties[hub.MessageSchema], e.Properties["opType"], who, e.Body))
	}
	w.log.events = nil
	return out
}

func (w *world) routes(sources ...hub.Source) {
	w.t.Helper()
	for _, s := range sources {
		if err := w.hub().PutRoute(w.t.Context(), route.Route{Name: string(s), Source: s, Endpoints: []string{route.BuiltIn}, Enabled: true}, "test"); err != nil {
			w.t.Fatal(err)
		}
	}
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTwinChangesAreEvents(t *testing.T) {
	w := newWorld(t)
	d, _ := w.device("a")
	if _, err := w.hub().CreateDevice(t.Context(), hubstore.Device{ID: "a", Module: "m"}); err != nil {
		t.Fatal(err)
	}
	s, _ := w.listener(d.Name(), d.PrimaryKey)
	m := hub.Name{Device: "a", Module: "m"}
	do := func() {
		for _, err := range []error{
			report(s, `{"r":1}`).err,
			errorOf(w.hub().PatchTwin(t.Context(), m, []byte(`{"tags":{"t":"x"},"properties":{"desired":{"p":null}}}`), "")),
			errorOf(w.hub().ReplaceTwin(t.Context(), m, []byte(`{"tags":{"u":1}}`), "")),
			errorOf(w.hub().PatchTwin(t.Context(), m, []byte(`{}`), "")),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		report(s, `{"a.b":1}`)
	}
	compare(t, w.while(do), nil)
	w.open() // the one that ran has stopped
	w.routes(hub.TwinChangeEvents)
	s, _ = w.listener(d.Name(), d.PrimaryKey)
	at := `"$lastUpdated":"2026-11-22T03:00:00.0000000Z"`
	compare(t, w.while(do), []string{
		`twinChangeEvents twinChangeNotification updateTwin a {"version":4,"properties":{"reported":{"r":1,"$metadata":{` + at + `,"r":{` + at + `}},"$version":3}}}`,
		`twinChangeEvents twinChangeNotification updateTwin a/m {"version":5,"tags":{"t":"x"},"properties":{"desired":{"p":null,"$metadata":{` + at + `,"$lastUpdatedVersion":3},"$version":3}}}`,
		`twinChangeEvents twinChangeNotification replaceTwin a/m {"deviceId":"a","moduleId":"m","etag":"AAAAAAAAAAU=","version":6,"tags":{"u":1},"properties":{"desired":{"$metadata":{` + at +
			`,"$lastUpdatedVersion":3},"$version":3},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}`,
	})
}

func errorOf[A any](_ A, err error) error { return err }

func TestComingAndGoingAreEvents(t *testing.T) {
	w := newWorld(t)
	w.routes(hub.DeviceLifecycleEvents, hub.DeviceConnectionStateEvents)
	first, err := w.hub().FirstTwin([]byte(`{"tags":{"t":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	events := w.while(func() {
		made, err := w.hub().ChangeDevices(t.Context(), []hub.Change{{Device: hubstore.Device{ID: "a"}, Twin: first}, {Device: hubstore.Device{ID: "a", Module: "m"}}})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := w.listener(made[0].Device.Name(), made[0].Device.PrimaryKey)
		other, _ := w.listener(made[0].Device.Name(), made[0].Device.PrimaryKey)
		s.End() // it was taken over, so nobody has gone
		other.End()
		if err := w.hub().DeleteDevice(t.Context(), "a", "*"); err != nil {
			t.Fatal(err)
		}
	})
	numbers := []string{}
	for i, e := range events {
		if head, number, ok := strings.Cut(e, `{"sequenceNumber":"`); ok {
			number = strings.TrimSuffix(number, `"}`)
			if len(number) != 64 || len(numbers) > 0 && number <= numbers[len(numbers)-1] {
				t.Errorf("sequence number %s after %v", number, numbers)
			}
			numbers = append(numbers, number)
			events[i] = head + "n"
		}
	}
	none := `"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}`
	life := "deviceLifecycleEvents deviceLifecycleNotification "
	module := "moduleLifecycleEvents moduleLifecycleNotification "
	state := "deviceConnectionStateEvents deviceConnectionStateNotification "
	compare(t, events, []string{
		life + `createDeviceIdentity a {"deviceId":"a","etag":"AAAAAAAAAAI=","version":3,"tags":{"t":1},` + none,
		module + `createModuleIdentity a/m {"deviceId":"a","moduleId":"m","etag":"AAAAAAAAAAE=","version":2,"tags":{},` + none,
		state + "deviceConnected a n",
		state + "deviceConnected a n",
		state + "deviceDisconnected a n",
		life + `deleteDeviceIdentity a {"deviceId":"a","etag":"AAAAAAAAAAI=","version":3,"tags":{"t":1},` + none,
		module + `deleteModuleIdentity a/m {"deviceId":"a","moduleId":"m","etag":"AAAAAAAAAAE=","version":2,"tags":{},` + none,
	})
}

// Events that wait for the log are bounded in bytes too: devices decide how large those of their twins are.
func TestEventsThatWaitAreBounded(t *testing.T) {
	w := newWorld(t)
	w.routes(hub.DeviceJobLifecycleEvents)
	large := append(append([]byte{'"'}, bytes.Repeat([]byte{'x'}, 1<<20-2)...), '"')
	stored := func(emits int) int {
		for range emits {
			w.hub().Emit(hub.DeviceJobLifecycleEvents, hub.Name{Device: "d"}, large, nil, nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Run stores what waits, and ends
		if err := w.server.Run(ctx); err != nil {
			t.Fatal(err)
		}
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		n := len(w.log.events)
		w.log.events = nil
		return n
	}
	if n := stored(40); n != 32 {
		t.Errorf("%d of 40 events of a MiB were kept", n)
	}
	if n := stored(3); n != 3 {
		t.Errorf("later %d of 3 were kept", n)
	}
}
