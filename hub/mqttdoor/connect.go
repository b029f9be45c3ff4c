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
	c, err := d.admit(ctx, conn, packet)
	if err != nil {
		return nil, &refusal{packet.ClientID, mqtt.Connack{Code: returnCode(err)}, err}
	}
	c.reader = reader
	c.silence = silence(packet.KeepAlive)
	reader.Waiting = func() { _ = conn.SetReadDeadline(time.Now().Add(c.silence)) }
	ack, _ := mqtt.Connack{}.Append(nil)
	if _, err := conn.Write(ack); err != nil {
		c.session.End()
		return nil, &refusal{who: packet.ClientID, err: err}
	}
	return c, nil
}

// admit finds the hub and the device and makes the session.
func (d *Door) admit(ctx context.Context, conn *front.Conn, p *mqtt.Connect) (*client, error) {
	op := "mqttdoor.admit"
	host, identity, err := parseUserName(p.UserName)
	if err != nil {
		return nil, err
	}
	h, err := d.server.Enter(conn.Side, host)
	if err != nil {
		return nil, err
	}
	if identity != p.ClientID {
		return nil, fault.Newf(op, fault.Denied, "the client id is %q and the user name says %q", p.ClientID, identity).Advise("both are the device id")
	}
	if strings.Contains(identity, "/") {
		return nil, fault.Newf(op, fault.Denied, "%q is a module, and this hub has no modules yet", identity).Advise("connect as the device")
	}
	if !p.HasPassword {
		return nil, fault.Newf(op, fault.Unauthenticated, "device %q sent no SAS token", identity).Advise("connect with a shared access key: certificates are not accepted yet")
	}
	c := newClient(d, conn, identity)
	if err := c.checkWill(p.Will); err != nil {
		return nil, err
	}
	c.session, err = h.Connect(ctx, hub.Request{Device: identity, Token: string(p.Password), Side: conn.Side, Door: "mqtt", Cut: conn.Cut})
	return c, err
}

// parseUserName reads "{host}/{clientId}/?api-version=..&.." and the old form without the question mark. The client id is that of a
// device or "{device}/{module}". api-version must be there; its value is not looked at.
func parseUserName(s string) (host, identity string, err error) {
	bad := fault.Newf("mqttdoor.connect", fault.Unauthenticated, "the user name %.200q is not an IoT hub's", s).
		Advise("it reads {hub host name}/{device id}/?api-version=2021-04-12")
	host, rest, ok := strings.Cut(s, "/")
	end := strings.LastIndexByte(rest, '/')
	if !ok || host == "" || end <= 0 {
		return "", "", bad
	}
	query := strings.TrimPrefix(rest[end+1:], "?")
	for field := range strings.SplitSeq(query, "&") {
		if key, _, ok := strings.Cut(field, "="); ok && key == "api-version" {
			return host, rest[:end], nil
		}
	}
	return "", "", bad
}

// silence is how long a client may say nothing (MQTT-3.1.2-24).
func silence(keepAlive uint16) time.Duration {
	if d := time.Duration(keepAlive) * 1500 * time.Millisecond; d > 0 && d < longestSilence {
		return d
	}
	return longestSilence
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
