package hubclient

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
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
	cfg    Config
	clock  clock.Clock
	caller *caller.Caller
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) (*Client, error) {
	service := caller.Service{
		Noun: "hub", Version: "2021-04-12", Prints: "isthmus hub connection-string --policy iothubowner", Words: words, Coded: coded,
	}
	c, err := caller.New(service, caller.Access{Connection: cfg.Connection, Address: cfg.Address, Roots: cfg.Roots, Socket: cfg.Socket, Name: cfg.Hub}, clk)
	if err != nil {
		return nil, err
	}
	return &Client{cfg, clk, c}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.caller.Close() }

// call makes one request and decodes its answer into out, unless it is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, ifMatch string, in, out any) error {
	_, err := c.caller.Call(ctx, caller.Request{Method: method, Path: path, Query: query, IfMatch: ifMatch, Body: in}, out)
	return err
}

// words takes the message out of whichever of the two envelopes it is in.
func words(message string) string {
	var inner struct{ Message string }
	if json.Unmarshal([]byte(message), &inner) == nil {
		return inner.Message
	}
	if _, text, ok := strings.Cut(message, ";"); ok {
		return text
	}
	return message
}

// coded gives a refusal the hub's code.
func coded(err *fault.Error, answer http.Header) error {
	if c, ok := code.Named(answer.Get("iothub-errorcode")); ok {
		return code.With(err, c)
	}
	return err
}

// kindOf is the kind of what is told with a code's status.
func kindOf(status int) fault.Kind {
	k, _ := caller.KindOf(status) // a code nobody knows is Internal
	return k
}
