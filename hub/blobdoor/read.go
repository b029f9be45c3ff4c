package blobdoor

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/intake"
)

// describe says in the answer what the blob is.
func (x *exchange) describe(i blob.Info) {
	h := x.w.Header()
	h.Set("ETag", `"`+i.ETag+`"`)
	h.Set("Last-Modified", i.Modified.UTC().Format(http.TimeFormat))
	if len(i.MD5) > 0 && x.Method != http.MethodPut {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(i.MD5))
	}
}

func (x *exchange) getBlob() error {
	_ = x.rc.SetReadDeadline(time.Time{}) // what is read is only whether the client is still there
	info, err := x.door.blobs.Stat(x.Context(), x.Blob)
	if err != nil {
		return err
	}
	x.describe(info)
	h := x.w.Header()
	for name, value := range map[string]string{
		"Content-Encoding": info.ContentEncoding, "Content-Language": info.ContentLanguage, "Content-Disposition": info.ContentDisposition, "Cache-Control": info.CacheControl,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	for name, value := range info.Metadata {
		h.Set("x-ms-meta-"+name, value)
	}
	h.Set("Content-Type", "application/octet-stream")
	if info.ContentType != "" {
		h.Set("Content-Type", info.ContentType)
	}
	// A file of a device is not to be run as a page of the hub.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
	h.Set("x-ms-server-encrypted", "false")
	if r := x.Header.Get("x-ms-range"); r != "" { // SDKs say it so; it counts before Range
		x.Header.Set("Range", r)
	}
	content := &seeker{ctx: x.Context(), blobs: x.door.blobs, of: x.Blob, size: info.Size, rc: x.rc}
	defer content.close()
	http.ServeContent(x.w, x.Request, "", info.Modified, content)
	_ = x.rc.SetWriteDeadline(time.Time{}) // the next request on this connection has its own
	return nil
}

// seeker reads a blob from where it was last sought, opened once it is read.
type seeker struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one request
	blobs *blob.Store
	of    blob.Ref
	size  int64
	at    int64
	open  io.ReadCloser
	rc    *http.ResponseController
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	s.close()
	switch whence {
	case io.SeekStart:
		s.at = offset
	case io.SeekCurrent:
		s.at += offset
	case io.SeekEnd:
		s.at = s.size + offset
	}
	if s.at < 0 {
		s.at = 0
		return 0, fault.New("blobdoor.Seek", fault.Invalid, "before the beginning")
	}
	return s.at, nil
}

func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.open == nil {
		r, err := s.blobs.Read(s.ctx, s.of, s.at, s.size-s.at)
		if err != nil {
			return 0, err
		}
		s.open = r
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(intake.Stall)) // a peer that takes nothing for so long is gone
	n, err := s.open.Read(p)
	s.at += int64(n)
	return n, err
}

func (s *seeker) close() {
	if s.open != nil {
		_ = s.open.Close() // it was only read
		s.open = nil
	}
}
