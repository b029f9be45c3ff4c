package provision

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// GlobalHost is where devices of Azure's service register.
const GlobalHost = "global.azure-devices-provisioning.net"

const (
	apiVersion = "2019-03-31"
	tokenLife  = time.Hour
	maxAnswer  = 1 << 20
	firstPause = 50 * time.Millisecond // until the first question what became of it; then twice as long each time
	mostPause  = 3 * time.Second
)

// Config says which service.
type Config struct {
	Scope   string         // its id scope
	Host    string         // GlobalHost when empty
	Address string         // host:port to dial instead of the host's name on port 443
	Roots   *x509.CertPool // nil for the system's
	Timeout time.Duration  // of one registration; 2 min when 0
}

// Proof is what a device proves itself with.
type Proof struct {
	ID          string           // its registration id
	Key         string           // base64; empty with a certificate
	Certificate *tls.Certificate // nil with a key
}

// Place is where a device belongs.
type Place struct {
	Hub    string // host name
	Device string // its id there
}

// Client registers devices with one service.
type Client struct {
	cfg   Config
	clock clock.Clock
	http  *http.Client // of devices with keys
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) *Client {
	if cfg.Host == "" {
		cfg.Host = GlobalHost
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	c := &Client{cfg: cfg, clock: clk}
	c.http = c.transport(nil)
	return c
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) transport(cert *tls.Certificate) *http.Client {
	host := c.cfg.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: c.cfg.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 30 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			if c.cfg.Address != "" {
				addr = c.cfg.Address
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	if cert != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// operation is what the service answers to a registration, and to questions about it.
type operation struct {
	ID    string `json:"operationId"`
	State string `json:"status"`
	Place struct {
		Hub     string `json:"assignedHub"`
		Device  string `json:"deviceId"`
		Code    int    `json:"errorCode"`
		Message string `json:"errorMessage"`
	} `json:"registrationState"`
}

// Register registers a device and waits for the end of it. Unauthenticated when the service does not let it in, Unavailable when it
// cannot be reached or has no hub for the device, Timeout.
func (c *Client) Register(ctx context.Context, p Proof) (Place, error) {
	op := "provision.Register"
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	client := c.http
	if p.Certificate != nil { // connections are of one device
		client = c.transport(p.Certificate)
		defer client.CloseIdleConnections()
	}
	path := "/" + url.PathEscape(c.cfg.Scope) + "/registrations/" + url.PathEscape(p.ID)
	body, err := json.Marshal(map[string]string{"registrationId": p.ID})
	if err != nil {
		return Place{}, fault.Wrap(op, fault.Internal, err, "")
	}
	method, at := http.MethodPut, path+"/register"
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		var o operation
		later, err := c.ask(ctx, client, p, method, at, body, &o)
		switch {
		case err != nil:
			return Place{}, err
		case o.State == "assigned":
			return Place{o.Place.Hub, o.Place.Device}, nil
		case o.State == "failed" || o.State == "disabled":
			return Place{}, fault.Newf(op, fault.Unavailable, "device %s was assigned to no hub: %d %s", p.ID, o.Place.Code, o.Place.Message).
				Advise("see what the service knows of it: isthmus dps registration show %s", p.ID)
		case o.ID != "":
			method, at, body = http.MethodGet, path+"/operations/"+url.PathEscape(o.ID), nil
		}
		fired, stop := c.clock.After(max(pause, later))
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return Place{}, fault.Newf(op, fault.Timeout, "the registration of %s did not end in time", p.ID).Because(ctx.Err())
		}
	}
}

// ask makes one request. later is how long the service asks to be left alone, when it is too busy to answer.
func (c *Client) ask(ctx context.Context, client *http.Client, p Proof, method, path string, body []byte, out *operation) (later time.Duration, err error) {
	op := "provision.ask"
	r, err := http.NewRequestWithContext(ctx, method, "https://"+c.cfg.Host+path+"?api-version="+apiVersion, bytes.NewReader(body))
	if err != nil {
		return 0, fault.Wrap(op, fault.Invalid, err, "the service's name "+c.cfg.Host+" makes no URL")
	}
	if p.Certificate == nil {
		token, err := sas.Sign(c.cfg.Scope+"/registrations/"+p.ID, p.Key, "registration", c.clock.Now().Add(tokenLife))
		if err != nil {
			return 0, err
		}
		r.Header.Set("Authorization", token)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := client.Do(r)
	if err != nil {
		return 0, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, c.unreachable(ctx, err)
	}
	var refusal struct{ Message string }
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // or as long as it is anyway
		return time.Duration(min(max(seconds, 0), 60)) * time.Second, nil
	case resp.StatusCode == http.StatusUnauthorized:
		return 0, fault.Newf(op, fault.Unauthenticated, "the provisioning service does not let %s in", p.ID).
			Advise("compare id scope, registration id, and key or certificate with the enrollment; the hub process's log says which it was")
	case resp.StatusCode >= 300:
		_ = json.Unmarshal(text, &refusal) // or there are no words
		return 0, fault.Newf(op, fault.Unavailable, "%s answers %s %s", c.cfg.Host, resp.Status, refusal.Message)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return 0, fault.Newf(op, fault.Unavailable, "the answer of %s is none of a provisioning service", c.cfg.Host).Because(err)
	}
	return 0, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	op := "provision.ask"
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	where := c.cfg.Host
	if c.cfg.Address != "" {
		where += " at " + c.cfg.Address
	}
	if ctx.Err() != nil {
		return fault.Newf(op, fault.Timeout, "%s did not answer in time", where).Because(err)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s is not trusted: %v", where, e.Err).
			Advise("give the authority that signed it with --ca FILE").Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", where, err).
		Advise("check the way to it, or say where it is with --provisioning-address HOST:PORT").Because(err)
}
