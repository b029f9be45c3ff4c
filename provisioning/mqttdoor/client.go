package mqttdoor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// DPS: communicate using MQTT; the topics.
const (
	responses       = "$dps/registrations/res/#"
	registerTopic   = "$dps/registrations/PUT/iotdps-register/"
	operationTopic  = "$dps/registrations/GET/iotdps-get-operationstatus/"
	responseTopic   = "$dps/registrations/res/"
	maxRequestID    = 256
	maxRegistration = provisioning.MaxPayload + 4<<10
)

// client is a device that is connected and proved.
type client struct {
	door    *Door
	conn    Conn
	reader  *mqtt.Reader
	service *provisioning.Service
	proof   provisioning.Proof
	silence time.Duration

	subscribed bool
	out        []byte
}

// serve handles packets until the connection ends; nil means that the device said DISCONNECT, or went.
func (c *client) serve(ctx context.Context) error {
	for {
		first, body, err := c.reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p, err := mqtt.Decode(first, body)
		if err != nil {
			return fault.Newf("mqttdoor", fault.Invalid, "%v", err).Because(err)
		}
		if p.Type() == mqtt.DISCONNECT {
			return nil
		}
		if err := c.packet(ctx, p); err != nil {
			return err
		}
	}
}

func (c *client) packet(ctx context.Context, p mqtt.Packet) error {
	op := "mqttdoor.packet"
	switch p := p.(type) {
	case *mqtt.Publish:
		return c.publish(ctx, p)
	case mqtt.Bare:
		if p == mqtt.Bare(mqtt.PINGREQ) {
			return c.send(mqtt.Bare(mqtt.PINGRESP))
		}
	case *mqtt.Subscribe:
		codes := make([]byte, len(p.Topics))
		for i, t := range p.Topics {
			if t.Filter != responses {
				return fault.Newf(op, fault.Denied, "the device subscribed to %.200q", t.Filter).Advise("provisioning answers on %s", responses)
			}
			codes[i] = min(t.QoS, 1)
		}
		c.subscribed = true
		return c.send(&mqtt.Suback{ID: p.ID, Codes: codes})
	case *mqtt.Unsubscribe:
		for _, f := range p.Filters {
			c.subscribed = c.subscribed && f != responses
		}
		return c.send(mqtt.Ack{Of: mqtt.UNSUBACK, ID: p.ID})
	case mqtt.Ack:
		if p.Of == mqtt.PUBACK {
			return nil // answers go with QoS 0
		}
	}
	// A second CONNECT too (MQTT-3.1.0-2).
	return fault.Newf(op, fault.Invalid, "a %s has no place here", p.Type())
}

// publish takes a request.
func (c *client) publish(ctx context.Context, p *mqtt.Publish) error {
	op := "mqttdoor.publish"
	if p.QoS == 2 {
		return fault.New(op, fault.Invalid, "the device published with QoS 2").Advise("provisioning knows QoS 0 and 1")
	}
	topic := string(p.Topic)
	query, registers := strings.CutPrefix(topic, registerTopic)
	asks := false
	if !registers {
		query, asks = strings.CutPrefix(topic, operationTopic)
	}
	rid, operation := parameters(query)
	if !registers && !asks || rid == "" || len(rid) > maxRequestID {
		return fault.Newf(op, fault.Denied, "the device published to %.200q", topic).Advise("it may register, and ask how far that is")
	}
	if err := c.door.mayStay(c.conn, c.service); err != nil {
		return err
	}
	if p.QoS == 1 {
		if err := c.send(mqtt.Ack{Of: mqtt.PUBACK, ID: p.ID}); err != nil {
			return err
		}
	}
	var o provisioning.Operation
	var err error
	if registers {
		o, err = c.register(ctx, p.Payload)
	} else {
		o, err = c.service.Operation(ctx, c.proof, operation)
	}
	return c.answer(rid, o, err)
}

func (c *client) register(ctx context.Context, payload []byte) (provisioning.Operation, error) {
	op := "mqttdoor.register"
	var body struct {
		RegistrationID string          `json:"registrationId"`
		Payload        json.RawMessage `json:"payload"`
	}
	if len(payload) > maxRegistration {
		return provisioning.Operation{}, fault.Newf(op, fault.TooLarge, "the request has %d bytes, %d are allowed", len(payload), maxRegistration)
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		return provisioning.Operation{}, fault.Newf(op, fault.Invalid, "the request is not the JSON that belongs here: %v", err)
	}
	if body.RegistrationID != "" && body.RegistrationID != c.proof.RegistrationID {
		return provisioning.Operation{}, fault.Newf(op, fault.Invalid, "registrationId is %.140q and the device connected as %.140q", body.RegistrationID, c.proof.RegistrationID)
	}
	return c.service.Register(ctx, c.proof, provisioning.Registration{Payload: body.Payload})
}

// parameters reads what stands behind a topic: ?$rid=..&operationId=.. The request id goes back as it came.
func parameters(query string) (rid, operation string) {
	query, ok := strings.CutPrefix(query, "?")
	if !ok {
		return "", ""
	}
	for field := range strings.SplitSeq(query, "&") {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "$rid", "%24rid":
			rid = value
		case "operationId":
			operation, _ = url.PathUnescape(value) // an id that cannot be read is none that exists
		}
	}
	return rid, operation
}

// answer writes what became of a request, unless the device does not listen.
func (c *client) answer(rid string, o provisioning.Operation, err error) error {
	if !c.subscribed {
		return nil
	}
	status, body := 200, any(o)
	wait := !o.Done()
	if wait {
		status = 202
	}
	if err != nil {
		code := provisioning.CodeOf(err)
		status = code.Status()
		wait = status >= 429
		body = provisioning.RefusalOf(err, c.door.clock.Now())
		c.tell(err)
	}
	topic := responseTopic + strconv.Itoa(status) + "/?$rid=" + rid
	if wait {
		topic += "&retry-after=" + strconv.Itoa(max(int(c.service.RetryAfter().Seconds()), 1))
	}
	b, merr := provisioning.MarshalASCII(body)
	if merr != nil {
		return merr
	}
	return c.send(&mqtt.Publish{Topic: []byte(topic), Payload: b})
}

// tell lets people know why a device was refused, or what failed.
func (c *client) tell(err error) {
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired:
		c.conn.Refuse(c.proof.RegistrationID, err)
	case fault.Internal, fault.Exhausted, fault.Unavailable, fault.Timeout:
		c.door.log.Error("provisioning: request failed", "door", "mqtt", "registration", c.proof.RegistrationID, "err", err)
	default: // the device's own matter
	}
}

func (c *client) send(p mqtt.Packet) error {
	b, err := p.Append(c.out[:0])
	if err != nil {
		return fault.Wrap("mqttdoor.send", fault.Internal, err, "")
	}
	c.out = b
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.door.cfg.WriteTimeout))
	_, err = c.conn.Write(b)
	return err
}
