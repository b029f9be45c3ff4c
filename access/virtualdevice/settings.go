package virtualdevice

import (
	"encoding/json"
	"net"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/resource"
)

// Device is the settings of one device. It names its hub, itself and its key by a connection string, or one by one.
type Device struct {
	// Name is the device's among those of one process: 1 to 64 of a-z, A-Z, 0-9, "_" and "-". Its id when absent, where that will do.
	Name             string `json:"name,omitempty"`
	ConnectionString string `json:"connectionString,omitempty"`
	// ConnectionStringVariable is an environment variable of this process that holds it.
	ConnectionStringVariable string `json:"connectionStringVariable,omitempty"`

	Hub    string `json:"hub,omitempty"` // host name
	ID     string `json:"id,omitempty"`
	Module string `json:"module,omitempty"`
	Key    string `json:"key,omitempty"` // base64

	Streams  map[string]string `json:"streams,omitempty"`  // by stream name: HOST:PORT, or unix:/PATH
	Enabled  *bool             `json:"enabled,omitempty"`  // true when absent
	Sessions int               `json:"sessions,omitempty"` // at the same time; 64 when 0

	problem error // why it could not be read
}

// Bounds of settings.
const (
	MaxDevices  = 1000
	MaxStreams  = 64  // of one device
	maxSessions = 512 // of one device

	defaultSessions = 64
	maxName         = 64
	maxStreamName   = 128 // IoT Hub: device streams; also what a hub of ours takes
)

// ReadDevices reads a JSON list of devices. Invalid when it is none, or has a field that there is not. Whether a device can be is told by
// Host.Status, so that a wrong one does no harm to others.
func ReadDevices(text []byte) ([]Device, error) {
	var list []Device
	if err := decode(text, &list); err != nil {
		return nil, err
	}
	if len(list) > MaxDevices {
		return nil, fault.Newf("virtualdevice.ReadDevices", fault.TooLarge, "there are %d devices", len(list)).Advise("a process takes %d", MaxDevices)
	}
	return list, nil
}

// ReadDevice reads one.
func ReadDevice(text []byte) (Device, error) {
	var d Device
	return d, decode(text, &d)
}

// decode does not say what stands there: it may be a key.
func decode(text []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = fault.New("virtualdevice.decode", fault.Invalid, "more follows")
	}
	if err == nil {
		return nil
	}
	why := "it is no JSON of the right shape"
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(field) < maxName {
		why = "there is no field " + field
	}
	return fault.New("virtualdevice.ReadDevices", fault.Invalid, "the settings of the virtual devices cannot be read: "+why).
		Advise(`write {"connectionString": "HostName=…;DeviceId=…;SharedAccessKey=…", "streams": {"ssh": "127.0.0.1:22"}}, or a list of these`)
}

// identity is who a device is at its hub. Two are the same when all of it is.
type identity struct {
	hub     string // HostName, with a port if one stands there
	dial    string // the host, perhaps with a port, that is dialled
	id      string
	module  string
	key     string // base64; empty when sign makes tokens
	trusted string // PEM of authorities beside those of Config
}

// client is the id at MQTT.
func (i *identity) client() string {
	if i.module != "" {
		return i.id + "/" + i.module
	}
	return i.id
}

// resource is what a token covers.
func (i *identity) resource() string {
	r := i.hub + "/devices/" + i.id
	if i.module != "" {
		r += "/modules/" + i.module
	}
	return r
}

// identify finds out who the device is. lookup reads environment variables.
func (d *Device) identify(lookup func(string) string) (identity, error) {
	op := "virtualdevice.Device"
	if d.problem != nil {
		return identity{}, d.problem
	}
	text := d.ConnectionString
	if d.ConnectionStringVariable != "" {
		if text = lookup(d.ConnectionStringVariable); text == "" {
			return identity{}, fault.Newf(op, fault.Invalid, "the environment variable %q is empty or not there", clip(d.ConnectionStringVariable)).
				Advise("set it to the device's connection string")
		}
	}
	if text == "" {
		if d.Hub == "" || d.ID == "" || d.Key == "" {
			return identity{}, fault.New(op, fault.Invalid, "the device has no connectionString, nor all of hub, id and key").Advise("give it one: isthmus hub device connection-string ID")
		}
		return fromString(sas.ConnectionString{HostName: d.Hub, DeviceID: d.ID, ModuleID: d.Module, Key: d.Key})
	}
	c, err := sas.ParseConnectionString(text)
	if err != nil {
		return identity{}, err
	}
	return fromString(c)
}

func fromString(c sas.ConnectionString) (identity, error) {
	op := "virtualdevice.Device"
	switch {
	case c.DeviceID == "":
		return identity{}, fault.New(op, fault.Invalid, "the connection string is a service's, not a device's").Advise("use the one with DeviceId")
	case c.X509:
		return identity{}, fault.New(op, fault.Invalid, "the device proves itself with a certificate").Advise("virtual devices need a key: create the device with one")
	}
	if _, err := sas.Sign("x", c.Key, "", whenever); err != nil {
		return identity{}, err
	}
	i := identity{hub: c.HostName, dial: c.HostName, id: c.DeviceID, module: c.ModuleID, key: c.Key}
	if c.Gateway != "" {
		i.dial = c.Gateway
	}
	for _, h := range []string{i.hub, i.dial} {
		if !isHost(h) {
			return identity{}, fault.Newf(op, fault.Invalid, "%q is no host", clip(h)).Advise("HostName is the hub's name, such as contoso.azure-devices.net")
		}
	}
	return i, nil
}

// isHost tells whether a text is a host, perhaps with a port.
func isHost(text string) bool {
	u, err := url.Parse("//" + text)
	return err == nil && u.Host == text && u.Hostname() != "" && !strings.ContainsFunc(text, unicode.IsSpace)
}

// splitHost takes a port off; instead is the port when there is none.
func splitHost(text, instead string) (host, port string) {
	if h, p, err := net.SplitHostPort(text); err == nil {
		return h, p
	}
	return text, instead
}

// checkStreams returns the streams that can be, and what is wrong with the others.
func (d *Device) checkStreams() (good map[string]string, problems []string) {
	good = map[string]string{}
	for name, address := range d.Streams {
		bad := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune("/?#+", r) }
		switch {
		case name == "" || len(name) > maxStreamName || strings.ContainsFunc(name, bad):
			problems = append(problems, "no stream can have the name "+quote(name))
		case resource.ValidateTargetAddress(address) != nil:
			problems = append(problems, "stream "+name+": "+quote(address)+" is no address: write HOST:PORT, or unix:/PATH")
		case len(good) == MaxStreams:
			problems = append(problems, "the device has too many streams")
			return good, problems
		default:
			good[name] = address
		}
	}
	return good, problems
}

func (d *Device) enabled() bool { return d.Enabled == nil || *d.Enabled }

func (d *Device) most() int {
	if d.Sessions <= 0 {
		return defaultSessions
	}
	return min(d.Sessions, maxSessions)
}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9_-]`)
)

// label is the device's name among others.
func (d *Device) label(i identity) (string, error) {
	if d.Name == "" {
		name := notInName.ReplaceAllString(i.id, "_")
		return name[:min(len(name), maxName)], nil
	}
	if !validName.MatchString(d.Name) {
		return "", fault.Newf("virtualdevice.Device", fault.Invalid, "%q cannot be a device's name here", clip(d.Name)).Advise("use 1 to %d of a-z, A-Z, 0-9, _ and -", maxName)
	}
	return d.Name, nil
}

// clip bounds what others chose, for logs and screens.
func clip(s string) string {
	const most = 100
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s[:min(len(s), most)])
	return strings.ToValidUTF8(s, "?")
}

func quote(s string) string { return `"` + clip(s) + `"` }
