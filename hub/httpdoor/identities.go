package httpdoor

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// identityJSON is what devices and modules have in common on the wire (IoT Hub service REST API, Devices and Modules).
type identityJSON struct {
	DeviceID                   string    `json:"deviceId"`
	GenerationID               string    `json:"generationId"`
	ETag                       string    `json:"etag"`
	ConnectionState            string    `json:"connectionState"`
	ConnectionStateUpdatedTime string    `json:"connectionStateUpdatedTime"`
	LastActivityTime           string    `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int       `json:"cloudToDeviceMessageCount"`
	Authentication             *authJSON `json:"authentication"`
}

// deviceJSON is a device on the wire.
type deviceJSON struct {
	identityJSON
	Status            string            `json:"status"`
	StatusReason      *string           `json:"statusReason"`
	StatusUpdatedTime string            `json:"statusUpdatedTime"`
	Capabilities      *capabilitiesJSON `json:"capabilities"`
	DeviceScope       string            `json:"deviceScope,omitempty"`
	ParentScopes      []string          `json:"parentScopes,omitempty"`
}

// moduleJSON is a module on the wire.
type moduleJSON struct {
	ModuleID  string  `json:"moduleId"`
	ManagedBy *string `json:"managedBy"`
	identityJSON
}

type authJSON struct {
	SymmetricKey   *keysJSON        `json:"symmetricKey"`
	X509Thumbprint *thumbprintsJSON `json:"x509Thumbprint"`
	Type           string           `json:"type"`
}

type keysJSON struct {
	PrimaryKey   *string `json:"primaryKey"`
	SecondaryKey *string `json:"secondaryKey"`
}

type thumbprintsJSON struct {
	PrimaryThumbprint   *string `json:"primaryThumbprint"`
	SecondaryThumbprint *string `json:"secondaryThumbprint"`
}

type capabilitiesJSON struct {
	IoTEdge bool `json:"iotEdge"`
}

// toJSON returns a deviceJSON or a moduleJSON; waiting is how many messages wait for it.
func toJSON(d hub.Device, waiting int) any {
	common := identityJSON{
		DeviceID: d.ID, GenerationID: d.Generation, ETag: d.ETag, ConnectionState: "Disconnected",
		ConnectionStateUpdatedTime: timeText(d.ConnectionChanged), LastActivityTime: timeText(d.LastActivity), CloudToDeviceMessageCount: waiting,
		Authentication: &authJSON{
			SymmetricKey:   &keysJSON{orNull(d.PrimaryKey), orNull(d.SecondaryKey)},
			X509Thumbprint: &thumbprintsJSON{orNull(d.PrimaryThumbprint), orNull(d.SecondaryThumbprint)},
			Type:           d.AuthType,
		},
	}
	if d.Connected {
		common.ConnectionState = "Connected"
	}
	if d.Module != "" {
		return moduleJSON{ModuleID: d.Module, ManagedBy: orNull(d.ManagedBy), identityJSON: common}
	}
	return deviceJSON{
		identityJSON: common, Status: string(d.Status), StatusReason: orNull(d.StatusReason), StatusUpdatedTime: timeText(d.StatusChanged),
		Capabilities: &capabilitiesJSON{d.Edge}, DeviceScope: d.Scope, ParentScopes: parentScopes(d),
	}
}

// parentScopes are those above an edge device, and for a device behind one the scope it is in (IoT Edge: parent and child devices).
func parentScopes(d hub.Device) []string {
	var out []string
	if d.ParentScopes != "" && json.Unmarshal([]byte(d.ParentScopes), &out) == nil {
		return out
	}
	if !d.Edge && d.Scope != "" {
		return []string{d.Scope}
	}
	return nil
}

// store returns what a person gave of an identity.
func (j deviceJSON) store() hubstore.Device {
	d := j.identityJSON.store()
	d.Status, d.StatusReason = hubstore.Status(strings.ToLower(j.Status)), text(j.StatusReason)
	d.Edge = j.Capabilities != nil && j.Capabilities.IoTEdge
	d.Scope = j.DeviceScope
	if len(j.ParentScopes) > 0 {
		if d.Edge {
			b, _ := json.Marshal(j.ParentScopes) // strings cannot fail
			d.ParentScopes = string(b)
		} else if d.Scope == "" {
			d.Scope = j.ParentScopes[0]
		}
	}
	return d
}

func (j moduleJSON) store() hubstore.Device {
	d := j.identityJSON.store()
	d.Module, d.ManagedBy = j.ModuleID, text(j.ManagedBy)
	return d
}

func (j identityJSON) store() hubstore.Device {
	d := hubstore.Device{ID: j.DeviceID}
	if a := j.Authentication; a != nil {
		d.AuthType = a.Type
		if a.SymmetricKey != nil {
			d.PrimaryKey, d.SecondaryKey = text(a.SymmetricKey.PrimaryKey), text(a.SymmetricKey.SecondaryKey)
		}
		if a.X509Thumbprint != nil {
			d.PrimaryThumbprint, d.SecondaryThumbprint = text(a.X509Thumbprint.PrimaryThumbprint), text(a.X509Thumbprint.SecondaryThumbprint)
		}
	}
	return d
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// timeText writes a time as IoT Hub does; never is the year 1, without a zone.
func timeText(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
