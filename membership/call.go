package membership

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Call posts in as JSON to a path of the control plane ("/member/v1/...") and reads the reply into out, which may be nil. It is for rooms
// above that have business of their own with the control plane. A refusal is a fault with the control plane's words; Unavailable or Timeout
// when none of its addresses answered.
func (m *Member) Call(ctx context.Context, path string, in, out any) error {
	return m.caller.call(ctx, path, in, out)
}

// Upload puts size bytes of r to a path of the control plane, with more headers (which may be nil). It lasts as long as bytes move. When
// a server falls silent the next one is tried, if nothing was read yet or r is an io.Seeker too. Errors are as with Call; one of r's own
// is returned as it is.
func (m *Member) Upload(ctx context.Context, path string, r io.Reader, size int64, header http.Header) error {
	return m.caller.upload(ctx, path, r, size, header)
}

func (c *caller) upload(ctx context.Context, path string, r io.Reader, size int64, header http.Header) error {
	op := "membership.upload"
	var begin int64
	seeker, again := r.(io.Seeker)
	if again {
		var err error
		if begin, err = seeker.Seek(0, io.SeekCurrent); err != nil {
			again = false
		}
	}
	read := false // by an earlier attempt
	err := c.each(ctx, func(server string) (answered bool, err error) {
		if read {
			if !again {
				return true, fault.New(op, fault.Unavailable, "the control plane fell silent in the middle of it")
			}
			if _, err := seeker.Seek(begin, io.SeekStart); err != nil {
				return true, err
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stuck := time.AfterFunc(c.timeout, cancel) // a connection's own time: nothing here is decided by it
		defer stuck.Stop()
		body := &upload{r: r, left: size, moved: func() { stuck.Reset(c.timeout) }}
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+server+path, body)
		if err != nil {
			return true, err
		}
		for name, values := range header {
			req.Header[name] = values
		}
		req.ContentLength = size
		if size == 0 {
			req.Body = http.NoBody
		}
		resp, err := c.ask(req)
		if err != nil {
			begun, own := body.stop()
			read = read || begun
			return own != nil, cmp.Or(own, err)
		}
		defer resp.Body.Close()
		defer func() { // an answer may come before everything was read
			begun, _ := body.stop()
			read = read || begun
		}()
		if resp.StatusCode/100 != 2 {
			return refusal(resp)
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
		return true, err
	})
	return err
}

// upload is a request's body, which leaves its reader alone once it was stopped.
type upload struct {
	moved func()

	mu      sync.Mutex // guards the fields below, and r
	read    bool       // something was
	r       io.Reader
	left    int64
	stopped bool
	err     error // of the reader
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped {
		return 0, io.ErrClosedPipe
	}
	if u.left == 0 {
		return 0, io.EOF
	}
	u.read = true
	n, err := u.r.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	if errors.Is(err, io.EOF) && u.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && u.left > 0 {
		u.err = err
	}
	u.moved()
	return n, err
}

// stop tells whether something was read, and what went wrong with the reader, which is not touched afterwards.
func (u *upload) stop() (begun bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = true
	return u.read, u.err
}
