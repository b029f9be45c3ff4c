package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Explanation is everything the hub knows about why a device or a module does or does not work. It holds no keys.
type Explanation struct {
	Hub      string    `json:"hub"`
	Name     string    `json:"name"`
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"` // the most important first; never empty

	Identity   *IdentityState `json:"identity"` // nil when there is none of this name
	Session    *SessionState  `json:"session"`  // nil when it is not connected
	Departure  *Departure     `json:"lastEnd"`
	Refusals   []Refusal      `json:"refusals"`
	Throttling []Throttling   `json:"throttling"`
	Commands   int            `json:"commandsWaiting"`
	Twin       *TwinState     `json:"twin"`
	Routes     []RouteState   `json:"routes"`
	Fallback   bool           `json:"fallback"`
}

// Finding is one thing that matters, in words.
type Finding struct {
	What string `json:"what"`
	Next string `json:"next,omitempty"` // what to do about it
	Bad  bool   `json:"bad"`            // it keeps the device from working as it should
}

// IdentityState is what the registry says.
type IdentityState struct {
	Status       string    `json:"status"`
	StatusReason string    `json:"statusReason,omitempty"`
	AuthType     string    `json:"authenticationType"`
	Generation   string    `json:"generationId"`
	Edge         bool      `json:"iotEdge"`
	Created      time.Time `json:"created"`
	LastActivity time.Time `json:"lastActivity"`
}

// SessionState is the connection it has now.
type SessionState struct {
	Door    string    `json:"door"`
	Side    string    `json:"side"` // private or public
	Link    uint32    `json:"link,omitempty"`
	Peer    string    `json:"peer"`
	Since   time.Time `json:"since"`
	Active  time.Time `json:"lastActivity"`
	Listens []string  `json:"listens"`
	Expires time.Time `json:"proofEnds"` // zero when it does not
	Model   string    `json:"modelId,omitempty"`
}

// Departure is when and why its last connection ended.
type Departure struct {
	At    time.Time `json:"at"`
	Why   string    `json:"why"`
	ByHub bool      `json:"byHub"`
}

// Refusal is when and why somebody of this name was turned away.
type Refusal struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  int       `json:"count"`
	Door   string    `json:"door"`
	Source string    `json:"source"`
	Link   uint32    `json:"link,omitempty"`
	Who    string    `json:"who,omitempty"` // what it called itself; nothing of it is proved
	Why    string    `json:"why"`
	Next   string    `json:"next,omitempty"`
}

// Throttling is a limit that was reached.
type Throttling struct {
	Class     string    `json:"class"`
	Level     string    `json:"level"` // whose allowance was used up: device, hub or tenant
	Since     time.Time `json:"since"`
	Last      time.Time `json:"last"`
	Now       bool      `json:"now"`
	Count     int64     `json:"count"`
	PerSecond float64   `json:"perSecond"`
	Burst     float64   `json:"burst"`
}

// TwinState is the versions and sizes of a twin.
type TwinState struct {
	Version         int64     `json:"version"`
	DesiredVersion  int64     `json:"desiredVersion"`
	ReportedVersion int64     `json:"reportedVersion"`
	TagsBytes       int       `json:"tagsBytes"`
	DesiredBytes    int       `json:"desiredBytes"`
	ReportedBytes   int       `json:"reportedBytes"`
	Changed         time.Time `json:"changed"`
}

// RouteState is what a route means for the device's messages.
type RouteState struct {
	Name      string   `json:"name"`
	Endpoints []string `json:"endpointNames"`
	Matches   string   `json:"matches"` // yes, no, or "by message"
	Enabled   bool     `json:"isEnabled"`
}

// Why explains a device or, named "device/module", a module. That there is none is no error but a finding.
func (c *Client) Why(ctx context.Context, name string) (Explanation, error) {
	var out Explanation
	err := c.call(ctx, http.MethodGet, identity("/isthmus/v1/devices/", name)+"/why", nil, "", nil, &out)
	return out, err
}

// Rate is an allowance: units a second on average, and at once.
type Rate struct {
	PerSecond float64 `json:"perSecond"`
	Burst     float64 `json:"burst"`
}

// Limits are allowances by class, of each device, of the whole hub, and of all hubs of its tenant.
type Limits struct {
	Device map[string]Rate `json:"device,omitempty"`
	Hub    map[string]Rate `json:"hub,omitempty"`
	Tenant map[string]Rate `json:"tenant,omitempty"` // only read
}

// Limits reads what holds now; a class that is not there has no limit.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	var out Limits
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/limits", nil, "", nil, &out)
	return out, err
}

// SetLimits changes the limits of the classes that are named; nil puts back all that were changed before.
func (c *Client) SetLimits(ctx context.Context, l *Limits) (Limits, error) {
	var in any = json.RawMessage("null")
	if l != nil {
		in = Limits{Device: l.Device, Hub: l.Hub}
	}
	var out Limits
	err := c.call(ctx, http.MethodPut, "/isthmus/v1/limits", nil, "", in, &out)
	return out, err
}
