package intake

import (
	"crypto/md5" //nolint:gosec // the protocol's checksum; it protects nothing
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc64"
	"io"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

const (
	// Stall is how long nothing may come of a body, or go of an answer.
	Stall     = time.Minute
	lastWords = 10 * time.Second // for the rest of a body that is refused
	maxDrain  = 8 << 20          // bytes of it
)

// Body is the body of a request.
type Body struct {
	r      *http.Request
	rc     *http.ResponseController
	left   int64
	md5    hash.Hash // nil unless the client said one
	crc    hash.Hash64
	want   []byte
	expect uint64
}

// nvme is the polynomial of x-ms-content-crc64, reflected.
var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// BodyOf returns the body of a request and its size. The protocol wants every body's length in advance.
func BodyOf(r *http.Request, rc *http.ResponseController) (*Body, int64, error) {
	op := "intake.BodyOf"
	n := r.ContentLength
	if n < 0 || len(r.TransferEncoding) > 0 {
		return nil, 0, azureblob.With(fault.New(op, fault.Invalid, "the request does not say how long its body is").Advise("send Content-Length"),
			http.StatusLengthRequired, "MissingContentLengthHeader")
	}
	b := &Body{r: r, rc: rc, left: n}
	if text := r.Header.Get("Content-MD5"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != md5.Size {
			return nil, 0, azureblob.With(fault.New(op, fault.Invalid, "Content-MD5 is not base64 of 16 bytes"), http.StatusBadRequest, "InvalidMd5")
		}
		b.want, b.md5 = want, md5.New() //nolint:gosec // as above
	}
	if text := r.Header.Get("x-ms-content-crc64"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != 8 {
			return nil, 0, azureblob.With(fault.New(op, fault.Invalid, "x-ms-content-crc64 is not base64 of 8 bytes"), http.StatusBadRequest, "InvalidHeaderValue")
		}
		b.expect, b.crc = binary.LittleEndian.Uint64(want), crc64.New(nvme)
	}
	return b, n, nil
}

// MD5 is what the client says the body's is, nil when it says none.
func (b *Body) MD5() []byte { return b.want }

// Read returns a fault when the whole has come and is not what the client said; whoever reads has kept nothing then.
func (b *Body) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(Stall)) // no more than a missing bound for those who test without a connection
	n, err := b.r.Body.Read(p)
	if b.md5 != nil {
		_, _ = b.md5.Write(p[:n]) // never fails
	}
	if b.crc != nil {
		_, _ = b.crc.Write(p[:n])
	}
	b.left -= int64(n)
	if b.left > 0 {
		return n, err
	}
	_ = b.rc.SetReadDeadline(time.Time{}) // what is read from now on is only whether the client is still there
	if b.md5 != nil && string(b.md5.Sum(nil)) != string(b.want) {
		return 0, azureblob.With(fault.New("intake.Body", fault.Invalid, "the body is not the one whose MD5 the request says"), http.StatusBadRequest, "Md5Mismatch")
	}
	if b.crc != nil && b.crc.Sum64() != b.expect {
		return 0, azureblob.With(fault.New("intake.Body", fault.Invalid, "the body is not the one whose CRC-64 the request says"), http.StatusBadRequest, "Crc64Mismatch")
	}
	return n, err
}

// Echo says in the answer which checksum was checked.
func (b *Body) Echo(h http.Header) {
	if b.md5 != nil {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(b.want))
	}
	if b.crc != nil {
		h.Set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, b.expect)))
	}
}

// Drain reads what is left of a body that is refused, within bounds: a client that still writes would find the connection reset, and
// never read why.
func Drain(r *http.Request, rc *http.ResponseController) {
	if r.Body == nil || r.ContentLength == 0 || r.ContentLength > maxDrain {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(lastWords)) // as in Read
	_, _ = io.CopyN(io.Discard, r.Body, maxDrain)     // it ends early, or the connection does
}
