package eventhubs

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// store is a blob service of ours, which keeps checkpoints for processors of both SDKs.
type store struct {
	url  string     // with the account
	sign url.Values // a signature for everything in the account
}

func blobs(t *testing.T) store {
	t.Helper()
	w := storagetest.Start(t, storagetest.Options{})
	srv := httptest.NewServer(w.Door) // the programs under test know no authority of ours
	t.Cleanup(srv.Close)
	pass := azureblob.SAS{Version: azureblob.SASVersion, Services: "b", Types: "sco", Permissions: "rwdlacup", Expires: azureblob.SASTime(time.Now().Add(time.Hour))}
	return store{srv.URL + "/" + w.Account.AccountName(), pass.Query(w.Key(t), w.Account.AccountName(), "", "")}
}

// container makes a container for checkpoints and returns its URL, with what it takes to use it.
func container(t *testing.T, blobs store) string {
	t.Helper()
	at := fmt.Sprintf("%s/checkpoints-%d?%s", blobs.url, time.Now().UnixNano(), blobs.sign.Encode())
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

// storage is a blob store that takes anybody's token: ours behind HTTPS, which lets in by signature who comes with a token for Azure.
type storage struct{ url, ca string }

func (w *world) storage(t *testing.T) storage {
	t.Helper()
	b := blobs(t)
	to, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(&httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
		r.Out.Header.Del("Authorization")
		q := r.Out.URL.Query()
		for k, v := range b.sign {
			q[k] = v
		}
		r.Out.URL.RawQuery = q.Encode()
	}})
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "blobs.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return storage{url: s.URL + to.Path, ca: ca}
}
