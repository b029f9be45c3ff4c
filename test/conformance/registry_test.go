package conformance

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestRegistry is C39, C40, C41, C45 and C46: the service SDK's Registry.
func TestRegistry(t *testing.T) {
	w := start(t, hubtest.Options{})
	owner, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	s := play(t, w, "registry.js", "registry", "SERVICE="+owner)
	body := func(v said) map[string]any {
		m, _ := v["body"].(map[string]any)
		return m
	}
	key := func(v said, name string) string {
		auth, _ := body(v)["authentication"].(map[string]any)
		keys, _ := auth["symmetricKey"].(map[string]any)
		text, _ := keys[name].(string)
		return text
	}
	created := s.wants("step", "create")
	if body(created)["deviceId"] != "made-1" || len(key(created, "primaryKey")) != 44 || body(created)["status"] != "enabled" || body(created)["etag"] == "" {
		t.Errorf("create: %v", created)
	}
	odd := s.wants("step", "create with keys")
	if body(odd)["statusReason"] != "spare" || key(odd, "secondaryKey") != "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" {
		t.Errorf("create with keys: %v", odd)
	}
	if v := s.wants("step", "create again"); v.text("error") != "DeviceAlreadyExistsError" {
		t.Errorf("create again: %v", v)
	}
	if v := s.wants("step", "get"); body(v)["deviceId"] != "odd'#:+(1)%2F" || body(v)["status"] != "disabled" || key(v, "primaryKey") == "" {
		t.Errorf("get: %v", v)
	}
	if v := s.wants("step", "get nobody"); v.text("error") != "DeviceNotFoundError" || !strings.Contains(v.text("message"), "nobody") {
		t.Errorf("get nobody: %v", v)
	}
	if v := s.wants("step", "update"); body(v)["status"] != "disabled" || body(v)["etag"] == body(created)["etag"] || body(v)["generationId"] != body(created)["generationId"] {
		t.Errorf("update: %v", v)
	}
	if v := s.wants("step", "update nobody"); v.text("error") != "DeviceNotFoundError" {
		t.Errorf("update nobody: %v", v)
	}
	if v := s.wants("step", "add many"); body(v)["isSuccessful"] != true {
		t.Errorf("add many: %v", v)
	}
	if v := s.wants("step", "add many again"); v.text("error") != "ArgumentError" {
		t.Errorf("add many again: %v", v)
	}
	if v := s.wants("step", "remove many"); body(v)["isSuccessful"] != true {
		t.Errorf("remove many: %v", v)
	}
	v := s.wants("step", "list")
	if list, _ := v["body"].([]any); len(list) != 3 {
		t.Errorf("list: %v", v)
	}
	if v := s.wants("step", "statistics"); body(v)["totalDeviceCount"] != 3.0 || body(v)["disabledDeviceCount"] != 3.0 || body(v)["enabledDeviceCount"] != 0.0 {
		t.Errorf("statistics: %v", v)
	}
	if v := s.wants("step", "delete"); v.text("error") != "" {
		t.Errorf("delete: %v", v)
	}
	if v := s.wants("step", "delete again"); v.text("error") != "DeviceNotFoundError" {
		t.Errorf("delete again: %v", v)
	}
	if v := s.wants("step", "wrong key"); v.text("error") != "UnauthorizedError" {
		t.Errorf("wrong key: %v", v)
	}
}
