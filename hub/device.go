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

// MaxDeviceID is the longest id of a device or a module, in bytes.
const MaxDeviceID = 128

// MaxModules is how many modules a device may have beside those of the edge runtime (IoT Hub: quotas, modules for each device). Each has an
// allowance of its own, and an edge device makes its modules itself.
const MaxModules = 50

// Name says which identity is meant: a device, or one of its modules.
type Name = hubstore.Name

// Device is an identity, a device or a module, with what is known of it now.
type Device struct {
	hubstore.Device
}

func validName(n Name) error {
	if err := validID("device", n.Device); err != nil || !n.IsModule() {
		return err
	}
	return validID("module", n.Module)
}

func validID(noun, id string) error {
	if id == "" || len(id) > MaxDeviceID {
		return fault.Newf("hub.Device", fault.Invalid, "a %s id has 1 to %d characters, this one has %d", noun, MaxDeviceID, len(id))
	}
	for i := range len(id) {
		// IoT Hub: identity registry, device identity properties.
		c := id[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && strings.IndexByte("-.+%_#*?!(),:=@$';", c) < 0 {
			return fault.Newf("hub.Device", fault.Invalid, "the %s id %q holds %q", noun, id, c).Advise("use letters, digits and - . + %% _ # * ? ! ( ) , : = @ $ ' ;")
		}
	}
	return nil
}

// complete checks what a person gave and fills in what the hub makes: keys that are both empty, a status, a kind of proof.
func complete(d *hubstore.Device) error {
	if err := validName(d.Name()); err != nil {
		return err
	}
	op, who := "hub.Device", d.Name().Words()
	switch d.Status {
	case "":
		d.Status = hubstore.Enabled
	case hubstore.Enabled, hubstore.Disabled:
	default:
		return fault.Newf(op, fault.Invalid, "status of %s is neither enabled nor disabled", who)
	}
	if len(d.StatusReason) > 128 {
		return fault.Newf(op, fault.Invalid, "statusReason of %s is longer than 128 bytes", who)
	}
	if len(d.ManagedBy) > 128 || len(d.Scope) > 512 || len(d.ParentScopes) > 4096 {
		return fault.Newf(op, fault.Invalid, "managedBy or a scope of %s is too long", who)
	}
	return completeProof(d, op, who)
}

func completeProof(d *hubstore.Device, op, who string) error {
	switch d.AuthType {
	case "":
		d.AuthType = AuthSAS
		if d.PrimaryThumbprint != "" && d.PrimaryKey == "" {
			d.AuthType = AuthSelfSigned
		}
	case AuthSAS, AuthSelfSigned, AuthCertificateAuthority, AuthNone:
	default:
		return fault.Newf(op, fault.Invalid, "authentication.type of %s is unknown", who).Advise("use sas, selfSigned or certificateAuthority")
	}
	if d.AuthType == AuthSAS {
		if (d.PrimaryKey == "") != (d.SecondaryKey == "") {
			return fault.Newf(op, fault.Invalid, "%s has one key and not the other", who).Advise("give both keys, or none and the hub makes them")
		}
		if d.PrimaryKey == "" {
			d.PrimaryKey, d.SecondaryKey = newKey(), newKey()
		}
		for _, k := range []string{d.PrimaryKey, d.SecondaryKey} {
			if b, err := base64.StdEncoding.DecodeString(k); err != nil || len(b) < 16 || len(b) > 64 {
				return fault.Newf(op, fault.Invalid, "a key of %s is not base64 of 16 to 64 bytes", who)
			}
		}
	}
	for _, p := range []string{d.PrimaryThumbprint, d.SecondaryThumbprint} {
		if b, err := hex.DecodeString(p); err != nil || (len(b) != 0 && len(b) != 20 && len(b) != 32) {
			return fault.Newf(op, fault.Invalid, "a thumbprint of %s is not 40 or 64 hexadecimal digits", who)
		}
	}
	if d.AuthType == AuthSelfSigned && d.PrimaryThumbprint == "" {
		return fault.Newf(op, fault.Invalid, "%s is selfSigned and has no thumbprint", who)
	}
	return nil
}

func newETag() string { return randomText(9) }

// live adds what only memory knows: the session, and times not written down yet.
func (h *Hub) live(d hubstore.Device) Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := Device{Device: d}
	out.Connected = false
	if s, ok := h.seen[d.Name()]; ok {
		out.ConnectionChanged, out.LastActivity = later(d.ConnectionChanged, s.Connection), later(d.LastActivity, s.Activity)
	}
	if s, ok := h.sessions[d.Name()]; ok {
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
