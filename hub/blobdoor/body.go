package blobdoor

import (
	"context"
	"crypto/md5" //nolint:gosec // the protocol's checksum; it protects nothing
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc64"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	maxBodies      = 1024             // taken at a time, in all
	maxBodiesOfOne = 64               // of one device; the Node SDK sends 20 at once
	patience       = 30 * time.Second // for a turn
	stall          = time.Minute      // without a piece of a body
	lastWords      = 10 * time.Second // for the rest of a body that is refused
	maxDrain       = 8 << 20          // bytes of it
)

// body is the body of a request, with its deadline pushed along while it comes and its checksums made.
type body struct {
	x      *exchange
	left   int64
	md5    hash.Hash // nil unless the client said one
	crc    hash.Hash64
	want   []byte
	expect uint64
}

// nvme is the polynomial of x-ms-content-crc64, reflected.
var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// body returns the body and its size. The protocol wants every body's length in advance.
func (x *exchange) body() (*body, int64, error) {
	op := "blobdoor.body"
	n := x.ContentLength
	if n < 0 || len(x.TransferEncoding) > 0 {
		return nil, 0, with(fault.New(op, fault.Invalid, "the request does not say how long its body is").Advise("send Content-Length"), http.StatusLengthRequired, "MissingContentLengthHeader")
	}
	b := &body{x: x, left: n}
	if text := x.Header.Get("Content-MD5"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != md5.Size {
			return nil, 0, with(fault.New(op, fault.Invalid, "Content-MD5 is not base64 of 16 bytes"), http.StatusBadRequest, "InvalidMd5")
		}
		b.want, b.md5 = want, md5.New() //nolint:gosec // as above
	}
	if text := x.Header.Get("x-ms-content-crc64"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != 8 {
			return nil, 0, with(fault.New(op, fault.Invalid, "x-ms-content-crc64 is not base64 of 8 bytes"), http.StatusBadRequest, "InvalidHeaderValue")
		}
		b.expect, b.crc = binary.LittleEndian.Uint64(want), crc64.New(nvme)
	}
	return b, n, nil
}

// Read returns a fault when the whole has come and is not what the client said; whoever reads has kept nothing then.
func (b *body) Read(p []byte) (int, error) {
	_ = b.x.rc.SetReadDeadline(time.Now().Add(stall)) // no more than a missing bound for those who test without a connection
	n, err := b.x.Body.Read(p)
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
	if b.md5 != nil && string(b.md5.Sum(nil)) != string(b.want) {
		return 0, with(fault.New("blobdoor.body", fault.Invalid, "the body is not the one whose MD5 the request says"), http.StatusBadRequest, "Md5Mismatch")
	}
	if b.crc != nil && b.crc.Sum64() != b.expect {
		return 0, with(fault.New("blobdoor.body", fault.Invalid, "the body is not the one whose CRC-64 the request says"), http.StatusBadRequest, "Crc64Mismatch")
	}
	return n, err
}

// echo says in the answer which checksum was checked.
func (b *body) echo(h http.Header) {
	if b.md5 != nil {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(b.want))
	}
	if b.crc != nil {
		h.Set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, b.expect)))
	}
}

// drain reads what is left of a body that is refused, within bounds: a client that still writes would find the connection reset, and
// never read why.
func (x *exchange) drain() {
	if x.Body == nil || x.ContentLength == 0 || x.ContentLength > maxDrain {
		return
	}
	_ = x.rc.SetReadDeadline(time.Now().Add(lastWords)) // as in Read
	_, _ = io.CopyN(io.Discard, x.Body, maxDrain)       // it ends early, or the connection does
}

// turns bounds how many bodies come at once.
type turns struct {
	most, mostOfOne int

	mu    sync.Mutex // guards the fields below
	all   int
	by    map[string]int
	freed chan struct{} // closed, and made anew, when one ends
}

func newTurns(most, mostOfOne int) *turns {
	return &turns{most: most, mostOfOne: mostOfOne, by: map[string]int{}, freed: make(chan struct{})}
}

// take waits for a turn.
func (t *turns) take(ctx context.Context, who string, wait <-chan time.Time) (release func(), err error) {
	for {
		t.mu.Lock()
		if t.all < t.most && t.by[who] < t.mostOfOne {
			t.all++
			t.by[who]++
			t.mu.Unlock()
			return func() { t.release(who) }, nil
		}
		freed, mine := t.freed, t.by[who]
		t.mu.Unlock()
		select {
		case <-freed:
		case <-wait:
			return nil, fault.Newf("blobdoor.take", fault.Exhausted, "too many files come at once: %d of this device", mine).Advise("send fewer blocks at the same time")
		case <-ctx.Done():
			return nil, fault.Wrap("blobdoor.take", fault.Unavailable, ctx.Err(), "the client went away")
		}
	}
}

func (t *turns) release(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.by[who]--; t.by[who] == 0 {
		delete(t.by, who)
	}
	close(t.freed)
	t.freed = make(chan struct{})
}

// turn waits for this request's.
func (x *exchange) turn() (release func(), err error) {
	wait, stop := x.door.clock.After(patience)
	defer stop()
	return x.door.turns.take(x.Context(), x.Blob.Hub+"/"+x.Device, wait)
}
