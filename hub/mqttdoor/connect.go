package mqttdoor

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// refusal is a CONNECT turned away: by whom, why, and what to answer, if anything.
type refusal struct {
	who    string // what the peer called itself
	answer mqtt.Packet
	err    error
}

// connect takes the CONNECT and answers it, unless it is to be refused.
func (d *Door) connect(ctx context.Context, conn *front.Conn, reader *mqtt.Reader) (*client, *refusal) {
	op := "mqttdoor.connect"
	first, body, err := reader.Next()
	if err != nil {
		if silent(err) {
			err = fault.New(op, fault.Timeout, "no CONNECT came in time")
		}
		return nil, &refusal{err: err}
	}
	if mqtt.TypeOf(first) != mqtt.CONNECT { // MQTT-3.1.0-1
		return nil, &refusal{err: fault.Newf(op, fault.Invalid, "the first packet is %s, not CONNECT", mqtt.TypeOf(first))}
	}
	p, err := mqtt.Decode(first, body)
	if errors.Is(err, mqtt.ErrVersion) {
		return nil, &refusal{answer: mqtt.Connack{Code: mqtt.UnacceptableVersion}, err: err} // MQTT-3.1.2-2
	}
	if err != nil {
		return nil, &refusal{err: err}
	}
	packet := p.(*mqtt.Connect)
	if d.registration(packet.UserName) {
		if d.cfg.Provisioning == nil {
			return nil, &refusal{packet.ClientID, mqtt.Connack{Code: mqtt.NotAuthorized}, fault.New(op, fault.Denied, "the device wants to be provisioned, and no provisioning service is served here").
				Advise("send it to the provisioning service's own name")}
		}
		d.cfg.Provisioning(ctx, conn, reader, packet)
		return nil, nil
	}
	c, keptText, err := d.admit(ctx, conn, packet)
	if err != nil {
		return nil, &refusal{packet.ClientID, mqtt.Connack{Code: returnCode(err)}, err}
	}
	kind, qos, present := wasKept(keptText)
	ack, _ := mqtt.Connack{SessionPresent: present}.Append(nil)
	if _, err := conn.Write(ack); err != nil {
		c.session.End()
		return nil, &refusal{who: packet.ClientID, err: err}
	}
	_ = conn.SetDeadline(time.Time{}) // a closed connection tells it when read
	c.silence, c.heard, c.mayRest = packet.Silence(longestSilence), true, conn.MayRest()
	c.reader = reader
	reader.SetLimit(maxPacket)
	reader.Waiting = c.wait
	if !c.session.Expires.IsZero() {
		c.term = d.expiry.Add(c.session.Expires, c.expired)
	}
	if present {
		c.listen(kind, qos)
	}
	return c, nil
}

// admit finds the hub and the device and makes the session. kept is what it listens to from an earlier one.
func (d *Door) admit(ctx context.Context, conn *front.Conn, p *mqtt.Connect) (c *client, kept string, err error) {
	op := "mqttdoor.admit"
	u, err := parseUserName(p.UserName)
	if err != nil {
		return nil, "", err
	}
	h, err := d.server.Enter(conn.Side, u.host)
	if err != nil {
		return nil, "", err
	}
	if h.Provisioning() {
		return nil, "", fault.Newf(op, fault.Denied, "%s is a provisioning service, and the device speaks to it as to a hub", h.HostName()).
			Advise("the user name of a registration is {id scope}/registrations/{registration id}/api-version=2019-03-31")
	}
	if u.identity != p.ClientID {
		return nil, "", fault.Newf(op, fault.Denied, "the client id is %q and the user name says %q", p.ClientID, u.identity).
			Advise("both are the device id, or {device id}/{module id}")
	}
	if h.Namespace() {
		return nil, "", fault.Newf(op, fault.Denied, "%s is a namespace of event hubs, and the device speaks to it as to a hub", h.HostName()).
			Advise("event hubs speak AMQP; compare HostName in the device's connection string with the hub's public name")
	}
	if h.Storage() {
		return nil, "", fault.Newf(op, fault.Denied, "%s is a blob service, and the device speaks to it as to a hub", h.HostName()).
			Advise("compare HostName in the device's connection string with the hub's public name")
	}
	device, module, _ := strings.Cut(u.identity, "/")
	n := hub.Name{Device: device, Module: module}
	c = &client{door: d, conn: conn, topics: topicsOf(n), keeps: !p.CleanSession}
	c.outbox.init(d, conn)
	if err := c.checkWill(p.Will); err != nil {
		return nil, "", err
	}
	c.session, err = h.Connect(ctx, hub.Request{
		Device: device, Module: module, Token: string(p.Password), Certificates: conn.Certificates, Side: conn.Side, Door: conn.Door, Cut: conn.Cut,
		ModelID: u.model, Receiver: c,
	})
	if err != nil {
		return nil, "", err
	}
	c.outbox.hub = h
	if c.keeps {
		kept, err = c.session.KeptListening(ctx)
	} else {
		err = c.session.KeepListening(ctx, "") // MQTT-3.1.2-6
	}
	if err != nil {
		c.session.End()
		return nil, "", err
	}
	return c, kept, nil
}

// returnCode is the table from a fault to CONNACK. SDKs take 5 for everything that is the device's, and 3 for what may pass; 1, 2 and
// 4 have no other use than the standard's.
func returnCode(err error) mqtt.ReturnCode {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Exhausted, fault.Internal:
		return mqtt.ServerUnavailable
	default:
		return mqtt.NotAuthorized
	}
}
