package blob

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path"

	gocloud "gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/memblob"  // mem://
	"gocloud.dev/gcerrors"

	"github.com/isthmus-io/isthmus/fault"
)

// bucket keeps blobs in an object store. Its names are those of blobs, with the hub's uid and the container in front.
type bucket struct{ b *gocloud.Bucket }

func openBucket(ctx context.Context, where string) (*bucket, error) {
	op := "blob.Open"
	u, err := url.Parse(where)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the URL of the bucket for files cannot be read").Advise("write it as s3://name?region=eu-central-1")
	}
	// Its query may hold what nobody else should see.
	shown := u.Scheme + "://" + u.Host + u.Path
	if !gocloud.DefaultURLMux().ValidBucketScheme(u.Scheme) {
		return nil, fault.Newf(op, fault.Invalid, "no bucket of the kind %q can be used: %s", u.Scheme, shown).Advise("use one of %s", kinds())
	}
	b, err := gocloud.OpenBucket(ctx, where)
	if err != nil {
		return nil, fault.Newf(op, fault.Invalid, "the bucket for files, %s, cannot be opened", shown).Because(err)
	}
	out := &bucket{b}
	if ok, err := b.IsAccessible(ctx); err != nil || !ok {
		if err == nil {
			err = errors.New("it does not exist or may not be read")
		}
		return nil, errors.Join(fault.Newf(op, fault.Unavailable, "the bucket for files, %s, cannot be reached", shown).
			Advise("check that it exists, and that this process has credentials for it").Because(err), b.Close())
	}
	return out, nil
}

func kinds() string {
	out := ""
	for _, s := range gocloud.DefaultURLMux().BucketSchemes() {
		out += " " + s + "://"
	}
	return out[1:]
}

func (k *bucket) write(ctx context.Context, at []string, p Properties, fill func(io.Writer) error) (Info, error) {
	op := "blob.write"
	// A writer whose context ends before Close leaves nothing.
	own, giveUp := context.WithCancel(ctx)
	defer giveUp()
	opt := &gocloud.WriterOptions{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, ContentLanguage: p.ContentLanguage, ContentDisposition: p.ContentDisposition,
		CacheControl: p.CacheControl, ContentMD5: p.MD5, Metadata: p.Metadata,
	}
	if opt.ContentType == "" {
		opt.ContentType = "application/octet-stream" // or it would be guessed
	}
	w, err := k.b.NewWriter(own, path.Join(at...), opt)
	if err != nil {
		return Info{}, bucketWords(op, err)
	}
	if err := fill(w); err != nil {
		giveUp()
		_ = w.Close() // what matters is the error above
		return Info{}, bucketWords(op, err)
	}
	if err := w.Close(); err != nil {
		return Info{}, bucketWords(op, err)
	}
	return k.stat(ctx, at)
}

func (k *bucket) stat(ctx context.Context, at []string) (Info, error) {
	a, err := k.b.Attributes(ctx, path.Join(at...))
	if err != nil {
		return Info{}, bucketWords("blob.Stat", err)
	}
	return Info{
		Properties: Properties{
			ContentType: a.ContentType, ContentEncoding: a.ContentEncoding, ContentLanguage: a.ContentLanguage, ContentDisposition: a.ContentDisposition,
			CacheControl: a.CacheControl, MD5: a.MD5, Metadata: a.Metadata,
		},
		Size: a.Size, Modified: a.ModTime.UTC(), ETag: unquoted(a.ETag),
	}, nil
}

func unquoted(etag string) string {
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

func (k *bucket) read(ctx context.Context, at []string, offset, length int64) (io.ReadCloser, error) {
	r, err := k.b.NewRangeReader(ctx, path.Join(at...), offset, length, nil)
	if err != nil {
		return nil, bucketWords("blob.Read", err)
	}
	return r, nil
}

func (k *bucket) remove(ctx context.Context, at []string) error {
	return bucketWords("blob.Delete", k.b.Delete(ctx, path.Join(at...)))
}

func (k *bucket) close() error { return bucketWords("blob.Close", k.b.Close()) }

func bucketWords(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	switch gcerrors.Code(err) { //nolint:exhaustive // the others are all the same to us
	case gcerrors.NotFound:
		return fault.New(op, fault.NotFound, "there is no such blob").Because(err)
	case gcerrors.ResourceExhausted:
		return full(op).Because(err)
	case gcerrors.PermissionDenied:
		return fault.New(op, fault.Unavailable, "the bucket for files refuses the hub").Advise("check the credentials which the hub's process has for it").Because(err)
	case gcerrors.Canceled, gcerrors.DeadlineExceeded:
		return fault.New(op, fault.Unavailable, "the call was given up").Because(err)
	}
	return fault.New(op, fault.Unavailable, "the bucket for files failed").Advise("try again; the hub's log has its words").Because(err)
}
