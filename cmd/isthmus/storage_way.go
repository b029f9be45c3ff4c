package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage/httpdoor"
)

// The environment may hold the connection string of a storage account, for those who keep no file.
const storageEnvironment = "ISTHMUS_STORAGE_CONNECTION_STRING"

// storageAccess is the flags that say which blob service, and by which way.
type storageAccess struct {
	ways
	account string
}

func addStorageAccess(w *world, c *cobra.Command) *storageAccess {
	a := &storageAccess{}
	a.addTo(w, c, storageEnvironment)
	c.Flags().Lookup("connection-file").Usage = "`FILE` with the account's connection string, instead of " + storageEnvironment
	c.Flags().StringVar(&a.account, "account", "", "`NAME` of the blob service (or its host name), where one process serves several")
	return a
}

func toStorage(w *world, c *cobra.Command) access[*storageClient] {
	return access[*storageClient]{addStorageAccess(w, c).open}
}

// storageClient is a blob service: by its protocol, and, on its machine, by its socket.
type storageClient struct {
	*azblob.Client
	http    *http.Client
	address string // of the account's own API on the socket; empty from elsewhere
	query   url.Values
}

// Close ends idle connections.
func (s *storageClient) Close() { s.http.CloseIdleConnections() }

// Do sends a request of the SDK, to the account that is meant.
func (s *storageClient) Do(r *http.Request) (*http.Response, error) {
	if len(s.query) > 0 {
		q := r.URL.Query()
		for name, v := range s.query {
			q[name] = v
		}
		r.URL.RawQuery = q.Encode()
	}
	return s.http.Do(r)
}

func (a *storageAccess) open() (*storageClient, error) {
	text := a.w.getenv(a.env)
	switch {
	case a.file != "":
		b, err := os.ReadFile(a.file)
		if err != nil {
			return nil, fault.Wrap("isthmus.connection", fault.Invalid, err, "the connection string cannot be read: "+err.Error())
		}
		text = string(b)
	case a.given():
		text = ""
	}
	if text == "" {
		return a.openSocket()
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	s := &storageClient{http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16, DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, first(a.address, addr))
		},
	}}}
	if s.Client, err = azblob.NewClientFromConnectionString(strings.TrimSpace(text), s.options()); err != nil {
		return nil, fault.New("isthmus.connection", fault.Invalid, "the connection string is not that of a storage account").
			Advise("it is DefaultEndpointsProtocol=https;AccountName=..;AccountKey=..;BlobEndpoint=https://..: isthmus storage connection-string prints it")
	}
	return s, nil
}

func (s *storageClient) options() *azblob.ClientOptions {
	return &azblob.ClientOptions{ClientOptions: policy.ClientOptions{Transport: s, Telemetry: policy.TelemetryOptions{Disabled: true}, Retry: policy.RetryOptions{MaxRetries: 2}}}
}

func (a *storageAccess) openSocket() (*storageClient, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	s := &storageClient{address: "http://local/isthmus/v1/storage", http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 16, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
	if a.account != "" {
		s.query = url.Values{"hub": {a.account}}
	}
	if s.Client, err = azblob.NewClientWithNoCredential("http://local"+httpdoor.LocalPath, s.options()); err != nil {
		return nil, fault.Wrap("isthmus.storage", fault.Internal, err, "")
	}
	return s, nil
}

// ask speaks to the account's own API, which only its machine has.
func (s *storageClient) ask(ctx context.Context, method, path string, in, out any) error {
	op := "isthmus.storage"
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.address+path, body)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	answer, err := s.Do(r)
	if err != nil {
		return storageError(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusedByStorage(answer)
	}
	return fault.Wrap(op, fault.Unavailable, json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(out), "the blob service's answer cannot be read")
}

// storageError has the words of the service instead of the SDK's.
func storageError(err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok && r.RawResponse != nil {
		return refusedByStorage(r.RawResponse)
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return fault.Wrap("isthmus.storage", fault.Unavailable, inner.Err, "the blob service cannot be reached: "+inner.Err.Error())
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.Wrap("isthmus.storage", fault.Unavailable, err, err.Error())
}

func refusedByStorage(r *http.Response) error {
	status := r.StatusCode
	var said struct{ Code, Message string }
	_ = xml.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&said) // without words the status has to do
	text, _, _ := strings.Cut(said.Message, "\nRequestId:")
	if text == "" {
		text = http.StatusText(status) + " " + said.Code
	}
	kind := fault.Invalid
	switch status {
	case http.StatusNotFound:
		kind = fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = fault.Denied
	case http.StatusConflict:
		kind = fault.Conflict
	case http.StatusPreconditionFailed:
		kind = fault.Precondition
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		kind = fault.Unavailable
	}
	next, err := url.PathUnescape(r.Header.Get(httpdoor.NextHeader))
	if err != nil || next == "" {
		return fault.New("isthmus.storage", kind, text)
	}
	return fault.New("isthmus.storage", kind, strings.TrimSuffix(text, ". "+next)).Advise("%s", next)
}
