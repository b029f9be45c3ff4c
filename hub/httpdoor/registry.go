package httpdoor

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	maxDeviceBody = 64 << 10
	maxBulkBody   = 1 << 20
	maxBulk       = 100
	maxTop        = 1000
)

// deviceJSON is a device on the wire (IoT Hub service REST API, Devices).
type deviceJSON struct {
	DeviceID                   string            `json:"deviceId"`
	GenerationID               string            `json:"generationId"`
	ETag                       string            `json:"etag"`
	ConnectionState            string            `json:"connectionState"`
	Status                     string            `json:"status"`
	StatusReason               *string           `json:"statusReason"`
	ConnectionStateUpdatedTime string            `json:"connectionStateUpdatedTime"`
	StatusUpdatedTime          string            `json:"statusUpdatedTime"`
	LastActivityTime           string            `json:"lastActivityTime"`
	CloudToDeviceMessageCount  int               `json:"cloudToDeviceMessageCount"`
	Authentication             *authJSON         `json:"authentication"`
	Capabilities               *capabilitiesJSON `json:"capabilities"`
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

func toJSON(d hub.Device) deviceJSON {
	out := deviceJSON{
		DeviceID: d.ID, GenerationID: d.Generation, ETag: d.ETag, ConnectionState: "Disconnected", Status: string(d.Status), StatusReason: orNull(d.StatusReason),
		ConnectionStateUpdatedTime: timeText(d.ConnectionChanged), StatusUpdatedTime: timeText(d.StatusChanged), LastActivityTime: timeText(d.LastActivity),
		Authentication: &authJSON{
			SymmetricKey:   &keysJSON{orNull(d.PrimaryKey), orNull(d.SecondaryKey)},
			X509Thumbprint: &thumbprintsJSON{orNull(d.PrimaryThumbprint), orNull(d.SecondaryThumbprint)},
			Type:           d.AuthType,
		},
		Capabilities: &capabilitiesJSON{d.Edge},
	}
	if d.Connected {
		out.ConnectionState = "Connected"
	}
	return out
}

func fromJSON(j deviceJSON) hubstore.Device {
	d := hubstore.Device{ID: j.DeviceID, Status: hubstore.Status(strings.ToLower(j.Status)), StatusReason: text(j.StatusReason)}
	if a := j.Authentication; a != nil {
		d.AuthType = a.Type
		if a.SymmetricKey != nil {
			d.PrimaryKey, d.SecondaryKey = text(a.SymmetricKey.PrimaryKey), text(a.SymmetricKey.SecondaryKey)
		}
		if a.X509Thumbprint != nil {
			d.PrimaryThumbprint, d.SecondaryThumbprint = text(a.X509Thumbprint.PrimaryThumbprint), text(a.X509Thumbprint.SecondaryThumbprint)
		}
	}
	d.Edge = j.Capabilities != nil && j.Capabilities.IoTEdge
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

// ifMatch reads an etag with or without its quotes; SDKs disagree.
func (x *exchange) ifMatch() string { return strings.Trim(x.Header.Get("If-Match"), `"`) }

func getDevice(x *exchange) error {
	d, err := x.hub.Device(x.Context(), x.id)
	if err != nil {
		return err
	}
	x.w.Header().Set("ETag", `"`+d.ETag+`"`)
	return x.reply(toJSON(d))
}

func putDevice(x *exchange) error {
	var j deviceJSON
	if err := x.decode(maxDeviceBody, &j); err != nil {
		return err
	}
	if j.DeviceID != "" && j.DeviceID != x.id {
		return fault.Newf("httpdoor.putDevice", fault.Invalid, "deviceId is %q and the path says %q", j.DeviceID, x.id)
	}
	j.DeviceID = x.id
	var d hub.Device
	var err error
	if match := x.ifMatch(); match == "" {
		d, err = x.hub.CreateDevice(x.Context(), fromJSON(j))
	} else {
		d, err = x.hub.UpdateDevice(x.Context(), fromJSON(j), match)
	}
	if err != nil {
		return err
	}
	x.w.Header().Set("ETag", `"`+d.ETag+`"`)
	return x.reply(toJSON(d))
}

func deleteDevice(x *exchange) error {
	if err := x.hub.DeleteDevice(x.Context(), x.id, x.ifMatch()); err != nil {
		return err
	}
	return x.nothing()
}

func listDevices(x *exchange) error {
	top := maxTop
	if s := x.URL.Query().Get("top"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxTop {
			return fault.Newf("httpdoor.listDevices", fault.Invalid, "top is %.20q", s).Advise("it is a number from 1 to %d", maxTop)
		}
		top = n
	}
	list, err := x.hub.Devices(x.Context(), x.URL.Query().Get("after"), top)
	if err != nil {
		return err
	}
	out := make([]deviceJSON, len(list))
	for i, d := range list {
		out[i] = toJSON(d)
	}
	return x.reply(out)
}

func countDevices(x *exchange) error {
	total, disabled, err := x.hub.Count(x.Context())
	if err != nil {
		return err
	}
	return x.reply(map[string]int{"totalDeviceCount": total, "enabledDeviceCount": total - disabled, "disabledDeviceCount": disabled})
}

func countConnected(x *exchange) error {
	return x.reply(map[string]int{"connectedDeviceCount": x.hub.Connected()})
}
