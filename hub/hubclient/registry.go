package hubclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Any matches every etag.
const Any = "*"

// Device is an identity as the registry shows it, a device or, with ModuleID, one of its modules. To create one, the ids alone are enough:
// the hub makes the keys.
type Device struct {
	ID              string `json:"deviceId"`
	ModuleID        string `json:"moduleId,omitempty"`
	ManagedBy       string `json:"managedBy,omitempty"` // of a module
	GenerationID    string `json:"generationId,omitempty"`
	ETag            string `json:"etag,omitempty"`
	ConnectionState string `json:"connectionState,omitempty"` // Connected or Disconnected
	Status          string `json:"status,omitempty"`          // enabled or disabled
	StatusReason    string `json:"statusReason,omitempty"`
	LastActivity    string `json:"lastActivityTime,omitempty"` // RFC 3339; the year 1 for never
	StateChanged    string `json:"connectionStateUpdatedTime,omitempty"`
	Authentication  *Auth  `json:"authentication,omitempty"`

	Capabilities *Capabilities `json:"capabilities,omitempty"`

	Scope        string   `json:"deviceScope,omitempty"`
	ParentScopes []string `json:"parentScopes,omitempty"`
	Commands     int      `json:"cloudToDeviceMessageCount,omitempty"` // messages that wait for it
}

// Name is how calls name the identity: "device", or "device/module". No id holds a slash.
func (d Device) Name() string {
	if d.ModuleID == "" {
		return d.ID
	}
	return d.ID + "/" + d.ModuleID
}

// identity is the path of a device or a module below prefix.
func identity(prefix, name string) string {
	device, module, ok := strings.Cut(name, "/")
	path := prefix + url.PathEscape(device)
	if ok {
		path += "/modules/" + url.PathEscape(module)
	}
	return path
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

// Create adds a device, or a module of one. Conflict when it exists.
func (c *Client) Create(ctx context.Context, d Device) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodPut, identity("/devices/", d.Name()), nil, "", d, &out)
	return out, err
}

// Update replaces a device; without keys the hub makes new ones. ifMatch is an etag or Any.
func (c *Client) Update(ctx context.Context, d Device, ifMatch string) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodPut, identity("/devices/", d.Name()), nil, ifMatch, d, &out)
	return out, err
}

// Device reads a device or, named "device/module", a module. NotFound when there is none.
func (c *Client) Device(ctx context.Context, name string) (Device, error) {
	var out Device
	err := c.call(ctx, http.MethodGet, identity("/devices/", name), nil, "", nil, &out)
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

// Modules lists the modules of a device by id.
func (c *Client) Modules(ctx context.Context, device string) ([]Device, error) {
	var out []Device
	err := c.call(ctx, http.MethodGet, "/devices/"+url.PathEscape(device)+"/modules", nil, "", nil, &out)
	return out, err
}

// Delete removes a device with its modules, or a module, and ends its session. ifMatch is an etag or Any.
func (c *Client) Delete(ctx context.Context, name, ifMatch string) error {
	return c.call(ctx, http.MethodDelete, identity("/devices/", name), nil, ifMatch, nil, nil)
}

// Statistics are how many devices a hub has.
type Statistics struct {
	Total     int `json:"totalDeviceCount"`
	Enabled   int `json:"enabledDeviceCount"`
	Disabled  int `json:"disabledDeviceCount"`
	Connected int `json:"connectedDeviceCount"` // those that have a connection now
}

// Statistics counts devices.
func (c *Client) Statistics(ctx context.Context) (Statistics, error) {
	var out Statistics
	if err := c.call(ctx, http.MethodGet, "/statistics/devices", nil, "", nil, &out); err != nil {
		return out, err
	}
	err := c.call(ctx, http.MethodGet, "/statistics/service", nil, "", nil, &out)
	return out, err
}
