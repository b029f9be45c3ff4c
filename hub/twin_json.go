package hub

import (
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// JSON returns the twin as services read it (IoT Hub REST: Twin). The error is Internal: what is stored cannot be read.
func (t Twin) JSON() ([]byte, error) {
	head, err := json.Marshal(headOf(t))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(head)+2*(len(t.Tags)+3*len(t.Desired.Text)+3*len(t.Reported.Text))+512)
	if out, err = t.AppendJSON(append(append(out, head[:len(head)-1]...), ',')); err != nil {
		return nil, err
	}
	if t.Module != "" { // capabilities and scopes are the device's
		return append(out, '}'), nil
	}
	tail, err := json.Marshal(tailOf(t.Device.Device))
	return append(append(out, ','), tail[1:]...), err
}

// MarshalJSON implements json.Marshaler.
func (t Twin) MarshalJSON() ([]byte, error) { return t.JSON() }

// twinHead is what stands before the documents, twinTail what stands behind them.
type twinHead struct {
	DeviceID           string          `json:"deviceId"`
	ModuleID           string          `json:"moduleId,omitempty"`
	ETag               string          `json:"etag"`
	DeviceETag         string          `json:"deviceEtag"`
	Status             string          `json:"status"`
	StatusReason       string          `json:"statusReason,omitempty"`
	StatusUpdateTime   string          `json:"statusUpdateTime"`
	ConnectionState    string          `json:"connectionState"`
	LastActivityTime   string          `json:"lastActivityTime"`
	CommandCount       int             `json:"cloudToDeviceMessageCount"`
	AuthenticationType string          `json:"authenticationType"`
	Thumbprints        twinThumbprints `json:"x509Thumbprint"`
	ModelID            string          `json:"modelId"`
}

type twinThumbprints struct {
	Primary   *string `json:"primaryThumbprint"`
	Secondary *string `json:"secondaryThumbprint"`
}

type twinTail struct {
	Capabilities struct {
		Edge bool `json:"iotEdge"`
	} `json:"capabilities"`
	DeviceScope  string          `json:"deviceScope,omitempty"`
	ParentScopes json.RawMessage `json:"parentScopes,omitempty"`
}

func headOf(t Twin) twinHead {
	state := "Disconnected"
	if t.Connected {
		state = "Connected"
	}
	return twinHead{
		DeviceID: t.ID, ModuleID: t.Module, ETag: t.ETag(), DeviceETag: t.Device.ETag, Status: string(t.Status), StatusReason: t.StatusReason,
		StatusUpdateTime: never(t.StatusChanged), ConnectionState: state, LastActivityTime: never(t.LastActivity), CommandCount: t.Commands, AuthenticationType: t.AuthType,
		Thumbprints: twinThumbprints{orNull(t.PrimaryThumbprint), orNull(t.SecondaryThumbprint)}, ModelID: t.Model,
	}
}

func tailOf(d hubstore.Device) twinTail {
	t := twinTail{DeviceScope: d.Scope}
	t.Capabilities.Edge = d.Edge
	if json.Valid([]byte(d.ParentScopes)) {
		t.ParentScopes = json.RawMessage(d.ParentScopes)
	}
	return t
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// never writes a time as IoT Hub does, which calls the year 1 what was never.
func never(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
