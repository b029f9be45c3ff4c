package hub

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// How a device proves who it is.
const (
	AuthSAS                  = "sas"
	AuthSelfSigned           = "selfSigned"
	AuthCertificateAuthority = "certificateAuthority"
	AuthNone                 = "none"
)

// MaxDeviceID is the longest device id, in bytes.
const MaxDeviceID = 128

// Device is an identity with what is known of it now.
type Device struct {
	hubstore.Device
	Connected bool
}

func validDeviceID(id string) error {
	if id == "" || len(id) > MaxDeviceID {
		return fault.Newf("hub.Device", fault.Invalid, "a device id has 1 to %d characters, this one has %d", MaxDeviceID, len(id))
	}
	for i := range len(id) {
		// IoT Hub: identity registry, device identity properties.
		c := id[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && strings.IndexByte("-.+%_#*?!(),:=@$';", c) < 0 {
			return fault.Newf("hub.Device", fault.Invalid, "the device id %q holds %q", id, c).Advise("use letters, digits and - . + %% _ # * ? ! ( ) , : = @ $ ' ;")
		}
	}
	return nil
}

// complete checks what a person gave and fills in what the hub makes: keys that are both empty, a status, a kind of proof.
func complete(d *hubstore.Device) error {
	if err := validDeviceID(d.ID); err != nil {
		return err
	}
	op := "hub.Device"
	switch d.Status {
	case "":
		d.Status = hubstore.Enabled
	case hubstore.Enabled, hubstore.Disabled:
	default:
		return fault.Newf(op, fault.Invalid, "status of device %q is neither enabled nor disabled", d.ID)
	}
	if len(d.StatusReason) > 128 {
		return fault.Newf(op, fault.Invalid, "statusReason of device %q is longer than 128 bytes", d.ID)
	}
	switch d.AuthType {
	case "":
		d.AuthType = AuthSAS
	case AuthSAS, AuthSelfSigned, AuthCertificateAuthority, AuthNone:
	default:
		return fault.Newf(op, fault.Invalid, "authentication.type of device %q is unknown", d.ID).Advise("use sas, selfSigned or certificateAuthority")
	}
	if d.AuthType == AuthSAS {
		if (d.PrimaryKey == "") != (d.SecondaryKey == "") {
			return fault.Newf(op, fault.Invalid, "device %q has one key and not the other", d.ID).Advise("give both keys, or none and the hub makes them")
		}
		if d.PrimaryKey == "" {
			d.PrimaryKey, d.SecondaryKey = newKey(), newKey()
		}
		for _, k := range []string{d.PrimaryKey, d.SecondaryKey} {
			if b, err := base64.StdEncoding.DecodeString(k); err != nil || len(b) < 16 || len(b) > 64 {
				return fault.Newf(op, fault.Invalid, "a key of device %q is not base64 of 16 to 64 bytes", d.ID)
			}
		}
	}
	for _, p := range []string{d.PrimaryThumbprint, d.SecondaryThumbprint} {
		if b, err := hex.DecodeString(p); err != nil || (len(b) != 0 && len(b) != 20 && len(b) != 32) {
			return fault.Newf(op, fault.Invalid, "a thumbprint of device %q is not 40 or 64 hexadecimal digits", d.ID)
		}
	}
	if d.AuthType == AuthSelfSigned && d.PrimaryThumbprint == "" {
		return fault.Newf(op, fault.Invalid, "device %q is selfSigned and has no thumbprint", d.ID)
	}
	return nil
}

func newETag() string { return randomText(9) }

// live adds what only memory knows: the session, and times not written down yet.
func (h *Hub) live(d hubstore.Device) Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := Device{Device: d}
	if s, ok := h.seen[d.ID]; ok {
		out.ConnectionChanged, out.LastActivity = later(d.ConnectionChanged, s.connection), later(d.LastActivity, s.activity)
	}
	if s, ok := h.sessions[d.ID]; ok {
		out.Connected = true
		out.ConnectionChanged, out.LastActivity = later(out.ConnectionChanged, s.since), later(out.LastActivity, s.active())
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
