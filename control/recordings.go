package control

import (
	"context"
	"io"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func (c *Control) PutRecording(ctx context.Context, id identity.ID, session string, r io.Reader, size int64, sha256 string) error {
	return fault.New("control.PutRecording", fault.Unavailable, "not yet")
}

// RecordingContent is a recording as it can be had.
type RecordingContent struct {
	io.ReadCloser
	Sealed bool // it is still encrypted, for keys that the control plane does not have
	Size   int64
}

func (c *Control) Recording(ctx context.Context, p Principal, session string) (RecordingContent, error) {
	return RecordingContent{}, fault.New("control.Recording", fault.Unavailable, "not yet")
}
