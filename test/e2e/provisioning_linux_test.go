package e2e

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

const fleet = `
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: fleet}
spec:
  type: dps
  hostName: fleet.azure-devices-provisioning.net
  target: 10.20.0.5
  autoApprove: [ot]
  publicNetworkAccess: Disabled
  proxyProtocol: true
  servedBy: hub-1
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: fleet}
spec: {service: ot/ot-cloud/fleet}
`

// TestProvisioningOverThePrivatePath: a provisioning service is one more service of the hub's process, with an endpoint, a name and a public side of
// its own; a device that knows only its id scope and its key ends at its hub.
func TestProvisioningOverThePrivatePath(t *testing.T) {
	w := start(t, "isthq")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w.apply(ctx, fleet)
	cloud := w.sites.Name("otcloud")
	owner := ""
	soon, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	must(t, processes.Until(soon, func() (err error) {
		owner, err = w.CLI(ctx, cloud, "", "hub", "connection-string", "--hub", "ot/ot-cloud/fleet", "--policy", "provisioningserviceowner", "--data-dir", w.Data("hub-1"))
		return err
	}))
	file := filepath.Join(w.Dir, "fleet.connection")
	must(t, os.WriteFile(file, []byte(owner), 0o600))
	line, err := w.roles["hub"].WaitLog(ctx, "provisioning: serving")
	must(t, err)
	scope := line[strings.Index(line, "scope=")+len("scope="):]
	must(t, processes.Until(soon, func() error { return w.dialSite("plant7", "10.7.0.6:8883") }))

	out, err := w.node(ctx, "plant7", "provision.js", file, strings.TrimSpace(scope)).Output()
	must(t, err)
	if got := strings.TrimSpace(string(out)); got != "contoso.azure-devices.net" {
		t.Errorf("assigned to %q", got)
	}
	found := false
	for _, e := range w.events(ctx) {
		found = found || e.Body == base64.StdEncoding.EncodeToString([]byte("provisioned")) && e.System["iothub-connection-device-id"] == "press-9"
	}
	if !found {
		t.Error("the device's message is not in the hub")
	}
	// Its public side is closed: who is beside the hub and came through no endpoint is refused, whatever he asks for.
	said, err := exec.CommandContext(ctx, "ip", "netns", "exec", cloud, "curl", "-sk", "-w", " %{http_code}", "--resolve", "fleet.azure-devices-provisioning.net:443:10.20.0.5",
		"https://fleet.azure-devices-provisioning.net/enrollments/x?api-version=2021-10-01").CombinedOutput()
	must(t, err)
	if !strings.HasSuffix(string(said), " 401") || !strings.Contains(string(said), "no public network access") {
		t.Errorf("beside the hub: %s", said)
	}
}
