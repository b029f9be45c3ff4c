package eventhubs

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The account that every Azurite has (Azurite: README, default storage account).
const (
	blobAccount = "devstoreaccount1"
	blobKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// azurite runs a blob store until the test ends, and returns its URL, with the account.
func azurite(t *testing.T) string {
	t.Helper()
	ctx, kill := context.WithCancel(context.Background()) // ended by the cleanup below
	c := exec.CommandContext(ctx, "node", "node_modules/azurite/dist/src/blob/main.js", "--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", "0",
		"--skipApiVersionCheck", "--disableTelemetry", "--silent")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	t.Cleanup(func() {
		kill()
		_ = c.Wait() // it was killed
	})
	late := time.AfterFunc(patience, kill)
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, at, ok := strings.Cut(lines.Text(), "successfully listens on "); ok {
			go func() {
				for lines.Scan() { //nolint:revive // so that it never waits for somebody to listen
				}
			}()
			return strings.TrimSpace(at) + "/" + blobAccount
		}
	}
	t.Fatal("Azurite does not say where it listens")
	return ""
}

// pass is a signature for everything in the account, as a query (Azure Storage: create an account SAS).
func pass(t *testing.T) url.Values {
	t.Helper()
	const permissions, services, types, version = "rwdlacup", "b", "sco", "2021-10-04"
	expiry := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	key, err := base64.StdEncoding.DecodeString(blobKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", blobAccount, permissions, services, types, "", expiry, "", "", version, "")
	return url.Values{"sp": {permissions}, "ss": {services}, "srt": {types}, "se": {expiry}, "sv": {version}, "sig": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
}

// container makes a container for checkpoints and returns its URL, with what it takes to use it.
func container(t *testing.T, blobs string) string {
	t.Helper()
	at := fmt.Sprintf("%s/checkpoints-%d?%s", blobs, time.Now().UnixNano(), pass(t).Encode())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at+"&restype=container", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Body.Close(); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("a container is answered with %s, %v", a.Status, err)
	}
	return at
}

// storage is a blob store that takes anybody's token: Azurite behind HTTPS, which lets in by signature who comes with a token for Azure.
type storage struct{ url, ca string }

func (w *world) storage(t *testing.T) storage {
	t.Helper()
	blobs := azurite(t)
	to, err := url.Parse(blobs)
	if err != nil {
		t.Fatal(err)
	}
	sign := pass(t)
	s := httptest.NewTLSServer(&httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
		r.Out.Header.Del("Authorization")
		q := r.Out.URL.Query()
		for k, v := range sign {
			q[k] = v
		}
		r.Out.URL.RawQuery = q.Encode()
	}})
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "blobs.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return storage{url: s.URL + "/" + blobAccount, ca: ca}
}
