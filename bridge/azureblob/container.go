package azureblob

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
)

// Container is one container. It is safe for concurrent use.
type Container struct {
	name      string
	client    *container.Client
	transport *http.Transport
}

// Open opens no connection yet. Invalid when the end's secret cannot be read as one.
func Open(e *end.End, name string) (*Container, error) {
	transport := e.Transport()
	options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: end.Modest(transport), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // whoever calls tries again, and says why it waits
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}}
	client, err := open(e, name, options)
	if err != nil {
		return nil, err
	}
	return &Container{name, client, transport}, nil
}

func open(e *end.End, name string, options *container.ClientOptions) (*container.Client, error) {
	op := "azureblob.Open"
	bad := func() error { // without the cause, which may quote the secret
		return fault.Newf(op, fault.Invalid, "the secret for the endpoint %s cannot be read", e.Name).
			Advise("its file holds a connection string, the URL of a shared access signature, or such a signature that begins with ?")
	}
	join := func(base string) string {
		base, query, _ := strings.Cut(base, "?")
		base = strings.TrimRight(base, "/")
		if !strings.HasSuffix(base, "/"+name) {
			base += "/" + url.PathEscape(name)
		}
		if query != "" {
			base += "?" + query
		}
		return base
	}
	usual := e.URL(false)
	secret := e.Secret
	var client *container.Client
	var err error
	switch {
	case secret == "" && e.Token == nil:
		return nil, fault.Newf(op, fault.Invalid, "the bridge has no identity that the endpoint %s would know", e.Name).Advise("name a secret")
	case secret == "":
		client, err = container.NewClient(join(usual), credential{e}, options)
	case strings.HasPrefix(secret, "https://"), strings.HasPrefix(secret, "http://"):
		u, perr := url.Parse(secret)
		if perr != nil || u.RawQuery == "" {
			return nil, bad()
		}
		client, err = container.NewClientWithNoCredential(join(secret), options)
	case strings.Contains(secret, "sig=") && !strings.Contains(secret, ";"):
		client, err = container.NewClientWithNoCredential(join(usual+"?"+strings.TrimPrefix(secret, "?")), options)
	default:
		s := parse(secret)
		base := s["BlobEndpoint"]
		if base == "" {
			base = usual
			if p := s["DefaultEndpointsProtocol"]; p == "http" {
				base = e.URL(true)
			}
		}
		switch {
		case s["SharedAccessSignature"] != "":
			client, err = container.NewClientWithNoCredential(join(base+"?"+strings.TrimPrefix(s["SharedAccessSignature"], "?")), options)
		case s["AccountName"] != "" && s["AccountKey"] != "":
			key, kerr := azblob.NewSharedKeyCredential(s["AccountName"], s["AccountKey"])
			if kerr != nil {
				return nil, bad()
			}
			client, err = container.NewClientWithSharedKeyCredential(join(base), key, options)
		default:
			return nil, bad()
		}
	}
	if err != nil {
		return nil, bad()
	}
	return client, nil
}

// parse reads Name=Value;Name=Value.
func parse(s string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		if name, value, ok := strings.Cut(part, "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// credential is the bridge's identity as the SDK asks for it.
type credential struct{ e *end.End }

func (c credential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	audience := end.AudienceStorage
	if c.e.Served && c.e.HostName != "" {
		audience = "https://" + c.e.HostName + "/" // of no use to anybody whom the service shows it to
	}
	t, err := c.e.Token(ctx, audience)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: t.Text, ExpiresOn: t.Expires}, nil
}

// Bounds of one request; larger blobs come in blocks, which are nothing until all are there.
const (
	singlePut = 4 << 20
	blockSize = 4 << 20
)

// Write writes a blob, or puts it in the place of the one of its name. The content is read from its start, size bytes of it.
func (c *Container) Write(ctx context.Context, name string, content io.ReadSeeker, size int64, contentType, encoding string) error {
	headers := &blob.HTTPHeaders{BlobContentType: &contentType}
	if encoding != "" {
		headers.BlobContentEncoding = &encoding
	}
	_, err := content.Seek(0, io.SeekStart)
	if err != nil {
		return fault.Wrap("azureblob.Write", fault.Unavailable, err, "the file to send cannot be read")
	}
	b := c.client.NewBlockBlobClient(name)
	if size <= singlePut {
		_, err = b.Upload(ctx, keep{content}, &blockblob.UploadOptions{HTTPHeaders: headers})
	} else {
		_, err = b.UploadStream(ctx, content, &blockblob.UploadStreamOptions{HTTPHeaders: headers, BlockSize: max(blockSize, size/40_000), Concurrency: 1})
	}
	return c.words("azureblob.Write", err)
}

// keep leaves the closing to whoever opened.
type keep struct{ io.ReadSeeker }

func (keep) Close() error { return nil }

// Read opens a blob. NotFound when there is none.
func (c *Container) Read(ctx context.Context, name string) (io.ReadCloser, error) {
	got, err := c.client.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, c.words("azureblob.Read", err)
	}
	return got.Body, nil
}

// Close gives up idle connections.
func (c *Container) Close() { c.transport.CloseIdleConnections() }

// words says what went wrong; every kind is one that waiting, or a person, may mend.
func (c *Container) words(op string, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok { // of the end, or of the tokens
		return fault.Wrap(op, fault.Internal, f, "")
	}
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return c.answer(op, r)
	}
	return fault.New(op, fault.Unavailable, "the blob service did not answer").Because(unquoted{err})
}

func (c *Container) answer(op string, r *azcore.ResponseError) error {
	said := fault.Newf(op, fault.Unavailable, "the blob service answered %d %s", r.StatusCode, r.ErrorCode).Because(unquoted{r})
	of := func(kind fault.Kind, words string) *fault.Error {
		return fault.Newf(op, kind, "%s (%d %s)", words, r.StatusCode, r.ErrorCode).Because(unquoted{r})
	}
	switch {
	case r.ErrorCode == "ContainerNotFound":
		return of(fault.NotFound, "the container "+c.name+" does not exist").Advise("make it")
	case r.StatusCode == http.StatusNotFound:
		return of(fault.NotFound, "there is no such blob")
	case r.StatusCode == http.StatusUnauthorized:
		return of(fault.Unauthenticated, "the blob service does not know the bridge").Advise("check the secret, or whether the service knows the bridge's identity")
	case r.StatusCode == http.StatusForbidden:
		return of(fault.Denied, "the blob service does not let the bridge in").
			Advise("give its identity the role Blob Contributor, or check the key or signature in its secret and until when it is good")
	case r.StatusCode == http.StatusTooManyRequests, r.ErrorCode == "ServerBusy":
		return of(fault.Unavailable, "the blob service asks for patience")
	case r.StatusCode == http.StatusInsufficientStorage, strings.Contains(r.ErrorCode, "Quota"), r.ErrorCode == "AccountLimitExceeded":
		return of(fault.Exhausted, "the blob service is full").Advise("make room there")
	}
	return said
}

// unquoted is an error for the log without the request's address, whose query may be a signature.
type unquoted struct{ err error }

func (u unquoted) Unwrap() error { return u.err }

func (u unquoted) Error() string {
	if r, ok := errors.AsType[*azcore.ResponseError](u.err); ok {
		return http.StatusText(r.StatusCode) + " " + r.ErrorCode
	}
	text := u.err.Error()
	if e, ok := errors.AsType[*url.Error](u.err); ok {
		text = e.Err.Error()
	}
	if strings.Contains(text, "sig=") {
		return "an error with a secret in it"
	}
	return text
}
