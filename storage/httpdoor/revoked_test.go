package httpdoor_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

// A right that is taken away in the middle of an upload or a download ends it: nothing is stored, and nothing more is told.
func TestRightsThatAreTakenAwayMeanwhile(t *testing.T) {
	for name, take := range map[string]func(*storagetest.World, *workloadtest.Deployment){
		"the role": func(w *storagetest.World, _ *workloadtest.Deployment) {
			w.Set(t, func(s *storage.Spec) { s.Assignments = nil })
		},
		"the agent":   func(_ *storagetest.World, d *workloadtest.Deployment) { d.Revoke(string(workloadtest.Agent)) },
		"the account": func(w *storagetest.World, _ *workloadtest.Deployment) { _ = w.Server.SetAccounts(t.Context(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := workloadtest.New(t, clock.System{})
			w := storagetest.Start(t, storagetest.Options{
				Quiet: true, Config: storage.Config{Workloads: d.Verifier},
				Spec: storage.Spec{Containers: []string{"ccc"}, Assignments: []plan.Assignment{workloadtest.Assign(resource.RoleBlobContributor, "")}},
			})
			ask := func(method, path string, body io.Reader, size int64) (*http.Response, error) {
				r, err := http.NewRequestWithContext(t.Context(), method, w.URL()+path, body)
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = size
				r.Header.Set("Authorization", "Bearer "+d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage))
				r.Header.Set("x-ms-version", "2024-11-04")
				r.Header.Set("x-ms-blob-type", "BlockBlob")
				return w.HTTP.Client().Do(r)
			}
			const large = 24 << 20
			a, err := ask("PUT", "/ccc/large", bytes.NewReader(make([]byte, large)), large)
			if err != nil || a.StatusCode != 201 {
				t.Fatal(a, err)
			}
			_ = a.Body.Close()
			down, err := ask("GET", "/ccc/large", nil, 0)
			if err != nil || down.StatusCode != 200 {
				t.Fatal(down, err)
			}
			defer down.Body.Close()

			body, half := io.Pipe()
			ended := make(chan int, 1)
			go func() {
				up, err := ask("PUT", "/ccc/secret", body, 200_000)
				if err != nil {
					ended <- 0
					return
				}
				_ = up.Body.Close()
				ended <- up.StatusCode
			}()
			_, _ = half.Write(make([]byte, 100_000)) // the client has taken it, and begun
			account := w.Account
			take(w, d)
			_, _ = half.Write(make([]byte, 100_000)) // an error says that it has ended already
			_ = half.Close()
			if code := <-ended; code != 403 && code != 0 && code != 401 && code != 400 && code != 404 {
				t.Errorf("the upload is answered with %d", code)
			}
			if _, err := account.Open(t.Context(), storage.Ref{Container: "ccc", Name: "secret"}, storage.Condition{}); err == nil {
				t.Error("the blob is there")
			}
			if n, err := io.Copy(io.Discard, down.Body); err == nil || n == large {
				t.Errorf("%d bytes were read: %v", n, err)
			}
		})
	}
}
