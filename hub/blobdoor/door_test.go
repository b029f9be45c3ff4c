package blobdoor_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/blobdoor"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// world is a hub process that keeps files, and a client of it.
type world struct {
	*hubtest.World
	t     testing.TB
	files *file.Service
	http  *http.Client
}

func start(t testing.TB, cfg blob.Config) *world {
	t.Helper()
	w := &world{t: t}
	w.World = hubtest.Start(t, hubtest.Options{Rooms: func(h *hubtest.World) httpdoor.Config {
		if cfg.Dir == "" {
			cfg.Dir = t.TempDir()
		}
		var err error
		w.files, err = file.New(context.Background(), file.Config{Blobs: cfg}, h.Server, hubtest.Silent(), clock.System{}, nil)
		must(t, err)
		t.Cleanup(func() { must(t, w.files.Close()) })
		return httpdoor.Config{Files: w.files}
	}})
	w.Device(hubtest.Contoso, "d")
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.HTTPS)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	w.http = &http.Client{Transport: tr}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grant is the path and the query of an upload.
func (w *world) grant(name string) string {
	w.t.Helper()
	g, err := w.files.Begin(context.Background(), w.Hub(hubtest.Contoso), "d", name, hubtest.Contoso)
	must(w.t, err)
	return "/" + g.Container + "/" + azureblob.EscapePath(g.Blob) + g.Query
}

type headers map[string]string

// do sends a request and returns its status, the code of its error, and its answer.
func (w *world) do(method, target string, h headers, body io.Reader) (status int, code string, head http.Header, answer []byte) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "https://"+hubtest.Contoso+target, body)
	must(w.t, err)
	for name, value := range h {
		r.Header.Set(name, value)
	}
	res, err := w.http.Do(r)
	must(w.t, err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	must(w.t, err)
	var e azureblob.Error
	if res.StatusCode >= 400 && method != http.MethodHead {
		if err := xml.Unmarshal(answer, &e); err != nil || e.Code != res.Header.Get("x-ms-error-code") || !strings.Contains(e.Message, res.Header.Get("x-ms-request-id")) {
			w.t.Errorf("%s %s: %s is no error as Azure writes it: %v", method, target, answer, err)
		}
	}
	return res.StatusCode, res.Header.Get("x-ms-error-code"), res.Header, answer
}

func block(id string) string {
	return "&comp=block&blockid=" + base64.RawURLEncoding.EncodeToString([]byte(id)) // of three letters: no padding, nothing to encode
}

func list(ids ...string) string {
	s := "<BlockList>"
	for _, id := range ids {
		s += "<Latest>" + base64.StdEncoding.EncodeToString([]byte(id)) + "</Latest>"
	}
	return s + "</BlockList>"
}

var whole = headers{"x-ms-blob-type": "BlockBlob"}

// read reads a blob as a service does.
func (w *world) read(path string, h headers) (int, http.Header, []byte) {
	w.t.Helper()
	all := headers{"Authorization": w.ServiceToken(hubtest.Contoso, "service")}
	for k, v := range h {
		all[k] = v
	}
	status, _, head, b := w.do("GET", path, all, nil)
	return status, head, b
}

func TestWhatIsRefused(t *testing.T) {
	w := start(t, blob.Config{MaxBlob: 1000})
	g := w.grant("x")
	sum := md5.Sum([]byte("abc"))
	good := base64.StdEncoding.EncodeToString(sum[:])
	for name, c := range map[string]struct {
		method, more string
		h            headers
		body         io.Reader
		status       int
		code         string
	}{
		"no kind of blob":        {"PUT", "", nil, strings.NewReader("abc"), 400, "InvalidHeaderValue"},
		"a page blob":            {"PUT", "", headers{"x-ms-blob-type": "PageBlob"}, nil, 400, "InvalidHeaderValue"},
		"no length":              {"PUT", "", whole, io.MultiReader(strings.NewReader("abc")), 411, "MissingContentLengthHeader"},
		"a block without length": {"PUT", block("abc"), nil, io.MultiReader(strings.NewReader("abc")), 411, "MissingContentLengthHeader"},
		"another MD5":            {"PUT", block("abc"), headers{"Content-MD5": good}, strings.NewReader("abd"), 400, "Md5Mismatch"},
		"no MD5":                 {"PUT", block("abc"), headers{"Content-MD5": "abc"}, strings.NewReader("abc"), 400, "InvalidMd5"},
		"the MD5 of a whole":     {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "Content-MD5": good}, strings.NewReader("abd"), 400, "Md5Mismatch"},
		"the MD5 of nothing":     {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "Content-MD5": good}, nil, 400, "Md5Mismatch"},
		"another CRC":            {"PUT", block("abc"), headers{"x-ms-content-crc64": "AAAAAAAAAAA="}, strings.NewReader("abc"), 400, "Crc64Mismatch"},
		"no CRC":                 {"PUT", block("abc"), headers{"x-ms-content-crc64": "AAAA"}, strings.NewReader("abc"), 400, "InvalidHeaderValue"},
		"an empty block":         {"PUT", block("abc"), nil, http.NoBody, 400, "InvalidHeaderValue"},
		"no id":                  {"PUT", "&comp=block", nil, strings.NewReader("abc"), 400, "InvalidQueryParameterValue"},
		"a bad id":               {"PUT", "&comp=block&blockid=!", nil, strings.NewReader("abc"), 400, "InvalidQueryParameterValue"},
		"too large":              {"PUT", "", whole, bytes.NewReader(make([]byte, 1001)), 413, "RequestBodyTooLarge"},
		"a list that is none":    {"PUT", "&comp=blocklist", nil, strings.NewReader("{}"), 400, "InvalidXmlDocument"},
		"blocks of the old blob": {"PUT", "&comp=blocklist", nil, strings.NewReader("<BlockList><Committed>YQ==</Committed></BlockList>"), 400, "InvalidBlockList"},
		"blocks not sent":        {"PUT", "&comp=blocklist", nil, strings.NewReader(list("abc")), 400, "InvalidBlockList"},
		"the list's MD5":         {"PUT", "&comp=blocklist", headers{"Content-MD5": good}, strings.NewReader(list()), 400, "Md5Mismatch"},
		"a blob's MD5":           {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "x-ms-blob-content-md5": "x"}, nil, 400, "InvalidMd5"},
		"a customer's key":       {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "x-ms-encryption-key": "k"}, nil, 400, "UnsupportedHeader"},
		"a lease":                {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "x-ms-lease-id": "k"}, nil, 400, "UnsupportedHeader"},
		"a copy":                 {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "x-ms-copy-source": "https://x"}, nil, 400, "UnsupportedHeader"},
		"a condition":            {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "If-Match": `"x"`}, nil, 400, "UnsupportedHeader"},
		"an appended block":      {"PUT", "&comp=appendblock", nil, nil, 400, "UnsupportedQueryParameter"},
		"metadata alone":         {"PUT", "&comp=metadata", nil, nil, 400, "UnsupportedQueryParameter"},
		"a snapshot":             {"PUT", "&snapshot=x", whole, nil, 400, "UnsupportedQueryParameter"},
		"too much metadata":      {"PUT", "", headers{"x-ms-blob-type": "BlockBlob", "x-ms-meta-a": strings.Repeat("x", 9000)}, nil, 400, "InvalidMetadata"},
		"another kind of list":   {"GET", "&comp=blocklist&blocklisttype=x", nil, nil, 400, "InvalidQueryParameterValue"},
		"reading":                {"GET", "", nil, nil, 403, "AuthorizationPermissionMismatch"},
		"looking":                {"HEAD", "", nil, nil, 403, "AuthorizationPermissionMismatch"},
		"a signature twice":      {"PUT", "&sig=x", whole, nil, 403, "AuthenticationFailed"},
		"a long query":           {"PUT", "&x=" + strings.Repeat("x", 9000), whole, nil, 400, "InvalidInput"},
		"another method":         {"POST", "", nil, nil, 400, "UnsupportedQueryParameter"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, code, _, b := w.do(c.method, g+c.more, c.h, c.body); status != c.status || code != c.code {
				t.Errorf("%d %s, want %d %s: %s", status, code, c.status, c.code, b)
			}
		})
	}
	if status, _, b := w.read("/uploads/d/x", nil); status != 404 {
		t.Errorf("after all that there is a blob: %s", b)
	}
	if w.files.Blobs().Staging() != 0 {
		t.Errorf("%d bytes wait", w.files.Blobs().Staging())
	}
	for name, target := range map[string]string{"nothing": "/uploads/d/x", "another's": strings.Replace(g, "/d/", "/e/", 1)} {
		if status, code, _, _ := w.do("PUT", target, whole, strings.NewReader("x")); status != 403 || code != "AuthenticationFailed" {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	for _, r := range w.Server.Refusals() {
		if strings.Contains(fmt.Sprint(r), "sig=") {
			t.Errorf("a signature is in the list of refusals: %+v", r)
		}
	}
}

func TestChecksumsThatHold(t *testing.T) {
	w := start(t, blob.Config{})
	g := w.grant("x")
	sum := md5.Sum([]byte("123456789"))
	// CRC-64/NVME of these nine digits is ae8b14860a799888, as every catalogue of CRCs has it; the protocol writes it with the low byte first.
	crc := base64.StdEncoding.EncodeToString([]byte{0x88, 0x98, 0x79, 0x0a, 0x86, 0x14, 0x8b, 0xae})
	h := headers{"Content-MD5": base64.StdEncoding.EncodeToString(sum[:]), "x-ms-content-crc64": crc, "x-ms-client-request-id": "mine"}
	status, code, head, _ := w.do("PUT", g+block("abc"), h, strings.NewReader("123456789"))
	if status != 201 || head.Get("Content-MD5") != h["Content-MD5"] || head.Get("x-ms-content-crc64") != crc || head.Get("x-ms-client-request-id") != "mine" || head.Get("x-ms-version") == "" {
		t.Errorf("%d %s %v", status, code, head)
	}
	if status, code, head, _ := w.do("PUT", g+"&comp=blocklist", headers{"x-ms-blob-content-md5": h["Content-MD5"]}, strings.NewReader(list("abc"))); status != 201 || head.Get("ETag") == "" || head.Get("Last-Modified") == "" {
		t.Errorf("%d %s %v", status, code, head)
	}
	if status, head, b := w.read("/uploads/d/x", nil); status != 200 || string(b) != "123456789" || head.Get("Content-MD5") != h["Content-MD5"] || head.Get("x-ms-blob-type") != "BlockBlob" {
		t.Errorf("%d %v %s", status, head, b)
	}
}

func TestReading(t *testing.T) {
	w := start(t, blob.Config{})
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	if status, _, _, b := w.do("PUT", w.grant("x.html"), headers{"x-ms-blob-type": "BlockBlob", "Content-Type": "text/html", "x-ms-meta-Line": "3"}, bytes.NewReader(content)); status != 201 {
		t.Fatalf("%d %s", status, b)
	}
	const path = "/uploads/d/x.html"
	status, head, b := w.read(path, nil)
	if status != 200 || !bytes.Equal(b, content) || head.Get("Content-Type") != "text/html" || head.Get("x-ms-meta-line") != "3" {
		t.Errorf("%d, %d bytes, %v", status, len(b), head)
	}
	if head.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(head.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("a device's page would run as the hub's: %v", head)
	}
	etag := head.Get("ETag")
	for name, c := range map[string]struct {
		h      headers
		status int
		body   string
	}{
		"a range":            {headers{"Range": "bytes=5-9"}, 206, "56789"},
		"as SDKs ask for it": {headers{"x-ms-range": "bytes=10-12"}, 206, "012"},
		"the end":            {headers{"Range": "bytes=-2"}, 206, "89"},
		"beyond":             {headers{"Range": "bytes=600000-"}, 416, "invalid range: failed to overlap\n"},
		"not changed":        {headers{"If-None-Match": etag}, 304, ""},
		"the same":           {headers{"If-Match": etag, "Range": "bytes=0-0"}, 206, "0"},
		"another":            {headers{"If-Match": `"x"`}, 412, ""},
	} {
		r, err := http.NewRequest("GET", "https://"+hubtest.Contoso+path, nil)
		must(t, err)
		r.Header.Set("Authorization", w.ServiceToken(hubtest.Contoso, "service"))
		for k, v := range c.h {
			r.Header.Set(k, v)
		}
		res, err := w.http.Do(r)
		must(t, err)
		b, err := io.ReadAll(res.Body)
		must(t, err)
		must(t, res.Body.Close())
		if res.StatusCode != c.status || string(b) != c.body {
			t.Errorf("%s: %s %q", name, res.Status, b)
		}
	}
	if status, _, head, b := w.do("HEAD", path, headers{"Authorization": w.ServiceToken(hubtest.Contoso, "service")}, nil); status != 200 || head.Get("Content-Length") != "500000" || len(b) != 0 {
		t.Errorf("HEAD: %d %v", status, head)
	}
}

// A client that goes in the middle of a body leaves nothing, and the next one works.
func TestAConnectionThatBreaks(t *testing.T) {
	w := start(t, blob.Config{})
	g := w.grant("x")
	for _, more := range []string{"", block("abc")} {
		c, err := w.Dial(w.HTTPS, nil, hubtest.Contoso)
		must(t, err)
		_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 1000000\r\n\r\n%s", g+more, hubtest.Contoso, strings.Repeat("x", 300_000))
		must(t, err)
		must(t, c.Close())
	}
	if status, code, _, _ := w.do("PUT", g+block("abc"), nil, strings.NewReader("abc")); status != 201 {
		t.Errorf("%d %s", status, code)
	}
	if status, code, _, _ := w.do("PUT", g+"&comp=blocklist", nil, strings.NewReader(list("abc"))); status != 201 {
		t.Errorf("%d %s", status, code)
	}
	if status, _, b := w.read("/uploads/d/x", nil); status != 200 || string(b) != "abc" {
		t.Errorf("%d %s", status, b)
	}
}

// Whoever is refused while it still writes reads why.
func TestARefusalIsRead(t *testing.T) {
	w := start(t, blob.Config{})
	c, err := w.Dial(w.HTTPS, nil, hubtest.Contoso)
	must(t, err)
	defer c.Close()
	body := make([]byte, 4<<20)
	var all sync.WaitGroup
	all.Go(func() {
		_, _ = fmt.Fprintf(c, "PUT /uploads/d/x?comp=block&blockid=YWJj&sig=x HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", hubtest.Contoso, len(body))
		_, _ = c.Write(body)
	})
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	if res.StatusCode != 403 {
		t.Errorf("got %s", res.Status)
	}
	must(t, res.Body.Close())
	all.Wait()
}

func TestOwns(t *testing.T) {
	for path, want := range map[string]bool{"/uploads/d/x": true, "/Uploads/d": true, "/uploads/": true, "/uploads": false, "/uploads2/x": false, "/devices/uploads/x": false, "/": false} {
		if blobdoor.Owns(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

// BenchmarkUpload sends a file of 256 MiB in blocks of 4 MiB, eight at a time, over TLS to the disk.
func BenchmarkUpload(b *testing.B) {
	w := start(b, blob.Config{Reserve: 1})
	const size, each, atOnce = 256 << 20, 4 << 20, 8
	content := make([]byte, each)
	for i := range content {
		content[i] = byte(i * 7)
	}
	b.SetBytes(size)
	for n := 0; b.Loop(); n++ {
		g := w.grant(fmt.Sprint("f", n%5))
		ids := make([]string, size/each)
		work := make(chan int, len(ids))
		for i := range ids {
			ids[i] = fmt.Sprintf("%03d", i)
			work <- i
		}
		close(work)
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for i := range work {
					if status, code, _, _ := w.do("PUT", g+block(ids[i]), nil, bytes.NewReader(content)); status != 201 {
						b.Error(status, code)
					}
				}
			})
		}
		all.Wait()
		if status, code, _, _ := w.do("PUT", g+"&comp=blocklist", nil, strings.NewReader(list(ids...))); status != 201 {
			b.Fatal(status, code)
		}
	}
}

// BenchmarkPlainCopy is what the disk does with a file of that size when nobody sends it: read, written, made durable.
func BenchmarkPlainCopy(b *testing.B) {
	const size = 256 << 20
	dir := b.TempDir()
	from, err := os.Create(filepath.Join(dir, "from"))
	must(b, err)
	defer from.Close()
	piece := make([]byte, 4<<20)
	for range size / len(piece) {
		_, err := from.Write(piece)
		must(b, err)
	}
	must(b, from.Sync())
	b.SetBytes(size)
	for b.Loop() {
		_, err := from.Seek(0, io.SeekStart)
		must(b, err)
		to, err := os.Create(filepath.Join(dir, "to"))
		must(b, err)
		_, err = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}) // through memory, as a program does that does not ask the kernel to
		must(b, err)
		must(b, to.Sync())
		must(b, to.Close())
	}
}
