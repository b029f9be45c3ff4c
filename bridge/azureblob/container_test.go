package azureblob_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/isthmus-io/isthmus/bridge/azureblob"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

const host = "lake.example.com"

// world is a blob service with an end that leads to it, whatever is dialled.
type world struct {
	*storagetest.World
	end    end.End
	answer func(w http.ResponseWriter, r *http.Request) bool // instead of the service; may be nil
}

func start(t *testing.T) *world {
	t.Helper()
	d := workloadtest.New(t, clock.System{})
	minter := workload.NewMinter(d.Credentials(workloadtest.Agent), clock.System{})
	w := &world{World: storagetest.Start(t, storagetest.Options{
		Config: storage.Config{Workloads: d.Verifier},
		Spec:   storage.Spec{Containers: []string{"aggregates"}, Assignments: []plan.Assignment{workloadtest.Assign(resource.RoleBlobContributor, "aggregates")}},
		Quiet:  true,
	})}
	address := w.HTTP.Listener.Addr().String()
	roots := w.HTTP.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	w.end = end.End{
		BridgeEnd: plan.BridgeEnd{Name: "it/it-cloud/aggregates", Open: true, HostName: host, Ports: []uint16{443}, Served: true},
		TLS:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		Token: func(ctx context.Context, audience string) (end.Token, error) {
			if audience != "https://"+host+"/" {
				t.Errorf("a token for %s", audience)
			}
			text, expires, err := minter.Token(ctx, string(workloadtest.Bridge), audience)
			return end.Token{Text: text, Expires: expires}, err
		},
	}
	door := w.Door
	w.Door = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.answer == nil || !w.answer(rw, r) {
			door.ServeHTTP(rw, r)
		}
	})
	return w
}

func (w *world) sas(t *testing.T) string {
	t.Helper()
	primary, _ := w.Account.Keys()
	key, err := azblob.NewSharedKeyCredential(w.Account.AccountName(), primary)
	if err != nil {
		t.Fatal(err)
	}
	v := sas.BlobSignatureValues{Protocol: sas.ProtocolHTTPS, ExpiryTime: time.Now().Add(time.Hour), Permissions: "rcw", ContainerName: "aggregates"}
	q, err := v.SignWithSharedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return q.Encode()
}

// Each sort of proof opens the container; small blobs and large ones are read as they were written, and written again.
func TestProofs(t *testing.T) {
	w := start(t)
	primary, _ := w.Account.Keys()
	signature := w.sas(t)
	for name, secret := range map[string]string{
		"its own identity":         "",
		"a key":                    "DefaultEndpointsProtocol=https;AccountName=" + w.Account.AccountName() + ";AccountKey=" + primary + ";EndpointSuffix=core.windows.net",
		"a signature":              "?" + signature,
		"the URL of a signature":   "https://" + host + "/aggregates?" + signature,
		"the URL of an account":    "https://elsewhere.example/?" + signature,
		"a string with signature":  "BlobEndpoint=https://" + host + "/;SharedAccessSignature=" + signature,
		"a string with a key only": "AccountName=" + w.Account.AccountName() + ";AccountKey=" + primary,
	} {
		e := w.end
		e.Secret = secret
		if secret != "" {
			e.Token = nil
		}
		c, err := azureblob.Open(&e, "aggregates")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, content := range []string{"small", strings.Repeat("large ", 1<<20), ""} {
			if err := c.Write(t.Context(), "a b/ü.json", strings.NewReader(content), int64(len(content)), "text/plain", ""); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r, err := c.Read(t.Context(), "a b/ü.json")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || string(got) != content {
				t.Fatalf("%s: %d bytes of %d: %v", name, len(got), len(content), err)
			}
		}
		c.Close()
	}
}

// Whatever is wrong is said in words, is of a kind that can be waited out, and shows no secret.
func TestTrouble(t *testing.T) {
	w := start(t)
	wrong := "AccountName=" + w.Account.AccountName() + ";AccountKey=c2VjcmV0LWtleQ=="
	status := func(code int, name string) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("x-ms-error-code", name)
			rw.WriteHeader(code)
			return true
		}
	}
	for name, c := range map[string]struct {
		container string
		change    func(e *end.End)
		answer    func(http.ResponseWriter, *http.Request) bool
		want      fault.Kind
		words     string
	}{
		"no container":     {"nowhere", func(e *end.End) { e.Secret = "AccountName=lake;AccountKey=" + mainKey(w); e.Token = nil }, nil, fault.NotFound, "the container nowhere does not exist"},
		"a wrong key":      {"aggregates", func(e *end.End) { e.Secret = wrong }, nil, fault.Denied, "does not let the bridge in"},
		"no role":          {"elsewhere", nil, nil, fault.Denied, "does not let the bridge in"},
		"busy":             {"aggregates", nil, status(503, "ServerBusy"), fault.Unavailable, "asks for patience"},
		"broken":           {"aggregates", nil, status(500, "InternalError"), fault.Unavailable, "500"},
		"full":             {"aggregates", nil, status(507, "InsufficientStorage"), fault.Exhausted, "is full"},
		"not known":        {"aggregates", nil, status(401, "InvalidAuthenticationInfo"), fault.Unauthenticated, "does not know the bridge"},
		"not approved":     {"aggregates", func(e *end.End) { e.Open = false }, nil, fault.Unavailable, "is not approved"},
		"an old signature": {"aggregates", func(e *end.End) { e.Secret = "?sv=2024-11-04&sr=c&sp=rcw&se=2020-01-01T00:00:00Z&sig=c2VjcmV0LWtleQ==" }, nil, fault.Denied, "does not let the bridge in"},
		"nobody there": {"aggregates", func(e *end.End) {
			e.Connect = func(context.Context, uint16) (net.Conn, error) {
				return nil, errors.New("refused sig=c2VjcmV0LWtleQ==")
			}
		}, nil, fault.Unavailable, "did not answer"},
	} {
		e := w.end
		if c.change != nil {
			c.change(&e)
		}
		w.answer = c.answer
		b, err := azureblob.Open(&e, c.container)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = b.Write(t.Context(), "x", bytes.NewReader([]byte("x")), 1, "text/plain", "")
		if fault.KindOf(err) != c.want || !strings.Contains(fault.Message(err), c.words) || strings.Contains(err.Error(), "c2VjcmV0LWtleQ") || strings.Contains(err.Error(), "sig=") {
			t.Errorf("%s: %v", name, err)
		}
		b.Close()
	}
	w.answer = nil
	e := w.end
	b, err := azureblob.Open(&e, "aggregates")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Read(t.Context(), "nothing"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func mainKey(w *world) string {
	primary, _ := w.Account.Keys()
	return primary
}

// A service whose answers have no end, packed or not, costs a megabyte and a moment.
func TestEndlessAnswers(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, code := range []int{http.StatusCreated, http.StatusInternalServerError} {
			w := start(t)
			wrote := 0
			w.answer = func(rw http.ResponseWriter, r *http.Request) bool {
				_, _ = io.Copy(io.Discard, r.Body)
				var to io.Writer = rw
				if packed {
					rw.Header().Set("Content-Encoding", "gzip")
					to = gzip.NewWriter(rw)
				}
				rw.WriteHeader(code)
				piece := make([]byte, 64<<10)
				for wrote = 0; wrote < 64<<20; wrote += len(piece) {
					if _, err := to.Write(piece); err != nil {
						break
					}
				}
				return true
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := azureblob.Open(&w.end, "aggregates")
			if err != nil {
				t.Fatal(err)
			}
			err = c.Write(t.Context(), "x", bytes.NewReader([]byte("x")), 1, "text/plain", "")
			runtime.ReadMemStats(&after)
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "answer of more than") {
				t.Errorf("%d: %v", code, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 24<<20 {
				t.Errorf("%d: %d MiB for an answer", code, n>>20)
			}
			c.Close()
		}
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	for _, secret := range []string{"hello", "AccountName=a", "AccountName=a;AccountKey=%%%", "https://lake.example.com/x", "https://[::1", ";;;"} {
		e := end.End{BridgeEnd: plan.BridgeEnd{Name: "x", HostName: host, Ports: []uint16{443}}, Secret: secret}
		if _, err := azureblob.Open(&e, "c"); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	e := end.End{BridgeEnd: plan.BridgeEnd{Name: "x", HostName: host, Ports: []uint16{443}}}
	if _, err := azureblob.Open(&e, "c"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
