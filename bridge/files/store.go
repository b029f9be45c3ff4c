package files

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"

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
