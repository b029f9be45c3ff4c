package restart

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// line is an event as endpoints get it.
type line struct {
	ID          string `json:"Id"`
	Redelivered bool
	Body        []byte
}

// far is where routes lead: a webhook of the test's, and files in a bucket.
type far struct {
	w *world

	mu     sync.Mutex // guards the fields below
	times  map[string]int
	bodies map[string]int
	posts  int
	marked int
}

func (w *world) far() *far {
	w.t.Helper()
	f := &far{w: w, times: map[string]int{}, bodies: map[string]int{}}
	server := httptest.NewTLSServer(http.HandlerFunc(f.take))
	w.t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, e := range []hubclient.Endpoint{
		{Name: "hook", Kind: "webhook", URL: server.URL + "/events", Authority: string(authority)},
		{Name: "store", Kind: "storage", Bucket: "cold", BatchSeconds: 1},
	} {
		_, err := w.hub.PutEndpoint(w.ctx, e)
		must(w.t, err)
	}
	_, err := w.hub.PutRoute(w.ctx, hubclient.Route{Name: "all", Source: "DeviceMessages", Condition: "true", Endpoints: []string{"events", "hook", "store"}, Enabled: true})
	must(w.t, err)
	w.mu.Lock()
	w.done["webhook"], w.need["webhook"] = 0, 3
	w.mu.Unlock()
	return f
}

// take is the webhook. Each third post is taken and its answer lost.
func (f *far) take(rw http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var events []line
	if err == nil {
		err = json.Unmarshal(b, &events)
	}
	if err != nil {
		return // the process was killed while it wrote
	}
	f.mu.Lock()
	f.posts++
	lose := f.posts%9 == 0
	for _, e := range events {
		if f.times[e.ID]++; f.times[e.ID] == 1 {
			f.bodies[string(e.Body)]++
		} else if !e.Redelivered {
			f.w.wrongly("event %s comes to the webhook again without a mark", e.ID)
		}
		if e.Redelivered {
			f.marked++
		}
	}
	f.mu.Unlock()
	f.w.count("webhook")
	if lose {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
}

// check waits until everything has come to both.
func (f *far) check(pumps []*pump) {
	if err := f.w.until(func() error {
		r, err := f.w.hub.Routing(f.w.ctx)
		if err != nil {
			return err
		}
		for _, e := range r.Endpoints {
			if e.Progress == nil || e.Progress.Waiting > 0 {
				return fmt.Errorf("%s: %+v", e.Name, e.Progress)
			}
		}
		return nil
	}); err != nil {
		f.w.wrongly("%v", err)
	}
	ids, bodies, files := map[string]int{}, map[string]int{}, 0
	err := filepath.WalkDir(filepath.Join(f.w.DataDir, "files", "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/cold/") || !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for l := range strings.Lines(string(text)) {
			var e line
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				return fmt.Errorf("%s: %w: %s", path, err, l)
			}
			if ids[e.ID]++; ids[e.ID] > 1 {
				f.w.wrongly("event %s is in two files", e.ID)
			}
			bodies[string(e.Body)]++
		}
		return nil
	})
	if err != nil {
		f.w.wrongly("%v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pumps {
		p.mu.Lock()
		for seq := range p.acked {
			body := fmt.Sprintf("%s %d", p.id, seq)
			if f.bodies[body] == 0 || bodies[body] == 0 {
				f.w.wrongly("message %s was acknowledged, came to the webhook %d times and is in %d files", body, f.bodies[body], bodies[body])
			}
		}
		p.mu.Unlock()
	}
	f.w.t.Logf("the webhook had %d posts with %d events, %d events were marked; %d files hold %d events", f.posts, len(f.times), f.marked, files, len(ids))
}
