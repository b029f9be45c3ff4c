package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// withFiles is a world that keeps files of at most 12 MiB.
func withFiles(t *testing.T) (*hubtest.World, *file.Service) {
	t.Helper()
	var files *file.Service
	w := start(t, hubtest.Options{Rooms: func(w *hubtest.World) httpdoor.Config {
		var err error
		files, err = file.New(context.Background(), file.Config{Blobs: blob.Config{Dir: t.TempDir(), MaxBlob: 12 << 20}}, w.Server, hubtest.Silent(), clock.System{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := files.Close(); err != nil {
				t.Error(err)
			}
		})
		return httpdoor.Config{Files: files}
	}})
	return w, files
}

// reply is the head of an answer.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// ask sends a request of a service to the hub.
func ask(t *testing.T, w *hubtest.World, method, path, body string) (reply, []byte) {
	t.Helper()
	return askAs(t, w, w.ServiceToken(hubtest.Contoso, hub.PolicyService), method, path, body)
}

func askAs(t *testing.T, w *hubtest.World, token, method, path, body string) (reply, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+hubtest.Contoso+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", token)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.HTTPS)
	}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.Status, res.StatusCode, res.Header}, b
}

// fileContent is what files.js sends.
func fileContent(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

const fileNews = "/messages/serviceBound/filenotifications"

// news takes the next notification, as a service does over REST, and completes it.
func news(t *testing.T, w *hubtest.World) (n struct {
	DeviceID, BlobURI, BlobName string
	BlobSizeInBytes             int
}) {
	t.Helper()
	res, b := ask(t, w, "GET", fileNews+"?api-version=2021-04-12", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/vnd.microsoft.iothub.filenotification.json" || json.Unmarshal(b, &n) != nil {
		t.Fatalf("no notification: %s %s", res.Status, b)
	}
	lock := strings.Trim(res.Header.Get("ETag"), `"`)
	if res, b := ask(t, w, "DELETE", fileNews+"/"+lock+"?api-version=2021-04-12", ""); res.StatusCode != http.StatusNoContent {
		t.Errorf("complete: %s %s", res.Status, b)
	}
	return n
}

func TestFiles(t *testing.T) {
	beside(t)
	t.Run("C28 file notification after an upload", func(t *testing.T) {
		covers(t, "C28", "azure-iot-device")
		w, files := withFiles(t)
		d := w.Device(hubtest.Contoso, "camera+1#'(7)")
		s := play(t, w, "files.js", "upload", deviceString(hubtest.Contoso, d))
		for _, c := range []struct {
			step, name, path string
			size             int
		}{
			{"small", "small.txt", "small.txt", 11},
			{"large", "logs/2026/large file (1).bin", "logs/2026/large%20file%20%281%29.bin", 9<<20 + 5},
		} {
			s.step(c.step, "")
			n := news(t, w)
			if n.DeviceID != d.ID || n.BlobName != d.ID+"/"+c.name || n.BlobSizeInBytes != c.size || n.BlobURI != "https://"+hubtest.Contoso+"/uploads/camera%2B1%23%27%287%29/"+c.path {
				t.Errorf("%s: %+v", c.step, n)
			}
			res, b := ask(t, w, "GET", strings.TrimPrefix(n.BlobURI, "https://"+hubtest.Contoso), "")
			if res.StatusCode != http.StatusOK || !bytes.Equal(b, fileContent(c.size)) {
				t.Errorf("%s: read back %s, %d bytes", c.step, res.Status, len(b))
			}
		}
		s.step("empty", "ReferenceError")
		s.step("too large", "BlobUploadNotificationError")
		s.step("bad name", "BlobSasError")
		if res, b := ask(t, w, "GET", fileNews+"?api-version=2021-04-12", ""); res.StatusCode != http.StatusNoContent {
			t.Errorf("services are told of uploads that failed: %s %s", res.Status, b)
		}
		if files.Blobs().Staging() != 0 || len(files.Blobs().Waiting()) != 0 {
			t.Errorf("%d bytes wait, for %v", files.Blobs().Staging(), files.Blobs().Waiting())
		}
	})

	t.Run("C28 the uploader by hand, resumed, and read by a link", func(t *testing.T) {
		covers(t, "C28", "azure-iot-device", "@azure/storage-blob")
		w, _ := withFiles(t)
		d := w.Device(hubtest.Contoso, "d")
		s := play(t, w, "files.js", "blob", deviceString(hubtest.Contoso, d))
		g := s.next()
		if g.at("grant.hostName") != hubtest.Contoso || g.at("grant.containerName") != "uploads" || g.at("grant.blobName") != "d/by hand/u%41.txt" {
			t.Errorf("granted %v", g)
		}
		s.step("put block", "", "body.status", 201, "body.request", true)
		if v := s.step("wrong MD5", "RestError 400"); v.text("message") != "Md5Mismatch" {
			t.Errorf("got %v", v)
		}
		if v := s.step("list with a block that is missing", "RestError 400"); v.text("message") != "InvalidBlockList" {
			t.Errorf("got %v", v)
		}
		if v := s.next(); len(v["waiting"].([]any)) != 1 {
			t.Errorf("got %v", v)
		}
		s.step("the rest", "")
		s.step("list", "", "body.status", 201)
		s.step("read with a grant for writing", "RestError 403")
		s.step("delete with it", "RestError 403")
		s.step("done", "")
		s.step("done again", "")
		s.step("write after it is done", "RestError 403")
		s.step("put blob", "", "body.status", 201)
		if v := s.step("only when there is none", "RestError 409"); v.text("message") != "BlobAlreadyExists" {
			t.Errorf("got %v", v)
		}
		s.step("done", "")
		s.step("another blob", "RestError 403")
		if v := s.next(); v.text("error") == "" {
			t.Errorf("the eleventh upload is granted: %v", v)
		}
		if n := news(t, w); n.BlobName != "d/by hand/u%41.txt" || n.BlobSizeInBytes != 12 {
			t.Errorf("got %+v", n)
		}
		if n := news(t, w); n.BlobName != "d/whole" || n.BlobSizeInBytes != 5 {
			t.Errorf("got %+v", n)
		}
		res, b := ask(t, w, "POST", "/isthmus/v1/files/links", `{"blobName":"d/by hand/u%41.txt","seconds":60}`)
		var link struct{ URL string }
		if res.StatusCode != http.StatusOK || json.Unmarshal(b, &link) != nil {
			t.Fatalf("no link: %s %s", res.Status, b)
		}
		r := play(t, w, "files.js", "download")
		r.goOn(link.URL)
		if v := r.wants("length", 12); v["type"] != "text/plain" || v["kind"] != "BlockBlob" || v["line"] != "3" || v["cache"] != "no-store" {
			t.Errorf("properties: %v", v)
		}
		r.wants("whole", "first second")
		r.wants("part", "sec")
		r.step("write with a link for reading", "RestError 403")
		if res, b := ask(t, w, "DELETE", "/uploads/d/whole", ""); res.StatusCode != http.StatusAccepted {
			t.Errorf("a service deletes: %s %s", res.Status, b)
		}
		if res, b := ask(t, w, "GET", "/uploads/d/whole", ""); res.StatusCode != http.StatusNotFound || !strings.Contains(string(b), "<Code>BlobNotFound</Code>") {
			t.Errorf("what is gone: %s %s", res.Status, b)
		}
		if res, b := askAs(t, w, w.ServiceToken(hubtest.Contoso, hub.PolicyRegistryRead), "GET", "/uploads/d/by%20hand/u%2541.txt", ""); res.StatusCode != http.StatusForbidden {
			t.Errorf("with a policy that may not: %s %s", res.Status, b)
		}
	})
}
