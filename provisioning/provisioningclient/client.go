package provisioningclient

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
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

const (
	apiVersion   = "2021-10-01"
	tokenLife    = time.Hour
	requestLimit = time.Minute
	maxReply     = 16 << 20
)

// Any matches every etag.
const Any = "*"

// Config says which service to speak to: Connection, or Socket and, where a process serves several, Service.
type Config struct {
	Connection sas.ConnectionString // of a policy of the service
	Address    string               // host:port to dial instead of the connection string's host on port 443
	Roots      *x509.CertPool       // nil for the system's

	Socket  string
	Service string // name, id scope or host name
}

// Client speaks to one service.
type Client struct {
	cfg   Config
	clock clock.Clock
	http  *http.Client
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) (*Client, error) {
	if cfg.Socket == "" && cfg.Connection.Policy == "" {
		return nil, fault.New("provisioningclient.New", fault.Invalid, "this is the connection string of a device; that of a policy of the provisioning service is needed").
			Advise("the service prints one: isthmus dps connection-string")
	}
	host := cfg.Connection.HostName
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	var d net.Dialer
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
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
func (c *Client) call(ctx context.Context, method, path, ifMatch string, in, out any) error {
	h := http.Header{}
	if ifMatch != "" {
		h.Set("If-Match", `"`+ifMatch+`"`)
	}
	_, err := c.exchange(ctx, method, path, nil, h, in, out)
	return err
}

// exchange is call with all that a request may have; it returns the answer's header.
func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, h http.Header, in, out any) (http.Header, error) {
	op := "provisioningclient"
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", apiVersion)
	host := c.cfg.Connection.HostName
	u := "https://" + host
	if c.cfg.Socket != "" {
		u = "http://provisioning"
		if c.cfg.Service != "" && !query.Has("hub") {
			query.Set("hub", c.cfg.Service)
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
		return nil, fault.Wrap(op, fault.Invalid, err, "the service's host name "+host+" makes no URL")
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
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return nil, refused(resp)
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply)) // so that the connection serves the next request
		return resp.Header, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the service's answer cannot be read")
	}
	return resp.Header, nil
}

// kinds is the table from a status to a fault.
func kinds(status int) (fault.Kind, bool) {
	k, ok := map[int]fault.Kind{
		400: fault.Invalid, 401: fault.Denied, 403: fault.Denied, 404: fault.NotFound, 405: fault.Invalid, 409: fault.Conflict, 412: fault.Precondition,
		413: fault.TooLarge, 429: fault.Exhausted, 500: fault.Unavailable, 503: fault.Unavailable, 504: fault.Timeout,
	}[status]
	return k, ok
}

// refused reads the envelope of an error.
func refused(r *http.Response) error {
	op := "provisioningclient"
	var body struct {
		Code    int    `json:"errorCode"`
		Message string `json:"message"`
	}
	kind, known := kinds(r.StatusCode)
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&body); err != nil || !known || body.Message == "" {
		return fault.Newf(op, fault.Unavailable, "the answer is %s, which no provisioning service gives", r.Status).Advise("check the address: is a proxy in between?")
	}
	next, err := url.PathUnescape(r.Header.Get("isthmus-next"))
	if err != nil {
		next = ""
	}
	return fault.New(op, kind, strings.TrimSuffix(body.Message, ". "+next)).Advise("%s", next).Because(errors.New(strconv.Itoa(body.Code)))
}

func (c *Client) unreachable(err error) error {
	op := "provisioningclient"
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
		return fault.Newf(op, fault.Unavailable, "no hub process answers on %s", c.cfg.Socket).
			Advise("start it with isthmus hub serve, name its --data-dir, and be the user it runs as").Because(err)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s is not trusted", where).
			Advise("give the deployment's authority with --ca FILE").Because(e)
	}
	return fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", where, err).
		Advise("check the name and the way to it, or give --address HOST:PORT").Because(err)
}
