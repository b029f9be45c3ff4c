package httpdoor_test

import (
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/wire/azureblob"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client asks as nobody, or with what is in the query or the headers.
type client struct {
	t *testing.T
	w *storagetest.World
	q url.Values
}

type answer struct {
	status int
	code   string
	body   string
	header http.Header
}

func (c client) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	u := c.w.URL() + path
	if len(c.q) > 0 {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		u += sep + c.q.Encode()
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, u, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := c.w.HTTP.Client().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	out := answer{a.StatusCode, a.Header.Get("x-ms-error-code"), string(b), a.Header}
	if a.StatusCode >= 400 && method != http.MethodHead {
		var said azureblob.Error
		if err := xml.Unmarshal(b, &said); err != nil || said.Code != out.code || said.Message == "" {
			c.t.Errorf("%s %s is refused with %q: %v", method, path, b, err)
		}
	}
	if a.Header.Get("x-ms-request-id") == "" || a.Header.Get("x-ms-version") == "" {
		c.t.Errorf("%s %s is answered without an id or a version", method, path)
	}
	return out
}

func (c client) is(a answer, status int, code string) {
	c.t.Helper()
	if a.status != status || a.code != code {
		c.t.Errorf("%d %s, want %d %s: %s", a.status, a.code, status, code, a.body)
	}
}

// pass is a signature for everything.
func pass(t *testing.T, w *storagetest.World) url.Values {
	t.Helper()
	s := azureblob.SAS{Version: azureblob.SASVersion, Services: "b", Types: "sco", Permissions: "racwdl", Expires: azureblob.SASTime(time.Now().Add(time.Hour))}
	return s.Query(w.Key(t), w.Account.AccountName(), "", "")
}

func TestRefusals(t *testing.T) {
	w := storagetest.Start(t, storagetest.Options{Quiet: true})
	c := client{t, w, pass(t, w)}
	c.is(c.do("PUT", "/ccc?restype=container", ""), 201, "")
	block := []string{"x-ms-blob-type", "BlockBlob"}
	with := func(more ...string) []string { return append(more, block...) }
	c.is(c.do("PUT", "/ccc/b", "hello", with("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==", "x-ms-meta-a", "1")...), 201, "")
	for _, r := range []struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"GET", "/ccc", "", nil, 400, "InvalidQueryParameterValue"},
		{"GET", "/ccc?restype=container&comp=own", "", nil, 400, "InvalidQueryParameterValue"},
		{"POST", "/ccc/b", "", nil, 405, "UnsupportedHttpVerb"},
		{"GET", "/nnn?restype=container", "", nil, 404, "ContainerNotFound"},
		{"GET", "/ccc/none", "", nil, 404, "BlobNotFound"},
		{"GET", "/nnn/none", "", nil, 404, "ContainerNotFound"},
		{"PUT", "/ccc/b", "x", nil, 400, "InvalidHeaderValue"},
		{"PUT", "/ccc/b", "x", []string{"x-ms-blob-type", "AppendBlob"}, 400, "FeatureNotSupported"},
		{"PUT", "/ccc/b", "x", with("Content-MD5", "nonsense"), 400, "InvalidMd5"},
		{"PUT", "/ccc/b", "x", with("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), 400, "Md5Mismatch"},
		{"PUT", "/ccc/b", "x", with("x-ms-content-crc64", "AAAAAAAAAAA="), 400, "Crc64Mismatch"},
		{"PUT", "/ccc/b", "x", with("x-ms-blob-content-md5", "x"), 400, "InvalidMd5"},
		{"PUT", "/ccc/b", "x", with("x-ms-tags", "a=b"), 400, "UnsupportedHeader"},
		{"PUT", "/ccc/b", "x", with("x-ms-encryption-key", "k"), 400, "UnsupportedHeader"},
		{"PUT", "/ccc/b", "x", with("If-None-Match", "*"), 409, "BlobAlreadyExists"},
		{"PUT", "/ccc/b", "x", with("If-Match", `"0x1"`), 412, "ConditionNotMet"},
		{"PUT", "/ccc/b", "x", with("If-Modified-Since", "yesterday"), 400, "InvalidHeaderValue"},
		{"PUT", "/ccc/b", "x", with("x-ms-meta-a-b", "x"), 400, "InvalidMetadata"},
		{"PUT", "/ccc/b?comp=block", "x", nil, 400, "InvalidQueryParameterValue"},
		{"PUT", "/ccc/b?comp=block&blockid=AAAA", "", nil, 400, "InvalidHeaderValue"},
		{"PUT", "/ccc/b?comp=blocklist", "no xml", nil, 400, "InvalidXmlDocument"},
		{"PUT", "/ccc/b?comp=blocklist", "<BlockList><Latest>AAAA</Latest></BlockList>", nil, 400, "InvalidBlockList"},
		{"GET", "/ccc/b?snapshot=2020-01-01", "", nil, 400, "UnsupportedQueryParameter"},
		{"GET", "/ccc/b", "", []string{"x-ms-range", "bytes=5-"}, 416, "InvalidRange"},
		{"GET", "/ccc?restype=container&comp=list&maxresults=0", "", nil, 400, "OutOfRangeQueryParameterValue"},
		{"GET", "/ccc?restype=container&comp=list&marker=x", "", nil, 400, "OutOfRangeQueryParameterValue"},
		{"PUT", "/ccc?restype=container", "", nil, 409, "ContainerAlreadyExists"},
		{"PUT", "/C?restype=container", "", nil, 400, "InvalidResourceName"},
		{"PUT", "/ccc?restype=container&comp=acl", "", []string{"x-ms-blob-public-access", "blob"}, 409, "PublicAccessNotPermitted"},
		{"PUT", "/ccc?restype=container&comp=acl", "<SignedIdentifiers><SignedIdentifier><Id>a</Id></SignedIdentifier></SignedIdentifiers>", nil, 400, "FeatureNotSupported"},
		{"PUT", "/ccc/b?comp=lease", "", []string{"x-ms-lease-action", "own"}, 400, "InvalidHeaderValue"},
		{"PUT", "/ccc/d", "", []string{"x-ms-copy-source", "https://elsewhere/c/b"}, 400, "CannotVerifyCopySource"},
		{"PUT", "/ccc/d", "", []string{"x-ms-copy-source", w.URL() + "/ccc/none"}, 404, "CannotVerifyCopySource"},
		{"DELETE", "/ccc/b", "", []string{"x-ms-delete-snapshots", "only"}, 400, "InvalidHeaderValue"},
	} {
		t.Run(r.method+r.path+strings.Join(r.headers, " "), func(t *testing.T) {
			c := client{t, w, c.q}
			c.is(c.do(r.method, r.path, r.body, r.headers...), r.status, r.code)
		})
	}
	a := c.do("GET", "/ccc/b", "", "x-ms-client-request-id", "mine", "Range", "bytes=1-2", "x-ms-range", "bytes=-3")
	if a.status != 206 || a.body != "llo" || a.header.Get("Content-Range") != "bytes 2-4/5" || a.header.Get("x-ms-client-request-id") != "mine" || a.header.Get("x-ms-meta-a") != "1" {
		t.Errorf("%+v", a)
	}
	if a := c.do("HEAD", "/ccc/none", ""); a.status != 404 || a.code != "BlobNotFound" {
		t.Errorf("%+v", a)
	}
}

func TestProofs(t *testing.T) {
	w := storagetest.Start(t, storagetest.Options{Quiet: true})
	_, err := w.Account.CreateContainer(t.Context(), "ccc", nil)
	if err != nil {
		t.Fatal(err)
	}
	nobody := client{t, w, nil}
	nobody.is(nobody.do("GET", "/ccc/b", ""), 409, "PublicAccessNotPermitted")
	nobody.is(nobody.do("PUT", "/ccc/b", "x"), 401, "NoAuthenticationInformation")
	nobody.is(nobody.do("GET", "/ccc/b", "", "Authorization", "Basic x"), 400, "InvalidAuthenticationInfo")
	nobody.is(nobody.do("GET", "/ccc/b", "", "Authorization", "SharedKey lake:"+strings.Repeat("A", 43)+"="), 403, "AuthenticationFailed")
	nobody.is(nobody.do("GET", "/ccc/b", "", "Authorization", "Bearer a.b.c"), 401, "InvalidAuthenticationInfo")
	day := func(d time.Duration) string { return azureblob.SASTime(time.Now().Add(d)) }
	good := azureblob.SAS{Version: azureblob.SASVersion, Resource: "c", Permissions: "rl", Expires: day(time.Hour)}
	for name, c := range map[string]struct {
		change func(*azureblob.SAS)
		code   string
	}{
		"good":        {func(*azureblob.SAS) {}, ""},
		"expired":     {func(s *azureblob.SAS) { s.Expires = day(-time.Minute) }, "AuthenticationFailed"},
		"endless":     {func(s *azureblob.SAS) { s.Expires = "" }, "AuthenticationFailed"},
		"not yet":     {func(s *azureblob.SAS) { s.Starts = day(time.Minute) }, "AuthenticationFailed"},
		"a policy's":  {func(s *azureblob.SAS) { s.Policy = "p" }, "AuthenticationFailed"},
		"another's":   {func(s *azureblob.SAS) { s.IP = "10.9.9.9" }, "AuthorizationSourceIPMismatch"},
		"for here":    {func(s *azureblob.SAS) { s.IP = "127.0.0.0-127.0.0.9" }, ""},
		"to write":    {func(s *azureblob.SAS) { s.Permissions = "w" }, "AuthorizationPermissionMismatch"},
		"of queues":   {func(s *azureblob.SAS) { s.Resource, s.Services, s.Types = "", "q", "c" }, "AuthorizationServiceMismatch"},
		"of objects":  {func(s *azureblob.SAS) { s.Resource, s.Services, s.Types = "", "b", "o" }, "AuthorizationResourceTypeMismatch"},
		"of lists":    {func(s *azureblob.SAS) { s.Resource, s.Services, s.Types = "", "b", "c" }, ""},
		"of one blob": {func(s *azureblob.SAS) { s.Resource = "b" }, "AuthenticationFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			c.change(&s)
			by := client{t, w, s.Query(w.Key(t), w.Account.AccountName(), "ccc", "x")}
			a := by.do("GET", "/ccc?restype=container&comp=list", "")
			if a.code != c.code || (a.status == 200) != (c.code == "") {
				t.Errorf("%d %s: %s", a.status, a.code, a.body)
			}
		})
	}
	w.Set(t, func(s *storage.Spec) { s.KeysOff = true })
	by := client{t, w, good.Query(w.Key(t), w.Account.AccountName(), "ccc", "")}
	by.is(by.do("GET", "/ccc?restype=container&comp=list", ""), 403, "KeyBasedAuthenticationNotPermitted")
}

// From a closed public side only trusted workloads come in, by their tokens; keys are not even looked at.
func TestTrustedWorkloads(t *testing.T) {
	d := workloadtest.New(t, clock.System{})
	closed, trusted := true, ""
	refusals := fault.New("x", fault.Denied, "203.0.113.9 came through no approved endpoint").Because(storage.NetworkRefused)
	w := storagetest.Start(t, storagetest.Options{
		Quiet: true, Config: storage.Config{Workloads: d.Verifier}, Spec: storage.Spec{Containers: []string{"ccc"}, Assignments: []plan.Assignment{workloadtest.Assign(resource.RoleBlobContributor, "")}},
		Arrive: func(_ *http.Request, a *httpdoor.Arrival) error {
			if closed && trusted == "" {
				return refusals
			}
			if closed {
				a.Admits = func(c storage.Claim) error {
					if c.Workload == trusted {
						return nil
					}
					return refusals
				}
			}
			return nil
		},
	})
	token := "Bearer " + d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage)
	key, bridge := client{t, w, pass(t, w)}, client{t, w, nil}
	a := key.do("GET", "/?comp=list", "")
	key.is(a, 403, "AuthorizationFailure")
	if !strings.Contains(a.body, "203.0.113.9") {
		t.Errorf("the answer names nobody: %s", a.body)
	}
	bridge.is(bridge.do("PUT", "/ccc/b", "x", "x-ms-blob-type", "BlockBlob", "Authorization", token), 403, "AuthorizationFailure")
	trusted = string(workloadtest.Bridge)
	bridge.is(bridge.do("PUT", "/ccc/b", "x", "x-ms-blob-type", "BlockBlob", "Authorization", token), 201, "")
	key.is(key.do("GET", "/?comp=list", ""), 403, "AuthorizationFailure")
	bridge.is(bridge.do("GET", "/ccc/b", ""), 403, "AuthorizationFailure")
	trusted = "spiffe://other"
	bridge.is(bridge.do("GET", "/ccc/b", "", "Authorization", token), 403, "AuthorizationFailure")
	closed = false
	key.is(key.do("GET", "/?comp=list", ""), 200, "")
}

// A client that uses a name and not an address has no account in its paths.
func TestHostStyle(t *testing.T) {
	w := storagetest.Start(t, storagetest.Options{Quiet: true, Spec: storage.Spec{Containers: []string{"ccc"}}})
	tr := w.HTTP.Client().Transport.(*http.Transport).Clone()
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.HTTP.Listener.Addr().String())
	}
	defer tr.CloseIdleConnections()
	ask := func(u string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u+"&"+pass(t, w).Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		return a.StatusCode
	}
	if s := ask("https://lake.example.com/ccc?restype=container"); s != 200 {
		t.Errorf("by its name: %d", s)
	}
	if s := ask("https://lake.example.com/lake/ccc?restype=container"); s != 400 {
		t.Errorf("by its name, with the account in the path: %d", s)
	}
	if s := ask("https://127.0.0.1/ccc?restype=container"); s != 404 {
		t.Errorf("by its address, without: %d", s)
	}
}

func TestTheLocalSocket(t *testing.T) {
	w := storagetest.Start(t, storagetest.Options{Quiet: true, Spec: storage.Spec{Containers: []string{"ccc"}, KeysOff: true}})
	door := httpdoor.New(httpdoor.Config{Arrive: httpdoor.Named(w.Server), Local: true}, slog.New(slog.DiscardHandler), clock.System{})
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		out := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("x-ms-blob-type", "BlockBlob")
		door.ServeHTTP(out, r)
		return out
	}
	if a := ask("PUT", httpdoor.LocalPath+"/ccc/b%2Fc", "hello"); a.Code != 201 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := ask("GET", httpdoor.LocalPath+"/ccc/b/c", ""); a.Code != 200 || a.Body.String() != "hello" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	primary, _ := w.Account.Keys()
	if a := ask("GET", "/isthmus/v1/storage/keys", ""); a.Code != 200 || !strings.Contains(a.Body.String(), primary) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := ask("POST", "/isthmus/v1/storage/keys", `{"renew":"primary"}`); a.Code != 200 || strings.Contains(a.Body.String(), primary) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := ask("GET", "/isthmus/v1/storage?hub=lake", ""); a.Code != 200 || !strings.Contains(a.Body.String(), `"blobs":1`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := ask("GET", "/isthmus/v1/storage?hub=other", ""); a.Code != 404 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := ask("GET", "/isthmus/v1/storage/other", ""); a.Code != 404 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

func TestRanges(t *testing.T) {
	for text, want := range map[string][3]int64{ // from, length, whether it is a part
		"": {0, 10, 0}, "bytes=0-": {0, 10, 1}, "bytes=2-4": {2, 3, 1}, "bytes=2-99": {2, 8, 1}, "bytes=9-9": {9, 1, 1}, "bytes=-3": {7, 3, 1}, "bytes=-99": {0, 10, 1},
		"bytes=4-2": {0, 10, 0}, "bytes=a-b": {0, 10, 0}, "bytes=1-2,4-5": {0, 10, 0}, "items=1-2": {0, 10, 0}, "bytes=": {0, 10, 0}, "bytes=-": {0, 10, 0}, "bytes=-0": {0, 10, 0},
	} {
		from, length, part, err := httpdoor.ParseRange(text, 10)
		if err != nil || from != want[0] || length != want[1] || part != (want[2] == 1) {
			t.Errorf("%q: %d %d %v %v", text, from, length, part, err)
		}
	}
	for _, text := range []string{"bytes=10-", "bytes=10-11", "bytes=99999999999999999999-"} {
		if _, _, _, err := httpdoor.ParseRange(text, 10); err == nil {
			t.Errorf("%q is within", text)
		}
	}
	if _, _, _, err := httpdoor.ParseRange("bytes=0-0", 0); err == nil {
		t.Error("nothing has a first byte")
	}
}

func FuzzRanges(f *testing.F) {
	f.Add("bytes=1-2", int64(10))
	f.Add("bytes=-5", int64(0))
	f.Fuzz(func(t *testing.T, text string, size int64) {
		if size < 0 {
			return
		}
		from, length, _, err := httpdoor.ParseRange(text, size)
		if err == nil && (from < 0 || length < 0 || from+length > size || from+length < 0) {
			t.Errorf("%q of %d: %d, %d", text, size, from, length)
		}
	})
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, k := range fault.Kinds() {
		if status, code := httpdoor.AnswerTo(fault.New("x", k, "y")); !httpdoor.KindsHave(k) || status < 400 || code == "" {
			t.Errorf("%s: %d %s", k, status, code)
		}
	}
}

// docs/blob-api.md lists every operation with the right it needs, or why it is refused, and no other.
func TestEveryOperationIsInTheDocuments(t *testing.T) {
	b, err := os.ReadFile("../../docs/blob-api.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `([A-Z, ]+ /[^`]*)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(b), -1) {
		listed[m[1]+": "+m[2]] = m[3]
	}
	for _, r := range httpdoor.Rows() {
		want := r.Right
		if r.Why != "" {
			want = r.Why
		}
		name := r.Name + ": " + r.Request
		if got, ok := listed[name]; !ok || got != want {
			t.Errorf("| %s | `%s` | %s | (and %q is written)", r.Name, r.Request, want, got)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is listed and does not exist", name)
	}
}
