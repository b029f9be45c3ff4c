package node

import (
	"bytes"
	"context"

	"github.com/isthmus-io/isthmus/hub/blob"
)

// endpointFiles is where storage endpoints of hubs write, beside the files of devices.
type endpointFiles struct{ blobs *blob.Store }

func (e endpointFiles) Put(ctx context.Context, hub, bucket, name, contentType string, body []byte) error {
	_, err := e.blobs.Put(ctx, blob.Upload{}, blob.Ref{Hub: hub, Container: bucket, Name: name}, blob.Properties{ContentType: contentType}, int64(len(body)), bytes.NewReader(body))
	return err
}
