package client

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Config says where the control plane is, how to know it, and who asks.
type Config struct {
	// Addresses are host:port or https URLs, tried in order. A relay's address will do: relays pass the API through.
	Addresses []string
	// Roots are PEM certificates the server is verified by. Pin, lower-case hex SHA-256 of the authority's certificate, is used
	// instead when set. With neither, the machine's own roots decide.
	Roots []byte
	Pin   string
	// Token is sent with every request; may be empty for Version.
	Token string
	// UserAgent names the program, "isthmus-client" when empty.
	UserAgent string
	// Timeout bounds one request to one address, 30 s when 0.
	Timeout time.Duration
	// Clock is for the waits between attempts; the machine's when nil.
	Clock clock.Clock
}

// Client speaks to one control plane.
type Client struct {
	token, agent string
	clock        clock.Clock
	trust        trust
	servers      []server
	last         atomic.Int32 // index of the server that answered last
}

type server struct {
	base *url.URL
	http *http.Client
}

// New checks the configuration; it does not connect.
func New(cfg Config) (*Client, error) {
	c := &Client{token: cfg.Token, agent: cfg.UserAgent, clock: cfg.Clock}
	if c.agent == "" {
		c.agent = "isthmus-client"
	}
	if c.clock == nil {
		c.clock = clock.System{}
	}
	if len(cfg.Addresses) == 0 {
		return nil, fault.New("client.New", fault.Invalid, "no address of a control plane is known").Advise("log in first: isthmus login --server HOST:PORT")
	}
	if strings.ContainsAny(cfg.Token, " \t\r\n") {
		return nil, fault.New("client.New", fault.Invalid, "the token has white space inside").Advise("copy it again, on one line")
	}
	trust, err := newTrust(cfg.Roots, cfg.Pin)
	if err != nil {
		return nil, err
	}
	c.trust = trust
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	for _, a := range cfg.Addresses {
		base, err := ParseAddress(a)
		if err != nil {
			return nil, err
		}
		tr := &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:     trust.config(base.Hostname()),
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     time.Minute,
		}
		c.servers = append(c.servers, server{base, &http.Client{
			Transport: tr, Timeout: timeout,
			// A redirect could carry the token elsewhere; the API has none.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}})
	}
	return c, nil
}

// Close lets idle connections go.
func (c *Client) Close() {
	for _, s := range c.servers {
		s.http.CloseIdleConnections()
	}
}

// ParseAddress reads host, host:port or https://host[:port]; the port is 443 when absent.
func ParseAddress(s string) (*url.URL, error) {
	bad := func(why string) error {
		return fault.Newf("client.ParseAddress", fault.Invalid, "%q is not a server's address: %s", s, why).
			Advise("write HOST:PORT, such as relay.example.net:443")
	}
	text := s
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, bad("it cannot be read")
	case u.Scheme != "https":
		return nil, bad("only https is spoken")
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, bad("only a host and a port belong into it")
	}
	u.Path = ""
	return u, nil
}
