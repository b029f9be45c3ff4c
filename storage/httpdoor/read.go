package httpdoor

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the protocol's checksum; it protects nothing
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

// maxRangeMD5 is the largest range of which a checksum is made on request (Get Blob: x-ms-range-get-content-md5).
const maxRangeMD5 = 4 << 20

// override has the answer say what the signature says of the content.
func (x *exchange) override() {
	for i, name := range azureblob.SASHeaders {
		if v := x.sas.Headers[i]; v != "" {
			x.w.Header().Set(name, v)
		}
	}
}

func headBlob(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	info, err := x.Account.Stat(x.Context(), x.ref(), cond)
	if err != nil {
		return err
	}
	x.describe(info)
	h := x.w.Header()
	if x.op.comp == "metadata" {
		h.Del("Content-Type")
		h.Set("Content-Length", "0")
		return nil
	}
	if len(info.MD5) > 0 {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(info.MD5))
	}
	h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func getBlob(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	c, err := x.Account.Open(x.Context(), x.ref(), cond)
	if err != nil {
		return err
	}
	text := x.Header.Get("x-ms-range") // SDKs say it so; it counts before Range
	if text == "" {
		text = x.Header.Get("Range")
	}
	from, length, part, err := parseRange(text, c.Size)
	if err != nil {
		x.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(c.Size, 10))
		return err
	}
	wantMD5 := part && strings.EqualFold(x.Header.Get("x-ms-range-get-content-md5"), "true")
	if wantMD5 && length > maxRangeMD5 {
		return x.badHeader("x-ms-range-get-content-md5", "possible for ranges of more than 4 MiB")
	}
	r, err := c.Read(x.Context(), from, length)
	if fault.KindOf(err) == fault.NotFound && err != nil { // it was written anew between the two looks
		if c, err = x.Account.Open(x.Context(), x.ref(), cond); err != nil {
			return err
		}
		if from, length, part, err = parseRange(text, c.Size); err != nil {
			return err
		}
		r, err = c.Read(x.Context(), from, length)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	var content io.Reader = r
	h := x.w.Header()
	if wantMD5 {
		whole, err := io.ReadAll(io.LimitReader(r, maxRangeMD5))
		if err != nil {
			return fault.Wrap("httpdoor.getBlob", fault.Unavailable, err, "the blob could not be read")
		}
		sum := md5.Sum(whole) //nolint:gosec // as above
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
		content = bytes.NewReader(whole)
	}
	x.describe(c.Info)
	if len(c.MD5) > 0 {
		name := "Content-MD5"
		if part {
			name = "x-ms-blob-content-md5"
		}
		h.Set(name, base64.StdEncoding.EncodeToString(c.MD5))
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	status := http.StatusOK
	if part {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(c.Size, 10))
	}
	x.w.WriteHeader(status)
	return x.send(content, length)
}

var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// send copies a content to the peer, who has to take some of it each minute.
func (x *exchange) send(content io.Reader, length int64) error {
	content = &watched{Reader: content, x: x}
	buf := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buf)
	defer func() { _ = x.rc.SetWriteDeadline(time.Time{}) }() // the next request on this connection has its own
	for length > 0 {
		n, err := io.ReadFull(content, buf[:min(length, int64(len(buf)))])
		if n > 0 {
			_ = x.rc.SetWriteDeadline(time.Now().Add(intake.Stall)) // a peer that takes nothing for so long is gone
			if _, err := x.w.Write(buf[:n]); err != nil {
				return nil // it went, and needs no answer
			}
		}
		if length -= int64(n); length > 0 && err != nil {
			x.door.log.Error("storage: a blob could not be read to its end", "container", x.container, "err", err)
			panic(http.ErrAbortHandler) // the length is said already: only a connection that ends early tells
		}
	}
	return nil
}

// parseRange reads bytes=from-to, bytes=from- or bytes=-last; none is all, and so is what cannot be read (RFC 9110 section 14.2).
func parseRange(text string, size int64) (from, length int64, part bool, err error) {
	spec, ok := strings.CutPrefix(strings.TrimSpace(text), "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, size, false, nil
	}
	a, aerr := strconv.ParseUint(first, 10, 63)
	b, berr := strconv.ParseUint(last, 10, 63)
	switch {
	case first == "" && berr == nil && b > 0:
		from = max(size-int64(b), 0)
		length = size - from
	case first == "" || aerr != nil || last != "" && (berr != nil || b < a):
		if aerr != nil && first != "" && !errors.Is(aerr, strconv.ErrSyntax) { // beyond every blob
			break
		}
		return 0, size, false, nil
	case int64(a) < size:
		from, length = int64(a), size-int64(a)
		if last != "" {
			length = min(length, int64(b)-int64(a)+1)
		}
	}
	if length == 0 {
		return 0, 0, false, coded(fault.Newf("httpdoor.parseRange", fault.Invalid, "the range is beyond the blob's %d bytes", size), http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	}
	return from, length, true, nil
}

func getBlockList(x *exchange) error {
	kind := strings.ToLower(x.query.Get("blocklisttype"))
	switch kind {
	case "", "committed", "uncommitted", "all":
	default:
		return x.badQuery("blocklisttype", "uncommitted, committed or all")
	}
	info, committed, waiting, err := x.Account.Blocks(x.Context(), x.ref(), x.Header.Get("x-ms-lease-id"))
	if err != nil {
		return err
	}
	if kind == "uncommitted" {
		committed = nil
	}
	if kind == "" || kind == "committed" {
		waiting = nil
	}
	if info.ETag != "" {
		x.changed(info.ETag, info.Modified)
		x.w.Header().Set("x-ms-blob-content-length", strconv.FormatInt(info.Size, 10))
	}
	x.xml(http.StatusOK, azureblob.RenderBlockList(listed(committed), listed(waiting)))
	return nil
}

func listed(list []storage.Block) []azureblob.Listed {
	out := make([]azureblob.Listed, len(list))
	for i, b := range list {
		out[i] = azureblob.Listed{ID: b.ID, Size: b.Size}
	}
	return out
}

func (x *exchange) xml(status int, b []byte) {
	_ = x.rc.SetWriteDeadline(time.Now().Add(intake.Stall))
	x.w.Header().Set("Content-Type", "application/xml")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b) // a client that went needs no answer
}
