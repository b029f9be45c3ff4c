package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Twin is a device's twin as the hub's API shows it; each part is a JSON object.
type Twin struct {
	DeviceID   string          `json:"deviceId,omitempty"`
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

// Twin reads a device's twin. NotFound when there is no such device.
func (c *Client) Twin(ctx context.Context, id string) (Twin, error) {
	var out Twin
	err := c.call(ctx, http.MethodGet, "/twins/"+url.PathEscape(id), nil, "", nil, &out)
	return out, err
}

// PatchTwin merges tags and desired properties into a device's twin. ifMatch is an etag or Any.
func (c *Client) PatchTwin(ctx context.Context, id string, t Twin, ifMatch string) (Twin, error) {
	var out Twin
	t.Properties.Reported = nil
	err := c.call(ctx, http.MethodPatch, "/twins/"+url.PathEscape(id), nil, ifMatch, t, &out)
	return out, err
}

// ReplaceTwin replaces all tags and desired properties of a device. ifMatch is an etag or Any.
func (c *Client) ReplaceTwin(ctx context.Context, id string, t Twin, ifMatch string) (Twin, error) {
	var out Twin
	t.Properties.Reported = nil
	err := c.call(ctx, http.MethodPut, "/twins/"+url.PathEscape(id), nil, ifMatch, t, &out)
	return out, err
}
