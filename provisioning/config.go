package provisioning

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/hub/sas"
)

// Config is how a server is made. Dir or Database must be given; every other field's zero value works.
type Config struct {
	Dir      string // data directory: everything is kept in Dir/provisioning.db
	Database string // where it is kept instead, e.g. postgres://...
	MaxPages int    // bounds provisioning.db, in pages of 4 KiB; 0 leaves it to the disk

	Hubs Hubs                                                            // of this process; nil when there are none
	Dial func(service string, c sas.ConnectionString) (RemoteHub, error) // for hubs linked by connection string; nil when there are to be none
	// Latency tells how far a hub is from here, for the allocation policy geoLatency; nil, or false: not known.
	Latency func(host string) (time.Duration, bool)

	Workers     int           // registrations worked on at once; 8
	Queue       int           // that wait for one; 1,024
	RetryAfter  time.Duration // what devices are told to wait; 3 s
	WorkTimeout time.Duration // for one attempt to assign a device; 30 s
	GiveUp      time.Duration // after this a registration that cannot reach its hub has failed; 2 min
	MaxGroups   int           // enrollment groups of a service; 1,000

	WebhookTimeout   time.Duration  // for a whole call; 10 s
	WebhookRoots     *x509.CertPool // nil for the system's
	LoopbackWebhooks bool           // allows webhooks on this machine, there also by http
}

func (c Config) withDefaults() Config {
	if c.Database == "" && c.Dir != "" {
		c.Database = c.Dir + "/provisioning.db"
	}
	for _, n := range []struct {
		field *int
		value int
	}{{&c.Workers, 8}, {&c.Queue, 1024}, {&c.MaxGroups, 1000}} {
		if *n.field <= 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.RetryAfter, 3 * time.Second}, {&c.WorkTimeout, 30 * time.Second}, {&c.GiveUp, 2 * time.Minute}, {&c.WebhookTimeout, 10 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return c
}

// Spec says which service is served, as its plan has it.
type Spec struct {
	ID        string   // uid of the service
	Name      string   // ot/ot-cloud/provisioning
	HostNames []string // all it answers to; the first is the public name
	KeysOff   bool     // no policy's key opens it; devices go on with their own
}

// Hubs are the hubs a service reaches without a connection string: those of the same process and tenant.
type Hubs interface {
	// Names returns the public host names of the hubs that the service with this uid may assign devices to, in lower case.
	Names(service string) []string
	// Hub returns one of them. NotFound when it is none.
	Hub(service, host string) (Hub, error)
}

// Hub is one hub that devices are assigned to. Unavailable and Timeout mean that another attempt may succeed; after every other fault
// the registration has failed.
type Hub interface {
	// Assign makes sure that the hub has the device with this way to prove itself, and returns the keys by which it may connect, if it
	// proves itself by keys. The status of a device that is there stays: what an operator disabled remains disabled. It may be called
	// again with the same arguments after it failed, or after a crash.
	Assign(ctx context.Context, d Device, t Twin, mode Mode) (Keys, error)
	// Twin returns what the hub keeps of a device. NotFound when it has none of this id.
	Twin(ctx context.Context, device string) (Twin, error)
	// Release removes a device. One that is not there is no error.
	Release(ctx context.Context, device string) error
}

// RemoteHub is a hub elsewhere.
type RemoteHub interface {
	Hub
	Close()
}

// Mode says what Assign does with the twin.
type Mode uint8

const (
	Keep  Mode = iota // leave it, unless the device is made now: then it is t
	Merge             // merge t into it, as a patch by the service
	Reset             // it becomes t; reported properties too, where the hub can do that
)

// Device is an identity for a hub.
type Device struct {
	ID                  string
	X509                bool   // by thumbprint; otherwise by keys
	PrimaryKey          string // base64; both empty: the hub keeps those it has, or makes them
	SecondaryKey        string
	PrimaryThumbprint   string // 64 hexadecimal digits
	SecondaryThumbprint string // empty when there is no second certificate
	Edge                bool
}

// Keys are a device's, base64; empty for a device that has none.
type Keys struct{ Primary, Secondary string }

// Twin is what a device's twin holds; each part is a JSON object, or nil for none. Metadata and versions are not among it.
type Twin struct{ Tags, Desired, Reported json.RawMessage }
