package settings

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/message"
)

// SignIn is how devices prove who they are.
type SignIn string

const (
	Policy      SignIn = "policy"      // the key of a policy signs for every device
	DeviceKeys  SignIn = "device-keys" // each device's own, from the registry
	Group       SignIn = "group"       // each device's own, derived from the key of a DPS group
	Certificate SignIn = "certificate" // X.509
	OwnKey      SignIn = "own-key"     // of the one device whose connection string was given
)

// Protocol is what devices speak.
type Protocol string

const (
	MQTT          Protocol = "mqtt"
	MQTTWebSocket Protocol = "mqtt-ws"
	AMQP          Protocol = "amqp"
	AMQPWebSocket Protocol = "amqp-ws"
	HTTPS         Protocol = "https"
)

// Storm cuts a share of the connections at intervals. The zero value cuts none.
type Storm struct {
	Every time.Duration
	Share float64 // above 0, at most 1
}

// Intervals are the pauses between messages.
type Intervals struct {
	All []time.Duration            // at least one; they take turns
	Own map[string][]time.Duration // by device
}

// For returns those of one device.
func (i Intervals) For(device string) []time.Duration {
	if own, ok := i.Own[device]; ok {
		return own
	}
	return i.All
}

// Settings are what a simulation does. They hold secrets: Connection and GroupKey.
type Settings struct {
	Hub        string               // host name
	Connection sas.ConnectionString // zero when neither sign-in nor another task needs it
	SignIn     SignIn
	GroupKey   string // base64
	// CertificateFile and CertificateKeyFile name PEM files; "{device}" in them stands for a device's id.
	CertificateFile, CertificateKeyFile string
	CreateDevices                       bool

	IDScope             string // of the provisioning service that says which hub is a device's; empty for none
	ProvisioningHost    string // empty for Azure's
	ProvisioningAddress string // host:port to connect to

	Devices        []string
	MessageCount   int           // of each device; 0 for no end
	Duration       time.Duration // 0 for no end
	Intervals      Intervals
	Recipe         *message.Recipe
	DuplicateEvery int // 0 for never

	Protocol   Protocol
	Address    string         // host:port to connect to; empty for the hub's name
	APIAddress string         // the same for the hub's API
	Roots      *x509.CertPool // nil for the system's
	Sources    []netip.Addr   // local addresses; empty for the system's choice
	KeepAlive  time.Duration
	TokenLife  time.Duration
	Connecting int
	GiveUp     time.Duration // 0 for never
	Ramp       float64       // devices a second; 0 for no limit
	Storm      Storm
	Verify     bool

	Notes []string // what the user had better know
}

// Target is against what devices are simulated, for people.
func (s *Settings) Target() string {
	if s.IDScope != "" {
		return "the hubs of id scope " + s.IDScope
	}
	return s.Hub
}

const (
	defaultTemplate = `{"deviceId": "$.DeviceId", "time": "$.Time", "counter": $.Counter}`
	// MaxDevices bounds one process.
	MaxDevices = 1_000_000
)
