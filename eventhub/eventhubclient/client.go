package eventhubclient

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/caller"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// Config says which namespace to speak to: Connection, or Socket and, where a process serves several, Namespace.
type Config struct {
	Connection sas.EventHubs  // of a policy of the namespace, or of one event hub
	Address    string         // host:port to dial instead of the connection string's host on port 443
	Roots      *x509.CertPool // nil for the system's

	Socket    string
	Namespace string // name or host name
}

// Client speaks to one namespace.
type Client struct {
	caller *caller.Caller
	clock  clock.Clock
}

// New returns a client; nothing is dialled yet.
func New(cfg Config, clk clock.Clock) (*Client, error) {
	a := caller.Access{Address: cfg.Address, Roots: cfg.Roots, Socket: cfg.Socket, Name: cfg.Namespace}
	if cfg.Socket == "" {
		a.Connection = sas.ConnectionString{HostName: cfg.Connection.HostName, Policy: cfg.Connection.Policy, Key: cfg.Connection.Key}
		a.Resource = strings.TrimSuffix("sb://"+cfg.Connection.HostName+"/"+cfg.Connection.Entity, "/")
	}
	c, err := caller.New(caller.Service{Noun: "namespace", Version: "2014-01", Prints: "isthmus eventhub policy connection-string"}, a, clk)
	if err != nil {
		return nil, err
	}
	return &Client{c, clk}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.caller.Close() }

// call makes one request and decodes its answer into out, unless it is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	_, err := c.caller.Call(ctx, caller.Request{Method: method, Path: path, Body: in}, out)
	return err
}

const base = "/isthmus/v1/eventhubs"

func path(segments ...string) string {
	out := base
	for _, s := range segments {
		out += "/" + url.PathEscape(s)
	}
	return out
}

// Namespace is what a namespace tells of itself.
type Namespace struct {
	Name      string   `json:"name"`
	HostNames []string `json:"hostNames"`
	EventHubs int      `json:"eventHubs"`
	Policies  []Policy `json:"policies"`
}

// Namespace reads it.
func (c *Client) Namespace(ctx context.Context) (Namespace, error) {
	var out Namespace
	err := c.call(ctx, http.MethodGet, base+"/$namespace", nil, &out)
	return out, err
}

// Statuses of an event hub.
const (
	Active   = "active"
	Disabled = "disabled"
)

// EventHub is an event hub.
type EventHub struct {
	Name           string      `json:"name"`
	Partitions     int         `json:"partitions"`
	RetentionHours int         `json:"retentionHours"`
	RetentionBytes int64       `json:"retentionBytes,omitempty"`
	Status         string      `json:"status"`
	Declared       bool        `json:"declared"` // by the namespace's resource
	ConsumerGroups int         `json:"consumerGroups"`
	Policies       int         `json:"policies"`
	Created        time.Time   `json:"created"`
	Updated        time.Time   `json:"updated"`
	Ends           []Partition `json:"partitionEnds,omitempty"` // of EventHub only
}

// Partition is where a partition stands.
type Partition struct {
	Partition    int       `json:"partition"`
	First        int64     `json:"first"` // sequence number of the oldest event kept
	Next         int64     `json:"next"`  // and the one the next event will get
	LastOffset   int64     `json:"lastOffset"`
	LastEnqueued time.Time `json:"lastEnqueued,omitzero"`
}

// EventHubs lists them by name.
func (c *Client) EventHubs(ctx context.Context) ([]EventHub, error) {
	var out []EventHub
	err := c.call(ctx, http.MethodGet, base, nil, &out)
	return out, err
}

// EventHub reads one with where its partitions stand. NotFound.
func (c *Client) EventHub(ctx context.Context, name string) (EventHub, error) {
	var out EventHub
	err := c.call(ctx, http.MethodGet, path(name), nil, &out)
	return out, err
}

// Settings is what can be said of an event hub; nil is the default when it is made, and what it was when it is changed.
type Settings struct {
	Partitions     *int    `json:"partitions,omitempty"` // cannot be changed
	RetentionHours *int    `json:"retentionHours,omitempty"`
	RetentionBytes *int64  `json:"retentionBytes,omitempty"`
	Status         *string `json:"status,omitempty"` // cannot be said when it is made
}

// CreateEventHub makes an event hub. Conflict when it is there.
func (c *Client) CreateEventHub(ctx context.Context, name string, s Settings) (EventHub, error) {
	var out EventHub
	err := c.call(ctx, http.MethodPut, path(name), s, &out)
	return out, err
}

// ChangeEventHub changes one. Conflict for what the resource declares.
func (c *Client) ChangeEventHub(ctx context.Context, name string, s Settings) (EventHub, error) {
	var out EventHub
	err := c.call(ctx, http.MethodPatch, path(name), s, &out)
	return out, err
}

// DeleteEventHub removes one with its events. Conflict for one that the resource declares.
func (c *Client) DeleteEventHub(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, path(name), nil, nil)
}
