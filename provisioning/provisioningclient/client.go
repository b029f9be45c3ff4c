package provisioningclient

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/sas"
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
	local  bool // over the socket
	caller *caller.Caller
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) (*Client, error) {
	service := caller.Service{Noun: "provisioning service", Version: "2021-10-01", Prints: "isthmus dps connection-string", Coded: coded}
	c, err := caller.New(service, caller.Access{Connection: cfg.Connection, Address: cfg.Address, Roots: cfg.Roots, Socket: cfg.Socket, Name: cfg.Service}, clk)
	if err != nil {
		return nil, err
	}
	return &Client{cfg.Socket != "", c}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.caller.Close() }

// call makes one request and decodes its answer into out, unless it is nil.
func (c *Client) call(ctx context.Context, method, path, ifMatch string, in, out any) error {
	_, err := c.caller.Call(ctx, caller.Request{Method: method, Path: path, IfMatch: ifMatch, Body: in}, out)
	return err
}

// coded gives a refusal the service's number, for the log.
func coded(err *fault.Error, answer http.Header) error {
	if number := answer.Get("x-ms-error-code"); number != "" {
		return err.Because(errors.New(number))
	}
	return err
}
