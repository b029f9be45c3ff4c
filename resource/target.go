package resource

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Target is something a person may be let into: one way into a machine, named and declared by whoever owns it. Nobody who comes in
// chooses an address.
type Target struct {
	Header
	Spec   TargetSpec   `json:"spec"`
	Status TargetStatus `json:"status,omitzero"`
}

// TargetProtocol is what is spoken there. It decides what programs are offered and what may be recorded; bytes are passed as they are.
type TargetProtocol string

const (
	ProtocolTCP TargetProtocol = "tcp" // anything; also the meaning of an absent value
	ProtocolSSH TargetProtocol = "ssh"
	ProtocolRDP TargetProtocol = "rdp"
)

// TargetState switches a target on and off.
type TargetState string

const (
	TargetEnabled  TargetState = "Enabled" // also the meaning of an absent value
	TargetDisabled TargetState = "Disabled"
)

// TargetSpec is what the owner says. It leads through an agent to an address, or through a hub to a device's stream.
type TargetSpec struct {
	Agent   string        `json:"agent,omitempty" doc:"the agent of the same network that leads there; with address" example:"press-4"`
	Address string        `json:"address,omitempty" doc:"what that agent dials: HOST:PORT, or unix:/PATH" example:"127.0.0.1:22"`
	Device  *TargetDevice `json:"device,omitempty" doc:"instead: a device of a hub, which opens the stream itself"`

	Protocol    TargetProtocol `json:"protocol,omitempty" enum:"tcp,ssh,rdp" doc:"what is spoken there; tcp when absent"`
	State       TargetState    `json:"state,omitempty" enum:"Enabled,Disabled" doc:"Enabled when absent; disabling cuts the sessions"`
	Description string         `json:"description,omitempty" maxLength:"200" doc:"for whoever asks to be let in"`
	Policy      string         `json:"policy,omitempty" doc:"the tenant's access policy that holds; the one called default when absent, if there is one"`
	VisibleTo   []string       `json:"visibleTo,omitempty" doc:"tenants whose people may ask to be let in, beside its own" example:"[\"machine-maker\"]"`
	SSH         *TargetSSH     `json:"ssh,omitempty" doc:"for the protocol ssh"`
}

// TargetDevice names a stream of a device (IoT Hub: device streams).
type TargetDevice struct {
	Service string `json:"service" doc:"the hub: a service of type iothub in the same network, served by Isthmus" example:"contoso"`
	Device  string `json:"device" doc:"the device's id" example:"press-4"`
	Module  string `json:"module,omitempty" doc:"the module's id, for a module's stream"`
	Stream  string `json:"stream" doc:"the name the device is asked for" example:"ssh"`
}

// TargetSSH says how people log in by SSH.
type TargetSSH struct {
	Logins         []string `json:"logins,omitempty" doc:"accounts of the machine that a certificate may name" example:"[\"service\"]"`
	HostKeys       []string `json:"hostKeys,omitempty" doc:"the machine's public keys, as in ssh_host_ed25519_key.pub; when absent, the first one seen is remembered"`
	PortForwarding bool     `json:"portForwarding,omitempty" doc:"let certificates forward ports, which lets people reach what no target names; VS Code needs it"`
}

// TargetStatus is what Isthmus says of a target.
type TargetStatus struct {
	Sessions int `json:"sessions" doc:"open now, as far as reported"`
	Grants   int `json:"grants" doc:"that let somebody in now or later"`
}

// Bounds of a target.
const (
	maxVisibleTo   = 1000
	maxLogins      = 32
	maxHostKeys    = 16
	maxHostKey     = 2000
	maxDescription = 200
	maxStreamName  = 128
	maxSocketPath  = 100 // Linux: sun_path is 108
)

func (t *Target) SpecAndStatus() (any, any) { return &t.Spec, &t.Status }

// Enabled tells whether people may be let in at all.
func (t *Target) Enabled() bool { return t.Spec.State != TargetDisabled }

// Protocol returns the protocol, tcp when none is given.
func (t *Target) Protocol() TargetProtocol {
	if t.Spec.Protocol == "" {
		return ProtocolTCP
	}
	return t.Spec.Protocol
}

// VisibleTo tells whether people of a tenant may know of the target.
func (t *Target) VisibleTo(tenant string) bool {
	return tenant == t.Metadata.Tenant || slices.Contains(t.Spec.VisibleTo, tenant)
}

// Validate checks the target by itself.
func (t *Target) Validate() error {
	op := "resource.Target.Validate"
	if err := t.validate(); err != nil {
		return err
	}
	s := &t.Spec
	if err := s.validateWay(op); err != nil {
		return err
	}
	switch s.Protocol {
	case "", ProtocolTCP, ProtocolSSH, ProtocolRDP:
	default:
		return fault.Newf(op, fault.Invalid, "spec.protocol is %q", s.Protocol).Advise("write ssh, rdp or tcp")
	}
	switch s.State {
	case "", TargetEnabled, TargetDisabled:
	default:
		return fault.Newf(op, fault.Invalid, "spec.state is %q", s.State).Advise("write Enabled or Disabled")
	}
	if len(s.Description) > maxDescription || !plainText(s.Description) {
		return fault.Newf(op, fault.Invalid, "spec.description is longer than %d bytes, or has control characters", maxDescription).Advise("say it in one line")
	}
	if s.Policy != "" {
		if err := ValidateName(s.Policy); err != nil {
			return within(op, "spec.policy", err)
		}
	}
	if len(s.VisibleTo) > maxVisibleTo {
		return fault.Newf(op, fault.TooLarge, "spec.visibleTo has %d tenants", len(s.VisibleTo)).Advise("a target takes %d", maxVisibleTo)
	}
	for _, v := range s.VisibleTo {
		if err := ValidateName(v); err != nil {
			return within(op, "spec.visibleTo", err)
		}
	}
	return s.validateSSH(op)
}

func (s *TargetSpec) validateWay(op string) error {
	switch {
	case s.Device != nil && (s.Agent != "" || s.Address != ""):
		return fault.New(op, fault.Invalid, "spec.device stands beside spec.agent or spec.address").Advise("a target leads through an agent or to a device: keep one of the two")
	case s.Device != nil:
		d := s.Device
		if err := ValidateName(d.Service); err != nil {
			return within(op, "spec.device.service", err)
		}
		for _, f := range []struct{ field, value string }{{"device", d.Device}, {"stream", d.Stream}} {
			if f.value == "" || len(f.value) > maxStreamName || strings.ContainsAny(f.value, "/+#?&") || !plainText(f.value) {
				return fault.Newf(op, fault.Invalid, "spec.device.%s is %q", f.field, f.value).Advise("give 1 to %d characters, none of them /, +, #, ? or &", maxStreamName)
			}
		}
		if len(d.Module) > maxStreamName || strings.ContainsAny(d.Module, "/+#?&") || !plainText(d.Module) {
			return fault.Newf(op, fault.Invalid, "spec.device.module is %q", d.Module).Advise("give the module's id, or leave it out for the device itself")
		}
		return nil
	case s.Agent == "":
		return fault.New(op, fault.Invalid, "the target leads nowhere").Advise("give spec.agent and spec.address, or spec.device")
	}
	if err := ValidateName(s.Agent); err != nil {
		return within(op, "spec.agent", err)
	}
	return ValidateTargetAddress(s.Address)
}

// ValidateTargetAddress checks HOST:PORT, with a host name or an IP address, or unix:/PATH.
func ValidateTargetAddress(address string) error {
	op := "resource.ValidateTargetAddress"
	bad := func(why string) error {
		return fault.Newf(op, fault.Invalid, "spec.address is %q: %s", address, why).Advise("write HOST:PORT such as 127.0.0.1:22, or unix:/PATH")
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || len(path) > maxSocketPath || !plainText(path) {
			return bad("the path is not absolute, or too long")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return bad("no host and port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("ports are 1 to 65535")
	}
	if a, ok := parseAddr(host); ok {
		if a.IsUnspecified() || a.IsMulticast() {
			return bad("nothing can be reached there")
		}
		return nil
	}
	if ValidateDomain(strings.ToLower(host)) != nil {
		return bad("the host is no address and no name")
	}
	return nil
}

func (s *TargetSpec) validateSSH(op string) error {
	if s.SSH == nil {
		return nil
	}
	if s.Protocol != ProtocolSSH {
		return fault.New(op, fault.Invalid, "spec.ssh is for the protocol ssh").Advise("write protocol: ssh, or take spec.ssh out")
	}
	if len(s.SSH.Logins) > maxLogins || len(s.SSH.HostKeys) > maxHostKeys {
		return fault.Newf(op, fault.TooLarge, "spec.ssh has %d logins and %d host keys", len(s.SSH.Logins), len(s.SSH.HostKeys)).
			Advise("a target takes %d and %d", maxLogins, maxHostKeys)
	}
	for _, l := range s.SSH.Logins {
		if !ValidLogin(l) {
			return fault.Newf(op, fault.Invalid, "spec.ssh.logins has %q", l).Advise("give names of accounts, such as service: 1 to 32 of a-z, A-Z, 0-9, '.', '_' and '-', not beginning with '-'")
		}
	}
	for _, k := range s.SSH.HostKeys {
		if parts := strings.Fields(k); len(k) > maxHostKey || len(parts) < 2 || !plainText(k) {
			return fault.New(op, fault.Invalid, "spec.ssh.hostKeys has a line that is no public key").Advise("copy a line of /etc/ssh/ssh_host_ed25519_key.pub")
		}
	}
	return nil
}

// ValidLogin tells whether a text may be an account's name in a certificate.
func ValidLogin(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' || strings.Trim(s, ".") == "" { // dots alone are folders to programs that keep files by account
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// plainText tells whether a text has no control characters and is UTF-8.
func plainText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\ufffd' })
}
