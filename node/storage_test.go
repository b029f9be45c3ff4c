package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

// blobServices runs a process with a blob service that is open to the public side and one that is not but trusts a bridge.
func blobServices(t *testing.T, d *workloadtest.Deployment) (h *hubProcess, ask func(method, url, body string, headers ...string) (int, string, string)) {
	t.Helper()
	authority, err := localAuthority(t.TempDir(), clock.System{}.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(d.Authority.Certificate())
	cfg := HubConfig{DataDir: t.TempDir(), MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, AMQP: []string{"127.0.0.1:0"}}
	cfg.Log.FS = vfs.NewMem()
	cfg.workloads = newWorkloads(func() *x509.CertPool { return roots }, clock.System{})
	certs := &localCertificates{authority: authority, clock: clock.System{}, hosts: []string{"open.example", "closed.example"}}
	h, err = openHub(t.Context(), cfg, certs.find, hubtest.Silent(), clock.System{}, nil)
	t.Cleanup(h.close)
	if err != nil {
		t.Fatal(err)
	}
	role := []plan.Assignment{workloadtest.Assign(resource.RoleBlobContributor, "checkpoints")}
	hubs := []plan.Hub{
		{ID: "open-1", Name: "ot/cloud/open", HostNames: []string{"open.example"}, Type: resource.TypeBlob, Public: resource.PublicEnabled, Containers: []string{"checkpoints"}, Assignments: role},
		{
			ID: "closed-1", Name: "ot/cloud/closed", HostNames: []string{"closed.example"}, Type: resource.TypeBlob, Public: resource.PublicDisabled, Containers: []string{"checkpoints"},
			Assignments: role, Trusted: []string{string(workloadtest.Bridge)},
		},
		{ID: "shut-1", Name: "ot/cloud/shut", HostNames: []string{"shut.example"}, Type: resource.TypeBlob, Public: resource.PublicDisabled},
	}
	ctx, stop := context.WithCancel(context.Background())
	ended, first := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- h.run(ctx, func(ctx context.Context) error {
			defer close(first)
			return h.carryOut(ctx, hubs)
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-first
	address := h.httpsOn[0].Addr().String()
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, // whose certificate it is, others test
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return h, func(method, url, body string, headers ...string) (int, string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		a, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, a.Header.Get("x-ms-error-code"), string(b)
	}
}

// TestBlobServicesBesideHubs: one process serves them by their names, and says in their own words who may not come in.
func TestBlobServicesBesideHubs(t *testing.T) {
	d := workloadtest.New(t, clock.System{})
	h, ask := blobServices(t, d)
	token := "Bearer " + d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage)
	stranger := "Bearer " + d.Token(workloadtest.Stranger, workloadtest.Stranger, workload.AudienceStorage)
	block := []string{"x-ms-blob-type", "BlockBlob"}
	for _, c := range []struct {
		what, method, url string
		headers           []string
		status            int
		code, words       string
	}{
		{"by identity", "PUT", "https://open.example/checkpoints/a", append(block, "Authorization", token), 201, "", ""},
		{"of another container", "PUT", "https://open.example/others/a", append(block, "Authorization", token), 403, "AuthorizationPermissionMismatch", ""},
		{"nobody", "GET", "https://open.example/checkpoints/a", nil, 409, "PublicAccessNotPermitted", ""},
		{"without a role", "GET", "https://open.example/checkpoints/a", []string{"Authorization", stranger}, 403, "AuthorizationPermissionMismatch", "has no role"},
		{"trusted", "PUT", "https://closed.example/checkpoints/a", append(block, "Authorization", token), 201, "", ""},
		{"not trusted", "GET", "https://closed.example/checkpoints/a", []string{"Authorization", stranger}, 403, "AuthorizationPermissionMismatch", ""},
		{"with a key", "GET", "https://closed.example/checkpoints/a", []string{"Authorization", "SharedKey closed:" + strings.Repeat("A", 43) + "="}, 403, "AuthorizationFailure", "127.0.0.1"},
		{"nobody at a closed one", "GET", "https://closed.example/checkpoints/a", nil, 403, "AuthorizationFailure", "127.0.0.1"},
		{"at one that trusts nobody", "GET", "https://shut.example/checkpoints/a", []string{"Authorization", token}, 403, "AuthorizationFailure", "127.0.0.1"},
	} {
		t.Run(c.what, func(t *testing.T) {
			status, code, body := ask(c.method, c.url, "x", c.headers...)
			if status != c.status || code != c.code || !strings.Contains(body, c.words) {
				t.Errorf("%d %s %s, want %d %s", status, code, body, c.status, c.code)
			}
		})
	}
	var d2 net.Dialer
	local := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d2.DialContext(ctx, "unix", filepath.Join(h.cfg.DataDir, adminSocket))
	}}
	defer local.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://local/isthmus/v1/storage/blob/checkpoints/a?hub=open.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := local.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if b, err := io.ReadAll(a.Body); err != nil || string(b) != "x" {
		t.Errorf("by the socket: %d %s, %v", a.StatusCode, b, err)
	}
}
