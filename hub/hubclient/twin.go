package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// Twin is the twin of a device or a module as the hub's API shows it; each part is a JSON object.
type Twin struct {
	DeviceID   string          `json:"deviceId,omitempty"`
	ModuleID   string          `json:"moduleId,omitempty"`
	ETag       string          `json:"etag,omitempty"`
	Version    int64           `json:"version,omitempty"`
	Tags       json.RawMessage `json:"tags,omitempty"`
	Properties TwinProperties  `json:"properties"`
}

// TwinProperties are the two halves of a twin, with $metadata and $version in them when the hub sends them.
type TwinProperties struct {
	Desired  json.RawMessage `json:"desired,omitempty"`
	Reported json.RawMessage `json:"reported,omitempty"` // only read
}

// Twin reads the twin of a device or, named "device/module", of a module. NotFound when there is none.
func (c *Client) Twin(ctx context.Context, name string) (Twin, error) {
	var out Twin
	err := c.call(ctx, http.MethodGet, identity("/twins/", name), nil, "", nil, &out)
	return out, err
}

// TwinDocument reads a twin with everything the hub shows of it, as JSON.
func (c *Client) TwinDocument(ctx context.Context, name string) (json.RawMessage, error) {
	var out json.RawMessage
	err := c.call(ctx, http.MethodGet, identity("/twins/", name), nil, "", nil, &out)
	return out, err
}

// PatchTwin merges tags and desired properties into a twin. ifMatch is an etag or Any.
func (c *Client) PatchTwin(ctx context.Context, name string, t Twin, ifMatch string) (Twin, error) {
	var out Twin
	t.Properties.Reported = nil
	err := c.call(ctx, http.MethodPatch, identity("/twins/", name), nil, ifMatch, t, &out)
	return out, err
}

// ReplaceTwin replaces all tags and desired properties of a twin. ifMatch is an etag or Any.
func (c *Client) ReplaceTwin(ctx context.Context, name string, t Twin, ifMatch string) (Twin, error) {
	var out Twin
	t.Properties.Reported = nil
	err := c.call(ctx, http.MethodPut, identity("/twins/", name), nil, ifMatch, t, &out)
	return out, err
}
