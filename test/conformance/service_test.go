package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// module adds a module to a device of a world.
func module(t *testing.T, w *hubtest.World, device, id string) hub.Device {
	t.Helper()
	m, err := w.Hub(hubtest.Contoso).CreateDevice(t.Context(), hubstore.Device{ID: device, Module: id})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTwinsOfServices(t *testing.T) {
	beside(t)
	covers(t, "C33", "azure-iothub")
	covers(t, "C34", "azure-iothub")
	w := start(t, hubtest.Options{})
	w.Device(hubtest.Contoso, "d")
	module(t, w, "d", "m")
	s := play(t, w, "service.js", "twins", serviceString(t, w, hub.PolicyOwner))
	s.step("get", "", "body.deviceId", "d", "body.version", 2, "body.properties.desired.$version", 1, "body.status", "enabled", "body.capabilities.iotEdge", false)
	s.step("merge", "", "body.tags.site.line", 2, "body.properties.desired.$version", 2, "body.properties.desired.$metadata.a.$lastUpdatedVersion", 2)
	s.step("stale", "InvalidEtagError")
	s.step("merge again", "", "body.tags.site.hall", nil, "body.tags.site.line", 2, "body.properties.desired.a", nil, "body.properties.desired.list", "[3]", "body.properties.desired.deep.b", "x")
	s.step("a key with a dot", "ArgumentError")
	s.step("replace", "", "body.tags.only", true, "body.tags.site", nil, "body.properties.desired.new", 1, "body.properties.desired.deep", nil)
	s.step("get nobody", "DeviceNotFoundError")
	s.step("module", "", "body.moduleId", "m", "body.properties.desired.module", 1)
	s.step("get", "", "body.properties.desired.module", nil, "body.properties.desired.new", 1)
	s.step("get module", "", "body.properties.desired.module", 1, "body.properties.desired.new", nil)
	s.step("get no module", "DeviceNotFoundError")
	if list, _ := s.next()["etags"].([]any); len(list) != 2 || list[0] == list[1] {
		t.Errorf("etags %v", list)
	}
}

func TestQueries(t *testing.T) {
	beside(t)
	covers(t, "C42", "azure-iothub")
	w := start(t, hubtest.Options{})
	for i := range 25 {
		d := w.Device(hubtest.Contoso, fmt.Sprintf("d%02d", i))
		patch := fmt.Sprintf(`{"tags":{"line":%d},"properties":{"desired":{"n":%d}}}`, i%5, i)
		if _, err := w.Hub(hubtest.Contoso).PatchTwin(t.Context(), d.Name(), []byte(patch), ""); err != nil {
			t.Fatal(err)
		}
		module(t, w, d.ID, []string{"m", "other"}[i%2])
	}
	s := play(t, w, "service.js", "queries", serviceString(t, w, hub.PolicyOwner))
	length := func(v said, n int) {
		t.Helper()
		if list, _ := v["body"].([]any); len(list) != n {
			t.Errorf("%v", v)
		}
	}
	length(s.step("all", "", "sizes", "10,10,5"), 25)
	v := s.step("projection", "", "sizes", "2,2,1")
	length(v, 5)
	if list, _ := v["body"].([]any); fmt.Sprint(list[0]) != "map[deviceId:d03 line:3]" {
		t.Errorf("%v", v)
	}
	s.step("count", "", "body", "[map[n:15]]")
	length(s.step("group", ""), 5)
	length(s.step("modules", ""), 13)
	if v := s.step("nonsense", "ArgumentError"); !strings.Contains(v.text("message"), "FROM is expected") {
		t.Errorf("%v", v)
	}
}

// TestDigitalTwins has no case of its own: the newer client of the service SDK reads the same twins by the conventions of Plug and Play.
func TestDigitalTwins(t *testing.T) {
	beside(t)
	covers(t, "C33", "azure-iothub")
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s := play(t, w, "service.js", "digital", serviceString(t, w, hub.PolicyOwner), deviceString(hubtest.Contoso, d))
	if v := s.step("get", "", "body.twin.$dtId", "d"); v.at("body.etag") == nil {
		t.Errorf("%v", v)
	}
	s.step("patch", "")
	s.step("get", "", "body.twin.$metadata.interval.desiredValue", 7, "body.twin.thermostat1.$metadata.target.desiredValue", 21.5)
	s.step("stale", "Error")
	s.step("command", "", "body.body.since", "2026-01-01", "body.status", 200)
}

func TestRegistryManager(t *testing.T) {
	beside(t)
	covers(t, "C39", "azure-iothub")
	w := start(t, hubtest.Options{})
	s := play(t, w, "service.js", "manager", serviceString(t, w, hub.PolicyOwner))
	s.step("create", "", "body.deviceId", "made", "body.authentication.type", "sas")
	s.step("module", "", "body.moduleId", "m")
	if v := s.step("devices", ""); !strings.Contains(fmt.Sprint(v["body"]), "made") {
		t.Errorf("%v", v)
	}
	s.step("statistics", "", "body.connectedDeviceCount", 0)
}
