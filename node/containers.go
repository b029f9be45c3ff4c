package node

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// maxTransfer bounds a list of identities from elsewhere.
const maxTransfer = 16 << 30

// containers is where import and export jobs read and write: the hub's own container, and containers of hosts that the operator allowed, by
// the addresses and in the protocol of Azure's blob storage.
type containers struct {
	blobs  *blob.Store
	hosts  []string // that may be asked; "*.blob.core.windows.net" is every name below
	client *http.Client
}

var _ job.Containers = containers{}

func newContainers(files *file.Service, hosts []string) containers {
	return containers{files.Blobs(), hosts, &http.Client{
		Timeout: time.Hour,
		// Whoever is allowed is asked, and nobody he sends us to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// place is a container: of the hub's own when own is not empty, or elsewhere.
type place struct {
	own    string // the folder
	remote *url.URL
}

func (c containers) place(h *hub.Hub, address string) (place, error) {
	op := "node.containers"
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return place{}, fault.New(op, fault.Invalid, "the address of the container is none").
			Advise("write https://%s/%s for the hub's own, or the address of a container with its signature", h.HostName(), file.Container)
	}
	first, rest, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if sas.IsHost(u.Host, h.HostNames()) {
		if !strings.EqualFold(first, file.Container) || strings.Contains(rest, "..") {
			return place{}, fault.Newf(op, fault.Invalid, "the hub has no container %.60q", first).Advise("write https://%s/%s", h.HostName(), file.Container)
		}
		return place{own: path.Join(file.Transfers, rest)}, nil
	}
	if !c.allowed(u.Hostname()) {
		return place{}, fault.Newf(op, fault.Denied, "jobs may not reach %.100q", u.Hostname()).
			Advise("start the hub with --transfer-host %s, or use the hub's own container: https://%s/%s", u.Hostname(), h.HostName(), file.Container)
	}
	return place{remote: u}, nil
}

// blob is place with the name of a blob in it, which must not lead to the files of devices.
func (c containers) blob(h *hub.Hub, address, name string) (place, error) {
	if err := blob.CheckName(name); err != nil {
		return place{}, err
	}
	return c.place(h, address)
}

func (c containers) allowed(host string) bool {
	host = strings.ToLower(host)
	for _, a := range c.hosts {
		a = strings.ToLower(a)
		if below, ok := strings.CutPrefix(a, "*"); ok && strings.HasPrefix(below, ".") && strings.HasSuffix(host, below) || a == host {
			return true
		}
	}
	return false
}

// Check implements [job.Containers].
func (c containers) Check(h *hub.Hub, address string) error {
	_, err := c.place(h, address)
	return err
}

// Reader implements [job.Containers].
func (c containers) Reader(ctx context.Context, h *hub.Hub, address, name string) (io.ReadCloser, error) {
	p, err := c.blob(h, address, name)
	if err != nil {
		return nil, err
	}
	if p.remote == nil {
		return c.blobs.Read(ctx, blob.Ref{Hub: h.ID(), Container: file.Container, Name: path.Join(p.own, name)}, 0, -1)
	}
	answer, err := c.ask(ctx, http.MethodGet, p.remote, name, nil, 0) //nolint:bodyclose // the caller does
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxTransfer), answer.Body}, nil
}

// ask sends a request for a blob. Its signature is in the address, and so in no error.
func (c containers) ask(ctx context.Context, method string, container *url.URL, name string, body io.Reader, size int64) (*http.Response, error) {
	op := "node.containers"
	u := *container
	u.Path, u.RawPath = strings.TrimSuffix(container.Path, "/")+"/"+name, ""
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the address of the container is none")
	}
	r.Header.Set("x-ms-version", "2021-12-02")
	if method == http.MethodPut {
		r.Header.Set("x-ms-blob-type", "BlockBlob")
		r.ContentLength = size
	}
	answer, err := c.client.Do(r)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the address
		}
		return nil, fault.Newf(op, fault.Unavailable, "%s cannot be reached", container.Host).Because(err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	_ = answer.Body.Close() // nothing of it is wanted
	kind := fault.Unavailable
	switch answer.StatusCode {
	case http.StatusNotFound:
		kind = fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = fault.Denied
	}
	return nil, fault.Newf(op, kind, "%s answered %s for %s", container.Host, answer.Status, name).Advise("compare the container's address and the rights and the end of its signature")
}

// Writer implements [job.Containers]. What is written goes to a file first, for a blob's size is said before it is sent.
func (c containers) Writer(ctx context.Context, h *hub.Hub, address, name string) (io.WriteCloser, error) {
	p, err := c.blob(h, address, name)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "isthmus-transfer-")
	if err != nil {
		return nil, fault.Wrap("node.containers", fault.Unavailable, err, "no temporary file can be made")
	}
	_ = os.Remove(f.Name()) // it goes with the file; elsewhere than on Unix the system's temporary place is swept
	return &transfer{f, func(size int64) error {
		if p.remote == nil {
			to := blob.Ref{Hub: h.ID(), Container: file.Container, Name: path.Join(p.own, name)}
			_, err := c.blobs.Put(ctx, blob.Upload{}, to, blob.Properties{ContentType: "text/plain"}, size, f)
			return err
		}
		answer, err := c.ask(ctx, http.MethodPut, p.remote, name, io.NopCloser(f), size)
		if err == nil {
			err = answer.Body.Close()
		}
		return err
	}}, nil
}

// transfer is a blob that is being written.
type transfer struct {
	*os.File
	send func(size int64) error
}

func (t *transfer) Close() error {
	size, err := t.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = t.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = t.send(size)
	}
	return errors.Join(err, t.File.Close())
}
