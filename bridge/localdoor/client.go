package localdoor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/fault"
)

const maxReply = 256 << 20

// Client speaks to one process. An empty name of a bridge is the only one it carries.
type Client struct {
	dataDir string
	http    *http.Client
}

// New returns a client of the process with this data directory; nothing is dialled yet.
func New(dataDir string) *Client {
	var d net.Dialer
	return &Client{dataDir: filepath.Clean(dataDir), http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", Socket(dataDir))
		},
	}}}
}

// Status tells of all bridges of the process.
func (c *Client) Status(ctx context.Context) (out []bridge.Status, err error) {
	err = c.call(ctx, http.MethodGet, "/status", nil, &out)
	return out, err
}

// Letters lists dead letters, the oldest first; whole ones with their events.
func (c *Client) Letters(ctx context.Context, name string, f deadletter.Filter, limit int, whole bool) (out Letters, err error) {
	v := query(name, f)
	v.Set("limit", strconv.Itoa(limit))
	if whole {
		v.Set("whole", "true")
	}
	err = c.call(ctx, http.MethodGet, "/letters", v, &out)
	return out, err
}

// Letter returns one, with its event.
func (c *Client) Letter(ctx context.Context, name string, id uint64) (out Letter, err error) {
	v := query(name, deadletter.Filter{})
	v.Set("id", strconv.FormatUint(id, 10))
	err = c.call(ctx, http.MethodGet, "/letter", v, &out)
	return out, err
}

// Replay sends letters through the bridge once more and deletes them. It returns when all are sent, left out or dead letters anew.
func (c *Client) Replay(ctx context.Context, name string, f deadletter.Filter) (out Done, err error) {
	err = c.call(ctx, http.MethodPost, "/replay", query(name, f), &out)
	return out, err
}

// Delete deletes letters for good.
func (c *Client) Delete(ctx context.Context, name string, f deadletter.Filter) (out Done, err error) {
	err = c.call(ctx, http.MethodPost, "/delete", query(name, f), &out)
	return out, err
}

func (c *Client) call(ctx context.Context, method, path string, v url.Values, out any) error {
	const op = "localdoor.call"
	r, err := http.NewRequestWithContext(ctx, method, "http://bridge"+path+"?"+v.Encode(), nil)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close() // read only
	body := json.NewDecoder(io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode != http.StatusOK {
		var words struct{ Error, Next, Kind string }
		if err := body.Decode(&words); err != nil || words.Error == "" {
			return fault.Newf(op, fault.Unavailable, "the answer is %s, which no process with bridges gives", resp.Status)
		}
		return fault.New(op, fault.ParseKind(words.Kind), words.Error).Advise("%s", words.Next)
	}
	return fault.Wrap(op, fault.Unavailable, body.Decode(out), "the answer cannot be read")
}

// unreachable says why nobody answered.
func (c *Client) unreachable(ctx context.Context, err error) error {
	const op = "localdoor.call"
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.New(op, fault.Timeout, "given up").Because(err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Newf(op, fault.Denied, "the process with the data directory %s belongs to another user", c.dataDir).Advise("be the user it runs as, or root").Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "no process with bridges runs with the data directory %s", c.dataDir).
		Advise("name the one of a running process with --data-dir, on the machine that carries the bridge: isthmus bridge list says which").Because(err)
}
