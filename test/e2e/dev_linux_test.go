package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/test/processes"
)

// TestDev is a firmware developer's day: one command, and unmodified SDKs of devices, services and provisioning work against it.
func TestDev(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sites, err := processes.NewSites(ctx, "isthdev")
	t.Cleanup(func() { sites.Close() })
	must(t, err)
	w := &world{Deployment: processes.New(t.TempDir(), binary), t: t, sites: sites}
	must(t, sites.Add(ctx, "laptop", "127.0.0.1"))
	must(t, os.WriteFile(filepath.Join("/etc/netns", sites.Name("laptop"), "hosts"), []byte("127.0.0.1 localhost\n"), 0o644))
	ns := sites.Name("laptop")
	p, err := w.Start("dev", ns, nil, "hub", "dev", "--data-dir", w.Data("dev"), "--device", "press-1", "-o", "json", "--log-level", "info")
	must(t, err)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	text, err := p.WaitLog(ctx, `"serviceConnectionString"`)
	must(t, err)
	t.Log("ready") // what it said holds keys
	_ = text
	said := p.Log()
	said = said[strings.Index(said, "{\n"):]
	said = said[:strings.Index(said, "\n}")+2]
	var v struct {
		CA      string            `json:"ca"`
		Devices map[string]string `json:"deviceConnectionStrings"`
		Events  string            `json:"builtInEndpointConnectionString"`
	}
	must(t, json.Unmarshal([]byte(said), &v))
	if !strings.HasPrefix(v.Devices["press-1"], "HostName=localhost;DeviceId=press-1;SharedAccessKey=") {
		t.Error("no connection string of the device")
	}
	if c, err := sas.ParseEventHubs(v.Events); err != nil || c.HostName != "localhost" || c.Policy != "service" || !strings.HasPrefix(c.Entity, "iothub-ehub-localhost-") {
		t.Errorf("nobody can read events at %s, %s as %s: %v", c.HostName, c.Entity, c.Policy, err)
	}
	cmd := w.node(ctx, "laptop", "dev.js")
	cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+v.CA)
	cmd.Stdin = strings.NewReader(said)
	out, err := cmd.Output()
	must(t, err)
	var got map[string]string
	must(t, json.Unmarshal(out, &got))
	for what, want := range map[string]string{"assigned": "localhost press-2", "mqtt": "7 200 5", "websocket": "7 200 5", "found": "press-2"} {
		if got[what] != want {
			t.Errorf("%s is %q, want %q", what, got[what], want)
		}
	}
	events, err := w.CLI(ctx, ns, "", "hub", "events", "--data-dir", w.Data("dev"), "--limit", "2")
	must(t, err)
	if !strings.Contains(events, "by mqtt") || !strings.Contains(events, "by websocket") {
		t.Errorf("the hub holds\n%s", events)
	}
	list, err := w.CLI(ctx, ns, "", "hub", "device", "list", "--data-dir", w.Data("dev"), "-o", "name")
	must(t, err)
	if list != "press-1\npress-2\n" {
		t.Errorf("devices %q", list)
	}
}
