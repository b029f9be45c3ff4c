package hubclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
)

const (
	apiVersion   = "2021-04-12"
	tokenLife    = time.Hour
	requestLimit = time.Minute
	maxReply     = 16 << 20
	idleConns    = 8 // for whoever makes several requests at once
)

// Socket returns the path of the socket file of a hub with this data directory.
func Socket(dataDir string) string { return filepath.Join(dataDir, "admin.sock") }

// Config says which hub to speak to: Connection, or Socket and, where a process serves several, Hub.
type Config struct {
	Connection sas.ConnectionString // of a policy
	Address    string               // host:port to dial instead of the connection string's host on port 443
	Roots      *x509.CertPool       // nil for the system's

	Socket string
	Hub    string // name or host name
}

// Client speaks to one hub.
type Client struct {
	cfg   Config
	clock clock.Clock
	http  *http.Client
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) (*Client, error) {
	if cfg.Socket == "" && cfg.Connection.Policy == "" {
		return nil, fault.New("hubclient.New", fault.Invalid, "this is the connection string of a device; a policy's is needed").
			Advise("the hub prints one: isthmus hub connection-string --policy iothubowner")
	}
	host := cfg.Connection.HostName
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	var d net.Dialer
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if cfg.Socket != "" {
				return d.DialContext(ctx, "unix", cfg.Socket)
			}
			if cfg.Address != "" {
				addr = cfg.Address
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	return &Client{cfg: cfg, clock: clk, http: &http.Client{Transport: t}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call makes one request and decodes its answer into out, unless it is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, ifMatch string, in, out any) error {
	return c.callFor(ctx, requestLimit, method, path, query, ifMatch, in, out)
}

// callFor is call for what may take longer than most.
func (c *Client) callFor(ctx context.Context, limit time.Duration, method, path string, query url.Values, ifMatch string, in, out any) error {
	op := "hubclient.call"
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := c.send(ctx, method, path, query, ifMatch, in)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxReply)).Decode(out); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the hub's answer cannot be read")
	}
	return nil
}

// send makes one request. The caller closes the body of an answer, which is never an error's.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, ifMatch string, in any) (*http.Response, error) {
	h := http.Header{}
	if ifMatch != "" {
		h.Set("If-Match", `"`+ifMatch+`"`)
	}
	return c.sendWith(ctx, method, path, query, h, in)
}

// sendWith is send with headers.
func (c *Client) sendWith(ctx context.Context, method, path string, query url.Values, h http.Header, in any) (*http.Response, error) {
	resp, err := c.exchange(ctx, method, path, query, h, in)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, refused(resp)
	}
	return resp, nil
}

// exchange makes one request and returns what was answered, errors too. The caller closes the body.
func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, h http.Header, in any) (*http.Response, error) {
	op := "hubclient.exchange"
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", apiVersion)
	u, host := "https://"+c.cfg.Connection.HostName, c.cfg.Connection.HostName
	if c.cfg.Socket != "" {
		u, host = "http://hub", "hub"
		if c.cfg.Hub != "" {
			query.Set("hub", c.cfg.Hub)
		}
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fault.Wrap(op, fault.Internal, err, "")
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, u+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the hub's host name "+host+" makes no URL")
	}
	if c.cfg.Socket == "" {
		token, err := sas.Sign(host, c.cfg.Connection.Key, c.cfg.Connection.Policy, c.clock.Now().Add(tokenLife))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", token)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	maps.Copy(r.Header, h)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

// kinds is the table from a status to a fault.
var kinds = map[int]fault.Kind{
	400: fault.Invalid, 401: fault.Denied, 403: fault.Exhausted, 404: fault.NotFound, 405: fault.Invalid, 409: fault.Conflict, 412: fault.Precondition,
	413: fault.TooLarge, 429: fault.Exhausted, 500: fault.Unavailable, 503: fault.Unavailable, 504: fault.Timeout,
}

// refused reads the envelope of an error, whichever of the two it is, with its code.
func refused(r *http.Response) error {
	op := "hubclient"
	var body struct{ Message string }
	kind, known := kinds[r.StatusCode]
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&body); err != nil || !known || body.Message == "" {
		return fault.Newf(op, fault.Unavailable, "the answer is %s, which no hub gives", r.Status).Advise("check the address: is a proxy in between?")
	}
	var inner struct{ Message string }
	_, text, ok := strings.Cut(body.Message, ";")
	if json.Unmarshal([]byte(body.Message), &inner) == nil {
		text = inner.Message
	} else if !ok {
		text = body.Message
	}
	next, err := url.PathUnescape(r.Header.Get("isthmus-next"))
	if err != nil {
		next = ""
	}
	err = fault.New(op, kind, strings.TrimSuffix(text, ". "+next)).Advise("%s", next)
	if c, ok := code.Named(r.Header.Get("iothub-errorcode")); ok {
		err = code.With(err, c)
	}
	return err
}

func (c *Client) unreachable(err error) error {
	op := "hubclient"
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	where := c.cfg.Connection.HostName
	if c.cfg.Address != "" {
		where += " at " + c.cfg.Address
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fault.New(op, fault.Timeout, "given up").Because(err)
	case c.cfg.Socket != "":
		return fault.Newf(op, fault.Unavailable, "no hub answers on %s", c.cfg.Socket).
			Advise("start it with isthmus hub serve, name its --data-dir, and be the user it runs as").Because(err)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s is not trusted", where).
			Advise("give the deployment's authority with --ca FILE").Because(e)
	}
	return fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", where, err).
		Advise("check the name and the way to it, or give --address HOST:PORT").Because(err)
}
