package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// said is a line of a scenario.
type said map[string]any

func (s said) text(key string) string {
	v, _ := s[key].(string)
	return v
}

// script is a running scenario.
type script struct {
	t     *testing.T
	lines *bufio.Scanner
	in    io.Writer
}

// play starts a scenario of sdk.js; env is NAME=value.
func play(t *testing.T, w *hubtest.World, scenario string, env ...string) *script {
	t.Helper()
	if _, err := os.Stat("node_modules/azure-iot-device"); err != nil {
		t.Fatal("the Azure SDKs are not installed: run make deps")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not on PATH: install Node.js 20 or later, then run make deps")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // ended by the cleanup below
	c := exec.CommandContext(ctx, node, "-r", "./preload.js", "sdk.js", scenario)
	_, mqtt, _ := net.SplitHostPort(w.MQTT)
	_, https, _ := net.SplitHostPort(w.HTTPS)
	c.Env = append(append(os.Environ(), "NODE_EXTRA_CA_CERTS="+w.CAFile, "MQTT_PORT="+mqtt, "HTTPS_PORT="+https), env...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		err := c.Wait()
		cancel()
		if err != nil && !t.Failed() {
			t.Errorf("scenario %s: %v", scenario, err)
		}
	})
	return &script{t, bufio.NewScanner(out), in}
}

func (s *script) next() said {
	s.t.Helper()
	if !s.lines.Scan() {
		s.t.Fatalf("the scenario ended early: %v", s.lines.Err())
	}
	var v said
	if err := json.Unmarshal(s.lines.Bytes(), &v); err != nil {
		s.t.Fatalf("%q: %v", s.lines.Text(), err)
	}
	return v
}

// wants reads a line and checks one field of it.
func (s *script) wants(key string, value any) said {
	s.t.Helper()
	v := s.next()
	if fmt.Sprint(v[key]) != fmt.Sprint(value) {
		s.t.Fatalf("the SDK says %v, want %s = %v", v, key, value)
	}
	return v
}

func deviceString(host string, d hub.Device) string {
	return "DEVICE=" + sas.ConnectionString{HostName: host, DeviceID: d.ID, Key: d.PrimaryKey}.String()
}

// TestRegistry is C39, C40, C41, C45 and C46: the service SDK's Registry.
func TestRegistry(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	owner, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	s := play(t, w, "registry", "SERVICE="+owner)
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

// TestMessages is C01, C15 and C17: every byte and property of a hundred messages, over the public side and through an endpoint.
func TestMessages(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "sensor+1#'(7)")
	s := play(t, w, "messages", deviceString(hubtest.Contoso, d))
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
	play(t, w, "http", deviceString(hubtest.Contoso, http)).wants("sent", 1)
	for _, e := range w.Events(hubtest.Contoso, 101) {
		if e.System["iothub-connection-device-id"] == "http" && (string(e.Body) != "over http" || e.Properties["line"] != "3" || e.System["message-id"] != "h1") {
			t.Errorf("over HTTPS came %q %v %v", e.Body, e.Properties, e.System)
		}
	}
}

// TestRefusals is C05 and C06, and the hub's own rule for its public side.
func TestRefusals(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	disabled := w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	expired, err := sas.Sign(hubtest.Contoso+"/devices/d", d.PrimaryKey, "", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	nobody := hub.Device{Device: hubstore.Device{ID: "nobody", PrimaryKey: d.PrimaryKey}}
	forged := hub.Device{Device: hubstore.Device{ID: "d", PrimaryKey: other.PrimaryKey}}
	for _, c := range []struct{ name, env, why string }{
		{"wrong key", deviceString(hubtest.Contoso, forged), "not signed"},
		{"unknown device", deviceString(hubtest.Contoso, nobody), "no device"},
		{"disabled device", deviceString(hubtest.Contoso, disabled), "is disabled"},
		{"foreign hub", deviceString("nowhere.azure-devices.net", d), ""},
		{"expired token", "DEVICE=HostName=" + hubtest.Contoso + ";DeviceId=d;SharedAccessSignature=" + expired, "the token ended"},
		{"public side closed", deviceString(hubtest.Contoso, d), "no public network access"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "public side closed" {
				w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
			}
			play(t, w, "open", c.env).wants("error", "UnauthorizedError")
			if list := w.Server.Refusals(); c.why != "" && (len(list) == 0 || !strings.Contains(list[0].Why, c.why)) {
				t.Errorf("people are told %+v, want %q", list, c.why)
			}
		})
	}
}

// TestTakeover is C08.
func TestTakeover(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	s := play(t, w, "takeover", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d")))
	s.next() // the first saw its connection go
	s.wants("second", true)
	if e := w.Events(hubtest.Contoso, 1)[0]; string(e.Body) != "second lives" {
		t.Errorf("got %q", e.Body)
	}
}

// TestDisableCuts is C47.
func TestDisableCuts(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s := play(t, w, "cut", deviceString(hubtest.Contoso, d))
	s.wants("opened", true)
	if got, err := w.Hub(hubtest.Contoso).Device(t.Context(), "d"); err != nil || !got.Connected {
		t.Errorf("connected: %v, %v", got.Connected, err)
	}
	d.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), d.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	s.wants("gone", true)
	s.wants("error", "UnauthorizedError")
}

// TestReconnect shows that a cut link heals by itself once it may.
func TestReconnect(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s := play(t, w, "reconnect", deviceString(hubtest.Contoso, d))
	s.wants("opened", true)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicEnabled })
	if _, err := io.WriteString(s.in, "go on\n"); err != nil {
		t.Fatal(err)
	}
	s.wants("sent", 1)
	if e := w.Events(hubtest.Contoso, 1)[0]; string(e.Body) != "after the cut" {
		t.Errorf("got %q", e.Body)
	}
}

// TestHandlersOfLaterFeatures: an application that also waits for messages, methods and its twin works, and is told that there is no
// twin instead of waiting.
func TestHandlersOfLaterFeatures(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	s := play(t, w, "handlers", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d")))
	if v := s.next(); v.text("twin") == "none" || v.text("twin") == "" {
		t.Errorf("getTwin: %v", v)
	}
	s.wants("sent", 1)
}
