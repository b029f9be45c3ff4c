package node

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// elsewhere is a blob store as far as transfers know one.
type elsewhere struct {
	mu    sync.Mutex // guards the field below
	blobs map[string]string
}

func (s *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Query().Get("sig") != "good":
		w.WriteHeader(http.StatusForbidden)
	case strings.HasPrefix(r.URL.Path, "/away"):
		http.Redirect(w, r, "https://127.0.0.1:1/elsewhere", http.StatusFound)
	case r.Method == http.MethodPut && r.Header.Get("x-ms-blob-type") == "BlockBlob" && r.ContentLength > 0:
		b, _ := io.ReadAll(r.Body)
		s.blobs[r.URL.Path] = string(b)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodGet && s.blobs[r.URL.Path] != "":
		_, _ = io.WriteString(w, s.blobs[r.URL.Path])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestContainers(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	files, err := file.New(context.Background(), file.Config{Blobs: blob.Config{Dir: t.TempDir()}}, w.Server, hubtest.Silent(), clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	far := httptest.NewTLSServer(&elsewhere{blobs: map[string]string{}})
	t.Cleanup(far.Close)
	h, ctx := w.Hub(hubtest.Contoso), t.Context()
	c := newContainers(files, []string{"127.0.0.1", "*.blob.example.net"})
	c.client.Transport = far.Client().Transport

	own := "https://" + hubtest.Contoso + "/uploads"
	for name, address := range map[string]string{"its own": own, "its own, a folder": own + "/2026", "elsewhere": far.URL + "/container?sig=good"} {
		out, err := c.Writer(ctx, h, address, "devices.txt")
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := io.WriteString(out, "line by "+name); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		in, err := c.Reader(ctx, h, address, "devices.txt")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(in); err != nil || string(got) != "line by "+name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = in.Close()
	}
	for name, r := range map[string]struct {
		address string
		want    fault.Kind
	}{
		"no address":          {"somewhere", fault.Invalid},
		"in the clear":        {"http://127.0.0.1/container", fault.Invalid},
		"a file":              {"file:///etc", fault.Invalid},
		"another hub":         {"https://" + hubtest.Fabrikam + "/uploads", fault.Denied},
		"nobody allowed":      {"https://169.254.169.254/latest", fault.Denied},
		"a name that ends so": {"https://evilblob.example.net/c", fault.Denied},
		"another container":   {"https://" + hubtest.Contoso + "/secrets", fault.Invalid},
		"the way up":          {own + "/../x", fault.Invalid},
	} {
		if err := c.Check(h, r.address); fault.KindOf(err) != r.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"../d/x", "../../../other/uploads/~transfers/devices.txt", "a/../../d/x", ".."} {
		for container, address := range map[string]string{"its own": own, "elsewhere": far.URL + "/container?sig=good"} {
			_, rerr := c.Reader(ctx, h, address, name)
			_, werr := c.Writer(ctx, h, address, name)
			if fault.KindOf(rerr) != fault.Invalid || fault.KindOf(werr) != fault.Invalid {
				t.Errorf("%s, %s: %v, %v", container, name, rerr, werr)
			}
		}
	}
	if err := c.Check(h, "https://fab.blob.example.net/c?sig=x"); err != nil {
		t.Errorf("a host below: %v", err)
	}
	for name, r := range map[string]struct {
		address string
		want    fault.Kind
	}{
		"nothing there":      {far.URL + "/none?sig=good", fault.NotFound},
		"a wrong signature":  {far.URL + "/container?sig=secret-but-wrong", fault.Denied},
		"somebody redirects": {far.URL + "/away?sig=good", fault.Unavailable},
		"of another hub":     {own + "/none", fault.NotFound},
	} {
		_, err := c.Reader(ctx, h, r.address, "devices.txt")
		if fault.KindOf(err) != r.want || err != nil && strings.Contains(err.Error(), "secret-but-wrong") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
