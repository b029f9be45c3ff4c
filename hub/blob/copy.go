package blob

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
)

const copyBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// copyN copies exactly n bytes, and tells a reader that fails from a writer that does.
func copyN(ctx context.Context, w io.Writer, r io.Reader, n int64) error {
	buf := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(buf)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return fault.Wrap("blob.copy", fault.Unavailable, err, "the writer went away before all of it had come")
		}
		got, err := io.ReadFull(r, buf[:min(n, copyBuffer)])
		if _, werr := w.Write(buf[:got]); werr != nil {
			return werr
		}
		n -= int64(got)
		if err == nil || n == 0 {
			continue
		}
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return fault.Newf("blob.copy", fault.Invalid, "the content did not come whole: %d bytes are missing", n).Because(err)
		}
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return err
		}
		return fault.Wrap("blob.copy", fault.Invalid, err, "the content did not come whole")
	}
	return nil
}
