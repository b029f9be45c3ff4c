package gatewayclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/decide"
)

const (
	requestLimit = 15 * time.Second
	maxReply     = 64 << 20 // a status has a line for each route
	maxDrain     = 24 * time.Hour
)

// Socket returns the path of the socket file of a gateway process with this data directory.
func Socket(dataDir string) string { return filepath.Join(dataDir, "gateway.sock") }

// Client speaks to one process.
type Client struct {
	dataDir string
	http    *http.Client
}

// New returns a client of the process with this data directory; nothing is dialled yet.
func New(dataDir string) *Client {
	var d net.Dialer
	return &Client{dataDir: filepath.Clean(dataDir), http: &http.Client{Transport: &http.Transport{
		MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", Socket(dataDir))
		},
	}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the state of the process.
func (c *Client) Status(ctx context.Context) (s gateway.Status, err error) {
	err = c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Why says what would become of a connection now. The gateway is one of those the process carries, TENANT/NETWORK/NAME; when it is
// empty, the first that listens on the question's port.
func (c *Client) Why(ctx context.Context, gatewayName string, q decide.Question) (x gateway.Explanation, err error) {
	v := url.Values{"source": {q.Source.String()}}
	for name, value := range map[string]string{"name": q.Name, "listener": q.Listener, "gateway": gatewayName} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Port != 0 {
		v.Set("port", strconv.Itoa(int(q.Port)))
	}
	err = c.call(ctx, http.MethodGet, "/why", v, &x)
	return x, err
}

// Refusals returns the latest n refusals, all counts, and the n sources refused most; the process keeps about a thousand.
func (c *Client) Refusals(ctx context.Context, n int) (r gateway.Refusals, err error) {
	err = c.call(ctx, http.MethodGet, "/refusals", url.Values{"n": {strconv.Itoa(n)}}, &r)
	return r, err
}

// Drain has the process accept nothing more and end when its connections have, at the latest after d, in whole seconds up to a day; 0
// is what its gateways say. It returns how many connections are open.
func (c *Client) Drain(ctx context.Context, d time.Duration) (connections int, err error) {
	const op = "gatewayclient.Drain"
	if d < 0 || d > maxDrain || d > 0 && d < time.Second {
		return 0, fault.Newf(op, fault.Invalid, "a gateway cannot drain for %s", d).Advise("give a time from 1s to 24h")
	}
	var reply struct {
		Connections int `json:"connections"`
	}
	v := url.Values{}
	if d > 0 {
		v.Set("seconds", strconv.Itoa(int((d+time.Second-1)/time.Second)))
	}
	err = c.call(ctx, http.MethodPost, "/drain", v, &reply)
	return reply.Connections, err
}

// call makes one request and decodes its answer into out.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, out any) error {
	const op = "gatewayclient.call"
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path+"?"+query.Encode(), nil)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // read only
	body := io.LimitReader(resp.Body, maxReply)
	if resp.StatusCode != http.StatusOK {
		return refused(resp.Status, body)
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the gateway's answer cannot be read")
	}
	return nil
}

// refused is the fault that the process answered with.
func refused(status string, body io.Reader) error {
	const op = "gatewayclient"
	var words struct{ Error, Next, Kind string }
	if err := json.NewDecoder(body).Decode(&words); err != nil || words.Error == "" {
		return fault.Newf(op, fault.Unavailable, "the answer is %s, which no gateway gives", status).Advise("check that the data directory is a gateway's")
	}
	return fault.New(op, fault.ParseKind(words.Kind), words.Error).Advise("%s", words.Next)
}

// unreachable says why nobody answered: people name the wrong directory more often than a process dies.
func (c *Client) unreachable(ctx context.Context, err error) error {
	const op = "gatewayclient"
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.New(op, fault.Timeout, "given up").Because(err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Newf(op, fault.Denied, "the gateway with the data directory %s belongs to another user", c.dataDir).
			Advise("be the user it runs as, or root").Because(err)
	}
	if _, e := os.Stat(c.dataDir); errors.Is(e, fs.ErrNotExist) {
		return fault.Newf(op, fault.Unavailable, "no gateway runs here: there is no data directory %s", c.dataDir).
			Advise("name the one of a running gateway with --data-dir, or start it: isthmus gateway run --data-dir %s", c.dataDir).Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "no gateway runs with the data directory %s", c.dataDir).
		Advise("name the one of a running gateway with --data-dir, or start it: isthmus gateway run --data-dir %s", c.dataDir).Because(err)
}
