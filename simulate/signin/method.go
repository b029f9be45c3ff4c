package signin

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/settings"
)

// Registry is where devices' keys are; *hubclient.Client is one.
type Registry interface {
	Device(ctx context.Context, id string) (hubclient.Device, error)
}

// Method says who a device is.
type Method interface {
	// Prepare finds out whether every device will be able to sign in, as far as can be known without trying.
	Prepare(ctx context.Context) error
	// Hello returns what a device introduces itself with now, and when it ends; zero for never.
	Hello(device string) (hello connection.Hello, ends time.Time, err error)
}

// New returns the method the settings ask for. registry may be nil unless that is DeviceKeys.
func New(s *settings.Settings, registry Registry, clk clock.Clock) (Method, error) {
	if s.IDScope != "" {
		return newProvisioned(s, clk), nil
	}
	t := tokens{host: s.Hub, life: s.TokenLife, keepAlive: uint16(s.KeepAlive / time.Second), clock: clk}
	switch s.SignIn {
	case settings.Policy:
		t.key = func(string) (string, string, error) { return s.Connection.Key, s.Connection.Policy, nil }
	case settings.OwnKey:
		t.key = func(string) (string, string, error) { return s.Connection.Key, "", nil }
	case settings.Group:
		t.key = func(device string) (string, string, error) {
			key, err := Derive(s.GroupKey, device)
			return key, "", err
		}
	case settings.DeviceKeys:
		if registry == nil {
			return nil, fault.New("signin.New", fault.Invalid, "keys of devices are in the hub's registry, and none is given")
		}
		l := &lookup{registry: registry, devices: s.Devices, keys: map[string]string{}}
		t.key, t.prepare = l.key, l.prepare
	case settings.Certificate:
		return newCertificates(s), nil
	default:
		return nil, fault.Newf("signin.New", fault.Invalid, "nobody signs in by %q", s.SignIn)
	}
	return &t, nil
}

// tokens signs a SAS token for each connection.
type tokens struct {
	host      string
	life      time.Duration
	keepAlive uint16
	clock     clock.Clock
	key       func(device string) (key, policy string, err error)
	prepare   func(ctx context.Context) error
}

// Prepare implements [Method].
func (t *tokens) Prepare(ctx context.Context) error {
	if t.prepare == nil {
		return nil
	}
	return t.prepare(ctx)
}

// Hello implements [Method].
func (t *tokens) Hello(device string) (connection.Hello, time.Time, error) {
	key, policy, err := t.key(device)
	if err != nil {
		return connection.Hello{}, time.Time{}, err
	}
	ends := t.clock.Now().Add(t.life)
	token, err := sas.Sign(t.host+"/devices/"+device, key, policy, ends)
	if err != nil {
		return connection.Hello{}, time.Time{}, err
	}
	return connection.Hello{Device: device, Token: token, KeepAlive: t.keepAlive}, ends, nil
}

// Derive returns a device's key in a group: HMAC-SHA256 of its registration id with the group's key, both keys base64 (DPS: symmetric
// key attestation, group enrolments). The
// registration id is the device id.
func Derive(groupKey, registration string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(groupKey)
	if err != nil || len(key) == 0 {
		return "", fault.New("signin.Derive", fault.Invalid, "the group key is empty or not base64")
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(registration))
	return base64.StdEncoding.EncodeToString(m.Sum(nil)), nil
}
