package hubclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Any matches every etag.
const Any = "*"

// Device is an identity as the registry shows it. To create one, ID alone is enough: the hub makes the keys.
type Device struct {
	ID              string `json:"deviceId"`
	GenerationID    string `json:"generationId,omitempty"`
	ETag            string `json:"etag,omitempty"`
	ConnectionState string `json:"connectionState,omitempty"` // Connected or Disconnected
	Status          string `json:"status,omitempty"`          // enabled or disabled
	StatusReason    string `json:"statusReason,omitempty"`
	LastActivity    string `json:"lastActivityTime,omitempty"` // RFC 3339; the year 1 for never
	StateChanged    string `json:"connectionStateUpdatedTime,omitempty"`
	Authentication  *Auth  `json:"authentication,omitempty"`

	Capabilities *Capabilities `json:"capabilities,omitempty"`
}

// Capabilities are what sort of device it is.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// Auth is how a device proves who it is.
type Auth struct {
	Type string `json:"type,omitempty"`
	Keys *Keys  `json:"symmetricKey,omitempty"`

	Thumbprints *Thumbprints `json:"x509Thumbprint,omitempty"`
}

// Thumbprints are those of a device's certificates, in hexadecimal digits.
type Thumbprints struct {
	Primary   string `json:"primaryThumbprint,omitempty"`
	Secondary string `json:"secondaryThumbprint,omitempty"`
}

// Keys are base64 of 16 to 64 bytes.
type Keys struct {
	Primary   string `json:"primaryKey"`
	Secondary string `json:"secondaryKey"`
}

// Create adds a device. Conflict when it exists.
func (c *Client) Create(ctx context.Context, d Device) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodPut, "/devices/"+url.PathEscape(d.ID), nil, "", d, &out)
	return out, err
}

// Update replaces a device; without keys the hub makes new ones. ifMatch is an etag or Any.
func (c *Client) Update(ctx context.Context, d Device, ifMatch string) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodPut, "/devices/"+url.PathEscape(d.ID), nil, ifMatch, d, &out)
	return out, err
}

// Device reads one. NotFound when there is none.
func (c *Client) Device(ctx context.Context, id string) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodGet, "/devices/"+url.PathEscape(id), nil, "", nil, &out)
	return out, err
}

// Devices lists up to 1,000 devices by id, those after an id.
func (c *Client) Devices(ctx context.Context, after string, top int) ([]Device, error) {
	var out []Device
	q := url.Values{"top": {strconv.Itoa(top)}}
	if after != "" {
		q.Set("after", after)
	}
	err := c.call(ctx, http.MethodGet, "/devices", q, "", nil, &out)
	return out, err
}

// Delete removes a device and ends its session. ifMatch is an etag or Any.
func (c *Client) Delete(ctx context.Context, id, ifMatch string) error {
	return c.call(ctx, http.MethodDelete, "/devices/"+url.PathEscape(id), nil, ifMatch, nil, nil)
}

// Hub is one of the hubs a process serves.
type Hub struct {
	Name      string   `json:"name"`
	HostNames []string `json:"hostNames"`
	Public    bool     `json:"public"`
	Connected int      `json:"connected"`
	Messages  int64    `json:"messages"`
	PerSecond float64  `json:"perSecond"`
}

// Hubs lists them; over the socket only.
func (c *Client) Hubs(ctx context.Context) ([]Hub, error) {
	var out []Hub
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/hubs", nil, "", nil, &out)
	return out, err
}

// The keys of a policy or device, for those calls that want one named; Swap is for renewals, and makes them change places.
const (
	Primary   = "primary"
	Secondary = "secondary"
	Swap      = "swap"
)

// PolicyConnectionString returns the secret of a policy with its primary key, also when key is empty, or its secondary; over the socket only.
func (c *Client) PolicyConnectionString(ctx context.Context, policy, key string) (string, error) {
	var out struct{ ConnectionString string }
	q := url.Values{}
	if key != "" {
		q.Set("key", key)
	}
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/policies/"+url.PathEscape(policy), q, "", nil, &out)
	return out.ConnectionString, err
}

// Policy is a policy without its keys.
type Policy struct {
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
}

// Policies lists a hub's policies; over the socket, or with the connection string of the owner's policy.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var out []Policy
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/policies", nil, "", nil, &out)
	return out, err
}

// RenewPolicyKey makes a new key in place of Primary or Secondary, or swaps them; as with Policies. What used a key that is gone is cut;
// cut is how many devices that were.
func (c *Client) RenewPolicyKey(ctx context.Context, policy, which string) (cut int, err error) {
	return c.renew(ctx, "/isthmus/v1/policies/"+url.PathEscape(policy)+"/keys", which)
}

// RenewDeviceKey is RenewPolicyKey for a device's own keys; it needs the right to change devices.
func (c *Client) RenewDeviceKey(ctx context.Context, device, which string) (cut int, err error) {
	return c.renew(ctx, "/isthmus/v1/devices/"+url.PathEscape(device)+"/keys", which)
}

func (c *Client) renew(ctx context.Context, path, which string) (int, error) {
	var out struct{ Cut int }
	err := c.call(ctx, http.MethodPost, path, nil, "", map[string]string{"renew": which}, &out)
	return out.Cut, err
}

// HostName returns the public name of the hub, which over the socket has to be asked for.
func (c *Client) HostName(ctx context.Context) (string, error) {
	if c.cfg.Socket == "" {
		return c.cfg.Connection.HostName, nil
	}
	list, err := c.Hubs(ctx)
	if err != nil {
		return "", err
	}
	for _, h := range list {
		if len(list) == 1 || h.Name == c.cfg.Hub || h.HostNames[0] == c.cfg.Hub {
			return h.HostNames[0], nil
		}
	}
	// The hub itself says best which names there are.
	_, err = c.Device(ctx, "-")
	return "", err
}
