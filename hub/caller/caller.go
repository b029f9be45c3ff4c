package caller

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

const (
	// Patience is how long a call may take that says nothing else.
	Patience = time.Minute
	// MaxReply bounds what is read of an answer.
	MaxReply = 16 << 20

	tokenLife = time.Hour
	idleConns = 8 // for whoever makes several requests at once
)

// Service is what is called.
type Service struct {
	Noun    string // hub; for errors
	Version string // api-version, of every request
	Prints  string // the command that prints a policy's connection string

	// Words takes from the message of a refusal what is for people; nil when all of it is.
	Words func(message string) string
	// Coded adds to a refusal what the answer's header says of it; may be nil.
	Coded func(err *fault.Error, answer http.Header) error
}

// Access is how it is reached: by Connection, or by Socket and, where a process serves several, Name.
type Access struct {
	Connection sas.ConnectionString // of a policy
	Address    string               // host:port to dial instead of the connection string's host on port 443
	Roots      *x509.CertPool       // nil for the system's
	Resource   string               // what tokens are for; the connection string's host when empty

	Socket string
	Name   string // of the one meant, unless a request's query has ?hub= itself
}

// Caller calls one service.
type Caller struct {
	service Service
	access  Access
	clock   clock.Clock
	http    *http.Client
}

// New returns a caller; nothing is dialled yet. Invalid for the connection string of a device.
func New(s Service, a Access, clk clock.Clock) (*Caller, error) {
	if a.Socket == "" && a.Connection.Policy == "" {
		return nil, fault.New("caller.New", fault.Invalid, "this is the connection string of a device; a policy's is needed").
			Advise("the %s prints one: %s", s.Noun, s.Prints)
	}
	host := a.Connection.HostName
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	var d net.Dialer
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: a.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if a.Socket != "" {
				return d.DialContext(ctx, "unix", a.Socket)
			}
			if a.Address != "" {
				addr = a.Address
			}
			return d.DialContext(ctx, network, addr)
		},
	}
	asTheyAre := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Caller{s, a, clk, &http.Client{Transport: t, CheckRedirect: asTheyAre}}, nil
}

// Close ends idle connections.
func (c *Caller) Close() { c.http.CloseIdleConnections() }

// Request is one call.
type Request struct {
	Method, Path string // the path escaped, from /
	Query        url.Values
	Header       http.Header
	IfMatch      string        // an etag without its quotes
	Body         any           // goes as JSON; nil for none
	Patience     time.Duration // of Call; 0 is the constant Patience
}

// Call makes a request and decodes its answer into out, unless that is nil or there is no content. It returns the answer's header.
func (c *Caller) Call(ctx context.Context, q Request, out any) (http.Header, error) {
	if q.Patience == 0 {
		q.Patience = Patience
	}
	ctx, cancel := context.WithTimeout(ctx, q.Patience)
	defer cancel()
	r, err := c.Send(ctx, q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if out == nil || r.StatusCode == http.StatusNoContent {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, MaxReply)) // so that the connection serves the next request
		return r.Header, nil
	}
	return r.Header, c.Decode(r, out)
}

// Decode reads an answer's body.
func (c *Caller) Decode(r *http.Response, out any) error {
	err := json.NewDecoder(io.LimitReader(r.Body, MaxReply)).Decode(out)
	return fault.Wrap("caller.Decode", fault.Unavailable, err, "the "+c.service.Noun+"'s answer cannot be read")
}

// Send makes a request that takes as long as ctx lets it. The caller closes the body of the answer, which is no refusal.
func (c *Caller) Send(ctx context.Context, q Request) (*http.Response, error) {
	r, err := c.Exchange(ctx, q)
	if err != nil {
		return nil, err
	}
	if r.StatusCode >= http.StatusMultipleChoices {
		defer r.Body.Close()
		return nil, c.Refused(r)
	}
	return r, nil
}

// Exchange is Send for whoever reads refusals too, or some of them, leaving the others to Refused.
func (c *Caller) Exchange(ctx context.Context, q Request) (*http.Response, error) {
	op := "caller.Exchange"
	query := url.Values{"api-version": {c.service.Version}}
	maps.Copy(query, q.Query)
	host := c.access.Connection.HostName
	address := "https://" + host
	if c.access.Socket != "" {
		address = "http://local" // which nobody looks up
		if c.access.Name != "" && !query.Has("hub") {
			query.Set("hub", c.access.Name)
		}
	}
	var body io.Reader
	if q.Body != nil {
		b, err := json.Marshal(q.Body)
		if err != nil {
			return nil, fault.Wrap(op, fault.Internal, err, "")
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, address+q.Path+"?"+query.Encode(), body)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the "+c.service.Noun+"'s host name "+host+" makes no URL")
	}
	if c.access.Socket == "" {
		resource := c.access.Resource
		if resource == "" {
			resource = host
		}
		token, err := sas.Sign(resource, c.access.Connection.Key, c.access.Connection.Policy, c.clock.Now().Add(tokenLife))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", token)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if q.IfMatch != "" {
		r.Header.Set("If-Match", `"`+q.IfMatch+`"`)
	}
	maps.Copy(r.Header, q.Header)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}
