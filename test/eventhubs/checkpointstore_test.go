package eventhubs

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// TestCheckpointStores: the stores that people are shown do for processors of both SDKs what their interfaces say.
func TestCheckpointStores(t *testing.T) {
	t.Parallel()
	w := eventhubtest.Start(t, eventhubtest.Options{})
	e := w.Create("telemetry", 2)
	w.Append(e, 1, "one")
	for _, group := range []string{"for-js", "for-go"} {
		if _, err := w.Namespace.CreateGroup(t.Context(), "telemetry", group); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Namespace.CreatePolicy(t.Context(), "telemetry", "reader", eventhub.Listen); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(httpdoor.New(httpdoor.Config{
		Namespace: func(*http.Request) (*eventhub.Namespace, error) { return w.Namespace, nil },
	}, hubtest.Silent(), w.Clock))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := w.Namespace.ConnectionString("telemetry", "reader", eventhub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	c.HostName = "127.0.0.1" // one of the namespace's names
	for name, args := range map[string][]string{
		"js": {"node", "checkpointstore.js"},
		"go": {"go", "-C", "../../examples/checkpointstore", "test", "-count=1", "."},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "EVENTHUB_CONNECTION_STRING="+c.String(), "EVENTHUB_URL="+srv.URL, "NODE_EXTRA_CA_CERTS="+ca, "SSL_CERT_FILE="+ca)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
