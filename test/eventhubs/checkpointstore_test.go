package eventhubs

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/eventlog"
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

// TestAProcessorWithoutBlobs: the SDK's processor goes on where the last one stopped, and people see how far it is.
func TestAProcessorWithoutBlobs(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	name := w.hub(t, 2)
	if _, err := w.events.CreateGroup(t.Context(), name, "workers"); err != nil {
		t.Fatal(err)
	}
	c, err := w.events.ConnectionString(name, rootPolicy, eventhub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	c.HostName = w.address
	e, err := w.events.Entity(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	send := func(partition int, bodies ...string) {
		t.Helper()
		b := eventlog.Batch{Partition: partition}
		for _, text := range bodies {
			b.Events = append(b.Events, eventlog.Event{Body: []byte(text)})
		}
		if _, err := eventhubtest.Append(e, b); err != nil {
			t.Fatal(err)
		}
	}
	process := func(count, want string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", "checkpointprocessor.js", name, "workers", count)
		cmd.Env = append(os.Environ(), "EVENTHUB_CONNECTION_STRING="+c.String(), "EVENTHUB_URL=https://"+w.wss, "NODE_EXTRA_CA_CERTS="+w.ca, "NODE_NO_WARNINGS=1") // of a host that is an address
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	send(0, "a", "b")
	send(1, "c")
	process("3", "a b c")
	send(0, "d")
	send(1, "e", "f")
	process("3", "d e f")
	list, err := w.events.Checkpoints(t.Context(), name, "workers")
	if err != nil || len(list) != 2 || list[0].Sequence != 2 || list[1].Sequence != 2 || list[0].Waiting != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	owners, err := w.events.Ownerships(t.Context(), name, "workers")
	if err != nil || len(owners) != 2 || owners[0].Owner != "" { // given back by the one that ended
		t.Errorf("%+v, %v", owners, err)
	}
}
