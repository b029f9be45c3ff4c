package mqttdoor

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Conn is what the door needs of a connection; *front.Conn is one.
type Conn interface {
	net.Conn
	// Refuse notes that the peer was turned away, for the log; who is what it called itself.
	Refuse(who string, err error)
}

// Config bounds a connection. The zero value works.
type Config struct {
	// Admit refuses a peer that may not speak to a service, because of the side it came from. nil lets everybody.
	Admit        func(Conn, *provisioning.Service) error
	WriteTimeout time.Duration // for one write to a peer that does not read; 30 s
}

const (
	// maxPacket is the largest packet of a known device: a payload, what is around it, and a topic.
	maxPacket = provisioning.MaxPayload + 8<<10
	// longestSilence caps one and a half keep-alive times, and stands for a keep-alive of 0.
	longestSilence = 1767 * time.Second
	// maxRefused bounds what is still read of a peer that was refused.
	maxRefused = 64 << 10
)

// Door serves connections that others accepted.
type Door struct {
	cfg    Config
	server *provisioning.Server
	log    *slog.Logger
	clock  clock.Clock
}

// New returns a door to the server's services.
func New(cfg Config, server *provisioning.Server, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 30 * time.Second
	}
	return &Door{cfg, server, log, clk}
}

// IsFor tells whether a CONNECT's user name is a provisioning device's: {id scope}/registrations/{registration id}/api-version=...
func IsFor(userName string) bool {
	_, _, err := parseUserName(userName)
	return err == nil
}

func parseUserName(s string) (scope, registration string, err error) {
	parts := strings.Split(s, "/")
	if len(parts) == 4 && parts[0] != "" && strings.EqualFold(parts[1], "registrations") && parts[2] != "" {
		for field := range strings.SplitSeq(strings.TrimPrefix(parts[3], "?"), "&") {
			if key, _, ok := strings.Cut(field, "="); ok && key == "api-version" {
				return parts[0], parts[2], nil
			}
		}
	}
	return "", "", fault.Newf("mqttdoor.connect", fault.Unauthenticated, "the user name %.200q is not a provisioning device's", s).
		Advise("it reads {id scope}/registrations/{registration id}/api-version=2019-03-31")
}

// Serve runs a connection whose CONNECT was read, until it ends. The caller closes it, and closes it earlier to end it; the reader holds
// what was read beyond the CONNECT. certificates are those the peer showed in TLS and proved to hold, leaf first.
func (d *Door) Serve(ctx context.Context, conn Conn, certificates []*x509.Certificate, reader *mqtt.Reader, connect *mqtt.Connect) {
	c, err := d.admit(ctx, conn, certificates, reader, connect)
	if err != nil {
		conn.Refuse(connect.ClientID, err)
		d.bye(conn, mqtt.Connack{Code: returnCode(err)})
		return
	}
	_ = conn.SetDeadline(time.Time{}) // a closed connection tells it when read
	reader.SetLimit(maxPacket)
	reader.Waiting = func() { _ = conn.SetReadDeadline(time.Now().Add(c.silence)) }
	if err := c.send(mqtt.Connack{}); err == nil {
		err = c.serve(ctx)
		if f, told := errors.AsType[*fault.Error](err); told && ctx.Err() == nil {
			conn.Refuse(connect.ClientID, f)
		}
		d.log.Debug("provisioning: disconnected", "service", c.service.Name(), "registration", connect.ClientID, "err", err)
	}
}

// admit finds the service and proves the device.
func (d *Door) admit(ctx context.Context, conn Conn, certificates []*x509.Certificate, reader *mqtt.Reader, p *mqtt.Connect) (*client, error) {
	op := "mqttdoor.admit"
	scope, registration, err := parseUserName(p.UserName)
	if err != nil {
		return nil, err
	}
	if registration != p.ClientID {
		return nil, fault.Newf(op, fault.Denied, "the client id is %.140q and the user name says %.140q", p.ClientID, registration).Advise("both are the registration id")
	}
	if p.Will != nil {
		return nil, fault.New(op, fault.Denied, "the device has a will").Advise("provisioning knows none")
	}
	svc, ok := d.server.ByScope(scope)
	if !ok {
		return nil, fault.Newf(op, fault.Unauthenticated, "no provisioning service here has the id scope %.40q", scope).Advise("compare the id scope of the device with the service's")
	}
	if err := d.mayStay(conn, svc); err != nil {
		return nil, err
	}
	c := &client{door: d, conn: conn, reader: reader, service: svc, silence: p.Silence(longestSilence)}
	c.proof = provisioning.Proof{RegistrationID: registration, Certificates: certificates}
	if p.HasPassword {
		c.proof.Token = string(p.Password)
	}
	return c, svc.Prove(ctx, c.proof)
}

// mayStay refuses a peer that may not speak to a service from its side, or not any more.
func (d *Door) mayStay(conn Conn, svc *provisioning.Service) error {
	if d.cfg.Admit == nil {
		return nil
	}
	return d.cfg.Admit(conn, svc)
}

// returnCode is the table from a fault to CONNACK: 5 for whatever is the device's, 3 for what may pass.
func returnCode(err error) mqtt.ReturnCode {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Exhausted, fault.Internal:
		return mqtt.ServerUnavailable
	default:
		return mqtt.NotAuthorized
	}
}

// bye sends a last packet and lets the peer read it: closing with unread bytes in our buffer would destroy it on its way.
func (d *Door) bye(conn Conn, last mqtt.Packet) {
	b, _ := last.Append(nil) // a CONNACK has no field that could be too long
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(b); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, maxRefused) // until the peer closes, or the second is over
	}
}
