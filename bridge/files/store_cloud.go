//go:build !slim

package files

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/fault"
)

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
	config.HTTPClient = &http.Client{
		Transport:     end.Modest(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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
