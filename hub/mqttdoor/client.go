package mqttdoor

import (
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// client is a connected device. Its fields belong to the reader, the outbox aside.
type client struct {
	door    *Door
	conn    *front.Conn
	reader  *mqtt.Reader
	session *hub.Session
	outbox  *outbox
	topics  topics
	silence time.Duration
	will    *mqtt.Will

	packet    mqtt.Publish
	twins     bool        // subscribed to answers about its twin
	bag       []byte      // of the message before, whose labels are
	bagLabels *hub.Labels // kept: devices often send the same properties again
}

func newClient(d *Door, conn *front.Conn, device string) *client {
	c := &client{door: d, conn: conn, topics: topicsOf(device)}
	c.outbox = newOutbox(d.cfg.InFlight, func() { conn.Cut(0) })
	return c
}

// read handles packets until the connection ends; clean says that the device said DISCONNECT.
func (c *client) read() (clean bool, err error) {
	c.outbox.hub = c.session.Hub()
	for {
		first, body, err := c.reader.Next()
		if err != nil {
			return false, err
		}
		switch mqtt.TypeOf(first) {
		case mqtt.PUBLISH:
			if err := mqtt.DecodePublish(first, body, &c.packet); err != nil {
				return false, err
			}
			err = c.publish(&c.packet)
		case mqtt.DISCONNECT:
			_, err := mqtt.Decode(first, body)
			return err == nil, err
		default:
			var p mqtt.Packet
			if p, err = mqtt.Decode(first, body); err == nil {
				err = c.control(p)
			}
		}
		if err != nil {
			return false, err
		}
	}
}

// publish takes a message from the device.
func (c *client) publish(p *mqtt.Publish) error {
	op := "mqttdoor.publish"
	if p.QoS == 2 {
		return fault.New(op, fault.Invalid, "the device published with QoS 2").Advise("IoT hubs know QoS 0 and 1")
	}
	bag, ok := c.topics.bag(p.Topic)
	if !ok {
		return c.ask(p)
	}
	if n := len(bag) + len(p.Payload); n > hub.MaxMessage {
		return fault.Newf(op, fault.TooLarge, "a message has %d bytes with its properties, %d are allowed", n, hub.MaxMessage)
	}
	labels, err := c.labels(bag, p.Retain, p.Dup)
	if err != nil {
		return err
	}
	done := c.outbox.begin(p.ID, len(p.Payload))
	if done == nil {
		return nil // the connection is over, which the next read tells
	}
	c.session.Submit(p.Payload, labels, done)
	return nil
}

// labels reads a property bag, or finds that it is the one before.
func (c *client) labels(bag []byte, retain, dup bool) (*hub.Labels, error) {
	if retain || dup {
		properties, system, err := parseBag(bag)
		if err != nil {
			return nil, err
		}
		properties = mark(properties, retain, dup)
		return c.session.Label(properties, system), nil
	}
	if len(bag) == 0 {
		return c.session.Plain(), nil
	}
	if c.bagLabels != nil && string(bag) == string(c.bag) {
		return c.bagLabels, nil
	}
	properties, system, err := parseBag(bag)
	if err != nil {
		return nil, err
	}
	c.bag, c.bagLabels = append(c.bag[:0], bag...), c.session.Label(properties, system)
	return c.bagLabels, nil
}

// control handles what is no PUBLISH.
func (c *client) control(p mqtt.Packet) error {
	switch p := p.(type) {
	case mqtt.Bare:
		if p == mqtt.Bare(mqtt.PINGREQ) {
			return c.outbox.send(mqtt.Bare(mqtt.PINGRESP))
		}
	case *mqtt.Subscribe:
		return c.subscribe(p)
	case *mqtt.Unsubscribe:
		for _, f := range p.Filters {
			if f == twinResponses {
				c.twins = false
			}
		}
		return c.outbox.send(mqtt.Ack{Of: mqtt.UNSUBACK, ID: p.ID})
	case mqtt.Ack:
		if p.Of == mqtt.PUBACK {
			return nil // nothing was sent with QoS 1; too late for what no session remembers
		}
	}
	// A second CONNECT too (MQTT-3.1.0-2).
	return fault.Newf("mqttdoor.control", fault.Invalid, "a %s has no place here", p.Type())
}

func (c *client) subscribe(p *mqtt.Subscribe) error {
	codes := make([]byte, len(p.Topics))
	for i, t := range p.Topics {
		if !c.topics.maySubscribe(t.Filter) {
			return fault.Newf("mqttdoor.subscribe", fault.Denied, "the device subscribed to %.200q, which is not its own", t.Filter).
				Advise("a device subscribes to its own topics only; see the list in IoT Hub's MQTT documentation")
		}
		codes[i] = min(t.QoS, 1)
		c.twins = c.twins || t.Filter == twinResponses
	}
	return c.outbox.send(&mqtt.Suback{ID: p.ID, Codes: codes})
}

// ask handles a PUBLISH on a topic which is a request to the hub or an answer to one.
func (c *client) ask(p *mqtt.Publish) error {
	rid, kind := request(p.Topic)
	if kind == unknownRequest {
		return fault.Newf("mqttdoor.publish", fault.Denied, "the device published to %.200q, which is not its own", p.Topic).
			Advise("telemetry goes to devices/{device id}/messages/events/")
	}
	if p.QoS == 1 {
		if done := c.outbox.begin(p.ID, notTelemetry); done != nil {
			done(eventlog.Position{}, nil)
		}
	}
	if kind == methodAnswer || !c.twins {
		return nil // nobody called a method; and who is not subscribed gets no answer
	}
	return c.outbox.send(&mqtt.Publish{Topic: append([]byte("$iothub/twin/res/501/?"), rid...), Payload: noTwin(c.door.clock.Now())})
}

// write writes what the outbox holds, and ends the connection when the token ends.
func (c *client) write(ended <-chan struct{}) {
	expired, stop := c.door.clock.After(c.session.Expires.Sub(c.door.clock.Now()))
	defer stop()
	var spare []byte
	for {
		select {
		case <-c.outbox.wake:
		case <-expired:
			// IoT Hub: 401003 IoTHubUnauthorized, the link is dropped at the token's end.
			c.door.log.Debug("hub: token ended", "hub", c.session.Hub().Name(), "device", c.session.Device, "code", 401003)
			c.conn.Cut(hub.TokenExpired)
			expired = nil
		case <-ended:
			return
		}
		out := c.outbox.take(spare)
		if len(out) == 0 {
			spare = out
			continue
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(c.door.cfg.WriteTimeout))
		if _, err := c.conn.Write(out); err != nil {
			c.conn.Cut(0) // the reader sees it
		}
		spare = out
	}
}
