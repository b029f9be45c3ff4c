package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

func registry(t *testing.T, scenario string) (*hubtest.World, *script) {
	t.Helper()
	w := start(t, hubtest.Options{})
	return w, play(t, w, "registry.js", scenario, serviceString(t, w, hub.PolicyOwner))
}

func TestRegistry(t *testing.T) {
	beside(t)
	covers(t, "C39", "azure-iothub")
	covers(t, "C45", "azure-iothub")
	_, s := registry(t, "devices")
	created := s.step("create", "", "body.deviceId", "made-1", "body.status", "enabled", "body.connectionState", "Disconnected", "body.cloudToDeviceMessageCount", 0)
	if created.at("body.etag") == "" || len(fmt.Sprint(created.at("body.authentication.symmetricKey.primaryKey"))) != 44 {
		t.Errorf("create: %v", created)
	}
	s.step("create with keys", "", "body.statusReason", "spare", "body.authentication.symmetricKey.secondaryKey", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	s.step("create again", "DeviceAlreadyExistsError")
	s.step("get", "", "body.deviceId", "odd'#:+(1)%2F", "body.status", "disabled")
	if v := s.step("get nobody", "DeviceNotFoundError"); !strings.Contains(v.text("message"), "nobody") {
		t.Errorf("get nobody: %v", v)
	}
	updated := s.step("update", "", "body.status", "disabled", "body.generationId", created.at("body.generationId"))
	if updated.at("body.etag") == created.at("body.etag") {
		t.Errorf("the etag stayed: %v", updated)
	}
	s.step("update nobody", "DeviceNotFoundError")
	v := s.step("list", "")
	if list, _ := v["body"].([]any); len(list) != 2 {
		t.Errorf("list: %v", v)
	}
	s.step("statistics", "", "body.totalDeviceCount", 2, "body.enabledDeviceCount", 0, "body.disabledDeviceCount", 2)
	s.step("delete", "")
	s.step("delete again", "DeviceNotFoundError")
	s.step("wrong key", "UnauthorizedError")
}

func TestKeysAreMade(t *testing.T) {
	beside(t)
	covers(t, "C40", "azure-iothub")
	_, s := registry(t, "keys")
	const first, second = "body.authentication.symmetricKey.primaryKey", "body.authentication.symmetricKey.secondaryKey"
	created := s.step("create", "", "body.authentication.type", "sas")
	if fmt.Sprint(created.at(first)) == "" || created.at(first) == created.at(second) {
		t.Errorf("create: %v", created)
	}
	s.step("get", "", first, created.at(first), second, created.at(second))
	if v := s.step("update", ""); v.at(first) == created.at(first) || v.at(first) == "" {
		t.Errorf("an update with empty keys makes new ones: %v", v)
	}
	s.step("thumbprint", "", "body.authentication.type", "selfSigned", "body.authentication.x509Thumbprint.primaryThumbprint", strings.Repeat("ab", 20))
	s.step("authority", "", "body.authentication.type", "certificateAuthority", first, nil)
	s.step("one key", "ArgumentError")
	s.step("short key", "ArgumentError")
}

func TestBulkOfTheRegistry(t *testing.T) {
	beside(t)
	covers(t, "C41", "azure-iothub")
	w, s := registry(t, "bulk")
	s.step("add", "", "body.isSuccessful", true)
	s.step("add again", "ArgumentError")
	if _, err := w.Hub(hubtest.Contoso).Device(t.Context(), "new"); err != nil {
		t.Errorf("the one that was right: %v", err)
	}
	s.step("update", "", "body.isSuccessful", true)
	s.step("update with a stale etag", "ArgumentError")
	s.step("statistics", "", "body.totalDeviceCount", 101, "body.disabledDeviceCount", 50)
	s.step("remove", "", "body.isSuccessful", true)
	v := s.step("list", "")
	if list, _ := v["body"].([]any); len(list) != 2 {
		t.Errorf("list: %v", v)
	}
}

func TestModulesOfTheRegistry(t *testing.T) {
	beside(t)
	covers(t, "C39", "azure-iothub")
	_, s := registry(t, "modules")
	s.step("no device", "DeviceNotFoundError")
	s.step("add", "", "body.moduleId", "m", "body.deviceId", "d", "body.managedBy", "me", "body.connectionState", "Disconnected")
	s.step("add again", "DeviceAlreadyExistsError")
	s.step("add a name of the runtime", "ArgumentError")
	s.step("get", "", "body.moduleId", "m")
	s.step("get nobody", "Error")
	v := s.step("list", "")
	if list, _ := v["body"].([]any); len(list) != 1 {
		t.Errorf("list: %v", v)
	}
	s.step("update", "", "body.managedBy", "you")
	s.step("update with a stale etag", "InvalidEtagError")
	s.step("twin", "", "body.moduleId", "m")
	s.step("remove", "")
	s.step("remove again", "Error")
	s.step("create an edge device", "", "body.capabilities.iotEdge", true)
	v = s.step("modules of the edge device", "")
	if list, _ := v["body"].([]any); len(list) != 2 || said(list[0].(map[string]any)).at("moduleId") != "$edgeAgent" {
		t.Errorf("modules of the edge device: %v", v)
	}
	v = s.step("create behind it", "")
	if !strings.HasPrefix(fmt.Sprint(v.at("body.deviceScope")), "ms-azure-iot-edge://edge-") {
		t.Errorf("create behind it: %v", v)
	}
	s.step("delete the edge device", "")
	s.step("modules are gone", "DeviceNotFoundError")
}

func TestErrors(t *testing.T) {
	beside(t)
	covers(t, "C46", "azure-iothub")
	w := start(t, hubtest.Options{})
	w.Device(hubtest.Contoso, "d")
	s := play(t, w, "registry.js", "errors", serviceString(t, w, hub.PolicyOwner))
	for _, want := range []struct {
		step, class string
		status      int
		code        string
	}{
		{"400", "ArgumentError", 400, "ArgumentInvalid"},
		{"404", "DeviceNotFoundError", 404, "DeviceNotFound"},
		{"404 of a twin", "DeviceNotFoundError", 404, "DeviceNotFound"},
		{"404 of a method", "Error", 404, "DeviceNotOnline"}, // the SDK has no class for it
		{"409", "DeviceAlreadyExistsError", 409, "DeviceAlreadyExists"},
		{"412", "InvalidEtagError", 412, "PreconditionFailed"},
		{"query", "ArgumentError", 400, "ArgumentInvalid"},
	} {
		v := s.step(want.step, want.class, "response.status", want.status, "response.code", want.code, "response.type", "application/json; charset=utf-8")
		body := fmt.Sprint(v["body"])
		if want.code == "DeviceNotOnline" && !strings.Contains(body, `\"errorCode\":404103,\"trackingId\":\"`) {
			t.Errorf("%s: %s", want.step, body)
		}
		if want.code != "DeviceNotOnline" && (!strings.Contains(body, "ErrorCode:"+want.code+";") || !strings.Contains(body, "Tracking ID:")) {
			t.Errorf("%s: %s", want.step, body)
		}
	}
}
