package files

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// objects is a server that keeps what is PUT, or answers with a status.
type objects struct {
	mu     sync.Mutex
	kept   map[string][]byte
	types  map[string]string
	proofs map[string]string
	status int
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.status != 0:
		w.WriteHeader(o.status)
	case err != nil || r.Method != http.MethodPut:
		w.WriteHeader(http.StatusBadRequest)
	default:
		name := r.URL.Path
		o.kept[name], o.types[name], o.proofs[name] = body, r.Header.Get("Content-Type")+r.Header.Get("x-ms-blob-content-type"), r.Header.Get("Authorization")
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusCreated)
	}
}

func serve(t *testing.T, host, secret string) (*objects, *end.End) {
	t.Helper()
	o := &objects{kept: map[string][]byte{}, types: map[string]string{}, proofs: map[string]string{}}
	server := httptest.NewTLSServer(o)
	t.Cleanup(server.Close)
	return o, &end.End{
		BridgeEnd: plan.BridgeEnd{Name: "ot/ot-cloud/lake", Open: true, HostName: host, Ports: []uint16{443}}, Secret: secret,
		TLS: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
		},
	}
}

// Files go to containers and buckets; trouble is said in words and waited out.
func TestStores(t *testing.T) {
	for name, c := range map[string]struct {
		blob   resource.BlobDestination
		secret string
		prefix string
	}{
		"container": {resource.BlobDestination{Container: "lake"}, "?sv=1&sig=abc", "/lake/"},
		"azblob":    {resource.BlobDestination{Bucket: "azblob://lake"}, "?sv=1&sig=abc", "/lake/"},
		"s3":        {resource.BlobDestination{Bucket: "s3://lake?region=eu-central-1"}, "id:c2VjcmV0", "/lake/"},
	} {
		o, e := serve(t, "example.com", c.secret)
		c.blob.Files = resource.Files{Path: "x/{device}"}
		f, err := New(t.Context(), bridge.DestinationArgs{Bridge: "b1", Destination: resource.BridgeDestination{Blob: &c.blob}, End: e, Dir: t.TempDir()})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer f.Close()
		large := strings.Repeat("x", 2<<20)
		if err := f.Write(t.Context(), "0", []*event.Event{reading("0", 1, `{"a":1}`), reading("0", 2, `{"a":"`+large+`"}`)}); err != nil {
			t.Fatal(err)
		}
		for status, want := range map[int]fault.Kind{403: fault.Denied, 503: fault.Unavailable, 507: fault.Exhausted} {
			o.mu.Lock()
			o.status = status
			o.mu.Unlock()
			if err := f.Flush(t.Context(), "0"); fault.KindOf(err) != want || fault.Message(err) == "" || strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("%s: %d is %v", name, status, err)
			}
		}
		if len(o.kept) != 0 {
			t.Errorf("%s: %d files", name, len(o.kept))
		}
		o.mu.Lock()
		o.status = 0
		o.mu.Unlock()
		if err := f.Flush(t.Context(), "0"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for at, content := range o.kept {
			if !strings.HasPrefix(at, c.prefix+"x/press-4/") || !strings.Contains(o.types[at], "application/x-ndjson") || !bytes.Contains(content, []byte(`{"a":1,"isthmus_origin":"b1/0/1"}`+"\n")) || len(content) < 2<<20 {
				t.Errorf("%s: %s, %s, %d bytes", name, at, o.types[at], len(content))
			}
			if name == "s3" && !strings.Contains(o.proofs[at], "Credential=id/") {
				t.Errorf("proved with %s", o.proofs[at])
			}
		}
		if len(o.kept) != 1 {
			t.Errorf("%s: %d files", name, len(o.kept))
		}
	}
}

func TestStoresThatCannotBe(t *testing.T) {
	for bucket, secret := range map[string]string{"s3://lake": "", "gs://lake": "id:secret", "file:///tmp": "", "nonsense": "", "mem://x": ""} {
		_, e := serve(t, "example.com", secret)
		args := bridge.DestinationArgs{Destination: resource.BridgeDestination{Blob: &resource.BlobDestination{Bucket: bucket, Files: resource.Files{Path: "x"}}}, End: e, Dir: t.TempDir()}
		if _, err := New(t.Context(), args); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%s: %v", bucket, err)
		}
	}
}
