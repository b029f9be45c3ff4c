package sas

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// ConnectionString is what a person hands to an SDK: a host and a key, of a device, a module or a policy.
type ConnectionString struct {
	HostName string
	DeviceID string // of a device's or a module's string
	ModuleID string // of a module's string
	X509     bool   // the device proves itself with a certificate: there is no key
	Policy   string // SharedAccessKeyName, of a policy's string
	Key      string // base64
	Gateway  string // GatewayHostName: what a device dials instead of HostName
}

// String renders it as SDKs read it. It holds the key: do not log it.
func (c ConnectionString) String() string {
	s := "HostName=" + c.HostName
	if c.DeviceID != "" {
		s += ";DeviceId=" + c.DeviceID
	}
	if c.ModuleID != "" {
		s += ";ModuleId=" + c.ModuleID
	}
	if c.Policy != "" {
		s += ";SharedAccessKeyName=" + c.Policy
	}
	if c.X509 {
		return s + ";x509=true"
	}
	s += ";SharedAccessKey=" + c.Key
	if c.Gateway != "" {
		s += ";GatewayHostName=" + c.Gateway
	}
	return s
}

// ParseConnectionString reads one. Errors never repeat the text.
func ParseConnectionString(text string) (ConnectionString, error) {
	var c ConnectionString
	for part := range strings.SplitSeq(strings.TrimSpace(text), ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "hostname":
			c.HostName = value
		case "deviceid":
			c.DeviceID = value
		case "moduleid":
			c.ModuleID = value
		case "x509":
			c.X509 = strings.EqualFold(value, "true")
		case "gatewayhostname":
			c.Gateway = value
		case "sharedaccesskeyname":
			c.Policy = value
		case "sharedaccesskey":
			c.Key = value
		}
	}
	if c.HostName == "" || (c.Key == "") != c.X509 || (c.DeviceID == "") == (c.Policy == "") || c.ModuleID != "" && c.DeviceID == "" {
		return c, fault.New("sas.ParseConnectionString", fault.Invalid, "this is no connection string of an IoT hub").
			Advise("it reads HostName={host};SharedAccessKeyName={policy};SharedAccessKey={key} for a service, or has DeviceId={id} for a device")
	}
	return c, nil
}
