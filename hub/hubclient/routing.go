package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Routing is where the hub sends messages and its own events.
type Routing struct {
	Fallback    bool         `json:"fallback"` // messages that no route takes go to the built-in endpoint
	Endpoints   []Endpoint   `json:"endpoints"`
	Routes      []Route      `json:"routes"`
	Enrichments []Enrichment `json:"enrichments"`
}

// Endpoint is where routes lead.
type Endpoint struct {
	Name         string    `json:"name,omitempty"`
	Kind         string    `json:"kind"` // stream, storage or webhook
	Bucket       string    `json:"bucket,omitempty"`
	Prefix       string    `json:"prefix,omitempty"`
	BatchSeconds int       `json:"batchSeconds,omitempty"`
	BatchBytes   int       `json:"batchBytes,omitempty"`
	URL          string    `json:"url,omitempty"`
	Key          string    `json:"key,omitempty"` // of a webhook, base64; never read
	Authority    string    `json:"authority,omitempty"`
	Attempts     int       `json:"attempts,omitempty"`
	HasKey       bool      `json:"hasKey,omitempty"`
	Progress     *Progress `json:"progress,omitempty"` // only read
}

// Progress is how far an endpoint's deliveries are.
type Progress struct {
	Waiting    int64     `json:"waiting"`
	Oldest     time.Time `json:"oldest"`
	Delivered  int64     `json:"delivered"`
	PutAside   int64     `json:"deadLettered"`
	Lost       int64     `json:"lost"`
	Failing    time.Time `json:"failingSince"`
	LastError  string    `json:"lastError,omitempty"`
	NextTry    time.Time `json:"nextTry"`
	Duplicates int64     `json:"duplicates,omitempty"`
}

// Route leads messages of a source for which a condition holds to endpoints.
type Route struct {
	Name      string   `json:"name,omitempty"`
	Source    string   `json:"source,omitempty"` // DeviceMessages when empty
	Condition string   `json:"condition"`        // empty for all
	Endpoints []string `json:"endpointNames"`
	Enabled   bool     `json:"isEnabled"`
}

// Enrichment is a property that messages to some endpoints get.
type Enrichment struct {
	Key       string   `json:"key,omitempty"`
	Value     string   `json:"value"`
	Endpoints []string `json:"endpointNames"`
}

// Sample is a message to try routes with.
type Sample struct {
	Source     string            `json:"source,omitempty"`
	Device     string            `json:"deviceId,omitempty"`
	Module     string            `json:"moduleId,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	System     map[string]string `json:"system,omitempty"`
	Body       json.RawMessage   `json:"body,omitempty"`
	Bytes      []byte            `json:"bodyBase64,omitempty"` // instead of Body, when it is not JSON
	Twin       json.RawMessage   `json:"twin,omitempty"`       // instead of the device's
}

// Tested is what became of it.
type Tested struct {
	Result string `json:"result"` // true, false or undefined
	Routes []struct {
		Route   string `json:"route"`
		Matches bool   `json:"matches"`
		Why     string `json:"why,omitempty"`
	} `json:"routes"`
	Endpoints []string `json:"endpoints,omitempty"`
}

func routing(kind, name string) string {
	return "/isthmus/v1/routing/" + kind + "/" + url.PathEscape(name)
}

// Routing reads all of it.
func (c *Client) Routing(ctx context.Context) (Routing, error) {
	var out Routing
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/routing", nil, "", nil, &out)
	return out, err
}

// SetFallback says whether messages that no route takes go to the built-in endpoint.
func (c *Client) SetFallback(ctx context.Context, on bool) error {
	return c.call(ctx, http.MethodPut, "/isthmus/v1/routing/fallback", nil, "", map[string]bool{"enabled": on}, nil)
}

// PutRoute adds a route or replaces the one of its name.
func (c *Client) PutRoute(ctx context.Context, r Route) (Route, error) {
	var out Route
	err := c.call(ctx, http.MethodPut, routing("routes", r.Name), nil, "", r, &out)
	return out, err
}

// DeleteRoute takes a route away. NotFound when there is none.
func (c *Client) DeleteRoute(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, routing("routes", name), nil, "", nil, nil)
}

// PutEndpoint adds an endpoint or replaces the one of its name.
func (c *Client) PutEndpoint(ctx context.Context, e Endpoint) (Endpoint, error) {
	e.HasKey, e.Progress = false, nil
	var out Endpoint
	err := c.call(ctx, http.MethodPut, routing("endpoints", e.Name), nil, "", e, &out)
	return out, err
}

// DeleteEndpoint takes an endpoint away. NotFound when there is none.
func (c *Client) DeleteEndpoint(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, routing("endpoints", name), nil, "", nil, nil)
}

// PutEnrichment adds an enrichment or replaces the one of its key.
func (c *Client) PutEnrichment(ctx context.Context, e Enrichment) (Enrichment, error) {
	var out Enrichment
	err := c.call(ctx, http.MethodPut, routing("enrichments", e.Key), nil, "", e, &out)
	return out, err
}

// DeleteEnrichment takes an enrichment away. NotFound when there is none.
func (c *Client) DeleteEnrichment(ctx context.Context, key string) error {
	return c.call(ctx, http.MethodDelete, routing("enrichments", key), nil, "", nil, nil)
}

// TestRoutes tells where a message would go: by one route, or, when route is nil, by all there are.
func (c *Client) TestRoutes(ctx context.Context, s Sample, route *Route) (Tested, error) {
	var out Tested
	err := c.call(ctx, http.MethodPost, "/isthmus/v1/routing/test", nil, "", struct {
		Message Sample `json:"message"`
		Route   *Route `json:"route,omitempty"`
	}{s, route}, &out)
	return out, err
}

// ConsumerGroup is a reader's place in an endpoint's events, kept by the hub.
type ConsumerGroup struct {
	Endpoint    string       `json:"endpoint"`
	Name        string       `json:"name"`
	Created     time.Time    `json:"created"`
	Checkpoints []Checkpoint `json:"checkpoints"`
}

// Checkpoint is its place in one partition.
type Checkpoint struct {
	Partition int       `json:"partition"`
	Next      int64     `json:"next"` // the sequence number it wants next
	Waiting   int64     `json:"waiting"`
	Owner     string    `json:"owner,omitempty"`
	Updated   time.Time `json:"updated"`
}

func group(endpoint, name string) (string, url.Values) {
	q := url.Values{}
	if endpoint != "" {
		q.Set("endpoint", endpoint)
	}
	if name == "" {
		return "/isthmus/v1/consumergroups", q
	}
	return "/isthmus/v1/consumergroups/" + url.PathEscape(name), q
}

// ConsumerGroups lists those of an endpoint, of the built-in one when it is empty.
func (c *Client) ConsumerGroups(ctx context.Context, endpoint string) ([]ConsumerGroup, error) {
	var out []ConsumerGroup
	path, q := group(endpoint, "")
	err := c.call(ctx, http.MethodGet, path, q, "", nil, &out)
	return out, err
}

// CreateConsumerGroup adds one.
func (c *Client) CreateConsumerGroup(ctx context.Context, endpoint, name string) (ConsumerGroup, error) {
	var out ConsumerGroup
	path, q := group(endpoint, name)
	err := c.call(ctx, http.MethodPut, path, q, "", nil, &out)
	return out, err
}

// DeleteConsumerGroup takes one away. NotFound when there is none.
func (c *Client) DeleteConsumerGroup(ctx context.Context, endpoint, name string) error {
	path, q := group(endpoint, name)
	return c.call(ctx, http.MethodDelete, path, q, "", nil, nil)
}

// Checkpoints reads where a group is.
func (c *Client) Checkpoints(ctx context.Context, endpoint, name string) ([]Checkpoint, error) {
	var out []Checkpoint
	path, q := group(endpoint, name)
	err := c.call(ctx, http.MethodGet, path+"/checkpoints", q, "", nil, &out)
	return out, err
}

// SetCheckpoints says, by partition, which sequence number a group wants next; owner is who reads, for people.
func (c *Client) SetCheckpoints(ctx context.Context, endpoint, name, owner string, next map[int]int64) error {
	path, q := group(endpoint, name)
	return c.call(ctx, http.MethodPost, path+"/checkpoints", q, "", map[string]any{"next": next, "owner": owner}, nil)
}
