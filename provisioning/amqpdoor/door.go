package amqpdoor

import (
	"context"
	"crypto/x509"
	"log/slog"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Conn is what the door needs of a connection beside AMQP; *front.Conn is one.
type Conn interface {
	// Refuse notes that the peer was turned away, for the log; who is what it called itself.
	Refuse(who string, err error)
}

// Config bounds conversations. The zero value works.
type Config struct {
	// Admit refuses a peer that may not speak to a service, because of the side it came from. nil lets everybody.
	Admit func(Conn, *provisioning.Service) error
	// Waiting is how many requests of a link wait at most, its credit; 8.
	Waiting uint32
	// Unproved is how long a peer is kept that has proved nothing: neither by SASL nor by a link that was accepted; 60 s.
	Unproved time.Duration
}

// maxLinks bounds how many links of one connection answers may go to, and how many wait to be accepted. SDKs have one.
const maxLinks = 16

// Door serves connections that others accepted.
type Door struct {
	cfg    Config
	server *provisioning.Server
	log    *slog.Logger
	clock  clock.Clock
}

// New returns a door to the server's services.
func New(cfg Config, server *provisioning.Server, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.Waiting == 0 {
		cfg.Waiting = 8
	}
	if cfg.Unproved <= 0 {
		cfg.Unproved = time.Minute
	}
	return &Door{cfg, server, log, clk}
}

// device is who a peer says that it is, and what it shows for it.
type device struct {
	service        *provisioning.Service
	proof          provisioning.Proof
	storageRootKey string // base64, of a device with a TPM
}

// parse reads {id scope}/registrations/{registration id}, as links are addressed and devices name themselves in SASL.
func parse(s string) (scope, registration string, ok bool) {
	parts := strings.Split(strings.Trim(s, "/"), "/")
	if len(parts) < 3 || parts[0] == "" || !strings.EqualFold(parts[1], "registrations") || parts[2] == "" {
		return "", "", false
	}
	// Some write an api-version behind it, as MQTT has it.
	return parts[0], parts[2], len(parts) == 3 || len(parts) == 4 && strings.Contains(parts[3], "api-version=")
}

// IsFor tells whether the user of SASL PLAIN is a provisioning device's: {id scope}/registrations/{registration id}.
func (d *Door) IsFor(user string) bool {
	_, _, ok := parse(user)
	return ok
}

// AuthenticatePlain proves a device by the SAS token it gave as its password. What it returns is for engine.Conn.Who. Faults are those of
// provisioning.Service.Prove and Config.Admit; noting a refusal is the caller's business. certificates are those the peer showed in TLS and
// proved to hold, leaf first.
func (d *Door) AuthenticatePlain(ctx context.Context, conn Conn, certificates []*x509.Certificate, user, password string) (any, error) {
	scope, registration, ok := parse(user)
	if !ok {
		return nil, fault.Newf("amqpdoor.AuthenticatePlain", fault.Unauthenticated, "the user name %.200q is not a provisioning device's", user).
			Advise("it reads {id scope}/registrations/{registration id}")
	}
	if password == "" {
		return nil, fault.New("amqpdoor.AuthenticatePlain", fault.Unauthenticated, "the device gave no token as its password")
	}
	who, err := d.find(conn, scope)
	if err != nil {
		return nil, err
	}
	who.proof = provisioning.Proof{RegistrationID: registration, Token: password, Certificates: certificates}
	if err := who.service.Prove(ctx, who.proof); err != nil {
		return nil, err
	}
	return who, nil
}

// find returns a device of the service with an id scope, if the peer may speak to that.
func (d *Door) find(conn Conn, scope string) (*device, error) {
	svc, ok := d.server.ByScope(scope)
	if !ok {
		return nil, fault.Newf("amqpdoor.find", fault.Unauthenticated, "no provisioning service here has the id scope %.40q", scope).
			Advise("compare the id scope of the device with the service's")
	}
	return &device{service: svc}, d.mayStay(conn, svc)
}

// mayStay refuses a peer that may not speak to a service from its side, or not any more.
func (d *Door) mayStay(conn Conn, svc *provisioning.Service) error {
	if d.cfg.Admit == nil {
		return nil
	}
	return d.cfg.Admit(conn, svc)
}

// Converse serves a connection that is open. What c.Who returns came from the door; when that is nil, devices prove themselves by their
// certificates, which the peer showed in TLS and proved to hold, leaf first.
func (d *Door) Converse(c *engine.Conn, conn Conn, certificates []*x509.Certificate) engine.Handler {
	who, _ := c.Who().(*device)
	v := &conversation{door: d, conn: conn, amqp: c, certificates: certificates, who: who, proved: make(chan struct{}), over: make(chan struct{})}
	if who == nil {
		c.Restrain(true)
		v.busy.Go(v.unproved)
	}
	return v
}
