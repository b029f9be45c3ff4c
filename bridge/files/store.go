package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/isthmus-io/isthmus/bridge/azureblob"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// smallFile is what is put together in memory; larger ones on the disk.
const smallFile = 1 << 20

// openStore opens a container, or a bucket of another object store.
func openStore(ctx context.Context, d *resource.BlobDestination, e *end.End, dir string) (sink, error) {
	if e == nil {
		return nil, fault.New("files.New", fault.Invalid, "the destination has no endpoint")
	}
	if d.Container != "" {
		return openContainer(e, d.Container, dir)
	}
	u, err := url.Parse(d.Bucket)
	if err != nil || u.Host == "" {
		return nil, fault.New("files.New", fault.Invalid, "the URL of the bucket cannot be read").Advise("write it as s3://name?region=eu-central-1")
	}
	switch u.Scheme {
	case "azblob":
		return openContainer(e, u.Host, dir)
	case "s3":
		return openS3(ctx, u, e)
	}
	return nil, fault.Newf("files.New", fault.Invalid, "no bucket of the kind %.20q can be used", u.Scheme).
		Advise("use s3:// (with endpoint=https://storage.googleapis.com and a key of the XML API for Google's), or azblob://")
}

type blobs struct {
	c   *azureblob.Container
	dir string
}

func openContainer(e *end.End, name, dir string) (sink, error) {
	c, err := azureblob.Open(e, name)
	if err != nil {
		return nil, err
	}
	return &blobs{c, dir}, nil
}

func (b *blobs) put(ctx context.Context, name, contentType string, size int64, render func(io.Writer) error) error {
	if size <= smallFile {
		var whole bytes.Buffer
		if err := render(&whole); err != nil {
			return localWords("files.Flush", err)
		}
		return b.c.Write(ctx, name, bytes.NewReader(whole.Bytes()), int64(whole.Len()), contentType, "")
	}
	f, err := os.CreateTemp(b.dir, "whole-*")
	if err != nil {
		return localWords("files.Flush", err)
	}
	defer func() {
		_ = f.Close() // it was read to its end, or is of no use
		_ = os.Remove(f.Name())
	}()
	if err := render(f); err != nil {
		return localWords("files.Flush", err)
	}
	n, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return localWords("files.Flush", err)
	}
	return b.c.Write(ctx, name, f, n, contentType, "")
}

func (b *blobs) close() error {
	b.c.Close()
	return nil
}

// bucket is one of an S3 service.
type bucket struct {
	b         *gocloud.Bucket
	transport *http.Transport
}

// openS3 reads region, endpoint and use_path_style from the URL. Without endpoint the service is the end's, unless that is Amazon's.
func openS3(ctx context.Context, u *url.URL, e *end.End) (sink, error) {
	id, rest, ok := strings.Cut(e.Secret, ":")
	secret, session, _ := strings.Cut(rest, ":")
	if !ok || id == "" || secret == "" {
		return nil, fault.New("files.New", fault.Invalid, "a bucket needs a secret of the form id:secret").Advise("name its file in spec.destination.secret")
	}
	q := u.Query()
	config := aws.Config{Region: q.Get("region"), Credentials: credentials.NewStaticCredentialsProvider(id, secret, session)}
	if config.Region == "" {
		config.Region = "us-east-1" // what services take that have none
	}
	transport := e.Transport()
	config.HTTPClient = &http.Client{Transport: transport}
	amazon := strings.HasSuffix(e.HostName, ".amazonaws.com")
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		o.RetryMaxAttempts = 1 // whoever calls tries again, and says why it waits
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = &endpoint
		} else if !amazon {
			o.BaseEndpoint = aws.String(e.URL(false))
		}
		o.UsePathStyle = !amazon || q.Get("use_path_style") == "true"
	})
	b, err := s3blob.OpenBucket(ctx, client, u.Host, nil)
	if err != nil {
		return nil, fault.New("files.New", fault.Invalid, "the bucket cannot be opened").Because(err)
	}
	return &bucket{b, transport}, nil
}

func (b *bucket) put(ctx context.Context, name, contentType string, _ int64, render func(io.Writer) error) error {
	// A writer whose context ends before Close leaves nothing.
	own, giveUp := context.WithCancel(ctx)
	defer giveUp()
	w, err := b.b.NewWriter(own, name, &gocloud.WriterOptions{ContentType: contentType, MaxConcurrency: 1})
	if err != nil {
		return bucketWords(err)
	}
	if err := render(w); err != nil {
		giveUp()
		_ = w.Close() // what matters is the error above
		return bucketWords(err)
	}
	return bucketWords(w.Close())
}

func (b *bucket) close() error {
	b.transport.CloseIdleConnections()
	return b.b.Close()
}

// bucketWords says what is wrong with a bucket. All of it is waited out.
func bucketWords(err error) error {
	if err == nil {
		return nil
	}
	op := "files.Flush"
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Wrap(op, fault.Internal, f, "")
	}
	switch gcerrors.Code(err) { //nolint:exhaustive // the others are all the same to us
	case gcerrors.NotFound:
		return fault.New(op, fault.NotFound, "the bucket does not exist").Advise("make it").Because(err)
	case gcerrors.PermissionDenied:
		return fault.New(op, fault.Denied, "the store does not let the bridge in").Advise("check the key in its secret, and what it may do").Because(err)
	case gcerrors.ResourceExhausted:
		return fault.New(op, fault.Exhausted, "the store is full, or asks for patience").Because(err)
	case gcerrors.Canceled, gcerrors.DeadlineExceeded:
		return fault.New(op, fault.Unavailable, "the writing was given up").Because(err)
	}
	if status, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		switch status.HTTPStatusCode() {
		case http.StatusForbidden, http.StatusUnauthorized:
			return fault.New(op, fault.Denied, "the store does not let the bridge in").Advise("check the key in its secret, and what it may do").Because(err)
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			return fault.New(op, fault.Unavailable, "the store asks for patience").Because(err)
		case http.StatusInsufficientStorage:
			return fault.New(op, fault.Exhausted, "the store is full").Advise("make room there").Because(err)
		}
	}
	return fault.New(op, fault.Unavailable, "the store did not take the file").Advise("see what the log of the process says about it").Because(err)
}
